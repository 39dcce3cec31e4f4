// Theory of operation: a transaction is one datagram: batch begin, changes, batch end. libnftnl writes each
// change's message; this file reserves the room, asks the kernel for a verdict on every change (the begin and
// end messages get none on kernels before 6.10), and reads the verdicts with netlink_transact. The kernel
// carries out all changes or none.
#include "kernel/nft/nft.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/netlink/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdatomic.h>
#include <string.h>

// Elements per message: an element takes at most some 150 bytes and an attribute's length has 16 bits.
enum {
    MESSAGE_BYTES = 4096,
    ELEMENTS_PER_MESSAGE = 300,
    ELEMENTS_BYTES = 56 * 1024,
    BATCH_BYTES_MAX = 8 << 20,
    MESSAGES_MAX = 4096
};

// libnftnl allocates; running out aborts as everywhere (base/mem.h).
#define NEED(p)                    \
    ({                             \
        __typeof__(p) need_ = (p); \
        if (need_ == NULL)         \
            abort();               \
        need_;                     \
    })

// --- batch
static struct nlmsghdr *begin_message(struct nft_batch *b, size_t room, uint16_t type, uint16_t family,
                                      uint16_t flags)
{
    return nftnl_nlmsg_build_hdr(NEED(str_reserve(&b->bytes, room)), type, family, flags, b->seq++);
}

static void end_message(struct nft_batch *b, const struct nlmsghdr *h)
{
    str_added(&b->bytes, MNL_ALIGN(h->nlmsg_len));
}

static struct nlmsghdr *begin_change(struct nft_batch *b, size_t room, uint16_t type, uint16_t flags)
{
    return begin_message(b, room, type, NFPROTO_INET, NLM_F_ACK | flags);
}

void nft_batch_init(struct nft_batch *b, const char *table)
{
    // Sequence numbers never come back soon: what is left in a kept socket is known to be of a former batch.
    static atomic_uint next_seq = 1;
    *b = (struct nft_batch){ .table = table, .seq = atomic_fetch_add(&next_seq, MESSAGES_MAX) };
    str_init(&b->bytes, BATCH_BYTES_MAX);
    nftnl_batch_begin(NEED(str_reserve(&b->bytes, MESSAGE_BYTES)), b->seq++);
    end_message(b, (const struct nlmsghdr *)b->bytes.ptr);
}

void nft_batch_done(struct nft_batch *b)
{
    str_done(&b->bytes);
}

int nft_commit(struct nft_batch *b, int *fd)
{
    struct nlmsghdr *end = nftnl_batch_end(NEED(str_reserve(&b->bytes, MESSAGE_BYTES)), b->seq++);
    end_message(b, end);
    if (*fd < 0)
        *fd = netlink_open(NETLINK_NETFILTER);
    int rc = *fd < 0 ? *fd : netlink_transact(*fd, b->bytes.ptr, b->bytes.len);
    if (*fd >= 0 && (rc == -ETIMEDOUT || rc == -EPROTO || rc == -EMSGSIZE || rc == -ENOBUFS))
        *fd = fd_close(*fd);
    return rc;
}

// --- tables, chains, maps
static void table_change(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    struct nftnl_table *t = NEED(nftnl_table_alloc());
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, b->table);
    struct nlmsghdr *h = begin_change(b, MESSAGE_BYTES, type, flags);
    nftnl_table_nlmsg_build_payload(h, t);
    end_message(b, h);
    nftnl_table_free(t);
}

void nft_add_table(struct nft_batch *b)
{
    table_change(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
}

void nft_delete_table(struct nft_batch *b)
{
    table_change(b, NFT_MSG_DELTABLE, 0);
}

void nft_add_chain(struct nft_batch *b, const char *name, const char *type, unsigned hook, int priority)
{
    struct nftnl_chain *c = NEED(nftnl_chain_alloc());
    nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->table);
    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
    nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, type);
    nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hook);
    nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, priority);
    nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
    struct nlmsghdr *h = begin_change(b, MESSAGE_BYTES, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    nftnl_chain_nlmsg_build_payload(h, c);
    end_message(b, h);
    nftnl_chain_free(c);
}

