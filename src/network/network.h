// Networks of containers: the predefined ones (bridge, host, none), and those that users make (drivers bridge, macvlan,
// ipvlan), with address allocation, masquerade, isolation and published ports. "container:" needs nothing here.
// Thread-safe. Raw netlink only. Shapes: Engine API `POST /networks/create`, `GET /networks/{id}`.
#pragma once

#include "base/error.h"
#include "base/event.h"
#include "network/ipam.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network_service;

struct network_options {
    const char *bridge;             // "skiff0"; "none": no default network
    const char *bip;                // "172.17.0.1/16", or NULL: choose one that no route of the host overlaps
    int mtu;                        // 0: 1500
    bool has_masquerade;            // --ip-masq, default true
    bool has_ip_forward;            // --ip-forward: set net.ipv4.ip_forward=1, default true
    const char *default_publish_ip; // --ip: address that ports without one bind to; NULL "0.0.0.0"
    bool is_inter_container_allowed; // --icc, default true
    const struct address_pool
        *pools; // where networks without a subnet get theirs; NULL: small ones of the private ranges
    size_t pool_count;
    struct event_sink events; // "network": create, connect, disconnect, destroy
    const char *netd_program; // skiff-netd; NULL: no names
    bool has_bridge_names;    // --bridge-names: containers of the default bridge have names too
    const char *exec_root;    // where its socket is
};

// Nothing is made in the kernel before the first container needs it. Leftovers of a former engine with the
// same bridge name are taken over by network_restore.
int network_service_open(struct store *store, const struct network_options *options,
                         struct network_service **ret, struct error *err);
void network_service_close(struct network_service *networks);

// --- networks

// `request` as POST /networks/create has it. ERROR_CONFLICT "network with name x already exists"; ERROR_DENIED for a
// predefined name and for subnets that overlap; ERROR_INVALID; ERROR_NOT_FOUND for a driver nobody has;
// ERROR_EXHAUSTED when no subnet is free. *ret_warning: owned, NULL when there is none.
int network_create(struct network_service *networks, const json_t *request, char ret_id[static 65],
                   char **ret_warning, struct error *err);
// By name, id or the beginning of an id. ERROR_DENIED for a predefined one and one that containers are attached to.
int network_remove(struct network_service *networks, const char *name, struct error *err);
// Networks that are not predefined, have no endpoint and for which keeps() (NULL: none) is false; keeps must not call the
// service. Owned array of names.
typedef bool network_keeper(void *context, const json_t *network);
int network_prune(struct network_service *networks, network_keeper *keeps, void *context, json_t **ret_names,
                  struct error *err);
// Docker's `GET /networks` documents, "Containers" left empty; owned array; and one by name or id. Both have a member
// "Builtin" more, which says whether it is predefined.
json_t *network_list(struct network_service *networks);
int network_inspect(struct network_service *networks, const char *name, json_t **ret, struct error *err);

// Chains of the host's own tables that are asked about packets to published ports and drop what no rule of theirs lets
// through. Owned array of {"Family": "ip"|"ip6"|"inet", "Table", "Chain"}; empty when the kernel cannot be asked.
json_t *network_dropping_chains(const struct network_service *networks);

enum network_driver { NETWORK_BRIDGE, NETWORK_HOST, NETWORK_NULL, NETWORK_MACVLAN, NETWORK_IPVLAN };
// What containers ask of a network before they are attached to it; a value.
struct network_info {
    char id[65];
    char name[256];
    enum network_driver driver;
    bool is_predefined, is_internal;
    bool publishes;    // its endpoints can have published ports
    bool has_gateway;  // its endpoints can be the way out
    bool has_own_pool; // a subnet was given: fixed addresses are allowed
    bool has_names;    // its endpoints can be found by name
};
// ERROR_NOT_FOUND "network x not found"; ERROR_INVALID for an ambiguous prefix of an id.
int network_find(struct network_service *networks, const char *name, struct network_info *ret,
                 struct error *err);

// --- endpoints

enum network_protocol { NETWORK_TCP, NETWORK_UDP, NETWORK_SCTP };

struct network_port {
    enum network_protocol protocol;
    uint16_t container_port;
    char host_ip[46];        // "" : default; "0.0.0.0", "127.0.0.1", "::", ...
    uint16_t host_port;      // 0: choose one of the kernel's ephemeral range (ip_local_port_range)
    uint16_t last_host_port; // with host_port a range to choose from; 0: no range
};

#define NETWORK_CONTAINER_INTERFACE "eth0" // the first one inside
// What a container has on a network; value, copied freely, stored with the container by container/.
struct network_endpoint {
    char network_name[256]; // "bridge"
    char network_id[65];
    char endpoint_id[65];
    // For events and messages; reserve fills both in from the request, network_restore's caller gives them again.
    char container_id[65];
    char container_name[128];
    char host_interface[16]; // "" for drivers without one
    char interface[16];      // inside: "eth0"
    char ip[46], gateway[46];
    uint8_t prefix_length;
    char ip6[46], gateway6[46]; // "" for none
    uint8_t prefix6_length;
    char mac[18];
    bool is_way_out, is_way_out6; // the default routes go through its gateways; set by the caller before plug
    struct network_port *ports;   // host_port filled in
    size_t port_count;
    char **link_locals; // strv: further addresses of its interface, or NULL
    char **names;       // strv: what others find it by, the first is what its address is called; or NULL
};
void network_endpoint_done(struct network_endpoint *endpoint);
// A deep copy.
struct network_endpoint network_endpoint_copy(const struct network_endpoint *endpoint);

