// What a container has on a network, in memory: addresses and ports reserved, released, restored.
#include "network/service.h"
#include "network/spread.h"

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

// --- values
void network_endpoint_done(struct network_endpoint *endpoint)
{
    free(endpoint->ports);
    strv_free(endpoint->names);
    strv_free(endpoint->link_locals);
    endpoint->ports = NULL;
    endpoint->names = endpoint->link_locals = NULL;
    endpoint->port_count = 0;
}

struct network_endpoint network_endpoint_copy(const struct network_endpoint *e)
{
    struct network_endpoint copy = *e;
    copy.ports = e->port_count > 0 ? xmemdup(e->ports, e->port_count * sizeof *e->ports) : NULL;
    copy.names = strv_copy(e->names);
    copy.link_locals = strv_copy(e->link_locals);
    return copy;
}

struct port_mapping *endpoint_mappings(const struct network_endpoint *endpoint, size_t *ret_n)
{
    struct port_mapping *all = xcalloc(endpoint->port_count + 1, sizeof *all);
    struct ip_address own[2] = { { 0 } };
    ip_parse(endpoint->ip, &own[0]);
    ip_parse(endpoint->ip6, &own[1]);
    *ret_n = 0;
    for (size_t i = 0; i < endpoint->port_count; i++) {
        const struct network_port *p = &endpoint->ports[i];
        struct port_mapping *m = &all[*ret_n];
        *m = (struct port_mapping){ .protocol = p->protocol,
                                    .host_port = p->host_port,
                                    .container_port = p->container_port };
        if (!ip_parse(p->host_ip, &m->host_ip))
            continue;
        m->container_ip = own[m->host_ip.family == AF_INET6];
        if (!ip_is_none(&m->container_ip))
            ++*ret_n;
    }
    return all;
}

bool mac_parse(const char *text, uint8_t mac[static 6])
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

// --- ports
void endpoint_give_ports_back(struct network_service *s, const struct network_endpoint *e)
{
    for (size_t i = 0; i < e->port_count; i++) {
        struct ip_address host_ip;
        if (ip_parse(e->ports[i].host_ip, &host_ip))
            ports_give_back(&s->ports, e->ports[i].protocol, &host_ip, e->ports[i].host_port);
    }
}

bool endpoint_port_is_relayed(const struct network_endpoint *e, const struct network_port *p)
{
    struct ip_address host_ip;
    return p->protocol == NETWORK_TCP && ip_parse(p->host_ip, &host_ip) && host_ip.family == AF_INET6 &&
           (e->ip6[0] == '\0' || ip_is_any(&host_ip) || ip_is_loopback(&host_ip));
}

// UDP has no relay.
static bool can_be_relayed(const struct network_service *s, const struct network_port *want)
{
    return s->names && want->protocol == NETWORK_TCP && access("/proc/net/if_inet6", F_OK) == 0;
}

struct claim {
    struct network_service *service;
    struct network_endpoint *endpoint;
    bool is_recovered;
};

static bool is_short_id(const struct network_endpoint *e, const char *name)
{
    return strlen(name) == ID_SHORT_LEN && str_has_prefix(e->container_id, name);
}

// What a container can share a port by: its name and its aliases, on its network. A name with a dot is one of those with the
// network's behind it.
static char **sharers_of(const struct network_endpoint *e)
{
    char **all = NULL;
    for (size_t i = 0; e->names && e->names[i]; i++)
        if (!strchr(e->names[i], '.') && !is_short_id(e, e->names[i]))
            strv_take(&all, xasprintf("%s/%s", e->network_id, e->names[i]));
    return all;
}

// A container does not share with itself.
static bool has_port(const struct network_endpoint *e, const struct network_port *want,
                     const struct ip_address *host_ip)
{
    char ip[IP_TEXT_MAX];
    ip_format(host_ip, ip);
    for (size_t i = 0; i < e->port_count; i++)
        if (e->ports[i].protocol == want->protocol && e->ports[i].host_port == want->host_port &&
            streq(e->ports[i].host_ip, ip))
            return true;
    return false;
}

