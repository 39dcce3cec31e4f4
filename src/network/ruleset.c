// Theory of operation: the rules never change with networks and containers; what changes are sets and maps.
//
//   bridges            every bridge of ours
//   pairs              bridge . the same bridge, of networks whose containers may meet
//   internal           bridges that nothing enters or leaves
//   masquerade4|6      subnets that leave the host with its address
//   own4|6             subnet . its bridge
//   ports4|6           protocol . host address . port -> container address . port    (-p 192.0.2.1:80:80)
//   any_ports4|6       protocol . port                -> container address . port    (-p 80:80), for addresses of
//                      this host only
//   shared4|6, any_shared4|6   the same with a slot behind the port, for ports of several containers: one container has many slots
//
//   early       (prerouting, before connection tracking) containers cannot reach the host's 127.0.0.0/8, which
//               route_localnet on the bridges would otherwise open to them
//   prerouting  what comes in is sent on by the maps. Never by a loopback destination: only the host itself may use
//               ports published on 127.0.0.1, and packets with such an address can come from a neighbour on the wire
//   output      the same for what the host itself sends; ::1 cannot be translated, the kernel has no route_localnet there
//   postrouting containers leave with the host's address; a container that meets another of its network (or itself)
//               through a published port, and the host through 127.0.0.1, come from the bridge's, or the answer would
//               take a short cut past the translation
//   forward     towards the bridges: answers, containers of the same network, published ports; nothing else. Accepting
//               here ends only this table's chain: the host's own firewall has its say besides
//
// A verdict costs the same with one network and port or ten thousand: hash look-ups.
#include "network/ruleset.h"

#include "base/mem.h"
#include "kernel/nft/nft.h"
#include "network/ports.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <string.h>

static const struct nft_set set_bridges = { "bridges", .key = { NFT_PART_IFNAME } },
                            set_pairs = { "pairs", .key = { NFT_PART_IFNAME, NFT_PART_IFNAME } },
                            set_internal = { "internal", .key = { NFT_PART_IFNAME } };

// What exists once for each family.
static const struct family_sets {
    int family;
    struct nft_set masquerade, own, ports, any_ports, shared, any_shared;
} families[] = {
    { AF_INET,
      { "masquerade4", .key = { NFT_PART_IPV4 }, .is_interval = true },
      { "own4", .key = { NFT_PART_IPV4, NFT_PART_IFNAME }, .is_interval = true },
      { "ports4", .key = { NFT_PART_PROTOCOL, NFT_PART_IPV4, NFT_PART_PORT },
        .data = { NFT_PART_IPV4, NFT_PART_PORT } },
      { "any_ports4", .key = { NFT_PART_PROTOCOL, NFT_PART_PORT }, .data = { NFT_PART_IPV4, NFT_PART_PORT } },
      { "shared4", .key = { NFT_PART_PROTOCOL, NFT_PART_IPV4, NFT_PART_PORT, NFT_PART_SLOT },
        .data = { NFT_PART_IPV4, NFT_PART_PORT } },
      { "any_shared4", .key = { NFT_PART_PROTOCOL, NFT_PART_PORT, NFT_PART_SLOT },
        .data = { NFT_PART_IPV4, NFT_PART_PORT } } },
    { AF_INET6,
      { "masquerade6", .key = { NFT_PART_IPV6 }, .is_interval = true },
      { "own6", .key = { NFT_PART_IPV6, NFT_PART_IFNAME }, .is_interval = true },
      { "ports6", .key = { NFT_PART_PROTOCOL, NFT_PART_IPV6, NFT_PART_PORT },
        .data = { NFT_PART_IPV6, NFT_PART_PORT } },
      { "any_ports6", .key = { NFT_PART_PROTOCOL, NFT_PART_PORT }, .data = { NFT_PART_IPV6, NFT_PART_PORT } },
      { "shared6", .key = { NFT_PART_PROTOCOL, NFT_PART_IPV6, NFT_PART_PORT, NFT_PART_SLOT },
        .data = { NFT_PART_IPV6, NFT_PART_PORT } },
      { "any_shared6", .key = { NFT_PART_PROTOCOL, NFT_PART_PORT, NFT_PART_SLOT },
        .data = { NFT_PART_IPV6, NFT_PART_PORT } } },
};
enum { FAMILIES = sizeof families / sizeof *families };