// --- sets and their elements
static const struct part {
    uint32_t type, len; // nftables' own number, for `nft list`; bytes in a key
} parts[] = {
    [NFT_PART_IPV4] = { 7, 4 },  [NFT_PART_IPV6] = { 8, 16 },    [NFT_PART_PROTOCOL] = { 12, 4 },
    [NFT_PART_PORT] = { 13, 4 }, [NFT_PART_IFNAME] = { 41, 16 }, [NFT_PART_SLOT] = { 19, 4 },
};
enum { TYPE_BITS = 6 }; // of each part, the first in the highest bits

// A lone protocol or port is as long as it is; in company it fills its unit.
static uint32_t part_len(const enum nft_part *list, size_t i)
{
    if (list[1] != NFT_PART_END)
        return parts[list[i]].len;
    return list[i] == NFT_PART_PROTOCOL ? 1 : list[i] == NFT_PART_PORT ? 2 : parts[list[i]].len;
}

static uint32_t type_of(const enum nft_part *list, uint32_t *ret_len)
{
    uint32_t type = 0;
    *ret_len = 0;
    for (size_t i = 0; list[i] != NFT_PART_END; i++) {
        type = type << TYPE_BITS | parts[list[i]].type;
        *ret_len += part_len(list, i);
    }
    return type;
}

// A name is text, not a number in network order: `nft list` must be told.
static void note_byte_order(struct nftnl_set *s)
{
    enum { HOST_ENDIAN = 1 }; // nftables' own number
    struct nftnl_udata_buf *buf = NEED(nftnl_udata_buf_alloc(64));
    nftnl_udata_put_u32(buf, NFTNL_UDATA_SET_KEYBYTEORDER, HOST_ENDIAN);
    nftnl_set_set_data(s, NFTNL_SET_USERDATA, nftnl_udata_buf_data(buf), nftnl_udata_buf_len(buf));
    nftnl_udata_buf_free(buf);
}

void nft_add_set(struct nft_batch *b, const struct nft_set *set)
{
    struct nftnl_set *s = NEED(nftnl_set_alloc());
    uint32_t flags = 0, key_len, data_len;
    uint32_t key_type = type_of(set->key, &key_len), data_type = type_of(set->data, &data_len);
    nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, set->name);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, key_type);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, key_len);
    if (set->data[0] != NFT_PART_END) {
        flags |= NFT_SET_MAP;
        nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, data_type);
        nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, data_len);
    }
    if (set->is_interval)
        flags |= NFT_SET_INTERVAL;
    if (set->is_interval && set->key[1] != NFT_PART_END) {
        uint8_t lens[NFT_PARTS_MAX];
        uint32_t n = 0;
        for (; set->key[n] != NFT_PART_END; n++)
            lens[n] = (uint8_t)parts[set->key[n]].len;
        flags |= NFT_SET_CONCAT;
        nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, lens, n);
    }
    nftnl_set_set_u32(s, NFTNL_SET_FLAGS, flags);
    if (set->key[0] == NFT_PART_IFNAME && set->key[1] == NFT_PART_END)
        note_byte_order(s);
    nftnl_set_set_u32(s, NFTNL_SET_ID, ++b->set_id);
    struct nlmsghdr *h = begin_change(b, MESSAGE_BYTES, NFT_MSG_NEWSET, NLM_F_CREATE);
    nftnl_set_nlmsg_build_payload(h, s);
    end_message(b, h);
    nftnl_set_free(s);
}

static void put(struct nft_value *v, const void *bytes, uint32_t n, uint32_t unit)
{
    if (v->len + unit > sizeof v->bytes)
        abort(); // no set has such a key
    memcpy(v->bytes + v->len, bytes, n);
    v->len += unit;
}

void nft_put_ip(struct nft_value *v, const struct ip_address *ip)
{
    put(v, ip->bytes, ip_byte_count(ip), ip_byte_count(ip));
}

void nft_put_protocol(struct nft_value *v, uint8_t protocol)
{
    put(v, &protocol, sizeof protocol, 4);
}

void nft_put_port(struct nft_value *v, uint16_t port)
{
    uint16_t wire = htons(port);
    put(v, &wire, sizeof wire, 4);
}

void nft_put_ifname(struct nft_value *v, const char *name)
{
    char text[IFNAMSIZ] = { 0 };
    memcpy(text, name, strnlen(name, sizeof text - 1));
    put(v, text, sizeof text, sizeof text);
}

void nft_put_slot(struct nft_value *v, uint32_t slot)
{
    put(v, &slot, sizeof slot, sizeof slot);
}