static int claim_one(struct claim *c, const struct network_port *want, const struct ip_address *host_ip,
                     struct error *err)
{
    struct network_endpoint *e = c->endpoint;
    struct network_port *p = &e->ports[e->port_count];
    const char *container_ip = host_ip->family == AF_INET6 ? e->ip6 : e->ip;
    *p = *want;
    bool may_share = want->host_port != 0 && want->last_host_port == 0 && !has_port(e, want, host_ip);
    ip_format(host_ip, p->host_ip);
    char **sharers CLEANUP(strv_freep) = may_share ? sharers_of(e) : NULL;
    bool may_be_ours = c->is_recovered || (endpoint_port_is_relayed(e, p) && relays_are_resuming(c->service));
    if (ports_claim(&c->service->ports, want, host_ip, container_ip, may_be_ours, sharers, &p->host_port,
                    err) < 0)
        return -1;
    p->last_host_port = 0;
    e->port_count++;
    return 0;
}

// Without an address: every address of each family the endpoint has, on the same port.
static int claim_everywhere(struct claim *c, const struct network *n, const struct network_port *want,
                            struct error *err)
{
    static const struct ip_address any6 = { .family = AF_INET6 };
    struct ip_address four = ip_is_none(&n->publish_ip) ? c->service->default_publish_ip : n->publish_ip;
    struct network_port six = *want;
    if (c->endpoint->ip[0] != '\0') {
        if (claim_one(c, want, &four, err) < 0)
            return -1;
        six.host_port = c->endpoint->ports[c->endpoint->port_count - 1].host_port;
        six.last_host_port = 0;
    }
    if (!ip_is_any(&four)) // an address was chosen for all: it is of IPv4
        return 0;
    if (c->endpoint->ip6[0] == '\0' && !can_be_relayed(c->service, want))
        return 0;
    return claim_one(c, &six, &any6, err);
}

static int claim_port(struct claim *c, const struct network *n, const struct network_port *want,
                      struct error *err)
{
    struct ip_address host_ip;
    if (want->host_ip[0] == '\0')
        return claim_everywhere(c, n, want, err);
    if (!ip_parse(want->host_ip, &host_ip))
        return error_set(err, ERROR_INVALID, "invalid IP address: %s", want->host_ip);
    bool is_six = host_ip.family == AF_INET6;
    if (is_six ? c->endpoint->ip6[0] == '\0' && !can_be_relayed(c->service, want)
               : c->endpoint->ip[0] == '\0')
        return error_set(err, ERROR_UNSUPPORTED,
                         "publishing port %u on the IPv%d address %s: the container has none on network %s",
                         want->container_port, is_six ? 6 : 4, want->host_ip, n->name);
    return claim_one(c, want, &host_ip, err);
}

int endpoint_claim_ports(struct network_service *s, const struct network *n, const struct network_port *ports,
                         size_t count, bool is_recovered, struct network_endpoint *e, struct error *err)
{
    struct claim claim = { s, e, is_recovered };
    e->ports = xcalloc(2 * count + 1, sizeof *e->ports);
    e->port_count = 0;
    for (size_t i = 0; i < count; i++)
        if (claim_port(&claim, n, &ports[i], err) < 0) {
            endpoint_give_ports_back(s, e);
            free(TAKE_PTR(e->ports));
            e->port_count = 0;
            return -1;
        }
    return 0;
}

