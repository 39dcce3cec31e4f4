// Theory of operation
//
// networks  a table of values; the predefined ones are made anew at each open, with the ids they had. Creating one writes a
//           record and nothing else: the kernel learns of a network when the first container needs it (setup.c)
// endpoint  reserve takes addresses and ports in memory; nothing of the kernel but a bind test per port (endpoint.c)
// plug      one netlink message makes the veth pair (host side up and in the bridge, other side born in the container's
//           namespace), more in that namespace bring it up with addresses and routes; ports are one nftables transaction,
//           and only containers that publish any pay for it (plug.c)
// release   removes the ports' elements; the pair goes with the namespace
//
// Invariants: an address or port is taken from reserve to release; an attachment with is_plugged is in the table; the table
// can be rebuilt from networks and attachments at any time. The start path takes `lock` for look-ups and, with ports,
// setup_lock for one transaction.
#include "network/service.h"
#include "network/spread.h"

#include "base/fd.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "store/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

// Small networks: 15 x 256 of 172.17.0.0/16 on, 256 of 192.168.0.0/16, then 10.0.0.0/8.
static const struct address_pool default_pools[] = {
    { { { AF_INET, { 172, 18 } }, 15 }, 24 }, { { { AF_INET, { 172, 20 } }, 14 }, 24 },
    { { { AF_INET, { 172, 24 } }, 13 }, 24 }, { { { AF_INET, { 192, 168 } }, 16 }, 24 },
    { { { AF_INET, { 10 } }, 8 }, 24 },
};

static const char *const predefined_names[] = {
    [NETWORK_BRIDGE] = "bridge", [NETWORK_HOST] = "host", [NETWORK_NULL] = "none"
};
enum { PREDEFINED = sizeof predefined_names / sizeof *predefined_names };

// --- tables
void network_emit(struct network_service *s, const char *action, const struct network *n,
                  const char *container_id)
{
    const struct event_attribute attributes[] = { { "name", n->name },
                                                  { "type", network_driver_name(n->driver) },
                                                  { "container", container_id } };
    const struct event event = { .type = "network",
                                 .action = action,
                                 .actor_id = n->id,
                                 .attributes = attributes,
                                 .attribute_count = container_id ? 3 : 2 };
    if (s->events.emit)
        s->events.emit(s->events.context, &event);
}

struct network *network_lookup(struct network_service *s, const char *name, struct error *err)
{
    struct network *found = map_get(&s->networks, name);
    if (!found)
        found = map_get(&s->by_name, streq(name, "default") ? "bridge" : name);
    if (found && !found->is_leaving)
        return found;
    size_t at = 0;
    unsigned hits = 0;
    for (const struct map_entry *e; id_is_prefix(name) && (e = map_next(&s->networks, &at));)
        if (str_has_prefix(e->key, name) && !((struct network *)e->value)->is_leaving) {
            found = e->value;
            hits++;
        }
    if (hits == 1)
        return found;
    if (hits == 0)
        error_set(err, ERROR_NOT_FOUND, "network %s not found", name);
    else
        error_set(err, ERROR_INVALID, "network %s is ambiguous (%u matches found based on ID prefix)", name,
                  hits);
    return NULL;
}

// Gateways and auxiliary addresses are nobody's to take.
static void init_addresses(struct network *n)
{
    for (size_t i = 0; i < n->pool_count; i++) {
        struct network_pool *pool = &n->pools[i];
        const char *name;
        json_t *value;
        ipam_init(&pool->ipam, &pool->subnet, pool->range.length > 0 ? &pool->range : NULL);
        if (!ip_is_none(&pool->gateway))
            ipam_take_this(&pool->ipam, &pool->gateway);
        json_object_foreach(pool->reserved, name, value)
        {
            struct ip_address address;
            if (ip_parse(json_string_value(value), &address))
                ipam_take_this(&pool->ipam, &address);
        }
    }
}

// Takes the network.
static void enter(struct network_service *s, struct network *n)
{
    init_addresses(n);
    map_put(&s->networks, n->id, n);
    map_put(&s->by_name, n->name, n);
}

