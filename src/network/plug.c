// An endpoint becomes real: its interface in the container's namespace, its routes, its ports in the table.
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
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>

// --- the interface
static int make_veth(struct network_service *s, const struct network *n, const struct network_endpoint *e,
                     int fd, int netns_fd)
{
    uint8_t mac[6];
    if (!mac_parse(e->mac, mac))
        return -EINVAL;
    struct link_veth veth = { .host_name = e->host_interface,
                              .master = atomic_load(&n->bridge_index),
                              .mtu = n->mtu > 0 ? n->mtu : 1500,
                              .peer_name = e->interface,
                              .peer_mac = mac,
                              .peer_netns_fd = netns_fd };
    int rc = link_add_veth(fd, &veth);
    bool is_isolated = !n->is_inter_container_allowed, is_hairpin = atomic_load(&s->is_bridge_filtered);
    if (rc < 0 || (!is_isolated && !is_hairpin))
        return rc;
    int index = link_index(fd, e->host_interface);
    return index < 0 ? index : link_set_port(fd, (unsigned)index, is_isolated, is_hairpin);
}

// The bridge may have been deleted under us, then it is made anew.
static int plug_bridge(struct network_service *s, struct network *n, const struct network_endpoint *e, int fd,
                       int netns_fd, struct error *err)
{
    if (setup_once(s, n, err) < 0)
        return -1;
    int rc = make_veth(s, n, e, fd, netns_fd);
    if (rc == -ENODEV || rc == -EINVAL) {
        if (setup_again(s, n, err) < 0)
            return -1;
        rc = make_veth(s, n, e, fd, netns_fd);
    }
    return rc < 0 ? error_errno(err, rc, "create the interfaces of %s", e->container_name) : 0;
}

// The host's interface that a macvlan or ipvlan network sits on: an existing one, a VLAN of one ("eth0.50"), or, where none
// was given, a dummy of the network's own. *ret_name: of IFNAMSIZ.
static int find_parent(const struct network *n, int fd, struct error *err)
{
    char name[16];
    unsigned vlan;
    int end = 0;
    snprintf(name, sizeof name, "%s", n->parent);
    if (name[0] == '\0')
        snprintf(name, sizeof name, "dm-%.12s", n->id);
    int index = link_index(fd, name), rc = 0;
    if (index > 0)
        return index;
    char *dot = strrchr(name, '.');
    if (n->parent[0] == '\0') {
        rc = link_add_child(fd, &(struct link_child){ .kind = LINK_DUMMY, .name = name, .netns_fd = -1 });
    } else if (dot && sscanf(dot + 1, "%4u%n", &vlan, &end) == 1 && dot[1 + end] == '\0' && vlan >= 1 &&
               vlan <= 4094) {
        *dot = '\0';
        int below = link_index(fd, name);
        rc = below < 0 ? below
                       : link_add_child(fd, &(struct link_child){ .kind = LINK_VLAN,
                                                                  .name = n->parent,
                                                                  .parent = (unsigned)below,
                                                                  .mode = vlan,
                                                                  .netns_fd = -1 });
        *dot = '.';
    } else {
        rc = -ENODEV;
    }
    index = rc < 0 && rc != -EEXIST ? rc : link_index(fd, name);
    if (index > 0)
        rc = link_set_up(fd, (unsigned)index);
    if (index < 0 || rc < 0)
        return error_errno(err, index < 0 ? index : rc, "the parent interface %s of network %s", name,
                           n->name);
    return index;
}

static int plug_child(const struct network *n, const struct network_endpoint *e, int fd, int netns_fd,
                      struct error *err)
{
    uint8_t mac[6];
    int parent = find_parent(n, fd, err);
    if (parent < 0)
        return -1;
    if (!mac_parse(e->mac, mac))
        return error_set(err, ERROR_INVALID, "invalid MAC address: %s", e->mac);
    bool is_macvlan = n->driver == NETWORK_MACVLAN;
    struct link_child child = { .kind = is_macvlan ? LINK_MACVLAN : LINK_IPVLAN,
                                .name = e->interface,
                                .parent = (unsigned)parent,
                                .mode = n->mode,
                                .flags = n->flags,
                                .mac = is_macvlan ? mac : NULL, // ipvlan has its parent's
                                .mtu = n->mtu,
                                .netns_fd = netns_fd };
    int rc = link_add_child(fd, &child);
    return rc < 0
               ? error_errno(err, rc, "create the interface of %s on network %s", e->container_name, n->name)
               : 0;
}

// --- inside