// --- addresses; lock held
static int take_named(struct network *n, const char *text, int family, struct ip_prefix *ret,
                      struct ip_address *ret_gateway, struct error *err)
{
    struct ip_address address;
    if (!ip_parse(text, &address) || address.family != family)
        return error_set(err, ERROR_INVALID, "invalid IPv%d address: %s", family == AF_INET6 ? 6 : 4, text);
    for (size_t i = 0; i < n->pool_count; i++) {
        struct network_pool *pool = &n->pools[i];
        if (!ip_prefix_contains(&pool->subnet, &address))
            continue;
        if (!ipam_take_this(&pool->ipam, &address))
            return error_set(err, ERROR_DENIED, "Address already in use");
        *ret = (struct ip_prefix){ address, pool->subnet.length };
        *ret_gateway = pool->gateway;
        return 0;
    }
    return error_set(err, ERROR_INVALID,
                     "invalid config for network %s: invalid endpoint settings:\nno configured subnet or "
                     "ip-range contain the "
                     "IP address %s",
                     n->name, text);
}

static int take_any(struct network *n, int family, struct ip_prefix *ret, struct ip_address *ret_gateway,
                    struct error *err)
{
    for (size_t i = 0; i < n->pool_count; i++) {
        struct network_pool *pool = &n->pools[i];
        if (pool->subnet.ip.family != family || !ipam_take(&pool->ipam, &ret->ip))
            continue;
        ret->length = pool->subnet.length;
        *ret_gateway = pool->gateway;
        return 0;
    }
    return error_set(err, ERROR_EXHAUSTED,
                     "no available IPv%d addresses on this network's address pools: %s (%s)",
                     family == AF_INET6 ? 6 : 4, n->name, n->id);
}

static void give_back(struct network *n, const char *text)
{
    struct ip_address address;
    for (size_t i = 0; ip_parse(text, &address) && i < n->pool_count; i++)
        if (ip_prefix_contains(&n->pools[i].subnet, &address))
            ipam_give_back(&n->pools[i].ipam, &address);
}

static int take_address(struct network *n, int family, const char *wanted, char *ret_ip, char *ret_gateway,
                        uint8_t *ret_length, struct error *err)
{
    struct ip_prefix own;
    struct ip_address gateway;
    int r = str_is_empty(wanted) ? take_any(n, family, &own, &gateway, err)
                                 : take_named(n, wanted, family, &own, &gateway, err);
    if (r < 0)
        return -1;
    ip_format(&own.ip, ret_ip);
    ip_format(&gateway, ret_gateway);
    *ret_length = own.length;
    return 0;
}

static int take_addresses(struct network *n, const struct network_request *q, struct network_endpoint *e,
                          struct error *err)
{
    if (n->driver == NETWORK_HOST || n->driver == NETWORK_NULL)
        return 0;
    if (n->has_ipv4 && take_address(n, AF_INET, q->ip, e->ip, e->gateway, &e->prefix_length, err) < 0)
        return -1;
    if (n->has_ipv6 && take_address(n, AF_INET6, q->ip6, e->ip6, e->gateway6, &e->prefix6_length, err) < 0) {
        give_back(n, e->ip);
        return -1;
    }
    return 0;
}

// --- reserve
static int check_request(const struct network *n, const struct network_request *q, struct error *err)
{
    uint8_t mac[6];
    bool wants_address = !str_is_empty(q->ip) || !str_is_empty(q->ip6);
    if (wants_address && n->is_predefined)
        return error_set(err, ERROR_INVALID,
                         "user specified IP address is supported on user defined networks only");
    if (wants_address && !n->has_own_pool)
        return error_set(err, ERROR_INVALID,
                         "user specified IP address is supported only when connecting to networks with user "
                         "configured subnets");
    if (!str_is_empty(q->mac) && !mac_parse(q->mac, mac))
        return error_set(err, ERROR_INVALID, "invalid MAC address: %s", q->mac);
    return 0;
}

// Without one given: from the address, so that neighbours' tables stay right when it comes back.
static void choose_mac(const struct network_request *q, struct network_endpoint *e)
{
    uint8_t mac[6] = { 0x02, 0x42 };
    struct ip_address ip;
    if (!str_is_empty(q->mac))
        mac_parse(q->mac, mac);
    else if (ip_parse(e->ip, &ip))
        memcpy(mac + 2, ip.bytes, 4);
    else
        (void)!getrandom(mac + 2, 4, 0);
    mac_format(mac, e->mac);
}

