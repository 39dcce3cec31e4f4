// Theory of operation: the rules never change with the containers; what changes are two maps.
//
//   ports      protocol . host address . port -> container address . port    (-p 192.0.2.1:80:80, -p
//   127.0.0.1:...) any_ports  protocol . port                -> container address . port    (-p 80:80), for
//   addresses of this host only
//
//   early       (prerouting, before connection tracking) containers cannot reach the host's 127.0.0.0/8,
//   which
//               route_localnet on the bridge would otherwise open to them
//   prerouting  what comes in is sent on by the maps. Never by a loopback destination: only the host itself
//   may use
//               ports published on 127.0.0.1, and packets with such an address can come from a neighbour on
//               the wire
//   output      the same for what the host itself sends
//   postrouting containers leave with the host's address; a container that meets another (or itself) through
//   a
//               published port, and the host through 127.0.0.1, come from the bridge's, or the answer would
//               take a short cut past the translation
//   forward     towards the bridge: answers, published ports, other containers (or not); nothing else.
//   Accepting here
//               ends only this table's chain: the host's own firewall has its say besides
//
// A verdict costs the same with one port or ten thousand: a hash look-up.
#include "network/ruleset.h"

#include "base/mem.h"
#include "kernel/nft/nft.h"
#include "network/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <string.h>

#define MAP_PORTS     "ports"
#define MAP_ANY_PORTS "any_ports"

// nftables' data type numbers, six bits each, the first of a concatenation in the highest bits.
enum { TYPE_IPV4 = 7, TYPE_PROTOCOL = 12, TYPE_SERVICE = 13, TYPE_BITS = 6 };
// Each part of a key fills four-byte units.
enum { PORTS_KEY = 12, ANY_PORTS_KEY = 8, DATA = 8 };

enum { LOOPBACK = 0x7f000000, LOOPBACK_PREFIX = 8 };

// State bits as nf_tables counts them.
enum { STATE_ESTABLISHED = 1 << 1, STATE_RELATED = 1 << 2 };

static void add_nat_rules(struct nft_batch *b, const char *chain)
{
    struct nftnl_rule *r = nft_rule_begin(b, chain);
    nft_dnat_by_map(r, MAP_PORTS, true);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, chain);
    nft_match_destination_local(r);
    nft_dnat_by_map(r, MAP_ANY_PORTS, false);
    nft_rule_end(b, r);
}

static void add_early_chain(struct nft_batch *b, const struct ruleset *rules)
{
    nft_add_chain(b, "early", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW);
    struct nftnl_rule *r = nft_rule_begin(b, "early");
    nft_match_iifname(r, true, rules->bridge);
    nft_match_destination(r, true, LOOPBACK, LOOPBACK_PREFIX);
    nft_verdict(r, NF_DROP);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, "early");
    nft_match_iifname(r, true, rules->bridge);
    nft_match_source(r, true, LOOPBACK, LOOPBACK_PREFIX);
    nft_verdict(r, NF_DROP);
    nft_rule_end(b, r);
}

static void add_nat_chains(struct nft_batch *b, const struct ruleset *rules)
{
    nft_add_chain(b, "prerouting", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST);
    struct nftnl_rule *r = nft_rule_begin(b, "prerouting");
    nft_match_destination(r, true, LOOPBACK, LOOPBACK_PREFIX);
    nft_verdict(r, NFT_RETURN);
    nft_rule_end(b, r);
    add_nat_rules(b, "prerouting");

    nft_add_chain(b, "output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST);
    add_nat_rules(b, "output");

    nft_add_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
    if (rules->has_masquerade) {
        r = nft_rule_begin(b, "postrouting");
        nft_match_source(r, true, rules->network, rules->prefix);
        nft_match_oifname(r, false, rules->bridge);
        nft_masquerade(r);
        nft_rule_end(b, r);
    }
    r = nft_rule_begin(b, "postrouting");
    nft_match_oifname(r, true, rules->bridge);
    nft_match_source(r, true, rules->network, rules->prefix);
    nft_match_ct_status(r, IPS_DST_NAT);
    nft_masquerade(r);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, "postrouting");
    nft_match_oifname(r, true, rules->bridge);
    nft_match_source(r, true, LOOPBACK, LOOPBACK_PREFIX);
    nft_masquerade(r);
    nft_rule_end(b, r);
}

