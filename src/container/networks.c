#include "container/networks.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/hostfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static json_t *endpoints_config(const struct container *c)
{
    return json_get_object(c->networking_document, "EndpointsConfig");
}

static json_t *networking_of(json_t *endpoints)
{
    json_t *document = json_object();
    json_object_set_new(document, "EndpointsConfig", endpoints);
    return document;
}

// --- what a request may ask
static int check_entry(const struct network_info *n, const json_t *entry, struct error *err)
{
    static const char *const families[] = { "IPv4Address", "IPv6Address" };
    const json_t *ipam = json_get_object(entry, "IPAMConfig");
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_get_string(ipam, families[i], "");
        struct ip_address address;
        if (str_is_empty(text))
            continue;
        if (!ip_parse(text, &address) || (address.family == AF_INET6) != (i == 1))
            return error_set(
                err, ERROR_INVALID,
                "invalid config for network %s: invalid endpoint settings:\ninvalid IPv%d address: %s",
                n->name, i == 1 ? 6 : 4, text);
        if (n->is_predefined)
            return error_set(err, ERROR_INVALID,
                             "user specified IP address is supported on user defined networks only");
        if (!n->has_own_pool)
            return error_set(err, ERROR_INVALID,
                             "invalid config for network %s: invalid endpoint settings:\nuser specified IP "
                             "address is supported "
                             "only when connecting to networks with user configured subnets",
                             n->name);
    }
    CLEANUP(strv_freep) char **link_locals = json_get_strv(ipam, "LinkLocalIPs");
    for (size_t i = 0; link_locals && link_locals[i]; i++) {
        struct ip_address address;
        if (!ip_parse(link_locals[i], &address) || !ip_is_link_local(&address))
            return error_set(err, ERROR_INVALID,
                             "invalid config for network %s: invalid endpoint settings:\ninvalid link-local "
                             "IP address: %s",
                             n->name, link_locals[i]);
    }
    if (n->is_predefined && json_array_size(json_get_array(entry, "Aliases")))
        return error_set(err, ERROR_INVALID,
                         "network-scoped aliases are only supported for user-defined networks");
    if (n->is_predefined && json_array_size(json_get_array(entry, "Links")))
        return error_set(err, ERROR_INVALID,
                         "network-scoped links are only supported for user-defined networks");
    return 0;
}

static int check_driver(const struct network_info *n, struct error *err)
{
    if (n->driver == NETWORK_HOST)
        return error_set(err, ERROR_INVALID,
                         "container cannot be disconnected from host network or connected to host network");
    if (n->driver == NETWORK_NULL)
        return error_set(err, ERROR_INVALID,
                         "container cannot be connected to multiple networks with one of the networks in "
                         "private (none) mode");
    return 0;
}

// An entry under its network's own name. The request may name it by id.
static int add_entry(struct container *c, json_t *to, const char *name, const json_t *entry,
                     struct error *err)
{
    struct network_info n;
    if (network_find(c->service->networks, name, &n, err) < 0 || check_driver(&n, err) < 0 ||
        check_entry(&n, entry, err) < 0)
        return -1;
    json_object_set_new(to, n.name, json_is_object(entry) ? json_deep_copy(entry) : json_object());
    return 0;
}

static bool is_named(struct container *c, const char *name, const struct network_info *n)
{
    struct network_info other;
    struct error ignored;
    return network_find(c->service->networks, name, &other, &ignored) == 0 && streq(other.id, n->id);
}

// To a client that creates a container, 404 would mean that the image is missing.
static int not_the_image(struct error *err)
{
    err->kind = err->kind == ERROR_NOT_FOUND ? ERROR_INVALID : err->kind;
    return -1;
}