static const struct ip_prefix loopback4 = { { AF_INET, { 127 } }, 8 },
                              loopback6 = { { AF_INET6, { [15] = 1 } }, 128 };

// State bits as nf_tables counts them.
enum { STATE_ESTABLISHED = 1 << 1, STATE_RELATED = 1 << 2 };

// --- rules
static void add_nat_rules(struct nft_batch *b, const char *chain)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family_sets *f = &families[i];
        struct nftnl_rule *r = nft_rule_begin(b, chain);
        nft_match_family(r, f->family);
        nft_dnat_by_map(r, f->family, f->ports.name, true);
        nft_rule_end(b, r);
        r = nft_rule_begin(b, chain);
        nft_match_family(r, f->family);
        nft_match_destination_local(r);
        nft_dnat_by_map(r, f->family, f->any_ports.name, false);
        nft_rule_end(b, r);
        r = nft_rule_begin(b, chain);
        nft_match_family(r, f->family);
        nft_dnat_by_slot(r, f->family, f->shared.name, true, RULESET_SLOTS);
        nft_rule_end(b, r);
        r = nft_rule_begin(b, chain);
        nft_match_family(r, f->family);
        nft_match_destination_local(r);
        nft_dnat_by_slot(r, f->family, f->any_shared.name, false, RULESET_SLOTS);
        nft_rule_end(b, r);
    }
}

static void return_destination(struct nft_batch *b, const char *chain, const struct ip_prefix *prefix)
{
    struct nftnl_rule *r = nft_rule_begin(b, chain);
    nft_match_family(r, prefix->ip.family);
    nft_match_destination(r, prefix);
    nft_verdict(r, NFT_RETURN);
    nft_rule_end(b, r);
}

static void add_early_chain(struct nft_batch *b)
{
    nft_add_chain(b, "early", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW);
    for (int is_source = 0; is_source <= 1; is_source++) {
        struct nftnl_rule *r = nft_rule_begin(b, "early");
        nft_match_iifname_in(r, true, set_bridges.name);
        nft_match_family(r, AF_INET);
        if (is_source)
            nft_match_source(r, &loopback4);
        else
            nft_match_destination(r, &loopback4);
        nft_verdict(r, NF_DROP);
        nft_rule_end(b, r);
    }
}

static void add_postrouting_chain(struct nft_batch *b)
{
    nft_add_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family_sets *f = &families[i];
        struct nftnl_rule *r = nft_rule_begin(b, "postrouting");
        nft_match_family(r, f->family);
        nft_match_source_in(r, f->family, f->masquerade.name);
        nft_match_oifname_in(r, false, set_bridges.name);
        nft_masquerade(r);
        nft_rule_end(b, r);
        r = nft_rule_begin(b, "postrouting");
        nft_match_ct_status(r, IPS_DST_NAT);
        nft_match_family(r, f->family);
        nft_match_source_oifname_in(r, f->family, f->own.name);
        nft_masquerade(r);
        nft_rule_end(b, r);
    }
    struct nftnl_rule *r = nft_rule_begin(b, "postrouting");
    nft_match_family(r, AF_INET);
    nft_match_source(r, &loopback4);
    nft_match_oifname_in(r, true, set_bridges.name);
    nft_masquerade(r);
    nft_rule_end(b, r);
}