static int save(struct network_service *s, const struct network *n, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = network_record(n);
    return s->store != NULL ? meta_put(s->store, META_NETWORKS, n->id, record, err) : 0;
}

// --- the predefined networks
struct loading {
    struct network_service *service;
    char ids[PREDEFINED][65], created[PREDEFINED][TIME_TEXT_MAX];
    struct ip_prefix subnet; // the default bridge's, length 0: none
};

static void load_predefined(struct loading *l, int which, const char *id, const json_t *record)
{
    snprintf(l->ids[which], sizeof l->ids[which], "%s", id);
    snprintf(l->created[which], sizeof l->created[which], "%s", json_get_string(record, "Created", ""));
    const json_t *config = json_array_get(json_get_array(json_get_object(record, "IPAM"), "Config"), 0);
    if (which == NETWORK_BRIDGE && !ip_prefix_parse(json_get_string(config, "Subnet", ""), &l->subnet))
        l->subnet.length = 0;
}

static int visit_record(void *context, const char *id, const json_t *record)
{
    struct loading *l = context;
    const char *name = json_get_string(record, "Name", "");
    struct network *n;
    struct error err;
    for (int i = 0; i < PREDEFINED; i++)
        if (streq(name, predefined_names[i])) {
            if (id_is_full(id))
                load_predefined(l, i, id, record);
            return 0;
        }
    if (network_from_record(id, record, &n, &err) < 0) {
        log_warn("network %s is left out: %s", id, err.message);
        return 0;
    }
    enter(l->service, n);
    return 0;
}

static void describe_bridge(const struct network_service *s, struct network *n)
{
    char mtu[16], publish_ip[IP_TEXT_MAX];
    snprintf(mtu, sizeof mtu, "%d", s->mtu);
    ip_format(&s->default_publish_ip, publish_ip);
    json_set_string(n->options, "com.docker.network.bridge.default_bridge", "true");
    json_set_string(n->options, "com.docker.network.bridge.enable_icc",
                    s->is_inter_container_allowed ? "true" : "false");
    json_set_string(n->options, "com.docker.network.bridge.enable_ip_masquerade",
                    s->has_masquerade ? "true" : "false");
    json_set_string(n->options, "com.docker.network.bridge.host_binding_ipv4", publish_ip);
    json_set_string(n->options, "com.docker.network.bridge.name", s->bridge);
    json_set_string(n->options, "com.docker.network.driver.mtu", mtu);
}

static int make_predefined(struct network_service *s, int which, const char *bip, struct loading *l,
                           struct error *err)
{
    struct network *n = network_new();
    bool is_new = l->ids[which][0] == '\0';
    n->name = xstrdup(predefined_names[which]);
    n->driver = (enum network_driver)which;
    n->is_predefined = true;
    n->options = json_object();
    n->labels = json_object();
    snprintf(n->id, sizeof n->id, "%s", l->ids[which]);
    snprintf(n->created, sizeof n->created, "%s", l->created[which]);
    if (is_new) {
        id_new(n->id);
        time_format_rfc3339(time_now_ns(), n->created);
    }
    bool has_moved = false;
    if (which == NETWORK_BRIDGE) {
        struct ip_prefix gateway;
        if (setup_choose_range(s, bip, &l->subnet, &gateway, err) < 0) {
            network_free(n);
            return -1;
        }
        describe_bridge(s, n);
        n->pools[n->pool_count++] =
            (struct network_pool){ .subnet = ip_network(&gateway), .gateway = gateway.ip };
        has_moved = !ip_prefix_equals(&n->pools[0].subnet, &l->subnet);
    }
    int r = network_apply_options(n, err);
    if (r == 0 && (is_new || has_moved))
        r = save(s, n, err);
    if (r < 0)
        network_free(n);
    else
        enter(s, n);
    return r;
}