// The network of NetworkMode comes first, with what the request says of it; the others in the request's order.
static int resolve_private(struct container *c, const json_t *requested, json_t *to, struct error *err)
{
    struct network_info primary;
    const json_t *own = NULL;
    const char *key, *own_key = NULL;
    json_t *entry;
    if (network_find(c->service->networks, c->config.network_name, &primary, err) < 0)
        return not_the_image(err);
    json_object_foreach((json_t *)(uintptr_t)requested, key, entry) if (is_named(c, key, &primary))
    {
        own = entry;
        own_key = key;
    }
    if (add_entry(c, to, primary.name, own, err) < 0)
        return -1;
    json_object_foreach((json_t *)(uintptr_t)requested, key,
                        entry) if (key != own_key && add_entry(c, to, key, entry, err) < 0) return -1;
    return 0;
}

int networks_resolve(struct container *c, const json_t *networking_config, struct error *err)
{
    const json_t *requested = json_get_object(networking_config, "EndpointsConfig");
    json_t *to CLEANUP(json_cleanup) = json_object(), *entry;
    const char *key;
    if (c->config.network.kind == NS_MODE_PRIVATE && resolve_private(c, requested, to, err) < 0)
        return -1;
    json_object_foreach((json_t *)(uintptr_t)requested, key, entry)
    {
        struct network_info n;
        if (c->config.network.kind == NS_MODE_PRIVATE)
            break;
        if (network_find(c->service->networks, key, &n, err) < 0)
            return not_the_image(err);
        if (n.driver != NETWORK_HOST && n.driver != NETWORK_NULL) // the client says "host" or "none" again
            return error_set(
                err, ERROR_INVALID,
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
    }
    c->networking_document = networking_of(TAKE_PTR(to));
    return 0;
}

void networks_load(struct container *c, json_t *document)
{
    json_t *endpoints = json_get_object(document, "EndpointsConfig");
    bool is_whole = json_object_size(endpoints) > 0 || c->config.network.kind != NS_MODE_PRIVATE;
    if (document && is_whole) {
        c->networking_document = json_incref(document);
        return;
    }
    json_t *made = json_object(); // of a record that does not repeat what NetworkMode says
    if (c->config.network.kind == NS_MODE_PRIVATE && !document)
        json_object_set_new(made, c->config.network_name, json_object());
    c->networking_document = networking_of(made);
}

// --- who leads out, who has the ports
struct candidate {
    struct network_info network;
    int64_t priority;
};

static int find_candidates(const struct container *c, const json_t *endpoints, struct candidate **ret,
                           size_t *ret_n, struct error *err)
{
    struct candidate *all = xcalloc(json_object_size(endpoints) + 1, sizeof *all);
    const char *name;
    json_t *entry;
    *ret_n = 0;
    json_object_foreach((json_t *)(uintptr_t)endpoints, name, entry)
    {
        struct candidate *k = &all[(*ret_n)++];
        if (network_find(c->service->networks, name, &k->network, err) < 0) {
            free(all);
            return -1;
        }
        k->priority = json_get_int(entry, "GwPriority", 0);
    }
    *ret = all;
    return 0;
}

// The highest priority wins, then the first by name. -1: none is fit.
static int choose(const struct candidate *all, size_t n,
                  bool (*is_fit)(const struct candidate *, const void *), const void *context)
{
    int best = -1;
    for (size_t i = 0; i < n; i++) {
        if (!is_fit(&all[i], context))
            continue;
        bool is_better = best < 0 || all[i].priority > all[best].priority ||
                         (all[i].priority == all[best].priority &&
                          strcmp(all[i].network.name, all[best].network.name) < 0);
        if (is_better)
            best = (int)i;
    }
    return best;
}

static bool can_publish(const struct candidate *k, const void *context)
{
    (void)context;
    return k->network.publishes;
}

struct family_ways {
    const struct network_endpoint *endpoints;
    size_t count;
    bool is_six;
};

static bool leads_out(const struct candidate *k, const void *context)
{
    const struct family_ways *w = context;
    for (size_t i = 0; i < w->count; i++)
        if (streq(w->endpoints[i].network_id, k->network.id))
            return k->network.has_gateway &&
                   *(w->is_six ? w->endpoints[i].gateway6 : w->endpoints[i].gateway);
    return false;
}

static void set_ways_out(const struct candidate *all, size_t n, struct network_endpoint *endpoints,
                         size_t count)
{
    const struct family_ways four = { endpoints, count, false }, six = { endpoints, count, true };
    int way = choose(all, n, leads_out, &four), way6 = choose(all, n, leads_out, &six);
    for (size_t i = 0; i < count; i++) {
        endpoints[i].is_way_out = way >= 0 && streq(endpoints[i].network_id, all[way].network.id);
        endpoints[i].is_way_out6 = way6 >= 0 && streq(endpoints[i].network_id, all[way6].network.id);
    }
}

// --- names
static bool is_on_default(const struct network_endpoint *e)
{
    return streq(e->network_name, "bridge");
}

bool networks_have_names(const struct container *c)
{
    for (size_t i = 0; i < c->endpoint_count; i++)
        if (strv_len(c->endpoints[i].names) && !is_on_default(&c->endpoints[i]))
            return true;
    return false;
}

bool networks_have_bridge_names(const struct container *c)
{
    return c->endpoint_count == 1 && is_on_default(&c->endpoints[0]) && strv_len(c->endpoints[0].names) &&
           !strv_len(c->config.dns);
}

// What others find it by: its name with the network's (which is what its address is called), its name, its short id, its aliases.
static char **names_on(const struct container *c, const char *own, const struct network_info *n,
                       const json_t *entry)
{
    char **names = NULL, **aliases CLEANUP(strv_freep) = json_get_strv(entry, "Aliases");
    if (!n->has_names)
        return NULL;
    strv_take(&names, xasprintf("%s.%s", own, n->name));
    strv_push(&names, own);
    strv_take(&names, xstrndup(c->id, ID_SHORT_LEN));
    for (size_t i = 0; aliases && aliases[i]; i++) {
        strv_push(&names, aliases[i]);
        strv_take(&names, xasprintf("%s.%s", aliases[i], n->name));
    }
    return names;
}

// "db:database" of each network's Links as "database=db"; "db" alone is its own alias.
static char **links_of(const struct container *c)
{
    char **links = NULL;
    const char *name;
    json_t *entry;
    json_object_foreach(endpoints_config(c), name, entry)
    {
        char **list CLEANUP(strv_freep) = json_get_strv(entry, "Links");
        for (size_t i = 0; list && list[i]; i++) {
            char *colon = strchr(list[i], ':');
            if (colon)
                strv_take(&links, xasprintf("%s=%.*s", colon + 1, (int)(colon - list[i]), list[i]));
        }
    }
    return links;
}

static size_t upstreams_of(const struct container *c, struct ip_address *list)
{
    CLEANUP(str_done) struct str host = STR_INIT;
    file_read_at(AT_FDCWD, "/etc/resolv.conf", 1 << 20, &host);
    return hostfile_upstreams(&c->config, host.ptr, list, NETWORK_UPSTREAMS_MAX);
}

static int start_resolver(struct container *c, pid_t pid, bool is_resumed, struct error *err)
{
    CLEANUP(strv_freep) char **links = links_of(c);
    struct ip_address upstreams[NETWORK_UPSTREAMS_MAX];
    struct network_resolver resolver = {
        .container_id = c->id, .pid = pid, .links = links, .upstreams = upstreams
    };
    if (!networks_have_names(c))
        return 0;
    resolver.upstream_count = upstreams_of(c, upstreams);
    if (!is_resumed)
        return network_resolver_start(c->service->networks, &resolver, err);
    network_resolver_resume(c->service->networks, &resolver);
    return 0;
}

void networks_resume(struct container *c)
{
    struct ip_address upstreams[NETWORK_UPSTREAMS_MAX];
    struct error ignored;
    start_resolver(c, c->state.pid, true, &ignored);
    if (networks_have_bridge_names(c)) {
        CLEANUP(str_done) struct str host = STR_INIT;
        hostfile_read_resolv_conf(&host);
        size_t n = hostfile_upstreams(&c->config, host.ptr, upstreams, NETWORK_UPSTREAMS_MAX);
        network_bridge_resolver_resume(c->service->networks, upstreams, n);
    }
}

// --- a run's endpoints
static void endpoints_free(struct network_endpoint *endpoints, size_t n)
{
    for (size_t i = 0; i < n; i++)
        network_endpoint_done(&endpoints[i]);
    free(endpoints);
}

static void take_endpoints(struct container *c, struct network_endpoint **ret, size_t *ret_n)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->endpoints;
    *ret_n = c->endpoint_count;
    c->endpoints = NULL;
    c->endpoint_count = 0;
    pthread_mutex_unlock(&c->lock);
}