struct network_request {
    const char *container_id, *container_name;
    const char *network;        // name or id; "default" is "bridge"
    const char *interface;      // NULL: NETWORK_CONTAINER_INTERFACE
    const char *mac, *ip, *ip6; // NULL: choose
    const struct network_port *ports;
    size_t port_count;
    char *const *names;       // strv or NULL
    char *const *link_locals; // strv or NULL
};

// Reserve addresses and ports. A host port may be had by several endpoints of one network that have a name (without a dot) in
// common: new connections are spread over them. ERROR_NOT_FOUND "network x not found"; ERROR_INVALID for addresses outside;
// ERROR_DENIED "Address already in use"; ERROR_INTERNAL-class failures in Docker's
// words: "driver failed programming external connectivity on endpoint NAME (ID): Bind for 0.0.0.0:80 failed:
// port is already allocated". A port another process listens on is refused too ("address already in use").
int network_reserve(struct network_service *networks, const struct network_request *request,
                    struct network_endpoint *ret, struct error *err);
// Make it real: bridge if missing, an interface born in the namespace, addresses, default routes, up; the port elements in
// one transaction. netns_fd: the container's network namespace. sysctls: "net.ipv4.conf.IFNAME.x=1,..." or NULL.
int network_plug(struct network_service *networks, const struct network_endpoint *endpoint,
                 const char *sysctls, int netns_fd, struct error *err);
// The interface goes out of a namespace that lives on; then release.
void network_unplug(struct network_service *networks, const struct network_endpoint *endpoint, int netns_fd);
// Default routes of a running container as is_way_out of its endpoints says; a family nobody leads out of has none.
int network_set_ways_out(struct network_service *networks, const struct network_endpoint *endpoints,
                         size_t count, int netns_fd, struct error *err);
// Ports of an endpoint that is plugged: `removed` (as endpoint->ports has them) go and `added` (as a request has them) come, in
// one transaction. endpoint->ports is replaced. Errors as network_reserve, and then nothing has changed.
int network_change_ports(struct network_service *networks, struct network_endpoint *endpoint,
                         const struct network_port *removed, size_t removed_count,
                         const struct network_port *added, size_t added_count, struct error *err);
// Its names have changed (a rename). endpoint->names is what counts.
void network_rename(struct network_service *networks, const struct network_endpoint *endpoint);

// Names, asked at 127.0.0.11 in the container's network namespace, answered by skiff-netd: those of the networks its endpoints are on,
// then what the upstream servers say.
struct network_resolver {
    const char *container_id;
    pid_t pid;          // whose network namespace it is
    char *const *links; // strv "alias=name": what only this container calls another so, or NULL
    const struct ip_address *upstreams; // none: names of the outside do not exist
    size_t upstream_count;
};
enum { NETWORK_UPSTREAMS_MAX = 8 };
#define NETWORK_RESOLVER_ADDRESS "127.0.0.11"
// Sockets in the namespace, and skiff-netd told of them. Endpoints that come and go later are followed.
int network_resolver_start(struct network_service *networks, const struct network_resolver *resolver,
                           struct error *err);
// After a restart of the engine: each container that asks; then all is told, and sockets are made only where skiff-netd has none.
void network_resolver_resume(struct network_service *networks, const struct network_resolver *resolver);
void network_resolvers_resumed(struct network_service *networks);
void network_resolver_stop(struct network_service *networks, const char *container_id);

// Containers of the default bridge ask at its gateway's address, where one pair of sockets serves all of them: the start of a
// container has nothing to make. False when there are no names on the bridge, or another program of the host has the port 53.
// upstreams: the host's, compared with what skiff-netd knows.
bool network_bridge_resolver(struct network_service *networks, const struct ip_address *upstreams,
                             size_t upstream_count);
// That address, served or not. False: there is no default bridge.
bool network_bridge_gateway(struct network_service *networks, char ret_address[static IP_TEXT_MAX]);
// After a restart of the engine, before network_resolvers_resumed: there are containers that ask there.
void network_bridge_resolver_resume(struct network_service *networks, const struct ip_address *upstreams,
                                    size_t upstream_count);
// Does a container serve? New connections to ports it shares with others go to those that do (to all, when none does);
// established ones stay.
void network_set_fit(struct network_service *networks, const char *container_id, bool is_fit);

// Undo plug (the kernel drops the interface with the namespace; not awaited) and reserve. Idempotent.
void network_release(struct network_service *networks, const struct network_endpoint *endpoint);
// After a restart: endpoints of the containers that run keep their addresses and ports; everything else of
// ours is removed.
int network_restore(struct network_service *networks, const struct network_endpoint *const *endpoints,
                    size_t count, struct error *err);
