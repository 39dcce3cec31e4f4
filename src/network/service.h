// The network service's inside, shared by the files of network/ only.
#pragma once

#include "base/clock.h"
#include "base/map.h"
#include "network/ipam.h"
#include "network/network.h"
#include "network/ports.h"
#include "network/ruleset.h"

#include <pthread.h>
#include <stdatomic.h>

// One endpoint that is reserved or plugged.
struct attachment {
    struct network_endpoint endpoint; // own copy
    uint32_t ip;
    bool is_plugged; // its ports are in the table; guarded by setup_lock
};

// The three networks every engine has.
enum network_kind { NETWORK_BRIDGE, NETWORK_HOST, NETWORK_NONE, NETWORK_KIND_COUNT };

struct network_record {
    char id[65];
    char created[TIME_TEXT_MAX]; // RFC 3339
};

// Lock order: setup_lock, then lock. Neither is held while the other side waits for more than the kernel's
// own verdict.
struct network_service {
    struct store *store; // borrowed; NULL: nothing is remembered (tests)
    // Constant after open.
    char bridge[16];
    bool is_enabled; // false: --bridge=none
    bool has_ip_forward;
    int mtu;
    uint32_t network, gateway, default_publish_ip;
    unsigned prefix;
    int home_netns_fd; // the namespace skiffd itself is in
    struct ruleset rules;
    struct network_record records[NETWORK_KIND_COUNT];

    pthread_mutex_t setup_lock; // orders what is done to the bridge and the table in the kernel
    atomic_bool is_ready;       // bridge and table have been made
    atomic_uint bridge_index;
    atomic_bool is_bridge_filtered; // br_netfilter takes bridged frames through the IP hooks

    struct port_table ports; // has a lock of its own

    pthread_mutex_t lock; // guards what follows
    struct ipam ipam;
    struct map attachments; // endpoint id -> struct attachment, owned
};

const char *network_kind_name(enum network_kind kind);
// The mappings of an endpoint's ports, owned array of endpoint->port_count (at least one element).
struct port_mapping *endpoint_mappings(const struct network_endpoint *endpoint);
// Claim these for the endpoint, whose `ports` (owned) they become with host port and address filled in; all or none. Errors as
// ports_claim, and ERROR_UNSUPPORTED for IPv6 addresses.
int endpoint_claim_ports(struct network_service *networks, const struct network_port *ports, size_t n,
                         bool is_recovered, struct network_endpoint *endpoint, struct error *err);
int endpoint_publish_ip(const struct network_service *networks, const struct network_port *port,
                        uint32_t *ret, struct error *err); // the address that a port is published on
void endpoint_give_ports_back(struct network_service *networks, const struct network_endpoint *endpoint);

// --- setup.c: the bridge and the table

// Which range the bridge
// has: --bip, the existing bridge's, `recorded` (prefix 0: none) when still free, or the first free one.
int setup_choose_range(struct network_service *networks, const char *bip, uint32_t recorded,
                       unsigned recorded_prefix, struct error *err);
// Make bridge and table once. setup_lock is taken inside.
int setup_once(struct network_service *networks, struct error *err);
// Make them anew; setup_lock held.
int setup_now(struct network_service *networks, struct error *err);
// Whether the bridge exists in the kernel.
bool setup_has_bridge(const struct network_service *networks);
// Delete the bridge's ports that no attachment has. 0 or -errno.
int setup_remove_strays(struct network_service *networks);
