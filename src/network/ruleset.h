// skiff's nftables table: what it holds and how it changes. No locks: the caller orders the changes.
#pragma once

#include "network/network.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ruleset {
    char table[40];
    char bridge[16];
    uint32_t network; // the bridge's range, host byte order
    unsigned prefix;
    bool has_masquerade, is_inter_container_allowed;
    int fd; // kept for transactions (nft_commit); FD_NONE at first, closed by who made the struct
};

// One published port as the maps hold it. Host byte order; host_ip 0: every local address.
struct port_mapping {
    enum network_protocol protocol;
    uint32_t host_ip, container_ip;
    uint16_t host_port, container_port;
};

// Replace the whole table by one with these ports, in one transaction: there is no moment without rules. 0 or
// -errno.
int ruleset_build(struct ruleset *rules, const struct port_mapping *ports, size_t n);
// One transaction. -ENOENT: the table is gone (or, removing, an element was).
int ruleset_add_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n);
int ruleset_remove_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n);
// Both in one transaction: those that go, then those that come.
int ruleset_change_ports(struct ruleset *rules, const struct port_mapping *removed, size_t removed_count,
                         const struct port_mapping *added, size_t added_count);
// The number of published ports, or -errno (-ENOENT: no table).
int ruleset_count_ports(const struct ruleset *rules);
// Remove the table; one that is not there is success.
int ruleset_drop(struct ruleset *rules);