static void add_nat_chains(struct nft_batch *b)
{
    nft_add_chain(b, "prerouting", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST);
    return_destination(b, "prerouting", &loopback4);
    add_nat_rules(b, "prerouting");
    nft_add_chain(b, "output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST);
    return_destination(b, "output", &loopback6);
    add_nat_rules(b, "output");
    add_postrouting_chain(b);
}

static struct nftnl_rule *begin_forward(struct nft_batch *b)
{
    return nft_rule_begin(b, "forward");
}

static void end_forward(struct nft_batch *b, struct nftnl_rule *r, int verdict)
{
    nft_verdict(r, verdict);
    nft_rule_end(b, r);
}

static void add_forward_chain(struct nft_batch *b)
{
    nft_add_chain(b, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER);
    struct nftnl_rule *r = begin_forward(b);
    nft_match_ct_state(r, STATE_ESTABLISHED | STATE_RELATED);
    end_forward(b, r, NF_ACCEPT);
    r = begin_forward(b);
    nft_match_interfaces_in(r, set_pairs.name);
    end_forward(b, r, NF_ACCEPT);
    r = begin_forward(b);
    nft_match_iifname_in(r, true, set_internal.name);
    end_forward(b, r, NF_DROP);
    r = begin_forward(b);
    nft_match_oifname_in(r, false, set_bridges.name);
    end_forward(b, r, NF_ACCEPT);
    r = begin_forward(b);
    nft_match_oifname_in(r, true, set_internal.name);
    end_forward(b, r, NF_DROP);
    r = begin_forward(b);
    nft_match_ct_status(r, IPS_DST_NAT);
    end_forward(b, r, NF_ACCEPT);
    end_forward(b, begin_forward(b), NF_DROP);
}

// --- elements of networks
static void put_element(struct nft_batch *b, const struct nft_set *set, const struct nft_element *e,
                        bool is_removal)
{
    if (is_removal)
        nft_delete_elements(b, set, e, 1);
    else
        nft_add_elements(b, set, e, 1);
}

static void put_interface(struct nft_batch *b, const struct nft_set *set, const char *name, bool is_pair,
                          bool is_removal)
{
    struct nft_element e = { 0 };
    nft_put_ifname(&e.key, name);
    if (is_pair)
        nft_put_ifname(&e.key, name);
    put_element(b, set, &e, is_removal);
}

static void put_subnet(struct nft_batch *b, const char *bridge, const struct ip_prefix *subnet,
                       bool has_masquerade, bool is_removal)
{
    const struct family_sets *f = &families[subnet->ip.family == AF_INET6];
    struct nft_element own = { 0 }, masquerade = { 0 };
    nft_put_prefix(&own, subnet);
    nft_put_ifname(&own.key, bridge);
    nft_put_ifname(&own.end, bridge);
    put_element(b, &f->own, &own, is_removal);
    if (!has_masquerade)
        return;
    nft_put_prefix(&masquerade, subnet);
    put_element(b, &f->masquerade, &masquerade, is_removal);
}

static void put_network(struct nft_batch *b, const struct ruleset_network *n, bool is_removal)
{
    put_interface(b, &set_bridges, n->bridge, false, is_removal);
    if (n->is_inter_container_allowed)
        put_interface(b, &set_pairs, n->bridge, true, is_removal);
    if (n->is_internal)
        put_interface(b, &set_internal, n->bridge, false, is_removal);
    for (size_t i = 0; i < n->subnet_count; i++)
        put_subnet(b, n->bridge, &n->subnets[i], n->has_masquerade[i], is_removal);
}

// --- elements of ports
static struct nft_element element_of(const struct port_mapping *p, bool is_any)
{
    struct nft_element e = { 0 };
    nft_put_protocol(&e.key, network_protocol_number(p->protocol));
    if (!is_any)
        nft_put_ip(&e.key, &p->host_ip);
    nft_put_port(&e.key, p->host_port);
    nft_put_ip(&e.data, &p->container_ip);
    nft_put_port(&e.data, p->container_port);
    return e;
}

static void put_ports_of(struct nft_batch *b, const struct family_sets *f, bool is_any,
                         const struct port_mapping *ports, size_t n, bool is_removal)
{
    struct nft_element *elements CLEANUP(cleanup_free) = xcalloc(n + 1, sizeof *elements);
    const struct nft_set *map = is_any ? &f->any_ports : &f->ports;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (ports[i].container_ip.family == f->family && ip_is_any(&ports[i].host_ip) == is_any)
            elements[count++] = element_of(&ports[i], is_any);
    if (is_removal)
        nft_delete_elements(b, map, elements, count);
    else
        nft_add_elements(b, map, elements, count);
}

static void put_ports(struct nft_batch *b, const struct port_mapping *ports, size_t n, bool is_removal)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        put_ports_of(b, &families[i], false, ports, n, is_removal);
        put_ports_of(b, &families[i], true, ports, n, is_removal);
    }
}

static void put_slots_of(struct nft_batch *b, const struct family_sets *f, bool is_any,
                         const struct port_slot *slots, size_t n, bool is_removal)
{
    struct nft_element *elements CLEANUP(cleanup_free) = xcalloc(n + 1, sizeof *elements);
    const struct nft_set *map = is_any ? &f->any_shared : &f->shared;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct port_mapping *p = &slots[i].mapping;
        if (p->container_ip.family != f->family || ip_is_any(&p->host_ip) != is_any)
            continue;
        elements[count] = element_of(p, is_any);
        nft_put_slot(&elements[count++].key, slots[i].slot);
    }
    if (is_removal)
        nft_delete_elements(b, map, elements, count);
    else
        nft_add_elements(b, map, elements, count);
}