void nft_put_prefix(struct nft_element *e, const struct ip_prefix *prefix)
{
    struct ip_prefix network = ip_network(prefix);
    struct ip_address last = ip_prefix_last(prefix);
    nft_put_ip(&e->key, &network.ip);
    nft_put_ip(&e->end, &last);
}

// The address after an interval's last one; false when there is none: the interval reaches the end of all addresses.
static bool next_key(const struct nft_value *last, uint8_t next[static NFT_KEY_MAX])
{
    memcpy(next, last->bytes, last->len);
    for (uint32_t i = last->len; i-- > 0;)
        if (++next[i] != 0)
            return true;
    return false;
}

static struct nftnl_set_elem *new_element(struct nftnl_set *s, const void *key, uint32_t len)
{
    struct nftnl_set_elem *e = NEED(nftnl_set_elem_alloc());
    nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, key, len);
    nftnl_set_elem_add(s, e);
    return e;
}

static void put_element(struct nftnl_set *s, const struct nft_set *set, const struct nft_element *element,
                        bool has_data)
{
    uint32_t key_len, data_len;
    uint8_t next[NFT_KEY_MAX];
    type_of(set->key, &key_len);
    type_of(set->data, &data_len);
    struct nftnl_set_elem *e = new_element(s, element->key.bytes, key_len);
    if (has_data && data_len > 0)
        nftnl_set_elem_set(e, NFTNL_SET_ELEM_DATA, element->data.bytes, data_len);
    if (element->end.len == 0)
        return;
    if (set->key[1] != NFT_PART_END) { // a concatenation's range is one element with two keys
        nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY_END, element->end.bytes, key_len);
    } else if (next_key(&element->end,
                        next)) { // a plain one is two elements: where it begins, where it has ended
        e = new_element(s, next, key_len);
        nftnl_set_elem_set_u32(e, NFTNL_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    }
}

static void change_elements(struct nft_batch *b, uint16_t type, const struct nft_set *set,
                            const struct nft_element *elements, size_t n)
{
    bool is_new = type == NFT_MSG_NEWSETELEM;
    while (n > 0) {
        size_t count = n < ELEMENTS_PER_MESSAGE ? n : ELEMENTS_PER_MESSAGE;
        struct nftnl_set *s = NEED(nftnl_set_alloc());
        nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table);
        nftnl_set_set_str(s, NFTNL_SET_NAME, set->name);
        for (size_t i = 0; i < count; i++)
            put_element(s, set, &elements[i], is_new);
        struct nlmsghdr *h = begin_change(b, ELEMENTS_BYTES, type, is_new ? NLM_F_CREATE : 0);
        nftnl_set_elems_nlmsg_build_payload(h, s);
        end_message(b, h);
        nftnl_set_free(s);
        elements += count;
        n -= count;
    }
}

void nft_add_elements(struct nft_batch *b, const struct nft_set *set, const struct nft_element *elements,
                      size_t n)
{
    change_elements(b, NFT_MSG_NEWSETELEM, set, elements, n);
}

void nft_delete_elements(struct nft_batch *b, const struct nft_set *set, const struct nft_element *elements,
                         size_t n)
{
    change_elements(b, NFT_MSG_DELSETELEM, set, elements, n);
}

static int count_element(struct nftnl_set_elem *e, void *context)
{
    (void)e;
    ++*(int *)context;
    return 0;
}

static int count_message(const struct nlmsghdr *h, void *context)
{
    struct nftnl_set *s = NEED(nftnl_set_alloc());
    if (nftnl_set_elems_nlmsg_parse(h, s) >= 0)
        nftnl_set_elem_foreach(s, count_element, context);
    nftnl_set_free(s);
    return 0;
}

int nft_count_elements(const char *table, const char *set)
{
    _Alignas(struct nlmsghdr) char request[MESSAGE_BYTES];
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    struct nftnl_set *s = NEED(nftnl_set_alloc());
    nftnl_set_set_str(s, NFTNL_SET_TABLE, table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, set);
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, 0);
    nftnl_set_elems_nlmsg_build_payload(h, s);
    nftnl_set_free(s);
    int count = 0;
    int rc = netlink_dump(fd, h, count_message, &count);
    return rc < 0 ? rc : count;
}

static int count_rule(const struct nlmsghdr *h, void *context)
{
    ++*(int *)context;
    (void)h;
    return 0;
}

