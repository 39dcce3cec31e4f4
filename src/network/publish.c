// Ports that come and go while their container runs: claims first, then one transaction, so that whoever looks sees the former ports
// or the new ones.
#include "network/service.h"
#include "network/spread.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

static bool is_same_port(const struct network_port *a, const struct network_port *b)
{
    return a->protocol == b->protocol && a->container_port == b->container_port &&
           a->host_port == b->host_port && streq(a->host_ip, b->host_ip);
}

static bool is_among(const struct network_port *p, const struct network_port *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_same_port(p, &list[i]))
            return true;
    return false;
}

// What stays of `now`: its ports are owned, its names are the same.
static struct network_endpoint without(const struct network_endpoint *now, const struct network_port *removed,
                                       size_t removed_count)
{
    struct network_endpoint e = *now;
    e.ports = xcalloc(now->port_count + 1, sizeof *e.ports);
    e.port_count = 0;
    for (size_t i = 0; i < now->port_count; i++)
        if (!is_among(&now->ports[i], removed, removed_count))
            e.ports[e.port_count++] = now->ports[i];
    return e;
}

// `part` behind the ports of *e.
static void join(struct network_endpoint *e, const struct network_endpoint *part)
{
    e->ports = xreallocarray(e->ports, e->port_count + part->port_count + 1, sizeof *e->ports);
    memcpy(e->ports + e->port_count, part->ports, part->port_count * sizeof *e->ports);
    e->port_count += part->port_count;
}

// setup_lock is held: from now on a table that is made anew has these ports.
static void remember_ports(struct network_service *s, const struct network_endpoint *e)
{
    pthread_mutex_lock(&s->lock);
    struct attachment *a = map_get(&s->attachments, e->endpoint_id);
    if (a != NULL) {
        free(a->endpoint.ports);
        a->endpoint.ports = e->port_count > 0 ? xmemdup(e->ports, e->port_count * sizeof *e->ports) : NULL;
        a->endpoint.port_count = e->port_count;
    }
    pthread_mutex_unlock(&s->lock);
}

static int exchange(struct network_service *s, const struct network_endpoint *now,
                    const struct network_endpoint *removed, const struct network_endpoint *added,
                    const struct network_endpoint *then, struct error *err)
{
    size_t out_count, in_count;
    struct port_mapping *out CLEANUP(cleanup_free) = endpoint_mappings(removed, &out_count);
    struct port_mapping *in CLEANUP(cleanup_free) = endpoint_mappings(added, &in_count);
    pthread_mutex_lock(&s->setup_lock);
    remember_ports(s, then);
    bool is_shared = spread_is_shared(s, out, out_count) || spread_is_shared(s, in, in_count);
    int rc = is_shared ? -ENOENT : ruleset_change_ports(&s->rules, out, out_count, in, in_count);
    if (rc == -ENOENT) // a spread is dealt anew; or someone flushed the host's rules, or took an element out
        rc = setup_table(s, err);
    else if (rc < 0)
        rc = error_errno(err, rc, "publish the ports of %s", now->container_name);
    if (rc < 0)
        remember_ports(s, now);
    pthread_mutex_unlock(&s->setup_lock);
    return rc;
}

// A relay that cannot be had takes the whole change back.
static int exchange_relays(struct network_service *s, const struct network_endpoint *now,
                           const struct network_endpoint *removed, const struct network_endpoint *added,
                           const struct network_endpoint *then, struct error *err)
{
    struct error ignored;
    relays_close(s, removed);
    int rc = relays_open(s, added);
    if (rc == 0)
        return 0;
    relays_close(s, added);
    (void)relays_open(s, removed);
    (void)exchange(s, then, added, removed, now, &ignored);
    return error_errno(err, rc, "relay the IPv6 ports of %s", now->container_name);
}

// A host port that goes and comes again for another port inside keeps its claim: between giving it back and claiming it
// somebody else could take it. What is left of both lists is for claims; *moved gets the rest, as the endpoint will have it.
struct wishes {
    struct network_endpoint freed, moved;
    struct network_port *wanted;
    size_t wanted_count;
};

static void wishes_done(struct wishes *w)
{
    free(w->freed.ports);
    free(w->moved.ports);
    free(w->wanted);
}

// One that a wish without an address stands for is on every address.
static bool is_meant(const struct network_port *wish, const struct network_port *p)
{
    struct ip_address host_ip;
    if (wish->protocol != p->protocol || wish->host_port != p->host_port || wish->last_host_port != 0)
        return false;
    if (wish->host_ip[0] != '\0')
        return streq(wish->host_ip, p->host_ip);
    return ip_parse(p->host_ip, &host_ip) && ip_is_any(&host_ip);
}

static bool move(struct wishes *w, const struct network_port *wish)
{
    bool is_moved = false;
    for (size_t i = 0; wish->host_port != 0 && i < w->freed.port_count;) {
        struct network_port *p = &w->freed.ports[i];
        if (!is_meant(wish, p)) {
            i++;
            continue;
        }
        w->moved.ports[w->moved.port_count] = *p;
        w->moved.ports[w->moved.port_count++].container_port = wish->container_port;
        *p = w->freed.ports[--w->freed.port_count];
        is_moved = true;
    }
    return is_moved;
}

static struct wishes sort_wishes(const struct network_endpoint *now, const struct network_port *removed,
                                 size_t removed_count, const struct network_port *added, size_t added_count)
{
    struct wishes w = { .freed = *now, .moved = *now };
    w.freed.ports = xcalloc(removed_count + 1, sizeof *removed);
    w.moved.ports = xcalloc(removed_count + 1, sizeof *removed);
    w.wanted = xcalloc(added_count + 1, sizeof *added);
    if (removed_count > 0)
        memcpy(w.freed.ports, removed, removed_count * sizeof *removed);
    w.freed.port_count = removed_count;
    w.moved.port_count = 0;
    for (size_t i = 0; i < added_count; i++)
        if (!move(&w, &added[i]))
            w.wanted[w.wanted_count++] = added[i];
    return w;
}

int network_change_ports(struct network_service *s, struct network_endpoint *endpoint,
                         const struct network_port *removed, size_t removed_count,
                         const struct network_port *added, size_t added_count, struct error *err)
{
    struct network_endpoint out = *endpoint, in = *endpoint;
    struct network *n = network_of_endpoint(s, endpoint);
    if (!n)
        return error_set(err, ERROR_INTERNAL, "endpoint %s is not reserved", endpoint->endpoint_id);
    struct wishes w CLEANUP(wishes_done) = sort_wishes(endpoint, removed, removed_count, added, added_count);
    if (endpoint_claim_ports(s, n, w.wanted, w.wanted_count, false, &in, err) < 0)
        return err->kind != ERROR_INTERNAL
                   ? -1
                   : error_wrap(err, "driver failed programming external connectivity on endpoint %s (%s)",
                                endpoint->container_name, endpoint->endpoint_id);
    size_t claimed_count = in.port_count;
    join(&in, &w.moved);
    out.ports = (struct network_port *)(uintptr_t)removed;
    out.port_count = removed_count;
    struct network_endpoint then = without(endpoint, removed, removed_count);
    join(&then, &in);
    int rc = exchange(s, endpoint, &out, &in, &then, err);
    if (rc == 0)
        rc = exchange_relays(s, endpoint, &out, &in, &then, err);
    in.port_count = claimed_count;
    endpoint_give_ports_back(s, rc < 0 ? &in : &w.freed);
    free(in.ports);
    if (rc < 0) {
        free(then.ports);
        return -1;
    }
    free(endpoint->ports); // the rest of it is in both
    *endpoint = then;
    return 0;
}
