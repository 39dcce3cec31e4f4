#include "kernel/netlink/route.h"

#include "base/log.h"
#include "kernel/netlink/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

// Every message built here is well below this; strings in it are interface names.
enum { MESSAGE_BYTES = 2048, NAME_MAX_BYTES = IFNAMSIZ };

// libmnl's own loop narrows a pointer difference to int, which -Wconversion will not have.
#define FOR_EACH_ATTRIBUTE(a, first, end)                                                 \
    for ((a) = (first); mnl_attr_ok((a), (int)((const char *)(end) - (const char *)(a))); \
         (a) = mnl_attr_next(a))
#define FOR_EACH_MESSAGE_ATTRIBUTE(a, h, header_bytes)                                          \
    FOR_EACH_ATTRIBUTE(a, (const struct nlattr *)mnl_nlmsg_get_payload_offset(h, header_bytes), \
                       mnl_nlmsg_get_payload_tail(h))

struct request {
    _Alignas(struct nlmsghdr) char bytes[MESSAGE_BYTES];
};

static bool name_fits(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n < NAME_MAX_BYTES;
}

// Begin a link message at `at`.
static struct nlmsghdr *link_message(void *at, uint16_t type, uint16_t flags, unsigned index,
                                     struct ifinfomsg **ret)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(h, sizeof *link);
    link->ifi_index = (int)index;
    *ret = link;
    return h;
}

int link_add_veth(int fd, const struct link_veth *veth)
{
    if (!name_fits(veth->host_name) || !name_fits(veth->peer_name))
        return -EINVAL;
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, &link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    mnl_attr_put_strz(h, IFLA_IFNAME, veth->host_name);
    mnl_attr_put_u32(h, IFLA_MTU, (uint32_t)veth->mtu);
    // One queue a side: the default is one per possible CPU, each with its own kobjects in sysfs, and a veth
    // without XDP uses only the first.
    mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
    mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
    if (veth->master != 0)
        mnl_attr_put_u32(h, IFLA_MASTER, veth->master);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg)); // zeroed by libmnl
    mnl_attr_put_strz(h, IFLA_IFNAME, veth->peer_name);
    if (veth->peer_mac != NULL)
        mnl_attr_put(h, IFLA_ADDRESS, 6, veth->peer_mac);
    mnl_attr_put_u32(h, IFLA_MTU, (uint32_t)veth->mtu);
    mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
    mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
    mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns_fd);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_add_bridge(int fd, const char *name, const uint8_t mac[static 6], int mtu)
{
    if (!name_fits(name))
        return -EINVAL;
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, &link);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
    mnl_attr_put_u32(h, IFLA_MTU, (uint32_t)mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(h, info);
    return netlink_transact(fd, h, h->nlmsg_len);
}

// What distinguishes the kinds, in IFLA_INFO_DATA.
static void put_child_data(struct nlmsghdr *h, const struct link_child *child)
{
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    if (child->kind == LINK_MACVLAN) {
        mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, child->mode);
    } else if (child->kind == LINK_IPVLAN) {
        mnl_attr_put_u16(h, IFLA_IPVLAN_MODE, (uint16_t)child->mode);
        mnl_attr_put_u16(h, IFLA_IPVLAN_FLAGS, child->flags);
    } else if (child->kind == LINK_VLAN) {
        mnl_attr_put_u16(h, IFLA_VLAN_ID, (uint16_t)child->mode);
    }
    mnl_attr_nest_end(h, data);
}

