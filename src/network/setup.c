// Theory of operation: nothing is made in the kernel before a container needs it. The first plug into a network makes its
// bridge and its elements in the table; both are taken over when they exist. When a plug finds either gone (someone deleted
// the bridge, or flushed the host's rules), everything is made again and the plug goes on.
#include "network/service.h"
#include "network/spread.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/netlink/netlink.h"
#include "kernel/netlink/route.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { ROUTES_MAX = 65536, ROUTE_TRIES = 3 };

// --- the host's routes
struct routes {
    struct ip_prefix *items;
    size_t n, cap;
};

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

int setup_routes(struct ip_prefix **ret, size_t *ret_n, struct error *err)
{
    static const int families[] = { AF_INET, AF_INET6 };
    struct routes routes = { 0 };
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE), rc = fd;
    for (size_t i = 0; i < 2 && rc >= 0; i++) {
        size_t before = routes.n;
        for (int tries = 0; tries < ROUTE_TRIES; tries++) { // they may change while they are listed
            routes.n = before;
            rc = route_each(fd, families[i], collect_route, &routes);
            if (rc != -EINTR)
                break;
        }
        if (rc == -EINTR || rc == -EOPNOTSUPP) // no IPv6 in this kernel
            rc = 0;
    }
    if (rc < 0) {
        free(routes.items);
        return error_errno(err, rc, "list the host's routes");
    }
    *ret = routes.items;
    *ret_n = routes.n;
    return 0;
}

// --- the default bridge's range
static bool has_fitting_length(const struct ip_prefix *range)
{
    return range->length >= 8 && range->length <= 30;
}

// --bip says it all.
static int use_bip(const char *bip, struct ip_prefix *ret, struct error *err)
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
    *ret = gateway;
    return 0;
}

static bool is_range_free(const struct ip_prefix *routes, size_t n, const struct ip_prefix *range)
{
    for (size_t i = 0; i < n; i++)
        if (ip_prefix_overlaps(range, &routes[i]))
            return false;
    return true;
}

int setup_choose_range(struct network_service *s, const char *bip, const struct ip_prefix *recorded,
                       struct ip_prefix *ret, struct error *err)
{
    if (!str_is_empty(bip))
        return use_bip(bip, ret, err);
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    int index = link_index(fd, s->bridge);
    if (index > 0 && address_get(fd, (unsigned)index, AF_INET, ret) == 0 && has_fitting_length(ret))
        return 0;
    struct ip_prefix *routes CLEANUP(cleanup_free) = NULL, range = *recorded;
    size_t n;
    if (setup_routes(&routes, &n, err) < 0)
        return -1;
    bool is_kept = has_fitting_length(&range) && is_range_free(routes, n, &range);
    if (!is_kept && !ipam_choose(bridge_pools, bridge_pool_count, routes, n, &range))
        return error_set(err, ERROR_EXHAUSTED,
                         "could not find an available, non-overlapping IPv4 address pool among the "
                         "defaults to assign to the network");
    ret->length = range.length;
    ip_prefix_at(&range, 1, &ret->ip);
    return 0;
}

// --- bridges
static int write_interface_sysctl(const char *family, const char *interface, const char *name,
                                  const char *value)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", family, interface, name);
    return file_write_existing_at(AT_FDCWD, path, value);
}

static int enable_forwarding(const char *path, struct error *err)
{
    struct str now CLEANUP(str_done) = STR_INIT;
    int rc = file_read_at(AT_FDCWD, path, 16, &now);
    if (rc == 0 && now.ptr[0] == '1')
        return 0;
    rc = file_write_existing_at(AT_FDCWD, path, "1");
    return rc < 0 ? error_errno(err, rc, "switch on forwarding (%s)", path) : 0;
}

static int enable_forwarding_for(const struct network_service *s, const struct network *n, struct error *err)
{
    if (!s->has_ip_forward)
        return 0;
    if (n->has_ipv4 && enable_forwarding("/proc/sys/net/ipv4/ip_forward", err) < 0)
        return -1;
    return n->has_ipv6 ? enable_forwarding("/proc/sys/net/ipv6/conf/all/forwarding", err) : 0;
}