void container_release_network(struct container *c)
{
    struct network_endpoint *endpoints;
    size_t n;
    take_endpoints(c, &endpoints, &n);
    if (n > 0)
        network_resolver_stop(c->service->networks, c->id);
    for (size_t i = 0; i < n; i++)
        network_release(c->service->networks, &endpoints[i]);
    endpoints_free(endpoints, n);
}

void networks_endpoints_forget(struct container *c)
{
    struct network_endpoint *endpoints;
    size_t n;
    take_endpoints(c, &endpoints, &n);
    endpoints_free(endpoints, n);
}

static char *own_name(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    char *name = xstrdup(c->name);
    pthread_mutex_unlock(&c->lock);
    return name;
}

static const char *wanted_mac(const struct container *c, const json_t *entry, bool is_first)
{
    const char *mac = json_get_string(entry, "MacAddress", "");
    return !str_is_empty(mac) ? mac : is_first ? c->config.mac_address : NULL;
}

// The entry's own name for its interface, or eth<n>.
static void name_interface(const json_t *entry, unsigned number, char name[static 16])
{
    const char *wanted =
        json_get_string(json_get_object(entry, "DriverOpts"), "com.docker.network.endpoint.ifname", "");
    if (str_is_empty(wanted) || strlen(wanted) > 15 || strpbrk(wanted, "/ \t\n:.") != NULL)
        snprintf(name, 16, "eth%u", number);
    else
        snprintf(name, 16, "%s", wanted);
}

