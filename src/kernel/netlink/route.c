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
enum { MESSAGE_BYTES = 1024, NAME_MAX_BYTES = IFNAMSIZ };

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
static struct nlmsghdr *address_message(void *at, unsigned index, uint32_t address, unsigned prefix)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    h->nlmsg_type = RTM_NEWADDR;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(h, sizeof *a);
    a->ifa_family = AF_INET;
    a->ifa_prefixlen = (uint8_t)prefix;
    a->ifa_scope = RT_SCOPE_UNIVERSE;
    a->ifa_index = index;
    mnl_attr_put_u32(h, IFA_LOCAL, htonl(address));
    mnl_attr_put_u32(h, IFA_ADDRESS, htonl(address));
    if (prefix < 31)
        mnl_attr_put_u32(h, IFA_BROADCAST, htonl(address | (UINT32_MAX >> prefix)));
    return h;
}

static struct nlmsghdr *default_route_message(void *at, unsigned index, uint32_t gateway)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(at);
    h->nlmsg_type = RTM_NEWROUTE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    struct rtmsg *route = mnl_nlmsg_put_extra_header(h, sizeof *route);
    route->rtm_family = AF_INET;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_BOOT;
    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(h, RTA_GATEWAY, htonl(gateway));
    mnl_attr_put_u32(h, RTA_OIF, index);
    return h;
}

int address_add(int fd, unsigned index, uint32_t address, unsigned prefix)
{
    struct request r;
    struct nlmsghdr *h = address_message(r.bytes, index, address, prefix);
    return netlink_transact(fd, h, h->nlmsg_len);
}

int link_configure(int fd, unsigned index, uint32_t address, unsigned prefix, uint32_t gateway)
{
    struct request r;
    size_t used = 0;
    struct ifinfomsg *link;
    struct nlmsghdr *h = link_message(r.bytes, RTM_NEWLINK, 0, index, &link);
    link->ifi_flags = link->ifi_change = IFF_UP;
    used += mnl_nlmsg_get_payload_len(h) + MNL_NLMSG_HDRLEN;
    h = address_message(r.bytes + used, index, address, prefix);
    used += MNL_ALIGN(h->nlmsg_len);
    if (gateway != 0) {
        h = default_route_message(r.bytes + used, index, gateway);
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
struct address_search {
    unsigned index;
    bool is_found;
    uint32_t address;
    unsigned prefix;
};

static int visit_address(const struct nlmsghdr *h, void *context)
{
    struct address_search *s = context;
    if (h->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(h) < sizeof(struct ifaddrmsg))
        return 0;
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    if (s->is_found || m->ifa_index != s->index || m->ifa_family != AF_INET ||
        m->ifa_scope != RT_SCOPE_UNIVERSE)
        return 0;
    const struct nlattr *a;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *m)
    {
        if (mnl_attr_get_type(a) == IFA_LOCAL && mnl_attr_validate(a, MNL_TYPE_U32) >= 0) {
            s->is_found = true;
            s->address = ntohl(mnl_attr_get_u32(a));
            s->prefix = m->ifa_prefixlen;
        }
    }
    return 0;
}

int address_get(int fd, unsigned index, uint32_t *ret_address, unsigned *ret_prefix)
{
    struct request r;
    struct address_search s = { .index = index };
    int rc =
        netlink_dump(fd, dump_message(&r, RTM_GETADDR, sizeof(struct ifaddrmsg), AF_INET), visit_address, &s);
    if (rc < 0)
        return rc;
    if (!s.is_found)
        return -ENOENT;
    *ret_address = s.address;
    *ret_prefix = s.prefix;
    return 0;
}

struct route_visit {
    int (*visit)(uint32_t network, unsigned prefix, unsigned index, void *context);
    void *context;
};

static int visit_route(const struct nlmsghdr *h, void *context)
{
    struct route_visit *v = context;
    if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(struct rtmsg))
        return 0;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    if (m->rtm_family != AF_INET || m->rtm_type != RTN_UNICAST || m->rtm_table == RT_TABLE_LOCAL)
        return 0;
    uint32_t network = 0;
    unsigned index = 0;
    const struct nlattr *a;
    FOR_EACH_MESSAGE_ATTRIBUTE(a, h, sizeof *m)
    {
        if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
            continue;
        if (mnl_attr_get_type(a) == RTA_DST)
            network = ntohl(mnl_attr_get_u32(a));
        else if (mnl_attr_get_type(a) == RTA_OIF)
            index = mnl_attr_get_u32(a);
    }
    return v->visit(network, m->rtm_dst_len, index, v->context);
}

int route_each(int fd, int (*visit)(uint32_t network, unsigned prefix, unsigned index, void *context),
               void *context)
{
    struct request r;
    struct route_visit v = { visit, context };
    return netlink_dump(fd, dump_message(&r, RTM_GETROUTE, sizeof(struct rtmsg), AF_INET), visit_route, &v);
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