// With br_netfilter a container's packet to its own published port is translated while it is still a frame,
// and must leave by the port it came from. Without the module there is no such file.
static bool is_bridge_filtered(void)
{
    struct str value CLEANUP(str_done) = STR_INIT;
    int rc = file_read_at(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-iptables", 16, &value);
    return rc == 0 && value.ptr[0] == '1';
}

static int find_or_make_bridge(const struct network *n, int fd, struct error *err)
{
    int index = link_index(fd, n->bridge);
    if (index == -ENODEV) {
        uint8_t mac[6] = { 0x02, 0x42 };
        (void)!getrandom(mac + 2, sizeof mac - 2, 0);
        int rc = link_add_bridge(fd, n->bridge, mac, n->mtu > 0 ? n->mtu : 1500);
        if (rc < 0 && rc != -EEXIST)
            return error_errno(err, rc, "create the bridge %s", n->bridge);
        index = link_index(fd, n->bridge);
    }
    return index < 0 ? error_errno(err, index, "find the bridge %s", n->bridge) : index;
}

// Before it is up. Kernels without IPv6 have no such files.
static void set_bridge_sysctls(const struct network *n)
{
    // No link-local address where there is no IPv6; and no router advertisement of a container is heard.
    int rc = n->has_ipv6 ? write_interface_sysctl("ipv6", n->bridge, "accept_ra", "0")
                         : write_interface_sysctl("ipv6", n->bridge, "disable_ipv6", "1");
    if (rc < 0 && rc != -ENOENT)
        log_debug("IPv6 settings of %s: %s", n->bridge, strerror(-rc));
    // Answers to what the host sent to 127.0.0.1:PORT come back through the bridge with a loopback destination.
    rc = write_interface_sysctl("ipv4", n->bridge, "route_localnet", "1");
    if (rc < 0)
        log_debug("route_localnet on %s: %s", n->bridge, strerror(-rc));
}

static int make_bridge(struct network_service *s, struct network *n, struct error *err)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    int index = find_or_make_bridge(n, fd, err), rc = 0;
    if (index < 0)
        return -1;
    set_bridge_sysctls(n);
    for (size_t i = 0; i < n->pool_count && rc == 0; i++) {
        struct ip_prefix own = { n->pools[i].gateway, n->pools[i].subnet.length };
        if (!ip_is_none(&own.ip))
            rc = address_add(fd, (unsigned)index, &own);
    }
    if (rc == 0)
        rc = link_set_up(fd, (unsigned)index);
    if (rc < 0)
        return error_errno(err, rc, "configure the bridge %s", n->bridge);
    atomic_store(&n->bridge_index, (unsigned)index);
    atomic_store(&s->is_bridge_filtered, is_bridge_filtered());
    return enable_forwarding_for(s, n, err);
}

static void delete_link(const char *name)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    int index = fd < 0 ? fd : link_index(fd, name);
    if (index > 0)
        link_delete(fd, (unsigned)index);
}

// --- the table
static struct ruleset_network rules_of(const struct network *n)
{
    struct ruleset_network r = { .is_internal = n->is_internal,
                                 .is_inter_container_allowed = n->is_inter_container_allowed,
                                 .subnet_count = n->pool_count };
    snprintf(r.bridge, sizeof r.bridge, "%s", n->bridge);
    for (size_t i = 0; i < n->pool_count; i++) {
        r.subnets[i] = n->pools[i].subnet;
        r.has_masquerade[i] = n->has_masquerade && !n->is_internal;
    }
    return r;
}

// Every network that is in the kernel, owned.
static struct ruleset_network *ready_networks(struct network_service *s, size_t *ret_n)
{
    size_t at = 0;
    *ret_n = 0;
    pthread_mutex_lock(&s->lock);
    struct ruleset_network *all = xcalloc(s->networks.len + 1, sizeof *all);
    for (const struct map_entry *e; (e = map_next(&s->networks, &at)) != NULL;) {
        const struct network *n = e->value;
        if (n->driver == NETWORK_BRIDGE && atomic_load(&n->is_ready))
            all[(*ret_n)++] = rules_of(n);
    }
    pthread_mutex_unlock(&s->lock);
    return all;
}

// Every port that is plugged, owned.
static struct port_mapping *plugged_ports(struct network_service *s, size_t *ret_n)
{
    struct port_mapping *all = NULL;
    size_t n = 0, at = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct map_entry *e; (e = map_next(&s->attachments, &at)) != NULL;) {
        const struct attachment *a = e->value;
        size_t count;
        if (!a->is_plugged || a->endpoint.port_count == 0)
            continue;
        struct port_mapping *some CLEANUP(cleanup_free) = endpoint_mappings(&a->endpoint, &count);
        all = xreallocarray(all, n + count + 1, sizeof *all);
        memcpy(all + n, some, count * sizeof *all);
        n += count;
    }
    pthread_mutex_unlock(&s->lock);
    *ret_n = n;
    return all;
}