static int reserve_one(struct container *c, const struct network_info *n, const json_t *entry,
                       unsigned number, bool has_ports, struct network_endpoint *ret, struct error *err)
{
    char *name CLEANUP(cleanup_free) = own_name(c), interface[16];
    char **names CLEANUP(strv_freep) = names_on(c, name, n, entry);
    const json_t *ipam = json_get_object(entry, "IPAMConfig");
    char **link_locals CLEANUP(strv_freep) = json_get_strv(ipam, "LinkLocalIPs");
    name_interface(entry, number, interface);
    const struct network_request request = { .container_id = c->id,
                                             .container_name = name,
                                             .network = n->id,
                                             .interface = interface,
                                             .mac = wanted_mac(c, entry, number == 0),
                                             .ip = json_get_string(ipam, "IPv4Address", NULL),
                                             .ip6 = json_get_string(ipam, "IPv6Address", NULL),
                                             .ports = c->config.ports,
                                             .port_count = has_ports ? c->config.port_count : 0,
                                             .names = names,
                                             .link_locals = link_locals };
    return network_reserve(c->service->networks, &request, ret, err);
}

int networks_reserve(struct container *c, struct error *err)
{
    struct candidate *all CLEANUP(cleanup_free) = NULL;
    size_t n = 0, i = 0;
    const char *name;
    json_t *entry, *config = endpoints_config(c);
    container_release_network(c); // a former run's, when its cleaning up has not come to it yet
    if (find_candidates(c, config, &all, &n, err) < 0)
        return -1;
    int owner = choose(all, n, can_publish, NULL);
    struct network_endpoint *endpoints = xcalloc(n + 1, sizeof *endpoints);
    json_object_foreach(config, name, entry)
    {
        if (reserve_one(c, &all[i].network, entry, (unsigned)i, (int)i == owner, &endpoints[i], err) < 0)
            break;
        i++;
    }
    set_ways_out(all, n, endpoints, i);
    pthread_mutex_lock(&c->lock);
    c->endpoints = endpoints;
    c->endpoint_count = i;
    pthread_mutex_unlock(&c->lock);
    if (i == n)
        return 0;
    container_release_network(c);
    return -1;
}

