// The networks a container is on. What it shall be on is a document (EndpointsConfig by network name, the order is that of
// the interfaces), replaced as a whole at each change; what it has of them while it runs are its endpoints.
// Shapes: Engine API NetworkingConfig, `POST /networks/{id}/connect`.
#pragma once

#include "container/container_internal.h"

// At create: the document from NetworkMode and the request's NetworkingConfig (may be NULL), checked against the networks that
// exist. ERROR_NOT_FOUND "network x not found"; ERROR_INVALID in Docker's words.
int networks_resolve(struct container *c, const json_t *networking_config, struct error *err);
// After a restart of the engine: from the record, which may be older than the document.
void networks_load(struct container *c, json_t *document);

// operation is held. Addresses and ports of every network; then, for the process's network namespace, the interfaces.
int networks_reserve(struct container *c, struct error *err);
// -ENOENT: the process is gone already, and its monitor knows why.
int networks_plug(struct container *c, pid_t pid, struct error *err);

// Does skiff-netd answer its names? It does on networks of users' own.
bool networks_have_names(const struct container *c);
// It is on the default bridge alone, where others find it by name, and has no name servers of its own: it may ask at the gateway.
bool networks_have_bridge_names(const struct container *c);
// After a restart of the engine, of a container that runs.
void networks_resume(struct container *c);
// The container has another name.
void networks_rename(struct container *c);

// The endpoints as this run's record holds them. Of an older record's shape, one endpoint, too.
json_t *networks_endpoints_document(const struct container *c);
void networks_endpoints_load(struct container *c, const json_t *run);
// Without giving anything back: the run ended under another engine.
void networks_endpoints_forget(struct container *c);

// The endpoint of this run that has the published ports, or would have them; NULL: none can. Stays where it is while operation is held.
struct network_endpoint *networks_port_endpoint(const struct container *c);
// Lines of /etc/hosts: the addresses of the container, one strv entry each, and its default gateway ("" for none). Owned.
char **networks_addresses(const struct container *c);
const char *networks_gateway(const struct container *c);
