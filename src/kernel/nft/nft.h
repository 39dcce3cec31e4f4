// nftables transactions over libnftnl: gather changes to one table of the inet family (IPv4 and IPv6), commit them all
// or none. Building cannot fail; nft_commit tells. Source: linux/netfilter/nf_tables.h, nft(8).
#pragma once

#include "base/ip.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nftnl_rule;

struct nft_batch {
    struct str bytes;
    const char *table; // borrowed
    uint32_t seq;
    unsigned set_id;
    unsigned rule_count; // rules gathered so far
};

// Caller's memory; table is borrowed for the life of the batch.
void nft_batch_init(struct nft_batch *batch, const char *table);
void nft_batch_done(struct nft_batch *batch);
// Send it. 0, or -errno of the first change refused, and then nothing has changed: -ENOENT (no such table or
// element), -EEXIST (an element with that key and other data), -EOPNOTSUPP (the kernel lacks an expression),
// -EPERM.
// *fd is a NETLINK_NETFILTER socket kept from one commit to the next, owned by the caller: FD_NONE before the
// first, opened here; a failure of the socket itself closes it. Closing one waits for an RCU grace period (15
// ms) when elements have been removed before, so it is not done on the way.
int nft_commit(struct nft_batch *batch, int *fd);

void nft_add_table(struct nft_batch *batch);
// The table goes with all that is in it; it must exist (add it first to be sure).
void nft_delete_table(struct nft_batch *batch);
// A base chain. type "filter" or "nat"; hook NF_INET_*; policy accept.
void nft_add_chain(struct nft_batch *batch, const char *name, const char *type, unsigned hook, int priority);

// What keys and data are made of; each part fills whole four-byte units.
enum nft_part {
    NFT_PART_END,
    NFT_PART_IPV4,
    NFT_PART_IPV6,
    NFT_PART_PROTOCOL,
    NFT_PART_PORT,
    NFT_PART_IFNAME,
    NFT_PART_SLOT // a number in the host's byte order
};
enum { NFT_PARTS_MAX = 4 };
// A set; a map when it has data. is_interval: the first part of each key is a range, given as a prefix.
struct nft_set {
    const char *name;
    enum nft_part key[NFT_PARTS_MAX + 1], data[NFT_PARTS_MAX + 1];
    bool is_interval;
};
void nft_add_set(struct nft_batch *batch, const struct nft_set *set);

// Keys and data are put together part by part, in the set's order.
enum { NFT_KEY_MAX = 36, NFT_DATA_MAX = 20 };
struct nft_value {
    uint8_t bytes[NFT_KEY_MAX];
    uint32_t len;
};
void nft_put_ip(struct nft_value *value, const struct ip_address *ip);
void nft_put_protocol(struct nft_value *value, uint8_t protocol);
void nft_put_port(struct nft_value *value, uint16_t port);
void nft_put_ifname(struct nft_value *value, const char *name);
void nft_put_slot(struct nft_value *value, uint32_t slot);

struct nft_element {
    struct nft_value key, end, data; // end: of an interval's key, the last one in it; len 0: none
};
// Begin an interval set's key with a prefix: both key and end get it.
void nft_put_prefix(struct nft_element *element, const struct ip_prefix *prefix);
// Deleting looks at the key only.
void nft_add_elements(struct nft_batch *batch, const struct nft_set *set, const struct nft_element *elements,
                      size_t n);
void nft_delete_elements(struct nft_batch *batch, const struct nft_set *set,
                         const struct nft_element *elements, size_t n);
// The number of elements of a set or map, or -errno (-ENOENT: no such set).
int nft_count_elements(const char *table, const char *set);
// The number of rules in a table, or -errno (-ENOENT: no such table).
int nft_count_rules(const char *table);

// --- rules: begin, append matches and statements in order, end (which hands the rule to the batch)
struct nftnl_rule *nft_rule_begin(struct nft_batch *batch, const char *chain);
void nft_rule_end(struct nft_batch *batch, struct nftnl_rule *rule);

void nft_match_family(struct nftnl_rule *rule,
                      int family); // AF_INET, AF_INET6; before anything that looks at addresses
void nft_match_iifname_in(struct nftnl_rule *rule, bool is_in, const char *set);
void nft_match_oifname_in(struct nftnl_rule *rule, bool is_in, const char *set);
// Incoming and outgoing interface together in a set of pairs.
void nft_match_interfaces_in(struct nftnl_rule *rule, const char *set);
void nft_match_source(struct nftnl_rule *rule, const struct ip_prefix *prefix);
void nft_match_destination(struct nftnl_rule *rule, const struct ip_prefix *prefix);
void nft_match_source_in(struct nftnl_rule *rule, int family, const char *set);
// Source address and outgoing interface together in a set of pairs.
void nft_match_source_oifname_in(struct nftnl_rule *rule, int family, const char *set);
void nft_match_destination_local(struct nftnl_rule *rule); // an address of this host
void nft_match_ct_state(struct nftnl_rule *rule, uint32_t bits);
void nft_match_ct_status(struct nftnl_rule *rule, uint32_t bits);
// Destination NAT to the address and port that `map` gives for protocol [. destination address] . destination
// port; no element, no match.
void nft_dnat_by_map(struct nftnl_rule *rule, int family, const char *map, bool has_address);
// The same with one part more in the key: a slot, counted up with each packet asked about, below slot_count.
void nft_dnat_by_slot(struct nftnl_rule *rule, int family, const char *map, bool has_address,
                      uint32_t slot_count);
// Protocol and destination port; then destination NAT to a fixed address and port.
void nft_match_port(struct nftnl_rule *rule, uint8_t protocol, uint16_t port);
void nft_dnat(struct nftnl_rule *rule, const struct ip_address *ip, uint16_t port);
void nft_masquerade(struct nftnl_rule *rule);
// NF_ACCEPT, NF_DROP, NFT_RETURN.
void nft_verdict(struct nftnl_rule *rule, int verdict);