int nft_count_rules(const char *table)
{
    _Alignas(struct nlmsghdr) char request[MESSAGE_BYTES];
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_NETFILTER);
    if (fd < 0)
        return fd;
    struct nftnl_rule *r = NEED(nftnl_rule_alloc());
    nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table);
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETRULE, NFPROTO_INET, NLM_F_DUMP, 0);
    nftnl_rule_nlmsg_build_payload(h, r);
    nftnl_rule_free(r);
    int count = 0, rc = netlink_dump(fd, h, count_rule, &count);
    return rc < 0 ? rc : count;
}

// --- rules
struct nftnl_rule *nft_rule_begin(struct nft_batch *b, const char *chain)
{
    struct nftnl_rule *r = NEED(nftnl_rule_alloc());
    nftnl_rule_set_str(r, NFTNL_RULE_TABLE, b->table);
    nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain);
    nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, NFPROTO_INET);
    return r;
}

void nft_rule_end(struct nft_batch *b, struct nftnl_rule *r)
{
    struct nlmsghdr *h = begin_change(b, MESSAGE_BYTES, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    nftnl_rule_nlmsg_build_payload(h, r);
    end_message(b, h);
    nftnl_rule_free(r);
    b->rule_count++;
}

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *kind)
{
    struct nftnl_expr *e = NEED(nftnl_expr_alloc(kind));
    nftnl_rule_add_expr(r, e); // the rule owns it now
    return e;
}

static void load_meta(struct nftnl_rule *r, uint32_t key, uint32_t reg)
{
    struct nftnl_expr *e = add_expr(r, "meta");
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
}

static void load_payload(struct nftnl_rule *r, uint32_t base, uint32_t offset, uint32_t n, uint32_t reg)
{
    struct nftnl_expr *e = add_expr(r, "payload");
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, n);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

static void compare(struct nftnl_rule *r, bool is_equal, const void *data, uint32_t n)
{
    struct nftnl_expr *e = add_expr(r, "cmp");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, is_equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, n);
}

// reg1 = reg1 & mask.
static void mask_register(struct nftnl_rule *r, const void *mask, uint32_t n)
{
    static const uint8_t zero[IP_BYTES_MAX];
    struct nftnl_expr *e = add_expr(r, "bitwise");
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, n);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, mask, n);
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, n);
}

static void look_up(struct nftnl_rule *r, const char *set, bool is_in)
{
    struct nftnl_expr *e = add_expr(r, "lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
    if (!is_in)
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
}

// Where an address is in its packet's header.
static uint32_t address_offset(int family, bool is_source)
{
    if (family == AF_INET6)
        return is_source ? offsetof(struct ip6_hdr, ip6_src) : offsetof(struct ip6_hdr, ip6_dst);
    return is_source ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
}

static uint32_t load_address(struct nftnl_rule *r, int family, bool is_source, uint32_t reg)
{
    uint32_t n = family == AF_INET6 ? 16 : 4;
    load_payload(r, NFT_PAYLOAD_NETWORK_HEADER, address_offset(family, is_source), n, reg);
    return n;
}

void nft_match_family(struct nftnl_rule *r, int family)
{
    uint8_t wanted = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
    load_meta(r, NFT_META_NFPROTO, NFT_REG_1);
    compare(r, true, &wanted, sizeof wanted);
}

void nft_match_iifname_in(struct nftnl_rule *r, bool is_in, const char *set)
{
    load_meta(r, NFT_META_IIFNAME, NFT_REG_1);
    look_up(r, set, is_in);
}

void nft_match_oifname_in(struct nftnl_rule *r, bool is_in, const char *set)
{
    load_meta(r, NFT_META_OIFNAME, NFT_REG_1);
    look_up(r, set, is_in);
}

// A key is made of consecutive registers: NFT_REG_1 is NFT_REG32_00 to _03.
void nft_match_interfaces_in(struct nftnl_rule *r, const char *set)
{
    load_meta(r, NFT_META_IIFNAME, NFT_REG_1);
    load_meta(r, NFT_META_OIFNAME, NFT_REG_2);
    look_up(r, set, true);
}

static void match_address(struct nftnl_rule *r, bool is_source, const struct ip_prefix *prefix)
{
    struct ip_prefix network = ip_network(prefix), ones = { .length = prefix->length };
    uint32_t n = load_address(r, prefix->ip.family, is_source, NFT_REG_1);
    memset(ones.ip.bytes, 0xff, sizeof ones.ip.bytes);
    ones.ip.family = prefix->ip.family;
    struct ip_address mask = ip_network(&ones).ip;
    mask_register(r, mask.bytes, n);
    compare(r, true, network.ip.bytes, n);
}

void nft_match_source(struct nftnl_rule *r, const struct ip_prefix *prefix)
{
    match_address(r, true, prefix);
}

void nft_match_destination(struct nftnl_rule *r, const struct ip_prefix *prefix)
{
    match_address(r, false, prefix);
}

void nft_match_source_in(struct nftnl_rule *r, int family, const char *set)
{
    load_address(r, family, true, NFT_REG_1);
    look_up(r, set, true);
}

void nft_match_source_oifname_in(struct nftnl_rule *r, int family, const char *set)
{
    uint32_t n = load_address(r, family, true, NFT_REG_1);
    load_meta(r, NFT_META_OIFNAME, n == 16 ? NFT_REG_2 : NFT_REG32_01);
    look_up(r, set, true);
}

void nft_match_destination_local(struct nftnl_rule *r)
{
    uint32_t local = 2; // RTN_LOCAL
    struct nftnl_expr *e = add_expr(r, "fib");
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
    nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
    compare(r, true, &local, sizeof local);
}

static void match_ct_bits(struct nftnl_rule *r, uint32_t key, uint32_t bits)
{
    uint32_t zero = 0;
    struct nftnl_expr *e = add_expr(r, "ct");
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
    mask_register(r, &bits, sizeof bits);
    compare(r, false, &zero, sizeof zero);
}

void nft_match_ct_state(struct nftnl_rule *r, uint32_t bits)
{
    match_ct_bits(r, NFT_CT_STATE, bits);
}

void nft_match_ct_status(struct nftnl_rule *r, uint32_t bits)
{
    match_ct_bits(r, NFT_CT_STATUS, bits);
}

static void translate_destination(struct nftnl_rule *r, int family, uint32_t address_reg, uint32_t port_reg)
{
    struct nftnl_expr *e = add_expr(r, "nat");
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, address_reg);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, port_reg);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
}

