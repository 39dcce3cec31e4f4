// Theory of operation
//
// reserve  takes an address and ports in memory; nothing of the kernel but a bind test per port
// plug     one netlink message makes the veth pair (host side up and in the bridge, other side born as eth0
// in the
//          container's namespace), three more in that namespace bring eth0 up with address and default route;
//          ports are one nftables transaction, and only containers that publish any pay for it
// release  removes the ports' elements; the pair goes with the namespace
//
// Invariants: an address or port is taken from reserve to release; an attachment with is_plugged is in the
// table; the table can be rebuilt from the attachments at any time. The start path takes `lock` for a look-up
// and, with ports, setup_lock for one transaction.
#include "network/network.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/netlink/netlink.h"
#include "kernel/netlink/route.h"
#include "network/service.h"
#include "store/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>

const char *network_kind_name(enum network_kind kind)
{
    static const char *const names[] = { "bridge", "host", "none" };
    _Static_assert(sizeof names / sizeof *names == NETWORK_KIND_COUNT, "one name per kind");
    return names[kind];
}

// --- records
struct recorded {
    struct network_service *service;
    uint32_t network;
    unsigned prefix;
};

static int visit_record(void *context, const char *key, const json_t *document)
{
    struct recorded *r = context;
    const char *name = json_get_string(document, "Name", "");
    for (int kind = 0; kind < NETWORK_KIND_COUNT; kind++) {
        if (!streq(name, network_kind_name(kind)) || !id_is_full(key))
            continue;
        struct network_record *record = &r->service->records[kind];
        snprintf(record->id, sizeof record->id, "%s", key);
        snprintf(record->created, sizeof record->created, "%s", json_get_string(document, "Created", ""));
        if (kind == NETWORK_BRIDGE &&
            !cidr_parse(json_get_string(document, "Subnet", ""), &r->network, &r->prefix))
            r->prefix = 0;
    }
    return 0;
}

static int write_record(struct network_service *s, enum network_kind kind, struct error *err)
{
    json_t *document CLEANUP(json_cleanup) = json_object();
    json_set_string(document, "Name", network_kind_name(kind));
    json_set_string(document, "Created", s->records[kind].created);
    if (kind == NETWORK_BRIDGE && s->is_enabled) {
        char ip[IP_TEXT_MAX], subnet[IP_TEXT_MAX + 4];
        ip_format(s->network, ip);
        snprintf(subnet, sizeof subnet, "%s/%u", ip, s->prefix);
        json_set_string(document, "Subnet", subnet);
    }
    return s->store != NULL ? meta_put(s->store, META_NETWORKS, s->records[kind].id, document, err) : 0;
}

// Ids and times as they were, new ones where there are none; the bridge's range.
static int load_records(struct network_service *s, const char *bip, struct error *err)
{
    struct recorded r = { .service = s };
    if (s->store != NULL && meta_each(s->store, META_NETWORKS, visit_record, &r, err) < 0)
        return -1;
    if (s->is_enabled && setup_choose_range(s, bip, r.network, r.prefix, err) < 0)
        return -1;
    for (int kind = 0; kind < NETWORK_KIND_COUNT; kind++) {
        bool is_new = s->records[kind].id[0] == '\0';
        bool has_moved = kind == NETWORK_BRIDGE && (r.network != s->network || r.prefix != s->prefix);
        if (is_new) {
            id_new(s->records[kind].id);
            time_format_rfc3339(time_now_ns(), s->records[kind].created);
        }
        if ((is_new || has_moved) && write_record(s, kind, err) < 0)
            return -1;
    }
    return 0;
}

