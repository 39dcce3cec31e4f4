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

enum { NETWORK_POOLS_MAX = RULESET_SUBNETS_MAX, NETWORK_NAME_MAX = 255 };

// One subnet of a network.
struct network_pool {
    struct ip_prefix subnet, range; // range.length 0: the whole subnet
    struct ip_address gateway;      // none: there is none
    json_t *reserved;               // AuxiliaryAddresses: name -> address, or NULL
    struct ipam ipam;               // guarded by the service's lock
};

// Immutable once it is in the tables, but for the last three members. Whoever holds an attachment may use it without the lock:
// it cannot be removed then.
struct network {
    char id[65];
    char *name;
    char created[TIME_TEXT_MAX]; // RFC 3339
    enum network_driver driver;
    bool is_predefined, is_internal, is_attachable, has_ipv4, has_ipv6;
    json_t *options, *labels; // objects, as given
    json_t *ipam_options;     // object or NULL
    struct network_pool pools[NETWORK_POOLS_MAX];
    size_t pool_count;
    bool has_own_pool;      // the user gave a subnet
    bool is_bridge_foreign; // it was there when the network was made: it stays when the network goes
    // What the driver's options say.
    char bridge[16]; // NETWORK_BRIDGE
    char parent[16]; // macvlan, ipvlan: the host's interface; "" until one of our own is made
    uint32_t mode;   // MACVLAN_MODE_*, IPVLAN_MODE_*
    uint16_t flags;  // IPVLAN_F_*
    int mtu;         // 0: the kernel's choice
    bool has_masquerade, is_inter_container_allowed;
    struct ip_address publish_ip; // none: the service's
    // In the kernel.
    atomic_bool is_ready; // its bridge is there, its elements are in the table
    atomic_uint bridge_index;
    bool is_leaving; // somebody is removing it; guarded by the service's lock
};

// One endpoint that is reserved or plugged.
struct attachment {
    struct network_endpoint endpoint; // own copy
    struct network *network;          // borrowed
    bool is_plugged;                  // its ports are in the table; guarded by setup_lock
    bool is_leaving;                  // somebody is releasing it; guarded by lock
    bool is_unfit;                    // others that share a port serve in its stead; guarded by lock
};

// Lock order: setup_lock, then lock. Neither is held while the other side waits for more than the kernel's
// own verdict.
struct network_service {
    struct store *store; // borrowed; NULL: nothing is remembered (tests)
    // Constant after open.
    char bridge[16]; // of the default network
    bool is_enabled; // false: --bridge=none
    bool has_ip_forward;
    int mtu;
    bool has_masquerade, is_inter_container_allowed;
    bool has_bridge_names;
    struct ip_address default_publish_ip;
    struct address_pool *pools;
    size_t pool_count;
    struct event_sink events;
    int home_netns_fd; // the namespace skiffd itself is in
    struct ruleset rules;
    struct spread *spreads;   // guarded by setup_lock
    struct rule_watch *watch; // guarded by setup_lock; NULL: there is no table yet

    pthread_mutex_t setup_lock;     // orders what is done to the bridges and the table in the kernel
    atomic_bool has_table;          // the table has been made
    atomic_bool is_bridge_filtered; // br_netfilter takes bridged frames through the IP hooks

    struct port_table ports;    // has a lock of its own
    struct name_service *names; // has a lock of its own; NULL: no names

    pthread_mutex_t lock;   // guards what follows
    struct map networks;    // id -> struct network, owned
    struct map by_name;     // name -> struct network, borrowed
    struct map attachments; // endpoint id -> struct attachment, owned
};

// --- record.c: a network as a value, its record and its documents
struct network *network_new(void);
void network_free(struct network *network);
json_t *network_record(const struct network *network);
// ERROR_INVALID when the record is not one of ours.
int network_from_record(const char *id, const json_t *record, struct network **ret, struct error *err);
// The API's document; "Containers" is empty.
json_t *network_document(const struct network *network);

// --- config.c: what users ask for

const char *network_driver_name(enum network_driver driver); // "bridge"