// "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6...": Docker's endpoint option. This thread is in the container's namespace.
static int write_sysctls(const struct network_endpoint *e, const char *sysctls, struct error *err)
{
    char **settings CLEANUP(strv_freep) = strv_split(sysctls, ",", true);
    for (size_t i = 0; settings[i]; i++) {
        char *value = strchr(settings[i], '='), path[256], *at;
        bool is_net = str_has_prefix(settings[i], "net.ipv4.") || str_has_prefix(settings[i], "net.ipv6.") ||
                      str_has_prefix(settings[i], "net.mpls.");
        at = strstr(settings[i], ".IFNAME.");
        if (!value || !is_net || !at || strstr(settings[i], "..") || strchr(settings[i], '/'))
            return error_set(
                err, ERROR_INVALID,
                "invalid endpoint sysctl %s: net.<protocol>.<...>.IFNAME.<name>=<value> is expected",
                settings[i]);
        *value++ = '\0';
        *at = '\0';
        int n = snprintf(path, sizeof path, "/proc/sys/%s/%s/%s", settings[i], e->interface,
                         at + strlen(".IFNAME."));
        if (n < 0 || (size_t)n >= sizeof path)
            return error_set(err, ERROR_INVALID, "invalid endpoint sysctl %s: too long", settings[i]);
        for (char *c = path; *c; c++) // an interface's name here never has a dot
            *c = *c == '.' ? '/' : *c;
        int rc = file_write_existing_at(AT_FDCWD, path, value);
        if (rc < 0)
            return error_errno(err, rc, "set %s of %s", path + strlen("/proc/sys/"), e->container_name);
    }
    return 0;
}

// /proc/sys/net shows the namespace of the thread that looks.
static int write_inside(const struct network_endpoint *e, const char *sysctls, struct error *err)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", e->interface);
    int rc = file_write_existing_at(AT_FDCWD, path, e->ip6[0] != '\0' ? "0" : "1");
    if (rc < 0 && rc != -ENOENT)
        log_debug("IPv6 of %s in a container: %s", e->interface, strerror(-rc));
    return str_is_empty(sysctls) ? 0 : write_sysctls(e, sysctls, err);
}

// A socket of the container's namespace, opened by this thread while it is there. e NULL: nothing else is done there.
static int open_inside(const struct network_service *s, const struct network_endpoint *e, const char *sysctls,
                       int netns_fd, struct error *err)
{
    int rc = netns_enter(netns_fd);
    if (rc < 0)
        return error_errno(err, rc, "enter the network namespace of the container");
    int fd = netlink_open(NETLINK_ROUTE);
    rc = fd < 0 ? error_errno(err, fd, "open a netlink socket in the container") : 0;
    if (rc == 0 && e)
        rc = write_inside(e, sysctls, err);
    netns_leave(s->home_netns_fd);
    if (rc == 0)
        return fd;
    fd_close(fd);
    return -1;
}

static void add_family(struct link_setup *setup, const char *ip, uint8_t length, const char *gateway,
                       bool is_way_out)
{
    struct ip_address address, way;
    if (!ip_parse(ip, &address))
        return;
    setup->addresses[setup->address_count++] = (struct ip_prefix){ address, length };
    if (is_way_out && ip_parse(gateway, &way))
        setup->gateways[setup->gateway_count++] = way;
}

static void add_link_locals(struct link_setup *setup, char *const *texts)
{
    for (size_t i = 0; texts && texts[i] && setup->address_count < LINK_ADDRESSES_MAX; i++) {
        struct ip_address address;
        if (ip_parse(texts[i], &address))
            setup->addresses[setup->address_count++] =
                (struct ip_prefix){ address, address.family == AF_INET6 ? 64 : 16 };
    }
}

// Layer 3 of ipvlan has no neighbours to ask: the default route is the interface itself.
static int add_bare_routes(const struct network_endpoint *e, int fd, unsigned index)
{
    const struct route routes[] = { { .destination.ip.family = AF_INET, .index = index },
                                    { .destination.ip.family = AF_INET6, .index = index } };
    int rc = e->is_way_out && e->ip[0] ? route_add(fd, &routes[0]) : 0;
    return rc == 0 && e->is_way_out6 && e->ip6[0] ? route_add(fd, &routes[1]) : rc;
}

static int configure_inside(const struct network_service *s, const struct network *n,
                            const struct network_endpoint *e, const char *sysctls, int netns_fd,
                            struct error *err)
{
    struct link_setup setup = { 0 };
    bool is_layer3 = n->driver == NETWORK_IPVLAN && n->mode != IPVLAN_MODE_L2;
    add_family(&setup, e->ip, e->prefix_length, e->gateway, e->is_way_out && !is_layer3);
    add_family(&setup, e->ip6, e->prefix6_length, e->gateway6, e->is_way_out6 && !is_layer3);
    add_link_locals(&setup, e->link_locals);
    int fd CLEANUP(cleanup_close) = open_inside(s, e, sysctls, netns_fd, err);
    if (fd < 0)
        return -1;
    int index = link_index(fd, e->interface);
    int rc = index < 0 ? index : link_configure(fd, (unsigned)index, &setup);
    if (rc == 0 && is_layer3)
        rc = add_bare_routes(e, fd, (unsigned)index);
    return rc < 0 ? error_errno(err, rc, "configure %s of %s", e->interface, e->container_name) : 0;
}