// --- life
static int take_options(struct network_service *s, const struct network_options *o, struct error *err)
{
    const char *bridge = str_is_empty(o->bridge) ? "skiff0" : o->bridge;
    const char *publish_ip = str_is_empty(o->default_publish_ip) ? "0.0.0.0" : o->default_publish_ip;
    s->is_enabled = !streq(bridge, "none");
    if (strlen(bridge) >= sizeof s->bridge || strpbrk(bridge, "/ \t\n:") != NULL)
        return error_set(err, ERROR_INVALID, "invalid bridge name %s", bridge);
    if (!ip_parse(publish_ip, &s->default_publish_ip))
        return error_set(err, ERROR_INVALID, "invalid --ip %s: not an IPv4 address", publish_ip);
    snprintf(s->bridge, sizeof s->bridge, "%s", bridge);
    s->mtu = o->mtu > 0 ? o->mtu : 1500;
    s->has_ip_forward = o->has_ip_forward;
    // Engines with bridges of their own have tables of their own.
    if (streq(bridge, "skiff0"))
        snprintf(s->rules.table, sizeof s->rules.table, "skiff");
    else
        snprintf(s->rules.table, sizeof s->rules.table, "skiff-%s", bridge);
    snprintf(s->rules.bridge, sizeof s->rules.bridge, "%s", bridge);
    s->rules.has_masquerade = o->has_masquerade;
    s->rules.is_inter_container_allowed = o->is_inter_container_allowed;
    return 0;
}

int network_service_open(struct store *store, const struct network_options *options,
                         struct network_service **ret, struct error *err)
{
    struct network_service *s = NEW(struct network_service);
    s->store = store;
    s->rules.fd = FD_NONE;
    pthread_mutex_init(&s->setup_lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    ports_init(&s->ports);
    s->home_netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int rc = s->home_netns_fd < 0 ? error_errno(err, errno, "open the host's network namespace") : 0;
    if (rc == 0)
        rc = take_options(s, options, err);
    if (rc == 0)
        rc = load_records(s, options->bip, err);
    if (rc < 0) {
        network_service_close(s);
        return -1;
    }
    if (s->is_enabled) {
        s->rules.network = s->network;
        s->rules.prefix = s->prefix;
        ipam_init(&s->ipam, s->network, s->prefix);
        ipam_take_this(&s->ipam, s->gateway);
    }
    *ret = s;
    return 0;
}

static void attachment_free(struct attachment *a)
{
    network_endpoint_done(&a->endpoint);
    free(a);
}

void network_service_close(struct network_service *s)
{
    if (s == NULL)
        return;
    size_t at = 0;
    const struct map_entry *e;
    while ((e = map_next(&s->attachments, &at)) != NULL)
        attachment_free(e->value);
    map_done(&s->attachments);
    ipam_done(&s->ipam);
    ports_done(&s->ports);
    fd_close(s->home_netns_fd);
    fd_close(s->rules.fd);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->setup_lock);
    free(s);
}

void network_endpoint_done(struct network_endpoint *endpoint)
{
    free(endpoint->ports);
    endpoint->ports = NULL;
    endpoint->port_count = 0;
}

// --- reserve
struct port_mapping *endpoint_mappings(const struct network_endpoint *endpoint)
{
    struct port_mapping *all = xcalloc(endpoint->port_count + 1, sizeof *all);
    uint32_t container_ip = 0;
    ip_parse(endpoint->ip, &container_ip);
    for (size_t i = 0; i < endpoint->port_count; i++) {
        const struct network_port *p = &endpoint->ports[i];
        all[i] = (struct port_mapping){ .protocol = p->protocol,
                                        .container_ip = container_ip,
                                        .host_port = p->host_port,
                                        .container_port = p->container_port };
        ip_parse(p->host_ip, &all[i].host_ip);
    }
    return all;
}

static bool mac_parse(const char *text, uint8_t mac[static 6])
{
    unsigned b[6];
    int end = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6)
        return false;
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
    return end == 17 && text[end] == '\0' && (mac[0] & 1) == 0; // a group address belongs to no one
}