int link_add_child(int fd, const struct link_child *child)
{
    static const char *const kinds[] = { "macvlan", "ipvlan", "vlan", "dummy" };
    if (!name_fits(child->name))
        return -EINVAL;
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, &link);
    mnl_attr_put_strz(h, IFLA_IFNAME, child->name);
    if (child->parent != 0)
        mnl_attr_put_u32(h, IFLA_LINK, child->parent);
    if (child->mac != NULL)
        mnl_attr_put(h, IFLA_ADDRESS, 6, child->mac);
    if (child->mtu > 0)
        mnl_attr_put_u32(h, IFLA_MTU, (uint32_t)child->mtu);
    if (child->netns_fd >= 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)child->netns_fd);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, kinds[child->kind]);
    put_child_data(h, child);
    mnl_attr_nest_end(h, info);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_set_master(int fd, unsigned index, unsigned master)
{
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, 0, index, &link);
    mnl_attr_put_u32(h, IFLA_MASTER, master);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_set_up(int fd, unsigned index)
{
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, 0, index, &link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_set_port(int fd, unsigned index, bool is_isolated, bool is_hairpin)
{
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_SETLINK, 0, index, &link);
    link->ifi_family = AF_BRIDGE;
    struct nlattr *port = mnl_attr_nest_start(h, IFLA_PROTINFO | NLA_F_NESTED);
    mnl_attr_put_u8(h, IFLA_BRPORT_ISOLATED, is_isolated);
    mnl_attr_put_u8(h, IFLA_BRPORT_MODE, is_hairpin);
    mnl_attr_nest_end(h, port);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_delete(int fd, unsigned index)
{
    struct request r;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_DELLINK, 0, index, &link);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_index(int fd, const char *name)
{
    if (!name_fits(name))
        return -ENODEV;
    struct ifreq request = { 0 };
    memcpy(request.ifr_name, name, strlen(name));
    return ioctl(fd, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

// Asking for the link's state makes the kernel run the pending link event first (ethtool_op_get_link).
int link_settle(int fd, const char *name)
{
    struct ethtool_value value = { .cmd = ETHTOOL_GLINK };
    struct ifreq request = { .ifr_data = (char *)&value };
    if (!name_fits(name))
        return -ENODEV;
    memcpy(request.ifr_name, name, strlen(name));
    return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : value.data != 0;
}

// --- addresses and routes
static void put_ip(struct nlmsghdr *h, uint16_t type, const struct ip_address *ip)
{
    mnl_attr_put(h, type, ip_byte_count(ip), ip->bytes);
}

static bool get_ip(const struct nlattr *a, int family, struct ip_address *ret)
{
    *ret = (struct ip_address){ .family = (uint8_t)family };
    if (mnl_attr_get_payload_len(a) != ip_byte_count(ret))
        return false;
    memcpy(ret->bytes, mnl_attr_get_payload(a), ip_byte_count(ret));
    return true;
}

static struct nlmsghdr *address_message(void *at, uint16_t type, uint16_t flags, unsigned index,
                                        const struct ip_prefix *address)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    bool is_v4 = address->ip.family == AF_INET;
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(h, sizeof *a);
    a->ifa_family = address->ip.family;
    a->ifa_prefixlen = address->length;
    a->ifa_scope = RT_SCOPE_UNIVERSE;
    a->ifa_index = index;
    put_ip(h, IFA_LOCAL, &address->ip);
    put_ip(h, IFA_ADDRESS, &address->ip);
    if (is_v4 && address->length < 31) {
        struct ip_address broadcast = ip_prefix_last(address);
        put_ip(h, IFA_BROADCAST, &broadcast);
    }
    if (!is_v4)
        mnl_attr_put_u32(h, IFA_FLAGS, IFA_F_NODAD);
    return h;
}

static struct nlmsghdr *route_message(void *at, uint16_t type, uint16_t flags, const struct route *route)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
    bool has_gateway = !ip_is_none(&route->gateway);
    m->rtm_family = has_gateway ? route->gateway.family : route->destination.ip.family;
    m->rtm_dst_len = route->destination.length;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_BOOT;
    m->rtm_scope = has_gateway || m->rtm_family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    m->rtm_type = RTN_UNICAST;
    if (route->destination.length > 0)
        put_ip(h, RTA_DST, &route->destination.ip);
    if (has_gateway)
        put_ip(h, RTA_GATEWAY, &route->gateway);
    if (route->index != 0)
        mnl_attr_put_u32(h, RTA_OIF, route->index);
    return h;
}

int address_add(int fd, unsigned index, const struct ip_prefix *address)
{
    struct request r;
    struct nlmsghdr *h = address_message(r.bytes, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int address_delete(int fd, unsigned index, const struct ip_prefix *address)
{
    struct request r;
    struct nlmsghdr *h = address_message(r.bytes, RTM_DELADDR, 0, index, address);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int route_add(int fd, const struct route *route)
{
    struct request r;
    struct nlmsghdr *h = route_message(r.bytes, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int route_delete(int fd, const struct route *route)
{
    struct request r;
    struct nlmsghdr *h = route_message(r.bytes, RTM_DELROUTE, 0, route);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_configure(int fd, unsigned index, const struct link_setup *setup)
{
    struct request r; // the most it can hold: 1 link, 8 addresses, 2 routes, some 100 bytes each
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, 0, index, &link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    size_t used = MNL_ALIGN(h->nlmsg_len);
    if (setup->address_count > LINK_ADDRESSES_MAX || setup->gateway_count > LINK_GATEWAYS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < setup->address_count; i++) {
        h = address_message(r.bytes + used, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index,
                            &setup->addresses[i]);
        used += MNL_ALIGN(h->nlmsg_len);
    }
    for (size_t i = 0; i < setup->gateway_count; i++) {
        struct route route = { .gateway = setup->gateways[i], .index = index };
        h = route_message(r.bytes + used, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route);
        used += MNL_ALIGN(h->nlmsg_len);
    }
    return netlink_transact(fd, r.bytes, used);
}

// --- dumps
static int kind_is_bridge(const struct nlattr *info)
{
    const struct nlattr *a;
    FOR_EACH_ATTRIBUTE(a, (const struct nlattr *)mnl_attr_get_payload(info),
                       (const char *)mnl_attr_get_payload(info) + mnl_attr_get_payload_len(info))
    {
        if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
            return strncmp(mnl_attr_get_payload(a), "bridge", mnl_attr_get_payload_len(a)) == 0;
    }
    return 0;
}

struct link_visit {
    int (*visit)(const struct link_info *link, void *context);
    void *context;
};

static int visit_link(const struct nlmsghdr *h, void *context)
{
    struct link_visit *v = context;
    if (h->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifinfomsg))
        return 0;
    const struct ifinfomsg *link = mnl_nlmsg_get_payload(h);
    struct link_info info = { .index = (unsigned)link->ifi_index };
    const struct nlattr *a;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *link)
    {
        uint16_t type = mnl_attr_get_type(a);
        if (type == IFLA_IFNAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            info.name = mnl_attr_get_str(a);
        else if (type == IFLA_MASTER && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
            info.master = mnl_attr_get_u32(a);
        else if (type == IFLA_LINKINFO)
            info.is_bridge = kind_is_bridge(a);
    }
    return info.name != NULL ? v->visit(&info, v->context) : 0;
}

static struct nlmsghdr *dump_message(struct request *r, uint16_t type, size_t header_bytes, uint8_t family)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(r->bytes);
    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    *(uint8_t *)mnl_nlmsg_put_extra_header(h, header_bytes) = family; // first byte of every rtnetlink header
    return h;
}

int link_each(int fd, int (*visit)(const struct link_info *link, void *context), void *context)
{
    struct request r;
    struct link_visit v = { visit, context };
    return netlink_dump(fd, dump_message(&r, RTM_GETLINK, sizeof(struct ifinfomsg), AF_UNSPEC), visit_link,
                        &v);
}

// --- counters
struct counters_visit {
    int (*visit)(const struct link_counters *counters, void *context);
    void *context;
};

static int visit_counters(const struct nlmsghdr *h, void *context)
{
    struct counters_visit *v = context;
    if (h->nlmsg_type != RTM_NEWSTATS || mnl_nlmsg_get_payload_len(h) < sizeof(struct if_stats_msg))
        return 0;
    const struct if_stats_msg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *a;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *m)
    {
        struct rtnl_link_stats64 s = { 0 }; // kernels append members
        size_t n = mnl_attr_get_payload_len(a);
        if (mnl_attr_get_type(a) != IFLA_STATS_LINK_64)
            continue;
        memcpy(&s, mnl_attr_get_payload(a), n < sizeof s ? n : sizeof s);
        const struct link_counters counters = {
            .index = m->ifindex,
            .received = { s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped },
            .sent = { s.tx_bytes, s.tx_packets, s.tx_errors, s.tx_dropped },
        };
        return v->visit(&counters, v->context);
    }
    return 0;
}

static struct nlmsghdr *counters_message(struct request *r, unsigned index)
{
    struct nlmsghdr *h = dump_message(r, RTM_GETSTATS, sizeof(struct if_stats_msg), AF_UNSPEC);
    struct if_stats_msg *m = mnl_nlmsg_get_payload(h);
    m->ifindex = index;
    m->filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
    return h;
}

int link_counters_each(int fd, int (*visit)(const struct link_counters *counters, void *context),
                       void *context)
{
    struct request r;
    struct counters_visit v = { visit, context };
    return netlink_dump(fd, counters_message(&r, 0), visit_counters, &v);
}

static int take_counters(const struct link_counters *counters, void *context)
{
    *(struct link_counters *)context = *counters;
    return 0;
}

int link_counters_get(int fd, unsigned index, struct link_counters *ret)
{
    struct request r;
    struct counters_visit v = { take_counters, ret };
    struct nlmsghdr *h = counters_message(&r, index);
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    *ret = (struct link_counters){ 0 };
    int rc = netlink_dump(fd, h, visit_counters, &v);
    return rc < 0 ? rc : ret->index == index ? 0 : -ENODEV;
}

// --- addresses
struct address_visit {
    int (*visit)(unsigned index, const struct ip_prefix *address, void *context);
    void *context;
};

static int visit_address(const struct nlmsghdr *h, void *context)
{
    struct address_visit *v = context;
    if (h->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifaddrmsg))
        return 0;
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    struct ip_prefix address = { .length = m->ifa_prefixlen };
    const struct nlattr *a;
    if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
        return 0;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *m)
    { // IPv4 links between two points have their own address in IFA_LOCAL; IPv6 has IFA_ADDRESS alone
        uint16_t type = mnl_attr_get_type(a);
        if (type == IFA_LOCAL || (type == IFA_ADDRESS && ip_is_none(&address.ip)))
            get_ip(a, m->ifa_family, &address.ip);
    }
    return ip_is_none(&address.ip) ? 0 : v->visit(m->ifa_index, &address, v->context);
}

static int dump_addresses(int fd, int family, struct address_visit *v)
{
    struct request r;
    return netlink_dump(fd, dump_message(&r, RTM_GETADDR, sizeof(struct ifaddrmsg), (uint8_t)family),
                        visit_address, v);
}

int address_each(int fd, int (*visit)(unsigned index, const struct ip_prefix *address, void *context),
                 void *context)
{
    struct address_visit v = { visit, context };
    return dump_addresses(fd, AF_UNSPEC, &v);
}

struct address_search {
    unsigned index;
    struct ip_prefix found;
};

static int take_first_global(unsigned index, const struct ip_prefix *address, void *context)
{
    struct address_search *s = context;
    if (index == s->index && ip_is_none(&s->found.ip) && !ip_is_link_local(&address->ip))
        s->found = *address;
    return 0;
}

int address_get(int fd, unsigned index, int family, struct ip_prefix *ret)
{
    struct address_search s = { .index = index };
    struct address_visit v = { take_first_global, &s };
    int rc = dump_addresses(fd, family, &v);
    if (rc < 0)
        return rc;
    if (ip_is_none(&s.found.ip))
        return -ENOENT;
    *ret = s.found;
    return 0;
}

struct route_visit {
    int (*visit)(const struct route *route, void *context);
    void *context;
};

static int visit_route(const struct nlmsghdr *h, void *context)
{
    struct route_visit *v = context;
    if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(struct rtmsg))
        return 0;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    if (m->rtm_type != RTN_UNICAST || m->rtm_table == RT_TABLE_LOCAL)
        return 0;
    struct route route = { .destination = { { .family = m->rtm_family }, m->rtm_dst_len } };
    const struct nlattr *a;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *m)
    {
        if (mnl_attr_get_type(a) == RTA_DST)
            get_ip(a, m->rtm_family, &route.destination.ip);
        else if (mnl_attr_get_type(a) == RTA_GATEWAY)
            get_ip(a, m->rtm_family, &route.gateway);
        else if (mnl_attr_get_type(a) == RTA_OIF && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
            route.index = mnl_attr_get_u32(a);
    }
    return v->visit(&route, v->context);
}

int route_each(int fd, int family, int (*visit)(const struct route *route, void *context), void *context)
{
    struct request r;
    struct route_visit v = { visit, context };
    return netlink_dump(fd, dump_message(&r, RTM_GETROUTE, sizeof(struct rtmsg), (uint8_t)family),
                        visit_route, &v);
}

// --- namespaces
int netns_enter(int netns_fd)
{
    return setns(netns_fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

void netns_leave(int home_fd)
{
    if (setns(home_fd, CLONE_NEWNET) == 0)
        return;
    log_error("cannot return to the host's network namespace: %s", strerror(errno));
    abort();
}