// Ids and times as they were, new ones where there are none.
static int load(struct network_service *s, const char *bip, struct error *err)
{
    struct loading l = { .service = s };
    if (s->store != NULL && meta_each(s->store, META_NETWORKS, visit_record, &l, err) < 0)
        return -1;
    for (int i = 0; i < PREDEFINED; i++)
        if ((i != NETWORK_BRIDGE || s->is_enabled) && make_predefined(s, i, bip, &l, err) < 0)
            return -1;
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
    if (!ip_parse(publish_ip, &s->default_publish_ip) || s->default_publish_ip.family != AF_INET)
        return error_set(err, ERROR_INVALID, "invalid --ip %s: not an IPv4 address", publish_ip);
    snprintf(s->bridge, sizeof s->bridge, "%s", bridge);
    s->mtu = o->mtu > 0 ? o->mtu : 1500;
    s->has_ip_forward = o->has_ip_forward;
    s->has_masquerade = o->has_masquerade;
    s->is_inter_container_allowed = o->is_inter_container_allowed;
    s->has_bridge_names = o->has_bridge_names && !str_is_empty(o->netd_program);
    s->events = o->events;
    s->pool_count = o->pools ? o->pool_count : sizeof default_pools / sizeof *default_pools;
    s->pools = xmemdup(o->pools ? o->pools : default_pools, s->pool_count * sizeof *s->pools);
    // Engines with bridges of their own have tables of their own.
    if (streq(bridge, "skiff0"))
        snprintf(s->rules.table, sizeof s->rules.table, "skiff");
    else
        snprintf(s->rules.table, sizeof s->rules.table, "skiff-%s", bridge);
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
        rc = load(s, options->bip, err);
    if (rc < 0) {
        network_service_close(s);
        return -1;
    }
    if (!str_is_empty(options->netd_program))
        s->names = name_service_new(s, options->netd_program, options->exec_root);
    *ret = s;
    return 0;
}

static void free_attachment(struct attachment *a)
{
    network_endpoint_done(&a->endpoint);
    free(a);
}

void network_service_close(struct network_service *s)
{
    if (s == NULL)
        return;
    const struct map_entry *e;
    watch_stop(s);
    spread_free_all(s);
    name_service_free(s->names);
    for (size_t at = 0; (e = map_next(&s->attachments, &at)) != NULL;)
        free_attachment(e->value);
    for (size_t at = 0; (e = map_next(&s->networks, &at)) != NULL;)
        network_free(e->value);
    map_done(&s->attachments);
    map_done(&s->by_name);
    map_done(&s->networks);
    ports_done(&s->ports);
    fd_close(s->home_netns_fd);
    fd_close(s->rules.fd);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->setup_lock);
    free(s->pools);
    free(s);
}

// --- create
struct taken {
    struct ip_prefix *items;
    size_t n;
};

static void taken_done(struct taken *t)
{
    free(t->items);
}

// What the host has routes to; the subnets of our networks, which need not be in the kernel, are added; lock held.
static void add_own_subnets(const struct network_service *s, struct taken *t)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&s->networks, &at));) {
        const struct network *n = e->value;
        t->items = xreallocarray(t->items, t->n + n->pool_count + 1, sizeof *t->items);
        for (size_t i = 0; i < n->pool_count; i++)
            t->items[t->n++] = n->pools[i].subnet;
    }
}

static bool has_pool(const struct network *n, int family)
{
    for (size_t i = 0; i < n->pool_count; i++)
        if (n->pools[i].subnet.ip.family == family)
            return true;
    return false;
}

// RFC 4193: fd, forty random bits, sixteen for the subnet.
static struct address_pool local_pool(void)
{
    struct address_pool pool = { { { AF_INET6, { 0xfd } }, 48 }, 64 };
    (void)!getrandom(pool.base.ip.bytes + 1, 5, 0);
    return pool;
}

static int choose_subnets(const struct network_service *s, struct network *n, const struct taken *taken,
                          struct error *err)
{
    const struct address_pool six = local_pool();
    if (n->has_ipv4 && !has_pool(n, AF_INET)) {
        if (!ipam_choose(s->pools, s->pool_count, taken->items, taken->n, &n->pools[n->pool_count].subnet))
            return error_set(err, ERROR_EXHAUSTED,
                             "could not find an available, non-overlapping IPv4 address pool among the "
                             "defaults to assign to the network");
        n->pool_count++;
    }
    if (n->has_ipv6 && !has_pool(n, AF_INET6) &&
        ipam_choose(&six, 1, taken->items, taken->n, &n->pools[n->pool_count].subnet))
        n->pool_count++;
    for (size_t i = 0; i < n->pool_count; i++) {
        struct network_pool *pool = &n->pools[i];
        if (ip_is_none(&pool->gateway))
            ip_prefix_at(&pool->subnet, 1, &pool->gateway);
    }
    return 0;
}

