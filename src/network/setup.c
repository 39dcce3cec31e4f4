// Theory of operation: nothing is made in the kernel before a container needs it. The first plug makes the
// bridge and the table; both are taken over when they exist. When a plug finds either gone (someone deleted
// the bridge, or flushed the host's rules), it calls setup_now again and goes on.
#include "network/service.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kernel/netlink/netlink.h"
#include "kernel/netlink/route.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { ROUTES_MAX = 65536 };

struct routes {
    struct ip_prefix *items;
    size_t n, cap;
};

static void routes_done(struct routes *r)
{
    free(r->items);
}

static int collect_route(const struct route *route, void *context)
{
    struct routes *r = context;
    if (r->n >= ROUTES_MAX || route->destination.length == 0)
        return 0; // a router with the world's routes: what overlaps is found among the first
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 32;
        r->items = xreallocarray(r->items, r->cap, sizeof *r->items);
    }
    r->items[r->n++] = route->destination;
    return 0;
}

static bool is_range_free(const struct routes *r, const struct ip_prefix *range)
{
    for (size_t i = 0; i < r->n; i++)
        if (ip_prefix_overlaps(range, &r->items[i]))
            return false;
    return true;
}

static bool has_fitting_length(const struct ip_prefix *range)
{
    return range->length >= 8 && range->length <= 30;
}

// --bip says it all.
static int use_bip(struct network_service *s, const char *bip, struct error *err)
{
    struct ip_prefix gateway;
    if (!ip_prefix_parse(bip, &gateway) || gateway.ip.family != AF_INET)
        return error_set(err, ERROR_INVALID, "invalid --bip %s: not an address with a prefix length", bip);
    if (!has_fitting_length(&gateway))
        return error_set(err, ERROR_INVALID, "invalid --bip %s: the prefix length must be 8 to 30", bip);
    struct ip_prefix network = ip_network(&gateway);
    struct ip_address last = ip_prefix_last(&gateway);
    if (ip_equals(&gateway.ip, &network.ip) || ip_equals(&gateway.ip, &last))
        return error_set(err, ERROR_INVALID, "invalid --bip %s: that is the network's own address", bip);
    s->gateway = gateway;
    return 0;
}

int setup_choose_range(struct network_service *s, const char *bip, const struct ip_prefix *recorded,
                       struct error *err)
{
    if (bip != NULL && *bip != '\0')
        return use_bip(s, bip, err);
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    struct ip_prefix address;
    int index = link_index(fd, s->bridge);
    if (index > 0 && address_get(fd, (unsigned)index, AF_INET, &address) == 0 &&
        has_fitting_length(&address)) {
        s->gateway = address;
        return 0;
    }
    struct routes routes CLEANUP(routes_done) = { 0 };
    int rc;
    for (int tries = 0; tries < 3; tries++) { // routes may change while they are listed
        routes.n = 0;
        rc = route_each(fd, AF_INET, collect_route, &routes);
        if (rc != -EINTR)
            break;
    }
    if (rc < 0 && rc != -EINTR)
        return error_errno(err, rc, "list the host's routes");
    struct ip_prefix range = *recorded;
    bool is_kept = has_fitting_length(&range) && is_range_free(&routes, &range);
    if (!is_kept && !ipam_choose(bridge_pools, bridge_pool_count, routes.items, routes.n, &range))
        return error_set(err, ERROR_EXHAUSTED,
                         "could not find an available, non-overlapping IPv4 address pool among the "
                         "defaults to assign to the network");
    s->gateway.length = range.length;
    ip_prefix_at(&range, 1, &s->gateway.ip);
    return 0;
}

// --- kernel
static int write_interface_sysctl(const char *family, const char *interface, const char *name,
                                  const char *value)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", family, interface, name);
    return file_write_existing_at(AT_FDCWD, path, value);
}

static int enable_forwarding(struct error *err)
{
    static const char path[] = "/proc/sys/net/ipv4/ip_forward";
    struct str now CLEANUP(str_done) = STR_INIT;
    int rc = file_read_at(AT_FDCWD, path, 16, &now);
    if (rc == 0 && now.ptr[0] == '1')
        return 0;
    rc = file_write_existing_at(AT_FDCWD, path, "1");
    return rc < 0 ? error_errno(err, rc, "switch on IPv4 forwarding") : 0;
}

