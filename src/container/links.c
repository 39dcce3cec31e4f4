#include "container/links.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/container_internal.h"

#include <ctype.h>
#include <string.h>

int link_parse(const char *text, char **ret_name, char **ret_alias, struct error *err)
{
    CLEANUP(strv_freep) char **words = strv_split(text, ":", true);
    size_t count = strv_len(words);
    if (count < 1 || count > 2 || !*words[0] || (count == 2 && !*words[1]))
        return error_set(err, ERROR_INVALID, "bad format for links: %s", text);
    const char *name = words[0][0] == '/' ? words[0] + 1 : words[0];
    const char *alias = count == 2 ? words[1] : name,
               *last = strrchr(alias, '/'); // "/db:/web/db" as inspect shows it
    *ret_name = xstrdup(name);
    *ret_alias = xstrdup(last ? last + 1 : alias);
    return 0;
}

static int by_port(const void *a, const void *b)
{
    const struct network_port *x = a, *y = b;
    return x->container_port != y->container_port ? x->container_port - y->container_port
                                                  : (int)x->protocol - (int)y->protocol;
}

static void take_ports(const json_t *config, struct link *link)
{
    const char *key;
    json_t *v;
    struct error ignored;
    json_object_foreach(json_get_object(config, "ExposedPorts"), key, v)
    {
        struct network_port port = { 0 };
        if (config_parse_port(key, &port.container_port, &port.protocol, &ignored) < 0)
            continue;
        link->ports = xreallocarray(link->ports, link->port_count + 1, sizeof *link->ports);
        link->ports[link->port_count++] = port;
    }
    if (link->port_count)
        qsort(link->ports, link->port_count, sizeof *link->ports, by_port);
}

static int resolve(struct container *c, const char *text, struct link *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *name = NULL;
    CLEANUP(container_unrefp) struct container *other = NULL;
    if (link_parse(text, &name, &ret->alias, err) < 0 || container_find(c->service, name, &other, err) < 0)
        return -1;
    pthread_mutex_lock(&other->lock);
    bool is_running = other->state.status == CONTAINER_RUNNING && other->endpoint_count > 0;
    if (is_running) {
        ret->ip = xstrdup(other->endpoints[0].ip);
        ret->name = xstrdup(other->name);
    }
    pthread_mutex_unlock(&other->lock);
    if (!is_running)
        return error_set(err, ERROR_INVALID, "Cannot link to a non running container: /%s AS /%s/%s", name,
                         c->name, ret->alias);
    ret->hostname = xstrdup(other->config.hostname);
    ret->env = strv_copy(other->config.env);
    take_ports(other->config_document, ret);
    return 0;
}

int links_resolve(struct container *c, struct links *ret, struct error *err)
{
    *ret = (struct links){ 0 };
    for (size_t i = 0; c->config.links && c->config.links[i]; i++) {
        ret->items = xreallocarray(ret->items, ret->count + 1, sizeof *ret->items);
        struct link *link = &ret->items[ret->count++];
        *link = (struct link){ 0 };
        if (resolve(c, c->config.links[i], link, err) < 0) {
            links_done(ret);
            return -1;
        }
    }
    return 0;
}

void links_done(struct links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        struct link *l = &links->items[i];
        free(l->alias);
        free(l->ip);
        free(l->hostname);
        free(l->name);
        strv_free(l->env);
        free(l->ports);
    }
    free(links->items);
    *links = (struct links){ 0 };
}

void links_hosts(const struct links *links, struct str *out)
{
    for (size_t i = 0; i < links->count; i++) {
        const struct link *l = &links->items[i];
        str_appendf(out, "%s\t%s %s", l->ip, l->alias, l->hostname);
        if (!streq(l->name, l->alias))
            str_appendf(out, " %s", l->name);
        str_append_char(out, '\n');
    }
}

// --- variables
static const char *const protocol_names[] = {
    [NETWORK_TCP] = "tcp", [NETWORK_UDP] = "udp", [NETWORK_SCTP] = "sctp"
};

static char *upper(const char *text)
{
    char *copy = xstrdup(text);
    for (char *p = copy; *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return copy;
}

static void add_port(const struct link *l, const char *prefix, const struct network_port *port, char ***env)
{
    const char *protocol = protocol_names[port->protocol];
    CLEANUP(cleanup_free) char *big = upper(protocol);
    unsigned n = port->container_port;
    strv_take(env, xasprintf("%s_PORT_%u_%s=%s://%s:%u", prefix, n, big, protocol, l->ip, n));
    strv_take(env, xasprintf("%s_PORT_%u_%s_ADDR=%s", prefix, n, big, l->ip));
    strv_take(env, xasprintf("%s_PORT_%u_%s_PORT=%u", prefix, n, big, n));
    strv_take(env, xasprintf("%s_PORT_%u_%s_PROTO=%s", prefix, n, big, protocol));
}

static void add_link(const struct link *l, const char *name, char ***env)
{
    CLEANUP(cleanup_free) char *prefix = upper(l->alias);
    if (l->port_count)
        strv_take(env, xasprintf("%s_PORT=%s://%s:%u", prefix, protocol_names[l->ports[0].protocol], l->ip,
                                 (unsigned)l->ports[0].container_port));
    for (size_t i = 0; i < l->port_count; i++)
        add_port(l, prefix, &l->ports[i], env);
    strv_take(env, xasprintf("%s_NAME=/%s/%s", prefix, name, l->alias));
    for (size_t i = 0; l->env && l->env[i]; i++)
        if (!str_has_prefix(l->env[i], "HOME=") && !str_has_prefix(l->env[i], "PATH=") &&
            strchr(l->env[i], '='))
            strv_take(env, xasprintf("%s_ENV_%s", prefix, l->env[i]));
}

void links_environment(const struct links *links, const char *name, char ***env)
{
    for (size_t i = 0; i < links->count; i++)
        add_link(&links->items[i], name, env);
}

// --- docker rm --link
int container_unlink(struct container_service *s, const char *name, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    const char *plain = name[0] == '/' ? name + 1 : name, *slash = strchr(plain, '/');
    CLEANUP(cleanup_free) char *parent = slash ? xstrndup(plain, (size_t)(slash - plain)) : NULL;
    if (!slash || container_find(s, parent, &c, err) < 0)
        return error_set(err, ERROR_INVALID, "Cannot get parent %s for name %s", parent ? parent : "/", name);
    char **kept = NULL;
    pthread_mutex_lock(&c->operation);
    for (size_t i = 0; c->config.links && c->config.links[i]; i++) {
        CLEANUP(cleanup_free) char *other = NULL;
        CLEANUP(cleanup_free) char *alias = NULL;
        if (link_parse(c->config.links[i], &other, &alias, err) == 0 && !streq(alias, slash + 1))
            strv_push(&kept, c->config.links[i]);
    }
    bool is_found = strv_len(kept) < strv_len(c->config.links);
    pthread_mutex_lock(&c->lock);
    strv_free(c->config.links);
    c->config.links = kept;
    json_t *document = json_deep_copy(c->host_config_document); // snapshots may hold the old one
    json_object_set_new(document, "Links", strv_len(kept) ? json_from_strv(kept) : json_null());
    json_decref(c->host_config_document);
    c->host_config_document = document;
    pthread_mutex_unlock(&c->lock);
    int r = is_found ? container_save(c, err) : error_set(err, ERROR_NOT_FOUND, "No such link: %s", name);
    pthread_mutex_unlock(&c->operation);
    return r;
}