static void describe(const struct network *n, const struct network_request *q, struct network_endpoint *e)
{
    snprintf(e->network_name, sizeof e->network_name, "%s", n->name);
    snprintf(e->network_id, sizeof e->network_id, "%s", n->id);
    id_new(e->endpoint_id);
    snprintf(e->container_id, sizeof e->container_id, "%s", q->container_id ? q->container_id : "");
    snprintf(e->container_name, sizeof e->container_name, "%s", q->container_name ? q->container_name : "");
    snprintf(e->interface, sizeof e->interface, "%s",
             q->interface ? q->interface : NETWORK_CONTAINER_INTERFACE);
    if (n->driver == NETWORK_BRIDGE)
        snprintf(e->host_interface, sizeof e->host_interface, "veth%.7s", e->endpoint_id);
    e->names = strv_copy(q->names);
    e->link_locals = strv_copy(q->link_locals);
    choose_mac(q, e);
}

// Lock held.
static void remember(struct network_service *s, struct network *n, const struct network_endpoint *e,
                     bool is_plugged)
{
    struct attachment *a = NEW(struct attachment);
    *a = (struct attachment){ .endpoint = network_endpoint_copy(e), .network = n, .is_plugged = is_plugged };
    struct attachment *former = map_put(&s->attachments, e->endpoint_id, a);
    if (former != NULL) {
        network_endpoint_done(&former->endpoint);
        free(former);
    }
}

// The attachment holds the network from here on.
static int attach(struct network_service *s, const struct network_request *q, struct network_endpoint *e,
                  struct network **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct network *n = network_lookup(s, q->network, err);
    int r = n && check_request(n, q, err) == 0 && take_addresses(n, q, e, err) == 0 ? 0 : -1;
    if (r == 0) {
        describe(n, q, e);
        remember(s, n, e, false);
    }
    pthread_mutex_unlock(&s->lock);
    *ret = n;
    return r;
}

void network_rename(struct network_service *s, const struct network_endpoint *e)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    if (a) {
        strv_free(a->endpoint.names);
        a->endpoint.names = strv_copy(e->names);
        snprintf(a->endpoint.container_name, sizeof a->endpoint.container_name, "%s", e->container_name);
    }
    pthread_mutex_unlock(&s->lock);
    if (a)
        names_publish(s, e);
}

static void replace_ports(struct network_service *s, const struct network_endpoint *e)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    if (a) {
        network_endpoint_done(&a->endpoint);
        a->endpoint = network_endpoint_copy(e);
    }
    pthread_mutex_unlock(&s->lock);
}

int network_reserve(struct network_service *s, const struct network_request *q, struct network_endpoint *ret,
                    struct error *err)
{
    struct network_endpoint e = { 0 };
    struct network *n;
    if (attach(s, q, &e, &n, err) < 0)
        return -1;
    if (q->port_count > 0 && endpoint_claim_ports(s, n, q->ports, q->port_count, false, &e, err) < 0) {
        network_release(s, &e);
        network_endpoint_done(&e);
        return err->kind != ERROR_INTERNAL
                   ? -1
                   : error_wrap(err, "driver failed programming external connectivity on endpoint %s (%s)",
                                e.container_name, e.endpoint_id);
    }
    if (q->port_count > 0)
        replace_ports(s, &e);
    *ret = e;
    return 0;
}

struct network *network_of_endpoint(struct network_service *s, const struct network_endpoint *e)
{
    pthread_mutex_lock(&s->lock);
    const struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    struct network *n = a ? a->network : NULL;
    pthread_mutex_unlock(&s->lock);
    return n;
}

// --- release
// The attachment, for whoever asks first.
static struct attachment *begin_release(struct network_service *s, const char *endpoint_id)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, endpoint_id);
    if (a && a->is_leaving)
        a = NULL;
    if (a)
        a->is_leaving = true;
    pthread_mutex_unlock(&s->lock);
    return a;
}