// Networks of macvlan and ipvlan lie in the networks of their parents, so only ours count; Docker allows the same subnet
// for two of them as little.
static int check_subnets(const struct network_service *s, const struct network *n, struct error *err)
{
    struct taken own CLEANUP(taken_done) = { 0 };
    add_own_subnets(s, &own);
    for (size_t i = 0; i < n->pool_count; i++) {
        bool is_met = false;
        for (size_t k = 0; k < own.n && !is_met; k++)
            is_met = ip_prefix_overlaps(&n->pools[i].subnet, &own.items[k]);
        for (size_t k = 0; k < i && !is_met; k++)
            is_met = ip_prefix_overlaps(&n->pools[i].subnet, &n->pools[k].subnet);
        if (is_met)
            return error_set(err, ERROR_DENIED,
                             "invalid pool request: Pool overlaps with other one on this address space");
    }
    return 0;
}

static int check_name(const struct network_service *s, const struct network *n, struct error *err)
{
    for (int i = 0; i < PREDEFINED; i++)
        if (streq(n->name, predefined_names[i]) || streq(n->name, "default"))
            return error_set(err, ERROR_DENIED, "operation is not permitted on predefined %s network",
                             n->name);
    if (n->driver == NETWORK_HOST || n->driver == NETWORK_NULL)
        return error_set(err, ERROR_DENIED, "only one instance of \"%s\" network is allowed",
                         network_driver_name(n->driver));
    if (map_get(&s->by_name, n->name))
        return error_set(err, ERROR_CONFLICT, "network with name %s already exists", n->name);
    return 0;
}

static int check_bridge(const struct network_service *s, const struct network *n, struct error *err)
{
    size_t at = 0;
    for (const struct map_entry *e; n->driver == NETWORK_BRIDGE && (e = map_next(&s->networks, &at));) {
        const struct network *other = e->value;
        if (other->driver == NETWORK_BRIDGE && streq(other->bridge, n->bridge))
            return error_set(err, ERROR_DENIED,
                             "cannot create network %s (%s): conflicts with network %s (%s): networks have "
                             "same bridge name",
                             n->id, n->bridge, other->id, other->bridge);
    }
    return 0;
}

// Lock held.
static int admit(struct network_service *s, struct network *n, struct taken *taken, struct error *err)
{
    add_own_subnets(s, taken);
    if (check_name(s, n, err) < 0 || check_bridge(s, n, err) < 0 || check_subnets(s, n, err) < 0 ||
        choose_subnets(s, n, taken, err) < 0 || save(s, n, err) < 0)
        return -1;
    enter(s, n);
    return 0;
}

int network_create(struct network_service *s, const json_t *request, char ret_id[static 65],
                   char **ret_warning, struct error *err)
{
    struct network *n;
    struct taken taken CLEANUP(taken_done) = { 0 };
    *ret_warning = NULL;
    if (network_config_parse(request, &n, err) < 0)
        return -1;
    id_new(n->id);
    time_format_rfc3339(time_now_ns(), n->created);
    int r = network_apply_options(n, err);
    n->is_bridge_foreign = r == 0 && setup_has_bridge(n);
    if (r == 0)
        r = setup_routes(&taken.items, &taken.n, err);
    if (r == 0) {
        pthread_mutex_lock(&s->lock);
        r = admit(s, n, &taken, err);
        pthread_mutex_unlock(&s->lock);
    }
    if (r < 0) {
        network_free(n);
        return -1;
    }
    snprintf(ret_id, 65, "%s", n->id);
    network_emit(s, "create", n, NULL);
    return 0;
}

