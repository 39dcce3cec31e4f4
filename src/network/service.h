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
    struct ip_address ip;
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
    bool has_masquerade, is_inter_container_allowed;
    struct ip_address default_publish_ip;
    struct ip_prefix gateway; // of the bridge, with the subnet's length
    int home_netns_fd;        // the namespace skiffd itself is in
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

// --- setup.c: the bridge and the table

// Which range the bridge
// has: --bip, the existing bridge's, `recorded` (length 0: none) when still free, or the first free one.
int setup_choose_range(struct network_service *networks, const char *bip, const struct ip_prefix *recorded,
                       struct error *err);
// Make bridge and table once. setup_lock is taken inside.
int setup_once(struct network_service *networks, struct error *err);
// Make them anew; setup_lock held.
int setup_now(struct network_service *networks, struct error *err);
// Whether the bridge exists in the kernel.
bool setup_has_bridge(const struct network_service *networks);
// Delete the bridge's ports that no attachment has. 0 or -errno.
int setup_remove_strays(struct network_service *networks);
