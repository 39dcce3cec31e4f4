// The base chains of every table in the namespace, whoever made it. Source: linux/netfilter/nf_tables.h (NFT_MSG_GETCHAIN).
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct nft_base_chain {
    uint8_t family;           // NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET, ...
    const char *table, *name; // borrowed for the call
    uint32_t hook;            // NF_INET_*
    bool drops;               // its policy is drop
};
// A negative result of visit ends the walk and is returned. 0 or -errno.
int nft_each_base_chain(int (*visit)(const struct nft_base_chain *chain, void *context), void *context);
