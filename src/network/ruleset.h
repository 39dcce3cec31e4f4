// skiff's nftables table: what it holds and how it changes. No locks: the caller orders the changes.
#pragma once

#include "base/ip.h"
#include "network/network.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ruleset {
    char table[40];
    unsigned rule_count; // of the table as it was built last; 0: not yet
    int fd; // kept for transactions (nft_commit); FD_NONE at first, closed by who made the struct
};

enum { RULESET_SUBNETS_MAX = 8 };

// One network as the rules see it.
struct ruleset_network {
    char bridge[16];
    struct ip_prefix subnets[RULESET_SUBNETS_MAX];
    bool has_masquerade[RULESET_SUBNETS_MAX]; // what leaves the host from this subnet gets the host's address
    size_t subnet_count;
    bool is_internal; // nothing goes in or out
    bool is_inter_container_allowed;
};

// One published port as the maps hold it. host_ip 0.0.0.0 or ::, of the container address's family: every local address.
struct port_mapping {
    enum network_protocol protocol;
    struct ip_address host_ip, container_ip;
    uint16_t host_port, container_port;
};

// A share in a port that several containers have: new connections go to one slot after the other.
enum { RULESET_SLOTS = 1024 };
struct port_slot {
    struct port_mapping mapping;
    uint32_t slot; // below RULESET_SLOTS
};
struct slot_change {
    const struct port_slot *removed;
    size_t removed_count;
    const struct port_slot *added;
    size_t added_count;
};

// Replace the whole table by one with these networks and ports, in one transaction: there is no moment without rules. 0 or
// -errno.
int ruleset_build(struct ruleset *rules, const struct ruleset_network *networks, size_t network_count,
                  const struct port_mapping *ports, size_t port_count, const struct port_slot *slots,
                  size_t slot_count);
// One transaction each. -ENOENT: the table is gone (or, removing, an element was).
int ruleset_add_network(struct ruleset *rules, const struct ruleset_network *network);
int ruleset_remove_network(struct ruleset *rules, const struct ruleset_network *network);
int ruleset_add_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n);
int ruleset_remove_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n);
// Both in one transaction: those that go, then those that come.
int ruleset_change_ports(struct ruleset *rules, const struct port_mapping *removed, size_t removed_count,
                         const struct port_mapping *added, size_t added_count);
// Slots, and ports that are no longer one container's, in one transaction.
int ruleset_change_slots(struct ruleset *rules, const struct slot_change *change,
                         const struct port_mapping *removed, size_t removed_count);
// The number of published ports, or -errno (-ENOENT: no table).
int ruleset_count_ports(const struct ruleset *rules);
// Has the table all the rules it was built with? True also when the kernel cannot be asked.
bool ruleset_is_whole(const struct ruleset *rules);
// Remove the table; one that is not there is success.
int ruleset_drop(struct ruleset *rules);
