// Theory of operation: one map from "network name" to a list of entries, one from "network container" to what was told of the two.
// A name has few entries: the replicas of an alias.
#include "netd/names.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

struct endpoint {
    char *key; // "network container"
    char *network;
    char **list; // lower case
    struct ip_address addresses[2];
    size_t address_count;
    uint64_t generation;
};

// Everybody who has one name on one network.
struct holders {
    struct endpoint **items; // borrowed
    size_t n;
    size_t turn[2]; // whose address comes first next time, for IPv4 and for IPv6: askers want both at once
};

struct names {
    struct map endpoints; // key -> struct endpoint, owned
    struct map holders;   // "network name" -> struct holders, owned
    struct map addresses; // "network address" -> struct endpoint, borrowed
    uint64_t generation;
};

struct names *names_new(void)
{
    return NEW(struct names);
}

static char *pair(const char *network, const char *other)
{
    return xasprintf("%s %s", network, other);
}

static char *address_key(const char *network, const struct ip_address *address)
{
    char text[IP_TEXT_MAX];
    ip_format(address, text);
    return pair(network, text);
}

static void endpoint_free(struct endpoint *e)
{
    free(e->key);
    free(e->network);
    strv_free(e->list);
    free(e);
}

void names_free(struct names *names)
{
    const struct map_entry *e;
    for (size_t at = 0; (e = map_next(&names->endpoints, &at));)
        endpoint_free(e->value);
    for (size_t at = 0; (e = map_next(&names->holders, &at));) {
        free(((struct holders *)e->value)->items);
        free(e->value);
    }
    map_done(&names->endpoints);
    map_done(&names->holders);
    map_done(&names->addresses);
    free(names);
}

// --- change
static void add_holder(struct names *names, const char *name, struct endpoint *e)
{
    CLEANUP(cleanup_free) char *key = pair(e->network, name);
    struct holders *h = map_get(&names->holders, key);
    if (!h) {
        h = NEW(struct holders);
        map_put(&names->holders, key, h);
    }
    for (size_t i = 0; i < h->n; i++)
        if (h->items[i] == e) // a name told twice
            return;
    h->items = xreallocarray(h->items, h->n + 1, sizeof *h->items);
    h->items[h->n++] = e;
}

static void remove_holder(struct names *names, const char *name, const struct endpoint *e)
{
    CLEANUP(cleanup_free) char *key = pair(e->network, name);
    struct holders *h = map_get(&names->holders, key);
    for (size_t i = 0; h && i < h->n; i++)
        if (h->items[i] == e) {
            memmove(&h->items[i], &h->items[i + 1], (h->n - i - 1) * sizeof *h->items);
            h->n--;
            break;
        }
    if (h && h->n == 0) {
        map_remove(&names->holders, key);
        free(h->items);
        free(h);
    }
}

static void take_out(struct names *names, struct endpoint *e)
{
    for (size_t i = 0; e->list && e->list[i]; i++)
        remove_holder(names, e->list[i], e);
    for (size_t i = 0; i < e->address_count; i++) {
        CLEANUP(cleanup_free) char *key = address_key(e->network, &e->addresses[i]);
        if (map_get(&names->addresses, key) == e)
            map_remove(&names->addresses, key);
    }
    map_remove(&names->endpoints, e->key);
    endpoint_free(e);
}

static char *lower(const char *text)
{
    char *copy = xstrdup(text);
    for (char *c = copy; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    return copy;
}

void names_remove(struct names *names, const char *network, const char *container)
{
    CLEANUP(cleanup_free) char *key = pair(network, container);
    struct endpoint *e = map_get(&names->endpoints, key);
    if (e)
        take_out(names, e);
}

void names_put(struct names *names, const char *network, const char *container, char *const *list,
               const struct ip_address *addresses, size_t address_count)
{
    struct endpoint *e = NEW(struct endpoint);
    names_remove(names, network, container);
    e->key = pair(network, container);
    e->network = xstrdup(network);
    e->generation = names->generation;
    e->address_count = address_count < 2 ? address_count : 2;
    memcpy(e->addresses, addresses, e->address_count * sizeof *addresses);
    map_put(&names->endpoints, e->key, e);
    for (size_t i = 0; list && list[i]; i++) {
        strv_take(&e->list, lower(list[i]));
        add_holder(names, e->list[i], e);
    }
    for (size_t i = 0; i < e->address_count; i++) {
        CLEANUP(cleanup_free) char *key = address_key(network, &e->addresses[i]);
        map_put(&names->addresses, key, e);
    }
}

void names_begin(struct names *names)
{
    names->generation++;
}

void names_end(struct names *names)
{
    // A map must not change while it is walked.
    struct endpoint **untold CLEANUP(cleanup_free) =
        xcalloc(names->endpoints.len + 1, sizeof(struct endpoint *));
    const struct map_entry *entry;
    size_t n = 0;
    for (size_t at = 0; (entry = map_next(&names->endpoints, &at));) {
        struct endpoint *e = entry->value;
        if (e->generation != names->generation)
            untold[n++] = e;
    }
    for (size_t i = 0; i < n; i++)
        take_out(names, untold[i]);
}

// --- look up
static void add_addresses(const struct endpoint *e, int family, struct ip_address *list, size_t max,
                          size_t *count)
{
    for (size_t i = 0; i < e->address_count && *count < max; i++)
        if (e->addresses[i].family == family)
            list[(*count)++] = e->addresses[i];
}

bool names_find(struct names *names, const char *network, const char *name, int family,
                struct ip_address *list, size_t max, size_t *count)
{
    char key[512];
    int n = snprintf(key, sizeof key, "%s %s", network, name);
    struct holders *h = n > 0 && (size_t)n < sizeof key ? map_get(&names->holders, key) : NULL;
    if (!h)
        return false;
    size_t *turn = &h->turn[family == AF_INET6];
    for (size_t i = 0; i < h->n; i++)
        add_addresses(h->items[(*turn + i) % h->n], family, list, max, count);
    *turn = (*turn + 1) % h->n;
    return true;
}

bool names_is_empty(const struct names *names)
{
    return names->endpoints.len == 0;
}

const char *names_of(const struct names *names, const char *network, const struct ip_address *address)
{
    CLEANUP(cleanup_free) char *key = address_key(network, address);
    const struct endpoint *e = map_get(&names->addresses, key);
    return e && e->list ? e->list[0] : NULL;
}