// Everything of a create request but the subnets nobody gave; nothing is looked up. ERROR_INVALID, ERROR_NOT_FOUND.
int network_config_parse(const json_t *request, struct network **ret, struct error *err);
// What the options say, into the members they concern.
int network_apply_options(struct network *network, struct error *err);

// --- networks.c

// By name, id or prefix of an id; lock held. NULL with *err filled in.
struct network *network_lookup(struct network_service *networks, const char *name, struct error *err);
void network_emit(struct network_service *networks, const char *action, const struct network *network,
                  const char *container_id);

// --- names.c: skiff-netd and what it is told

struct name_service;
struct name_service *name_service_new(struct network_service *networks, const char *program,
                                      const char *exec_root);
void name_service_free(struct name_service *names);
// An endpoint is plugged, renamed / is going. Nothing happens when it has no names.
void names_publish(struct network_service *networks, const struct network_endpoint *endpoint);
void names_withdraw(struct network_service *networks, const struct network_endpoint *endpoint);

// Ports of an endpoint that the kernel cannot translate: skiff-netd listens there and relays. 0 or -errno; close in any
// case.
int relays_open(struct network_service *networks, const struct network_endpoint *endpoint);
// After a restart of the engine: said with everything else (network_resolvers_resumed).
void relays_restore(struct network_service *networks, const struct network_endpoint *endpoint);
// Until then skiff-netd may listen for what a former engine asked of it: a relayed port that is in use may be our own.
bool relays_are_resuming(const struct network_service *networks);
// When it returns their addresses are free again.
void relays_close(struct network_service *networks, const struct network_endpoint *endpoint);

// --- watch.c: the table comes back when somebody removes it

// From the first table on; setup_lock held. Failing, a table that is gone is noticed by the next change of ours only.
void watch_start(struct network_service *networks);
void watch_stop(struct network_service *networks); // without setup_lock

// --- endpoint.c

// Connections to ::1 are not translated by the kernel, nor those to IPv6 addresses for a container that has none.
bool endpoint_port_is_relayed(const struct network_endpoint *endpoint, const struct network_port *port);

// The mappings of an endpoint's ports, owned array; *ret_n of them.
struct port_mapping *endpoint_mappings(const struct network_endpoint *endpoint, size_t *ret_n);
// Claim these for the endpoint, whose `ports` (owned) they become with host port and address filled in; all or none. A port
// without an address becomes one for each family the endpoint has. Errors as ports_claim.
int endpoint_claim_ports(struct network_service *networks, const struct network *network,
                         const struct network_port *ports, size_t n, bool is_recovered,
                         struct network_endpoint *endpoint, struct error *err);
void endpoint_give_ports_back(struct network_service *networks, const struct network_endpoint *endpoint);
// Of an endpoint that is reserved, which holds it; NULL otherwise.
struct network *network_of_endpoint(struct network_service *networks,
                                    const struct network_endpoint *endpoint);
bool mac_parse(const char *text, uint8_t mac[static 6]);

// --- setup.c: bridges and the table

// Which range the default bridge has: --bip, the existing bridge's, `recorded` (length 0: none) when still free, or the first
// free one. *ret_gateway: its address, with the subnet's length.
int setup_choose_range(struct network_service *networks, const char *bip, const struct ip_prefix *recorded,
                       struct ip_prefix *ret_gateway, struct error *err);
// Every network the host has a route to, owned array.
int setup_routes(struct ip_prefix **ret, size_t *ret_n, struct error *err);
// Make the network's bridge, and the table, once. setup_lock is taken inside.
int setup_once(struct network_service *networks, struct network *network, struct error *err);
// Make all anew: someone deleted a bridge or flushed the host's rules. setup_lock is taken inside.
int setup_again(struct network_service *networks, struct network *network, struct error *err);
// The table alone, with every network and port that is in it; setup_lock held.
int setup_table(struct network_service *networks, struct error *err);
// Its bridge and elements go; setup_lock is taken inside.
void setup_remove(struct network_service *networks, struct network *network);
bool setup_has_bridge(const struct network *network);
// After a restart: bridges and table of the networks that are in use, and nothing of ours besides.
int setup_restore(struct network_service *networks, struct error *err);
