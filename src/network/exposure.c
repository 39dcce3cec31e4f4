// What stands between the world and published ports, besides our own table. Certain is only this much: a chain that drops what
// none of its rules lets through is asked about every packet to a container. Whether one of its rules lets them through is
// not judged: so "may".
#include "network/network.h"

#include "codec/json.h"
#include "kernel/nft/chains.h"
#include "network/service.h"

#include <linux/netfilter.h>

struct search {
    const char *own_table;
    json_t *found; // array
};

static const char *family_name(uint8_t family)
{
    return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

// A packet to a published port is translated before it is routed, so it is forwarded: the input hook never has it.
static int visit(const struct nft_base_chain *c, void *context)
{
    const struct search *s = context;
    bool is_of_ip = c->family == NFPROTO_IPV4 || c->family == NFPROTO_IPV6 || c->family == NFPROTO_INET;
    bool is_ours = c->family == NFPROTO_INET && streq(c->table, s->own_table);
    if (is_of_ip && !is_ours && c->drops && c->hook == NF_INET_FORWARD)
        json_array_append_new(s->found, json_pack("{s:s, s:s, s:s}", "Family", family_name(c->family),
                                                  "Table", c->table, "Chain", c->name));
    return 0;
}

json_t *network_dropping_chains(const struct network_service *networks)
{
    struct search search = { networks->rules.table, json_array() };
    nft_each_base_chain(visit, &search); // nothing is claimed where the kernel cannot be asked
    return search.found;
}