// With br_netfilter a container's packet to its own published port is translated while it is still a frame,
// and must leave by the port it came from. Without the module there is no such file.
static bool is_bridge_filtered(void)
{
    struct str value CLEANUP(str_done) = STR_INIT;
    int rc = file_read_at(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-iptables", 16, &value);
    return rc == 0 && value.ptr[0] == '1';
}

static int make_bridge(struct network_service *s, int fd, struct error *err)
{
    int index = link_index(fd, s->bridge);
    if (index == -ENODEV) {
        uint8_t mac[6] = { 0x02, 0x42 };
        (void)!getrandom(mac + 2, sizeof mac - 2, 0);
        int rc = link_add_bridge(fd, s->bridge, mac, s->mtu);
        if (rc < 0 && rc != -EEXIST)
            return error_errno(err, rc, "create the bridge %s", s->bridge);
        index = link_index(fd, s->bridge);
    }
    if (index < 0)
        return error_errno(err, index, "find the bridge %s", s->bridge);
    // Before it is up: no IPv6 link-local address, no router advertisement of a container is heard. Kernels
    // without IPv6 have no such file.
    int rc = write_interface_sysctl("ipv6", s->bridge, "disable_ipv6", "1");
    if (rc < 0 && rc != -ENOENT)
        log_debug("disable IPv6 on %s: %s", s->bridge, strerror(-rc));
    // Answers to what the host sent to 127.0.0.1:PORT come back through the bridge with a loopback
    // destination.
    rc = write_interface_sysctl("ipv4", s->bridge, "route_localnet", "1");
    if (rc < 0)
        log_debug("route_localnet on %s: %s", s->bridge, strerror(-rc));
    rc = address_add(fd, (unsigned)index, &s->gateway);
    if (rc == 0)
        rc = link_set_up(fd, (unsigned)index);
    if (rc < 0)
        return error_errno(err, rc, "configure the bridge %s", s->bridge);
    atomic_store(&s->bridge_index, (unsigned)index);
    atomic_store(&s->is_bridge_filtered, is_bridge_filtered());
    return 0;
}

// Every port that is plugged, owned.
static struct port_mapping *plugged_ports(struct network_service *s, size_t *ret_n)
{
    struct port_mapping *all = NULL;
    size_t n = 0, at = 0;
    const struct map_entry *e;
    pthread_mutex_lock(&s->lock);
    while ((e = map_next(&s->attachments, &at)) != NULL) {
        const struct attachment *a = e->value;
        if (!a->is_plugged || a->endpoint.port_count == 0)
            continue;
        struct port_mapping *some CLEANUP(cleanup_free) = endpoint_mappings(&a->endpoint);
        all = xreallocarray(all, n + a->endpoint.port_count, sizeof *all);
        memcpy(all + n, some, a->endpoint.port_count * sizeof *all);
        n += a->endpoint.port_count;
    }
    pthread_mutex_unlock(&s->lock);
    *ret_n = n;
    return all;
}

int setup_now(struct network_service *s, struct error *err)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    if (make_bridge(s, fd, err) < 0 || (s->has_ip_forward && enable_forwarding(err) < 0))
        return -1;
    size_t n;
    struct port_mapping *ports CLEANUP(cleanup_free) = plugged_ports(s, &n);
    struct ruleset_network network = { .subnets[0] = ip_network(&s->gateway),
                                       .has_masquerade[0] = s->has_masquerade,
                                       .subnet_count = 1,
                                       .is_inter_container_allowed = s->is_inter_container_allowed };
    snprintf(network.bridge, sizeof network.bridge, "%s", s->bridge);
    int rc = ruleset_build(&s->rules, &network, 1, ports, n);
    if (rc < 0)
        return error_errno(err, rc, "set up the nftables table %s", s->rules.table);
    atomic_store(&s->is_ready, true);
    return 0;
}

int setup_once(struct network_service *s, struct error *err)
{
    if (atomic_load(&s->is_ready))
        return 0;
    pthread_mutex_lock(&s->setup_lock);
    int rc = atomic_load(&s->is_ready) ? 0 : setup_now(s, err);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

bool setup_has_bridge(const struct network_service *s)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    return fd >= 0 && link_index(fd, s->bridge) > 0;
}

// --- leftovers
struct stray_search {
    struct network_service *service;
    unsigned indexes[256];
    size_t n;
};

static bool is_known_interface(struct network_service *s, const char *name)
{
    size_t at = 0;
    const struct map_entry *e;
    bool is_known = false;
    pthread_mutex_lock(&s->lock);
    while (!is_known && (e = map_next(&s->attachments, &at)) != NULL)
        is_known = streq(((const struct attachment *)e->value)->endpoint.host_interface, name);
    pthread_mutex_unlock(&s->lock);
    return is_known;
}

static int visit_link(const struct link_info *link, void *context)
{
    struct stray_search *search = context;
    // Only what we named so: an administrator may have put a port of his own into the bridge.
    bool is_ours =
        link->master == atomic_load(&search->service->bridge_index) && str_has_prefix(link->name, "veth");
    if (is_ours && search->n < sizeof search->indexes / sizeof *search->indexes &&
        !is_known_interface(search->service, link->name))
        search->indexes[search->n++] = link->index;
    return 0;
}

int setup_remove_strays(struct network_service *s)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return fd;
    for (int rounds = 0; rounds < 64; rounds++) {
        struct stray_search search = { .service = s };
        int rc = link_each(fd, visit_link, &search);
        if (rc < 0 && rc != -EINTR)
            return rc;
        for (size_t i = 0; i < search.n; i++)
            link_delete(fd, search.indexes[i]);
        if (rc == 0 && search.n < sizeof search.indexes / sizeof *search.indexes)
            return 0;
    }
    return -EAGAIN;
}