static int open_netns(pid_t pid, struct error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    int netns = open(path, O_RDONLY | O_CLOEXEC);
    if (netns >= 0)
        return netns;
    int r = -errno;
    error_errno(err, r, "open network namespace of the container");
    return r;
}

static const char *sysctls_of(const json_t *entry)
{
    return json_get_string(json_get_object(entry, "DriverOpts"), "com.docker.network.endpoint.sysctls", NULL);
}

int networks_plug(struct container *c, pid_t pid, struct error *err)
{
    if (c->endpoint_count == 0)
        return 0;
    int netns CLEANUP(cleanup_close) = open_netns(pid, err);
    if (netns < 0)
        return netns;
    if (c->config.health.args) // others that share its ports serve until a probe says that it does
        network_set_fit(c->service->networks, c->id, false);
    for (size_t i = 0; i < c->endpoint_count; i++) {
        const json_t *entry = json_object_get(endpoints_config(c), c->endpoints[i].network_name);
        if (network_plug(c->service->networks, &c->endpoints[i], sysctls_of(entry), netns, err) < 0)
            return -EIO;
    }
    return start_resolver(c, pid, false, err) < 0 ? -EIO : 0;
}

void networks_rename(struct container *c)
{
    CLEANUP(cleanup_free) char *own = own_name(c);
    for (size_t i = 0; i < c->endpoint_count; i++) {
        struct network_endpoint *e = &c->endpoints[i];
        struct network_info n;
        struct error ignored;
        if (network_find(c->service->networks, e->network_id, &n, &ignored) < 0)
            continue;
        char **names = names_on(c, own, &n, json_object_get(endpoints_config(c), e->network_name));
        pthread_mutex_lock(&c->lock);
        strv_free(e->names);
        e->names = names;
        snprintf(e->container_name, sizeof e->container_name, "%s", own);
        pthread_mutex_unlock(&c->lock);
        network_rename(c->service->networks, e);
    }
    int r = c->endpoint_count > 0 ? container_write_run_file(c) : 0; // a later engine tells them again
    if (r < 0)
        log_warn("container %s: remember its names: %s", c->id, strerror(-r));
}

struct network_endpoint *networks_port_endpoint(const struct container *c)
{
    struct candidate *all CLEANUP(cleanup_free) = NULL;
    struct error ignored;
    size_t n;
    for (size_t i = 0; i < c->endpoint_count; i++)
        if (c->endpoints[i].port_count > 0)
            return &c->endpoints[i];
    if (find_candidates(c, endpoints_config(c), &all, &n, &ignored) < 0)
        return NULL;
    int owner = choose(all, n, can_publish, NULL);
    for (size_t i = 0; owner >= 0 && i < c->endpoint_count; i++)
        if (streq(c->endpoints[i].network_id, all[owner].network.id))
            return &c->endpoints[i];
    return NULL;
}

char **networks_addresses(const struct container *c)
{
    char **addresses = NULL;
    for (size_t i = 0; i < c->endpoint_count; i++) {
        if (c->endpoints[i].ip[0])
            strv_push(&addresses, c->endpoints[i].ip);
        if (c->endpoints[i].ip6[0])
            strv_push(&addresses, c->endpoints[i].ip6);
    }
    return addresses;
}

const char *networks_gateway(const struct container *c)
{
    for (size_t i = 0; i < c->endpoint_count; i++)
        if (c->endpoints[i].is_way_out)
            return c->endpoints[i].gateway;
    return "";
}

