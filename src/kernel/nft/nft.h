// nftables transactions over libnftnl: gather changes to one table of the ip family, commit them all or none.
// Building cannot fail; nft_commit tells. Addresses in rules are in host byte order.
// Source: linux/netfilter/nf_tables.h, nft(8).
#pragma once

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
// Key and data types are nftables' own numbers packed six bits each, for `nft list`; lengths in bytes.
void nft_add_map(struct nft_batch *batch, const char *name, uint32_t key_type, uint32_t key_len,
                 uint32_t data_type, uint32_t data_len);

enum { NFT_ELEMENT_MAX = 16 };
struct nft_element {
    uint8_t key[NFT_ELEMENT_MAX], data[NFT_ELEMENT_MAX];
};
// Elements share the map's key_len and data_len. Deleting looks at the key only.
void nft_add_elements(struct nft_batch *batch, const char *map, const struct nft_element *elements, size_t n,
                      uint32_t key_len, uint32_t data_len);
void nft_delete_elements(struct nft_batch *batch, const char *map, const struct nft_element *elements,
                         size_t n, uint32_t key_len);
// The number of elements of a map, or -errno (-ENOENT: no such map).
int nft_count_elements(const char *table, const char *map);

// --- rules: begin, append matches and statements in order, end (which hands the rule to the batch)
struct nftnl_rule *nft_rule_begin(struct nft_batch *batch, const char *chain);
void nft_rule_end(struct nft_batch *batch, struct nftnl_rule *rule);

void nft_match_iifname(struct nftnl_rule *rule, bool is_equal, const char *name);
void nft_match_oifname(struct nftnl_rule *rule, bool is_equal, const char *name);
void nft_match_source(struct nftnl_rule *rule, bool is_equal, uint32_t network, unsigned prefix);
void nft_match_destination(struct nftnl_rule *rule, bool is_equal, uint32_t network, unsigned prefix);
void nft_match_destination_local(struct nftnl_rule *rule); // an address of this host
void nft_match_ct_state(struct nftnl_rule *rule, uint32_t bits);
void nft_match_ct_status(struct nftnl_rule *rule, uint32_t bits);
// Destination NAT to the address and port that `map` gives for protocol [. destination address] . destination
// port; no element, no match.
void nft_dnat_by_map(struct nftnl_rule *rule, const char *map, bool has_address);
void nft_masquerade(struct nftnl_rule *rule);
// NF_ACCEPT, NF_DROP, NFT_RETURN.
void nft_verdict(struct nftnl_rule *rule, int verdict);