static void add_forward_chain(struct nft_batch *b, const struct ruleset *rules)
{
    nft_add_chain(b, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER);
    struct nftnl_rule *r = nft_rule_begin(b, "forward");
    nft_match_oifname(r, false, rules->bridge);
    nft_verdict(r, NF_ACCEPT);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, "forward");
    nft_match_ct_state(r, STATE_ESTABLISHED | STATE_RELATED);
    nft_verdict(r, NF_ACCEPT);
    nft_rule_end(b, r);
    r = nft_rule_begin(b, "forward");
    nft_match_ct_status(r, IPS_DST_NAT);
    nft_verdict(r, NF_ACCEPT);
    nft_rule_end(b, r);
    if (rules->is_inter_container_allowed) {
        r = nft_rule_begin(b, "forward");
        nft_match_iifname(r, true, rules->bridge);
        nft_verdict(r, NF_ACCEPT);
        nft_rule_end(b, r);
    }
    r = nft_rule_begin(b, "forward");
    nft_verdict(r, NF_DROP);
    nft_rule_end(b, r);
}

// --- elements
static void put_u32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static void put_u16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, sizeof value);
}

static struct nft_element element_of(const struct port_mapping *p)
{
    struct nft_element e = { 0 };
    uint8_t *key = e.key;
    *key = network_protocol_number(p->protocol);
    key += 4;
    if (p->host_ip != 0) {
        put_u32(key, p->host_ip);
        key += 4;
    }
    put_u16(key, p->host_port);
    put_u32(e.data, p->container_ip);
    put_u16(e.data + 4, p->container_port);
    return e;
}

// The mappings of one of the two maps, owned; *ret_n of them.
static struct nft_element *elements_of(const struct port_mapping *ports, size_t n, bool is_any, size_t *ret_n)
{
    struct nft_element *elements = xcalloc(n + 1, sizeof *elements);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if ((ports[i].host_ip == 0) == is_any)
            elements[count++] = element_of(&ports[i]);
    *ret_n = count;
    return elements;
}

static void put_elements(struct nft_batch *b, const struct port_mapping *ports, size_t n, bool is_removal)
{
    for (int is_any = 0; is_any <= 1; is_any++) {
        size_t count;
        struct nft_element *elements = elements_of(ports, n, is_any, &count);
        const char *map = is_any ? MAP_ANY_PORTS : MAP_PORTS;
        uint32_t key_len = is_any ? ANY_PORTS_KEY : PORTS_KEY;
        if (is_removal)
            nft_delete_elements(b, map, elements, count, key_len);
        else
            nft_add_elements(b, map, elements, count, key_len, DATA);
        free(elements);
    }
}

// --- transactions
int ruleset_build(struct ruleset *rules, const struct port_mapping *ports, size_t n)
{
    const uint32_t any_key = TYPE_PROTOCOL << TYPE_BITS | TYPE_SERVICE;
    const uint32_t key = (TYPE_PROTOCOL << TYPE_BITS | TYPE_IPV4) << TYPE_BITS | TYPE_SERVICE;
    const uint32_t data = TYPE_IPV4 << TYPE_BITS | TYPE_SERVICE;
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    nft_add_table(&b); // so that there is one to delete, whatever was before
    nft_delete_table(&b);
    nft_add_table(&b);
    nft_add_map(&b, MAP_PORTS, key, PORTS_KEY, data, DATA);
    nft_add_map(&b, MAP_ANY_PORTS, any_key, ANY_PORTS_KEY, data, DATA);
    add_early_chain(&b, rules);
    add_nat_chains(&b, rules);
    add_forward_chain(&b, rules);
    put_elements(&b, ports, n, false);
    return nft_commit(&b, &rules->fd);
}

int ruleset_add_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_elements(&b, ports, n, false);
    return nft_commit(&b, &rules->fd);
}

int ruleset_remove_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_elements(&b, ports, n, true);
    return nft_commit(&b, &rules->fd);
}

int ruleset_change_ports(struct ruleset *rules, const struct port_mapping *removed, size_t removed_count,
                         const struct port_mapping *added, size_t added_count)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_elements(&b, removed, removed_count, true);
    put_elements(&b, added, added_count, false);
    return nft_commit(&b, &rules->fd);
}

int ruleset_count_ports(const struct ruleset *rules)
{
    int some = nft_count_elements(rules->table, MAP_PORTS);
    int any = some < 0 ? some : nft_count_elements(rules->table, MAP_ANY_PORTS);
    return any < 0 ? any : some + any;
}

int ruleset_drop(struct ruleset *rules)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    nft_add_table(&b);
    nft_delete_table(&b);
    return nft_commit(&b, &rules->fd);
}