// --- the record of a run
static json_t *endpoint_document(const struct network_endpoint *e)
{
    json_t *d = json_object(), *ports = json_array();
    for (size_t i = 0; i < e->port_count; i++)
        json_array_append_new(ports, json_pack("{s:i,s:i,s:s,s:i}", "protocol", (int)e->ports[i].protocol,
                                               "containerPort", (int)e->ports[i].container_port, "hostIp",
                                               e->ports[i].host_ip, "hostPort", (int)e->ports[i].host_port));
    json_set_string(d, "networkName", e->network_name);
    json_set_string(d, "networkId", e->network_id);
    json_set_string(d, "endpointId", e->endpoint_id);
    json_set_string(d, "hostInterface", e->host_interface);
    json_set_string(d, "interface", e->interface);
    json_set_string(d, "ip", e->ip);
    json_set_string(d, "gateway", e->gateway);
    json_set_int(d, "prefixLength", e->prefix_length);
    json_set_string(d, "ip6", e->ip6);
    json_set_string(d, "gateway6", e->gateway6);
    json_set_int(d, "prefix6Length", e->prefix6_length);
    json_set_string(d, "mac", e->mac);
    json_set_bool(d, "isWayOut", e->is_way_out);
    json_set_bool(d, "isWayOut6", e->is_way_out6);
    json_object_set_new(d, "ports", ports);
    if (strv_len(e->names))
        json_object_set_new(d, "names", json_from_strv(e->names));
    if (strv_len(e->link_locals))
        json_object_set_new(d, "linkLocals", json_from_strv(e->link_locals));
    return d;
}

json_t *networks_endpoints_document(const struct container *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->endpoint_count; i++)
        json_array_append_new(list, endpoint_document(&c->endpoints[i]));
    return list;
}

static void copy_text(char *to, size_t size, const json_t *from, const char *key)
{
    snprintf(to, size, "%s", json_get_string(from, key, ""));
}

static void load_endpoint(const struct container *c, const json_t *d, struct network_endpoint *e)
{
    json_t *ports = json_get_array(d, "ports"), *port;
    size_t i;
    *e = (struct network_endpoint){ .prefix_length = (uint8_t)json_get_int(d, "prefixLength", 0),
                                    .prefix6_length = (uint8_t)json_get_int(d, "prefix6Length", 0),
                                    .is_way_out = json_get_bool(d, "isWayOut", true),
                                    .is_way_out6 = json_get_bool(d, "isWayOut6", false) };
    copy_text(e->network_name, sizeof e->network_name, d, "networkName");
    copy_text(e->network_id, sizeof e->network_id, d, "networkId");
    copy_text(e->endpoint_id, sizeof e->endpoint_id, d, "endpointId");
    snprintf(e->container_id, sizeof e->container_id, "%s", c->id);
    snprintf(e->container_name, sizeof e->container_name, "%s", c->name);
    copy_text(e->host_interface, sizeof e->host_interface, d, "hostInterface");
    snprintf(e->interface, sizeof e->interface, "%s", json_get_string(d, "interface", "eth0"));
    copy_text(e->ip, sizeof e->ip, d, "ip");
    copy_text(e->gateway, sizeof e->gateway, d, "gateway");
    copy_text(e->ip6, sizeof e->ip6, d, "ip6");
    copy_text(e->gateway6, sizeof e->gateway6, d, "gateway6");
    copy_text(e->mac, sizeof e->mac, d, "mac");
    e->names = json_get_strv(d, "names");
    e->link_locals = json_get_strv(d, "linkLocals");
    e->ports = xcalloc(json_array_size(ports) + 1, sizeof *e->ports);
    json_array_foreach(ports, i, port)
    {
        struct network_port *p = &e->ports[e->port_count++];
        p->protocol = (enum network_protocol)json_get_int(port, "protocol", 0);
        p->container_port = (uint16_t)json_get_int(port, "containerPort", 0);
        p->host_port = (uint16_t)json_get_int(port, "hostPort", 0);
        copy_text(p->host_ip, sizeof p->host_ip, port, "hostIp");
    }
}