// --- remove
static const struct attachment *first_attachment(const struct network_service *s, const struct network *n)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&s->attachments, &at));)
        if (((const struct attachment *)e->value)->network == n)
            return e->value;
    return NULL;
}

// From now on nobody is attached; lock held.
static int begin_removal(struct network_service *s, struct network *n, struct error *err)
{
    const struct attachment *a = first_attachment(s, n);
    if (n->is_predefined)
        return error_set(err, ERROR_DENIED, "%s is a pre-defined network and cannot be removed", n->name);
    if (a)
        return error_set(
            err, ERROR_DENIED,
            "error while removing network: network %s has active endpoints (name:\"%s\" id:\"%.12s\")",
            n->name, a->endpoint.container_name, a->endpoint.endpoint_id);
    n->is_leaving = true;
    return 0;
}

// The record goes last: an engine that is killed on the way leaves a network that can be removed again.
static int end_removal(struct network_service *s, struct network *n, struct error *err)
{
    int r = s->store != NULL ? meta_delete(s->store, META_NETWORKS, n->id, err) : 0;
    pthread_mutex_lock(&s->lock);
    n->is_leaving = false;
    if (r == 0) {
        map_remove(&s->networks, n->id);
        map_remove(&s->by_name, n->name);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

int network_remove(struct network_service *s, const char *name, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct network *n = network_lookup(s, name, err);
    int r = n ? begin_removal(s, n, err) : -1;
    pthread_mutex_unlock(&s->lock);
    if (r < 0)
        return -1;
    setup_remove(s, n);
    if (end_removal(s, n, err) < 0)
        return -1;
    network_emit(s, "destroy", n, NULL);
    network_free(n);
    return 0;
}

int network_prune(struct network_service *s, network_keeper *keeps, void *context, json_t **ret_names,
                  struct error *err)
{
    json_t *all CLEANUP(json_cleanup) = network_list(s), *network, *names = json_array();
    size_t i;
    (void)err; // one that has been taken into use meanwhile just stays
    json_array_foreach(all, i, network)
    {
        struct error ignored;
        if (json_get_bool(network, "Builtin", false) || (keeps && keeps(context, network)))
            continue;
        if (network_remove(s, json_get_string(network, "Id", ""), &ignored) == 0)
            json_array_append(names, json_object_get(network, "Name"));
    }
    *ret_names = names;
    return 0;
}

// --- list and inspect
static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct network *const *)a)->name, (*(struct network *const *)b)->name);
}

json_t *network_list(struct network_service *s)
{
    json_t *list = json_array();
    pthread_mutex_lock(&s->lock);
    struct network **all CLEANUP(cleanup_free) = xcalloc(s->networks.len + 1, sizeof *all);
    size_t at = 0, n = 0;
    for (const struct map_entry *e; (e = map_next(&s->networks, &at));)
        all[n++] = e->value;
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, network_document(all[i]));
    pthread_mutex_unlock(&s->lock);
    return list;
}

int network_inspect(struct network_service *s, const char *name, json_t **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    const struct network *n = network_lookup(s, name, err);
    *ret = n ? network_document(n) : NULL;
    pthread_mutex_unlock(&s->lock);
    return n ? 0 : -1;
}

int network_find(struct network_service *s, const char *name, struct network_info *ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    const struct network *n = network_lookup(s, name, err);
    if (n) {
        *ret = (struct network_info){ .driver = n->driver,
                                      .is_predefined = n->is_predefined,
                                      .is_internal = n->is_internal,
                                      .publishes = n->driver == NETWORK_BRIDGE && !n->is_internal,
                                      .has_gateway = n->driver != NETWORK_NULL && !n->is_internal,
                                      .has_own_pool = n->has_own_pool,
                                      .has_names = !n->is_predefined ||
                                                   (n->driver == NETWORK_BRIDGE && s->has_bridge_names) };
        snprintf(ret->id, sizeof ret->id, "%s", n->id);
        snprintf(ret->name, sizeof ret->name, "%s", n->name);
    }
    pthread_mutex_unlock(&s->lock);
    return n ? 0 : -1;
}