// --- ports

static void mark_plugged(struct network_service *s, const struct network_endpoint *e, bool is_plugged)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    if (a != NULL)
        a->is_plugged = is_plugged;
    pthread_mutex_unlock(&s->lock);
}

// Mark the attachment, so that a rebuild has its ports too, and put them into the table.
static int publish(struct network_service *s, const struct network_endpoint *e, struct error *err)
{
    pthread_mutex_lock(&s->setup_lock);
    mark_plugged(s, e, true);
    int rc = e->port_count > 0 ? spread_publish(s, e) : 0;
    if (rc == -ENOENT) { // someone flushed the host's rules
        rc = setup_table(s, err);
    } else if (rc < 0) {
        mark_plugged(s, e, false);
        rc = error_errno(err, rc, "publish the ports of %s", e->container_name);
    }
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

// --- plug
static int plug(struct network_service *s, struct network *n, const struct network_endpoint *e,
                const char *sysctls, int fd, int netns_fd, struct error *err)
{
    bool is_bridge = n->driver == NETWORK_BRIDGE;
    int rc = is_bridge ? plug_bridge(s, n, e, fd, netns_fd, err) : plug_child(n, e, fd, netns_fd, err);
    if (rc < 0)
        return -1;
    rc = configure_inside(s, n, e, sysctls, netns_fd, err);
    if (rc == 0)
        rc = publish(s, e, err);
    int relayed = rc == 0 ? relays_open(s, e) : 0;
    if (relayed < 0)
        rc = error_errno(err, relayed, "relay the IPv6 ports of %s", e->container_name);
    if (rc == 0 &&
        is_bridge) { // or the container's first packets are lost, and TCP and ARP try again after a second
        link_settle(fd, e->host_interface);
        link_settle(fd, n->bridge);
    } else if (rc < 0) {
        network_unplug(s, e, netns_fd);
    }
    return rc;
}

int network_plug(struct network_service *s, const struct network_endpoint *e, const char *sysctls,
                 int netns_fd, struct error *err)
{
    struct network *n = network_of_endpoint(s, e);
    if (!n)
        return error_set(err, ERROR_INTERNAL, "endpoint %s is not reserved", e->endpoint_id);
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    if (plug(s, n, e, sysctls, fd, netns_fd, err) < 0)
        return -1;
    names_publish(s, e);
    network_emit(s, "connect", n, e->container_id);
    return 0;
}

void network_unplug(struct network_service *s, const struct network_endpoint *e, int netns_fd)
{
    struct error ignored;
    int fd CLEANUP(cleanup_close) = open_inside(s, NULL, NULL, netns_fd, &ignored);
    int index = fd < 0 ? fd : link_index(fd, e->interface);
    if (index > 0) // its other end goes with it
        link_delete(fd, (unsigned)index);
}

// --- ways out
static int set_way_out(int fd, int family, const struct network_endpoint *endpoints, size_t count)
{
    struct route route = { .destination.ip.family = (uint8_t)family };
    for (size_t i = 0; i < count; i++) {
        const struct network_endpoint *e = &endpoints[i];
        bool is_way = family == AF_INET6 ? e->is_way_out6 : e->is_way_out;
        int index = is_way ? link_index(fd, e->interface) : 0;
        if (!is_way)
            continue;
        if (index < 0)
            return index;
        ip_parse(family == AF_INET6 ? e->gateway6 : e->gateway, &route.gateway);
        route.index = (unsigned)index;
        return route_add(fd, &route);
    }
    int rc = route_delete(fd, &route);
    return rc == -ESRCH ? 0 : rc;
}

int network_set_ways_out(struct network_service *s, const struct network_endpoint *endpoints, size_t count,
                         int netns_fd, struct error *err)
{
    int fd CLEANUP(cleanup_close) = open_inside(s, NULL, NULL, netns_fd, err);
    if (fd < 0)
        return -1;
    int rc = set_way_out(fd, AF_INET, endpoints, count);
    int rc6 = set_way_out(fd, AF_INET6, endpoints, count);
    if (rc6 == -EAFNOSUPPORT || rc6 == -EOPNOTSUPP)
        rc6 = 0;
    if (rc == 0)
        rc = rc6;
    return rc < 0 ? error_errno(err, rc, "set the default route of the container") : 0;
}