static void mac_format(const uint8_t mac[static 6], char text[static 18])
{
    snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static bool is_bridge_named(const struct network_service *s, const char *name)
{
    return s->is_enabled &&
           (streq(name, "bridge") || streq(name, "default") || streq(name, s->records[NETWORK_BRIDGE].id));
}

static int check_request(const struct network_service *s, const struct network_request *q, struct error *err)
{
    uint8_t mac[6];
    if (!is_bridge_named(s, q->network))
        return error_set(err, ERROR_NOT_FOUND, "network %s not found", q->network);
    if (!str_is_empty(q->ip))
        return error_set(err, ERROR_INVALID,
                         "user specified IP address is supported on user defined networks only");
    if (!str_is_empty(q->mac) && !mac_parse(q->mac, mac))
        return error_set(err, ERROR_INVALID, "invalid MAC address: %s", q->mac);
    return 0;
}

// Give back the first n ports of an endpoint, and forget them.
static void give_ports_back(struct network_service *s, struct network_endpoint *e, size_t n)
{
    struct port_mapping *all CLEANUP(cleanup_free) = endpoint_mappings(e);
    for (size_t i = 0; i < n; i++)
        ports_give_back(&s->ports, all[i].protocol, all[i].host_ip, all[i].host_port);
}

// The address a port is published on.
static int publish_ip(const struct network_service *s, const struct network_port *p, uint32_t *ret,
                      struct error *err)
{
    *ret = s->default_publish_ip;
    if (p->host_ip[0] == '\0' || ip_parse(p->host_ip, ret))
        return 0;
    if (strchr(p->host_ip, ':') != NULL)
        return error_set(err, ERROR_UNSUPPORTED,
                         "publishing port %u on the IPv6 address %s is not supported yet", p->container_port,
                         p->host_ip);
    return error_set(err, ERROR_INVALID, "invalid IP address: %s", p->host_ip);
}

static int claim_ports(struct network_service *s, const struct network_port *ports, size_t n,
                       bool is_recovered, struct network_endpoint *e, struct error *err)
{
    e->ports = xcalloc(n + 1, sizeof *e->ports);
    e->port_count = n;
    for (size_t i = 0; i < n; i++) {
        struct network_port *p = &e->ports[i];
        uint32_t host_ip;
        *p = ports[i];
        if (publish_ip(s, &ports[i], &host_ip, err) == 0 &&
            ports_claim(&s->ports, &ports[i], host_ip, e->ip, is_recovered, &p->host_port, err) == 0) {
            p->last_host_port = 0;
            ip_format(host_ip, p->host_ip);
            continue;
        }
        e->port_count = i;
        give_ports_back(s, e, i);
        network_endpoint_done(e);
        return -1;
    }
    return 0;
}

static bool take_address(struct network_service *s, uint32_t *ret)
{
    pthread_mutex_lock(&s->lock);
    bool is_taken = ipam_take(&s->ipam, ret);
    pthread_mutex_unlock(&s->lock);
    return is_taken;
}

static void give_address_back(struct network_service *s, uint32_t address)
{
    pthread_mutex_lock(&s->lock);
    ipam_give_back(&s->ipam, address);
    pthread_mutex_unlock(&s->lock);
}

static struct network_endpoint copy_endpoint(const struct network_endpoint *e)
{
    struct network_endpoint copy = *e;
    copy.ports = e->port_count > 0 ? xmemdup(e->ports, e->port_count * sizeof *e->ports) : NULL;
    return copy;
}

static void remember(struct network_service *s, const struct network_endpoint *e, uint32_t ip,
                     bool is_plugged)
{
    struct attachment *a = NEW(struct attachment);
    *a = (struct attachment){ .endpoint = copy_endpoint(e), .ip = ip, .is_plugged = is_plugged };
    pthread_mutex_lock(&s->lock);
    struct attachment *former = map_put(&s->attachments, e->endpoint_id, a);
    pthread_mutex_unlock(&s->lock);
    if (former != NULL)
        attachment_free(former);
}

static void describe_endpoint(const struct network_service *s, const struct network_request *q, uint32_t ip,
                              struct network_endpoint *e)
{
    char digits[8];
    uint8_t mac[6] = {
        0x02, 0x42, (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip
    };
    snprintf(e->network_name, sizeof e->network_name, "bridge");
    snprintf(e->network_id, sizeof e->network_id, "%s", s->records[NETWORK_BRIDGE].id);
    id_new(e->endpoint_id);
    snprintf(e->container_id, sizeof e->container_id, "%s", q->container_id ? q->container_id : "");
    snprintf(e->container_name, sizeof e->container_name, "%s", q->container_name ? q->container_name : "");
    memcpy(digits, e->endpoint_id, 7);
    digits[7] = '\0';
    snprintf(e->host_interface, sizeof e->host_interface, "veth%s", digits);
    ip_format(ip, e->ip);
    ip_format(s->gateway, e->gateway);
    e->prefix_length = (uint8_t)s->prefix;
    if (!str_is_empty(q->mac))
        mac_parse(q->mac, mac);
    mac_format(
        mac,
        e->mac); // without one: from the address, so that neighbours' tables stay right when it comes back
}

int network_reserve(struct network_service *s, const struct network_request *q, struct network_endpoint *ret,
                    struct error *err)
{
    struct network_endpoint e = { 0 };
    uint32_t ip;
    if (check_request(s, q, err) < 0)
        return -1;
    if (!take_address(s, &ip))
        return error_set(err, ERROR_EXHAUSTED,
                         "no available IPv4 addresses on this network's address pools: bridge (%s)",
                         s->records[NETWORK_BRIDGE].id);
    describe_endpoint(s, q, ip, &e);
    if (claim_ports(s, q->ports, q->port_count, false, &e, err) < 0) {
        give_address_back(s, ip);
        return err->kind != ERROR_INTERNAL
                   ? -1
                   : error_wrap(err, "driver failed programming external connectivity on endpoint %s (%s)",
                                e.container_name, e.endpoint_id);
    }
    remember(s, &e, ip, false);
    *ret = e;
    return 0;
}

// --- plug
static int make_veth(struct network_service *s, const struct network_endpoint *e, int fd, int netns_fd)
{
    uint8_t mac[6];
    if (!mac_parse(e->mac, mac))
        return -EINVAL;
    struct link_veth veth = { .host_name = e->host_interface,
                              .master = atomic_load(&s->bridge_index),
                              .mtu = s->mtu,
                              .peer_name = NETWORK_CONTAINER_INTERFACE,
                              .peer_mac = mac,
                              .peer_netns_fd = netns_fd };
    int rc = link_add_veth(fd, &veth);
    bool is_isolated = !s->rules.is_inter_container_allowed, is_hairpin = atomic_load(&s->is_bridge_filtered);
    if (rc < 0 || (!is_isolated && !is_hairpin))
        return rc;
    int index = link_index(fd, e->host_interface);
    return index < 0 ? index : link_set_port(fd, (unsigned)index, is_isolated, is_hairpin);
}

// A socket of the container's namespace, opened by this thread while it is there. IPv6 is switched off on
// eth0 in passing: /proc/sys/net shows the namespace of the thread that looks.
static int open_inside(const struct network_service *s, int netns_fd)
{
    int rc = netns_enter(netns_fd);
    if (rc < 0)
        return rc;
    int fd = netlink_open(NETLINK_ROUTE);
    rc = file_write_existing_at(AT_FDCWD,
                                "/proc/sys/net/ipv6/conf/" NETWORK_CONTAINER_INTERFACE "/disable_ipv6", "1");
    netns_leave(s->home_netns_fd);
    if (rc < 0 && rc != -ENOENT)
        log_debug("disable IPv6 in a container: %s", strerror(-rc));
    return fd;
}

static int configure_inside(const struct network_service *s, const struct network_endpoint *e, int netns_fd)
{
    uint32_t ip, gateway;
    if (!ip_parse(e->ip, &ip) || !ip_parse(e->gateway, &gateway))
        return -EINVAL;
    int fd CLEANUP(cleanup_close) = open_inside(s, netns_fd);
    if (fd < 0)
        return fd;
    int index = link_index(fd, NETWORK_CONTAINER_INTERFACE);
    return index < 0 ? index : link_configure(fd, (unsigned)index, ip, e->prefix_length, gateway);
}

// Put the ports into the table and mark the attachment, so that a rebuild has them too.
static int publish(struct network_service *s, const struct network_endpoint *e, struct error *err)
{
    struct port_mapping *ports CLEANUP(cleanup_free) = endpoint_mappings(e);
    pthread_mutex_lock(&s->setup_lock);
    int rc = e->port_count > 0 ? ruleset_add_ports(&s->rules, ports, e->port_count) : 0;
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    if (a != NULL)
        a->is_plugged = rc == 0 || rc == -ENOENT;
    pthread_mutex_unlock(&s->lock);
    if (rc == -ENOENT) // someone flushed the host's rules
        rc = setup_now(s, err);
    else if (rc < 0)
        rc = error_errno(err, rc, "publish the ports of %s", e->container_name);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

// The pair is made; the bridge may have been deleted under us, then it is made anew.
static int connect_veth(struct network_service *s, const struct network_endpoint *e, int fd, int netns_fd,
                        struct error *err)
{
    int rc = make_veth(s, e, fd, netns_fd);
    if (rc == -ENODEV || rc == -EINVAL) {
        pthread_mutex_lock(&s->setup_lock);
        int made = setup_now(s, err);
        pthread_mutex_unlock(&s->setup_lock);
        if (made < 0)
            return -1;
        rc = make_veth(s, e, fd, netns_fd);
    }
    return rc < 0 ? error_errno(err, rc, "create the interfaces of %s", e->container_name) : 0;
}

int network_plug(struct network_service *s, const struct network_endpoint *e, int netns_fd, struct error *err)
{
    if (setup_once(s, err) < 0)
        return -1;
    int fd CLEANUP(cleanup_close) = netlink_open(NETLINK_ROUTE);
    if (fd < 0)
        return error_errno(err, fd, "open a netlink socket");
    if (connect_veth(s, e, fd, netns_fd, err) < 0)
        return -1;
    int rc = configure_inside(s, e, netns_fd);
    if (rc < 0)
        rc = error_errno(err, rc, "configure " NETWORK_CONTAINER_INTERFACE " of %s", e->container_name);
    else
        rc = publish(s, e, err);
    if (rc == 0) { // or the container's first packets are lost, and TCP and ARP try again after a second
        link_settle(fd, e->host_interface);
        link_settle(fd, s->bridge);
    } else {
        int index = link_index(fd, e->host_interface);
        if (index > 0)
            link_delete(fd, (unsigned)index);
    }
    return rc;
}

// --- release
static void unpublish(struct network_service *s, const struct attachment *a)
{
    size_t n = a->endpoint.port_count;
    struct port_mapping *ports CLEANUP(cleanup_free) = endpoint_mappings(&a->endpoint);
    if (ruleset_remove_ports(&s->rules, ports, n) != -ENOENT)
        return;
    for (size_t i = 0; i < n; i++) // one of them was gone; the others still are there
        ruleset_remove_ports(&s->rules, &ports[i], 1);
}

void network_release(struct network_service *s, const struct network_endpoint *e)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_remove(&s->attachments, e->endpoint_id);
    pthread_mutex_unlock(&s->lock);
    if (a == NULL)
        return;
    if (a->endpoint.port_count > 0) {
        pthread_mutex_lock(&s->setup_lock);
        if (a->is_plugged)
            unpublish(s, a);
        pthread_mutex_unlock(&s->setup_lock);
        give_ports_back(s, &a->endpoint, a->endpoint.port_count);
    }
    give_address_back(s, a->ip);
    attachment_free(a);
}

// --- restore
static int restore_one(struct network_service *s, const struct network_endpoint *e, struct error *err)
{
    struct network_endpoint own = *e;
    uint32_t ip;
    if (!is_bridge_named(s, e->network_name) || !ip_parse(e->ip, &ip))
        return error_set(err, ERROR_NOT_FOUND, "network %s not found", e->network_name);
    if (claim_ports(s, e->ports, e->port_count, true, &own, err) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    ipam_take_this(&s->ipam,
                   ip); // outside the range when --bip has changed: then no one else can get it either
    pthread_mutex_unlock(&s->lock);
    remember(s, &own, ip, true);
    network_endpoint_done(&own);
    return 0;
}

int network_restore(struct network_service *s, const struct network_endpoint *const *endpoints, size_t count,
                    struct error *err)
{
    if (!s->is_enabled && count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (restore_one(s, endpoints[i], err) < 0)
            return -1;
    if (count == 0 && !setup_has_bridge(s))
        return 0;
    pthread_mutex_lock(&s->setup_lock);
    int rc = setup_now(s, err);
    int stray_rc = rc == 0 ? setup_remove_strays(s) : 0;
    pthread_mutex_unlock(&s->setup_lock);
    return stray_rc < 0 ? error_errno(err, stray_rc, "remove leftovers from the bridge %s", s->bridge) : rc;
}