static void put_slots(struct nft_batch *b, const struct port_slot *slots, size_t n, bool is_removal)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        put_slots_of(b, &families[i], false, slots, n, is_removal);
        put_slots_of(b, &families[i], true, slots, n, is_removal);
    }
}

// --- transactions
static void add_sets(struct nft_batch *b)
{
    nft_add_set(b, &set_bridges);
    nft_add_set(b, &set_pairs);
    nft_add_set(b, &set_internal);
    for (size_t i = 0; i < FAMILIES; i++) {
        nft_add_set(b, &families[i].masquerade);
        nft_add_set(b, &families[i].own);
        nft_add_set(b, &families[i].ports);
        nft_add_set(b, &families[i].any_ports);
        nft_add_set(b, &families[i].shared);
        nft_add_set(b, &families[i].any_shared);
    }
}

int ruleset_build(struct ruleset *rules, const struct ruleset_network *networks, size_t network_count,
                  const struct port_mapping *ports, size_t port_count, const struct port_slot *slots,
                  size_t slot_count)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    nft_add_table(&b); // so that there is one to delete, whatever was before
    nft_delete_table(&b);
    nft_add_table(&b);
    add_sets(&b);
    add_early_chain(&b);
    add_nat_chains(&b);
    add_forward_chain(&b);
    for (size_t i = 0; i < network_count; i++)
        put_network(&b, &networks[i], false);
    put_ports(&b, ports, port_count, false);
    put_slots(&b, slots, slot_count, false);
    int rc = nft_commit(&b, &rules->fd);
    if (rc == 0)
        rules->rule_count = b.rule_count;
    return rc;
}

static int change_network(struct ruleset *rules, const struct ruleset_network *network, bool is_removal)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_network(&b, network, is_removal);
    return nft_commit(&b, &rules->fd);
}

int ruleset_add_network(struct ruleset *rules, const struct ruleset_network *network)
{
    return change_network(rules, network, false);
}

int ruleset_remove_network(struct ruleset *rules, const struct ruleset_network *network)
{
    return change_network(rules, network, true);
}

static int change_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n, bool is_removal)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_ports(&b, ports, n, is_removal);
    return nft_commit(&b, &rules->fd);
}

int ruleset_add_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n)
{
    return change_ports(rules, ports, n, false);
}

int ruleset_remove_ports(struct ruleset *rules, const struct port_mapping *ports, size_t n)
{
    return change_ports(rules, ports, n, true);
}

int ruleset_change_ports(struct ruleset *rules, const struct port_mapping *removed, size_t removed_count,
                         const struct port_mapping *added, size_t added_count)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_ports(&b, removed, removed_count, true);
    put_ports(&b, added, added_count, false);
    return nft_commit(&b, &rules->fd);
}

int ruleset_change_slots(struct ruleset *rules, const struct slot_change *change,
                         const struct port_mapping *removed, size_t removed_count)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    put_ports(&b, removed, removed_count, true);
    put_slots(&b, change->removed, change->removed_count, true);
    put_slots(&b, change->added, change->added_count, false);
    return nft_commit(&b, &rules->fd);
}

int ruleset_count_ports(const struct ruleset *rules)
{
    int sum = 0;
    for (size_t i = 0; i < FAMILIES; i++)
        for (int is_any = 0; is_any <= 1; is_any++) {
            int n = nft_count_elements(rules->table,
                                       is_any ? families[i].any_ports.name : families[i].ports.name);
            if (n < 0)
                return n;
            sum += n;
        }
    return sum;
}

bool ruleset_is_whole(const struct ruleset *rules)
{
    int n = nft_count_rules(rules->table);
    return n < 0 ? n != -ENOENT : (unsigned)n >= rules->rule_count;
}

int ruleset_drop(struct ruleset *rules)
{
    struct nft_batch b CLEANUP(nft_batch_done);
    nft_batch_init(&b, rules->table);
    nft_add_table(&b);
    nft_delete_table(&b);
    return nft_commit(&b, &rules->fd);
}