// The registers from the first on: protocol, address, destination port (of TCP, UDP and SCTP alike). The next free one.
static uint32_t load_port_key(struct nftnl_rule *r, int family, bool has_address)
{
    uint32_t reg = NFT_REG32_00;
    load_meta(r, NFT_META_L4PROTO, reg++);
    if (has_address) {
        load_address(r, family, false, reg);
        reg += family == AF_INET6 ? 4 : 1;
    }
    load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, reg++);
    return reg;
}

static void translate_by(struct nftnl_rule *r, int family, const char *map)
{
    struct nftnl_expr *e = add_expr(r, "lookup");
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG32_00);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, map);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG32_00);
    translate_destination(r, family, NFT_REG32_00, NFT_REG32_00 + (family == AF_INET6 ? 4 : 1));
}

void nft_dnat_by_map(struct nftnl_rule *r, int family, const char *map, bool has_address)
{
    load_port_key(r, family, has_address);
    translate_by(r, family, map);
}

void nft_dnat_by_slot(struct nftnl_rule *r, int family, const char *map, bool has_address,
                      uint32_t slot_count)
{
    uint32_t reg = load_port_key(r, family, has_address);
    struct nftnl_expr *e = add_expr(r, "numgen");
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, reg);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, slot_count);
    nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, NFT_NG_INCREMENTAL);
    translate_by(r, family, map);
}

void nft_match_port(struct nftnl_rule *r, uint8_t protocol, uint16_t port)
{
    uint16_t wire = htons(port);
    load_meta(r, NFT_META_L4PROTO, NFT_REG_1);
    compare(r, true, &protocol, sizeof protocol);
    load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
    compare(r, true, &wire, sizeof wire);
}

static void load_constant(struct nftnl_rule *r, uint32_t reg, const void *data, uint32_t n)
{
    struct nftnl_expr *e = add_expr(r, "immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg);
    nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, data, n);
}

void nft_dnat(struct nftnl_rule *r, const struct ip_address *ip, uint16_t port)
{
    uint16_t wire = htons(port);
    load_constant(r, NFT_REG_1, ip->bytes, ip_byte_count(ip));
    load_constant(r, NFT_REG_2, &wire, sizeof wire);
    translate_destination(r, ip->family, NFT_REG_1, NFT_REG_2);
}

void nft_masquerade(struct nftnl_rule *r)
{
    add_expr(r, "masq");
}

void nft_verdict(struct nftnl_rule *r, int verdict)
{
    struct nftnl_expr *e = add_expr(r, "immediate");
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
}