int setup_table(struct network_service *s, struct error *err)
{
    size_t network_count, port_count;
    struct ruleset_network *networks CLEANUP(cleanup_free) = ready_networks(s, &network_count);
    struct port_mapping *ports CLEANUP(cleanup_free) = plugged_ports(s, &port_count);
    size_t slot_count;
    struct port_slot *slots CLEANUP(cleanup_free) = spread_rebuild(s, ports, &port_count, &slot_count);
    int rc = ruleset_build(&s->rules, networks, network_count, ports, port_count, slots, slot_count);
    if (rc < 0)
        return error_errno(err, rc, "set up the nftables table %s", s->rules.table);
    atomic_store(&s->has_table, true);
    watch_start(s);
    return 0;
}

// setup_lock held.
static int set_up(struct network_service *s, struct network *n, bool is_table_sound, struct error *err)
{
    if (make_bridge(s, n, err) < 0)
        return -1;
    atomic_store(&n->is_ready, true);
    struct ruleset_network rules = rules_of(n);
    int rc = is_table_sound ? ruleset_add_network(&s->rules, &rules) : -ENOENT;
    if (rc < 0 && setup_table(s, err) < 0) {
        atomic_store(&n->is_ready, false);
        return -1;
    }
    return 0;
}

int setup_once(struct network_service *s, struct network *n, struct error *err)
{
    if (atomic_load(&n->is_ready))
        return 0;
    pthread_mutex_lock(&s->setup_lock);
    int rc = atomic_load(&n->is_ready) ? 0 : set_up(s, n, atomic_load(&s->has_table), err);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

int setup_again(struct network_service *s, struct network *n, struct error *err)
{
    pthread_mutex_lock(&s->setup_lock);
    int rc = set_up(s, n, false, err);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

void setup_remove(struct network_service *s, struct network *n)
{
    if (n->driver != NETWORK_BRIDGE)
        return;
    pthread_mutex_lock(&s->setup_lock);
    if (!n->is_bridge_foreign)
        delete_link(n->bridge);
    if (atomic_exchange(&n->is_ready, false)) {
        struct ruleset_network rules = rules_of(n);
        struct error ignored;
        if (ruleset_remove_network(&s->rules, &rules) < 0) // one of its elements was gone
            setup_table(s, &ignored);
    }
    pthread_mutex_unlock(&s->setup_lock);
}

// --- leftovers
struct stray_search {
    struct network_service *service;
    const struct network *network;
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
        link->master == atomic_load(&search->network->bridge_index) && str_has_prefix(link->name, "veth");
    if (is_ours && search->n < sizeof search->indexes / sizeof *search->indexes &&
        !is_known_interface(search->service, link->name))
        search->indexes[search->n++] = link->index;
    return 0;
}

static int remove_strays(struct network_service *s, const struct network *n)
{
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return fd;
    for (int rounds = 0; rounds < 64; rounds++) {
        struct stray_search search = { .service = s, .network = n };
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

bool setup_has_bridge(const struct network *n)
{
    if (n->driver != NETWORK_BRIDGE)
        return false;
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    return fd >= 0 && link_index(fd, n->bridge) > 0;
}

// What a former engine left of a network that is in use, or whose bridge is still there.
static int restore_network(struct network_service *s, struct network *n, bool *ret_is_any, struct error *err)
{
    if (n->driver != NETWORK_BRIDGE || (!atomic_load(&n->is_ready) && !setup_has_bridge(n)))
        return 0;
    *ret_is_any = true;
    if (make_bridge(s, n, err) < 0)
        return -1;
    atomic_store(&n->is_ready, true);
    int rc = remove_strays(s, n);
    return rc < 0 ? error_errno(err, rc, "remove leftovers from the bridge %s", n->bridge) : 0;
}

int setup_restore(struct network_service *s, struct error *err)
{
    bool is_any = false;
    int rc = 0;
    size_t at = 0;
    pthread_mutex_lock(&s->setup_lock); // before the first request: the table of networks does not change yet
    for (const struct map_entry *e; rc == 0 && (e = map_next(&s->networks, &at)) != NULL;)
        rc = restore_network(s, e->value, &is_any, err);
    if (rc == 0 && is_any)
        rc = setup_table(s, err);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}