void networks_endpoints_load(struct container *c, const json_t *run)
{
    json_t *list = json_get_array(run, "endpoints"), *former = json_get_object(run, "endpoint"), *d;
    size_t i;
    c->endpoints = xcalloc(json_array_size(list) + 1, sizeof *c->endpoints);
    json_array_foreach(list, i, d) load_endpoint(c, d, &c->endpoints[c->endpoint_count++]);
    if (!list && former)
        load_endpoint(c, former, &c->endpoints[c->endpoint_count++]);
}

// --- connect
static bool is_up(struct container *c)
{
    return container_is_running(c);
}

static int check_mode(const struct container *c, struct error *err)
{
    if (c->config.network.kind == NS_MODE_HOST)
        return error_set(err, ERROR_INVALID,
                         "container cannot be disconnected from host network or connected to host network");
    if (c->config.network.kind == NS_MODE_CONTAINER)
        return error_set(err, ERROR_INVALID,
                         "container sharing network namespace with another container or host cannot be "
                         "connected to any other "
                         "network");
    if (c->config.network.kind == NS_MODE_NONE)
        return error_set(err, ERROR_INVALID,
                         "container cannot be connected to multiple networks with one of the networks in "
                         "private (none) mode");
    return 0;
}

// The new document takes the old one's place, in memory and in the record.
static int replace_document(struct container *c, json_t *endpoints, struct error *err)
{
    json_t *former;
    pthread_mutex_lock(&c->lock);
    former = c->networking_document;
    c->networking_document = networking_of(endpoints);
    pthread_mutex_unlock(&c->lock);
    if (container_save(c, err) == 0) {
        json_decref(former);
        return 0;
    }
    pthread_mutex_lock(&c->lock);
    json_decref(c->networking_document);
    c->networking_document = former;
    pthread_mutex_unlock(&c->lock);
    return -1;
}

static unsigned free_number(const struct container *c)
{
    for (unsigned number = 0;; number++) {
        char name[16];
        size_t i = 0;
        snprintf(name, sizeof name, "eth%u", number);
        while (i < c->endpoint_count && !streq(c->endpoints[i].interface, name))
            i++;
        if (i == c->endpoint_count)
            return number;
    }
}