// Was it plugged? From now on it is not. setup_lock held.
static bool take_unplugged(struct network_service *s, struct attachment *a)
{
    pthread_mutex_lock(&s->lock);
    bool was_plugged = a->is_plugged;
    a->is_plugged = false;
    pthread_mutex_unlock(&s->lock);
    return was_plugged;
}

void network_set_fit(struct network_service *s, const char *container_id, bool is_fit)
{
    struct error ignored;
    bool has_changed = false;
    size_t at = 0;
    pthread_mutex_lock(&s->setup_lock);
    pthread_mutex_lock(&s->lock);
    for (const struct map_entry *e; (e = map_next(&s->attachments, &at)) != NULL;) {
        struct attachment *a = e->value;
        if (!streq(a->endpoint.container_id, container_id) || a->is_unfit == !is_fit)
            continue;
        a->is_unfit = !is_fit;
        has_changed |= a->endpoint.port_count > 0;
    }
    pthread_mutex_unlock(&s->lock);
    if (has_changed && spread_refresh_all(s) < 0)
        setup_table(s, &ignored);
    pthread_mutex_unlock(&s->setup_lock);
}

void network_release(struct network_service *s, const struct network_endpoint *e)
{
    struct attachment *a = begin_release(s, e->endpoint_id);
    if (a == NULL)
        return;
    bool was_plugged = a->is_plugged;
    if (a->endpoint.port_count > 0) {
        pthread_mutex_lock(&s->setup_lock);
        was_plugged = take_unplugged(s, a);
        if (was_plugged)
            spread_unpublish(s, &a->endpoint);
        pthread_mutex_unlock(&s->setup_lock);
        if (was_plugged)
            relays_close(s, &a->endpoint);
        endpoint_give_ports_back(s, &a->endpoint);
    }
    names_withdraw(s, &a->endpoint);
    if (was_plugged)
        network_emit(s, "disconnect", a->network, a->endpoint.container_id);
    pthread_mutex_lock(&s->lock); // the network is held until here
    map_remove(&s->attachments, e->endpoint_id);
    give_back(a->network, a->endpoint.ip);
    give_back(a->network, a->endpoint.ip6);
    pthread_mutex_unlock(&s->lock);
    network_endpoint_done(&a->endpoint);
    free(a);
}

// --- restore
static int restore_one(struct network_service *s, const struct network_endpoint *e, struct error *err)
{
    struct network_endpoint own = *e;
    struct ip_address address;
    pthread_mutex_lock(&s->lock);
    struct network *n = network_lookup(s, e->network_id, err);
    for (size_t i = 0; n && i < n->pool_count;
         i++) { // outside when --bip has changed: then no one else can get it either
        if (ip_parse(e->ip, &address))
            ipam_take_this(&n->pools[i].ipam, &address);
        if (ip_parse(e->ip6, &address))
            ipam_take_this(&n->pools[i].ipam, &address);
    }
    pthread_mutex_unlock(&s->lock);
    if (!n)
        return -1;
    own.ports = NULL;
    own.names = strv_copy(e->names);
    own.link_locals = strv_copy(e->link_locals);
    own.port_count = 0;
    if (endpoint_claim_ports(s, n, e->ports, e->port_count, true, &own, err) < 0) {
        network_endpoint_done(&own);
        return -1;
    }
    pthread_mutex_lock(&s->lock);
    remember(s, n, &own, true);
    atomic_store(&n->is_ready, true); // setup_table below finds it among those it makes
    pthread_mutex_unlock(&s->lock);
    relays_restore(s, &own);
    network_endpoint_done(&own);
    return 0;
}

int network_restore(struct network_service *s, const struct network_endpoint *const *endpoints, size_t count,
                    struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (restore_one(s, endpoints[i], err) < 0)
            return -1;
    return setup_restore(s, err);
}
