// Networks of containers: in this version the default bridge, with address allocation, masquerade and
// published ports by nftables maps; "none", "host" and "container:" need nothing here. IPv4 only so far:
// publishing on an IPv6 address is refused, and containers have IPv6 off on eth0, as on Docker's IPv4
// networks. Thread-safe. Raw netlink only.
#pragma once

#include "base/error.h"
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
};

// Nothing is made in the kernel before the first container needs it. Leftovers of a former engine with the
// same bridge name are taken over by network_restore.
int network_service_open(struct store *store, const struct network_options *options,
                         struct network_service **ret, struct error *err);
void network_service_close(struct network_service *networks);

enum network_protocol { NETWORK_TCP, NETWORK_UDP, NETWORK_SCTP };

struct network_port {
    enum network_protocol protocol;
    uint16_t container_port;
    char host_ip[46];        // "" : default; "0.0.0.0", "127.0.0.1", "::", ...
    uint16_t host_port;      // 0: choose one of the kernel's ephemeral range (ip_local_port_range)
    uint16_t last_host_port; // with host_port a range to choose from; 0: no range
};

// What a container has on a network; value, copied freely, stored with the container by container/.
#define NETWORK_CONTAINER_INTERFACE "eth0" // inside a container
struct network_endpoint {
    char network_name[64]; // "bridge"
    char network_id[65];
    char endpoint_id[65];
    // For `GET /networks/{id}`; reserve fills both in from the request, network_restore's caller gives them
    // again.
    char container_id[65];
    char container_name[128];
    char host_interface[16];
    char ip[46], gateway[46];
    uint8_t prefix_length;
    char mac[18];
    struct network_port *ports; // host_port filled in
    size_t port_count;
};
void network_endpoint_done(struct network_endpoint *endpoint);

struct network_request {
    const char *container_id, *container_name;
    const char *network;  // "bridge" / "default"
    const char *mac, *ip; // NULL: choose
    const struct network_port *ports;
    size_t port_count;
};

// Reserve address and ports. ERROR_NOT_FOUND "network x not found"; ERROR_INTERNAL-class failures in Docker's
// words: "driver failed programming external connectivity on endpoint NAME (ID): Bind for 0.0.0.0:80 failed:
// port is already allocated". A port another process listens on is refused too ("address already in use").
int network_reserve(struct network_service *networks, const struct network_request *request,
                    struct network_endpoint *ret, struct error *err);
// Make it real: bridge if missing, veth with its peer born as eth0 in the namespace, address, default route,
// up; the port elements in one transaction. netns_fd: the container's network namespace.
int network_plug(struct network_service *networks, const struct network_endpoint *endpoint, int netns_fd,
                 struct error *err);
// Undo plug (the kernel drops the veth with the namespace; not awaited) and reserve. Idempotent.
void network_release(struct network_service *networks, const struct network_endpoint *endpoint);
// After a restart: endpoints of the containers that run keep their addresses and ports; everything else of
// ours is removed.
int network_restore(struct network_service *networks, const struct network_endpoint *const *endpoints,
                    size_t count, struct error *err);
// Docker's `GET /networks` documents (bridge, host, none), owned array; and one by name or id.
json_t *network_list(struct network_service *networks);
int network_inspect(struct network_service *networks, const char *name, json_t **ret, struct error *err);
// The id alone, borrowed for as long as the service is open; NULL: no such network.
const char *network_id(struct network_service *networks, const char *name);