// Which endpoint leads out may change with each that comes or goes.
static int settle_ways_out(struct container *c, int netns, struct error *err)
{
    struct candidate *all CLEANUP(cleanup_free) = NULL;
    size_t n;
    if (find_candidates(c, endpoints_config(c), &all, &n, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    set_ways_out(all, n, c->endpoints, c->endpoint_count);
    pthread_mutex_unlock(&c->lock);
    return network_set_ways_out(c->service->networks, c->endpoints, c->endpoint_count, netns, err);
}

static void append_endpoint(struct container *c, const struct network_endpoint *e)
{
    pthread_mutex_lock(&c->lock);
    c->endpoints = xreallocarray(c->endpoints, c->endpoint_count + 1, sizeof *c->endpoints);
    c->endpoints[c->endpoint_count++] = *e;
    c->networks_version++;
    pthread_mutex_unlock(&c->lock);
}

static bool has_ports(const struct container *c)
{
    const struct network_endpoint *e = networks_port_endpoint(c);
    return e && e->port_count > 0;
}

// The record of the run and /etc/hosts follow what is.
static int note_run(struct container *c, struct error *err)
{
    int r = container_replace_run_file(c);
    if (r < 0)
        return error_errno(err, r, "write the record of the run");
    return container_write_hosts(c, err);
}

static int plug_live(struct container *c, const struct network_info *n, const json_t *entry,
                     struct error *err)
{
    struct network_endpoint e = { 0 };
    int netns CLEANUP(cleanup_close) = open_netns(c->state.pid, err);
    bool had_names = networks_have_names(c),
         takes_ports = n->publishes && c->config.port_count > 0 && !has_ports(c);
    if (netns < 0 || reserve_one(c, n, entry, free_number(c), takes_ports, &e, err) < 0)
        return -1;
    if (network_plug(c->service->networks, &e, sysctls_of(entry), netns, err) < 0) {
        network_release(c->service->networks, &e);
        network_endpoint_done(&e);
        return -1;
    }
    append_endpoint(c, &e);
    if (settle_ways_out(c, netns, err) < 0 || (!had_names && start_resolver(c, c->state.pid, false, err) < 0))
        return -1;
    return note_run(c, err);
}

static int connect_locked(struct container *c, const char *network, const json_t *entry, struct error *err)
{
    struct network_info n;
    if (network_find(c->service->networks, network, &n, err) < 0 || check_mode(c, err) < 0 ||
        check_driver(&n, err) < 0 || check_entry(&n, entry, err) < 0)
        return -1;
    if (json_object_get(endpoints_config(c), n.name))
        return error_set(err, ERROR_DENIED, "endpoint with name %s already exists in network %s", c->name,
                         n.name);
    json_t *config = json_deep_copy(endpoints_config(c));
    json_object_set_new(config, n.name, json_is_object(entry) ? json_deep_copy(entry) : json_object());
    if (replace_document(c, config, err) < 0)
        return -1;
    if (!is_up(c) || plug_live(c, &n, entry, err) == 0)
        return 0;
    struct error ignored;
    config = json_deep_copy(endpoints_config(c));
    json_object_del(config, n.name);
    replace_document(c, config, &ignored);
    return -1;
}

int container_connect(struct container_service *s, const char *name, const char *network,
                      const json_t *endpoint_config, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = connect_locked(c, network, endpoint_config, err);
    pthread_mutex_unlock(&c->operation);
    return r;
}

// --- disconnect
static bool take_endpoint(struct container *c, const char *network, struct network_endpoint *ret)
{
    bool is_found = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->endpoint_count && !is_found; i++)
        if (streq(c->endpoints[i].network_name, network)) {
            *ret = c->endpoints[i];
            memmove(&c->endpoints[i], &c->endpoints[i + 1],
                    (c->endpoint_count - i - 1) * sizeof *c->endpoints);
            c->endpoint_count--;
            c->networks_version++;
            is_found = true;
        }
    pthread_mutex_unlock(&c->lock);
    return is_found;
}

// Ports outlive the network they were published on when there is another that can have them.
static int move_ports(struct container *c, struct error *err)
{
    struct network_endpoint *now = networks_port_endpoint(c);
    if (!now || c->config.port_count == 0)
        return 0;
    struct network_endpoint changed = network_endpoint_copy(now);
    int r = network_change_ports(c->service->networks, &changed, NULL, 0, c->config.ports,
                                 c->config.port_count, err);
    pthread_mutex_lock(&c->lock);
    network_endpoint_done(now);
    *now = changed;
    pthread_mutex_unlock(&c->lock);
    return r;
}

static int unplug_live(struct container *c, const char *network, struct error *err)
{
    struct network_endpoint e;
    int netns CLEANUP(cleanup_close) = open_netns(c->state.pid, err);
    if (netns < 0)
        return -1;
    if (!take_endpoint(c, network, &e))
        return 0;
    bool had_ports = e.port_count > 0;
    network_unplug(c->service->networks, &e, netns);
    network_release(c->service->networks, &e);
    network_endpoint_done(&e);
    if ((had_ports && move_ports(c, err) < 0) || settle_ways_out(c, netns, err) < 0)
        return -1;
    return note_run(c, err);
}

static int disconnect_locked(struct container *c, const char *network, struct error *err)
{
    struct network_info n;
    if (network_find(c->service->networks, network, &n, err) < 0)
        return -1;
    if (c->config.network.kind == NS_MODE_HOST)
        return check_mode(c, err);
    if (!json_object_get(endpoints_config(c), n.name))
        return error_set(err, ERROR_DENIED, "container %s is not connected to network %s", c->id, n.name);
    json_t *config = json_deep_copy(endpoints_config(c));
    json_object_del(config, n.name);
    if (replace_document(c, config, err) < 0)
        return -1;
    return is_up(c) ? unplug_live(c, n.name, err) : 0;
}

int container_disconnect(struct container_service *s, const char *name, const char *network,
                         struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = disconnect_locked(c, network, err);
    pthread_mutex_unlock(&c->operation);
    return r;
}
