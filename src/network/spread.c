#include "network/spread.h"

#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

struct spread {
    struct spread *next;
    struct port_mapping key;                  // protocol, host_ip, host_port
    struct port_mapping slots[RULESET_SLOTS]; // as the table has them; container_port 0: nobody's
};

static bool is_same_key(const struct port_mapping *a, const struct port_mapping *b)
{
    return a->host_port == b->host_port && a->protocol == b->protocol && ip_equals(&a->host_ip, &b->host_ip);
}

static bool is_same_target(const struct port_mapping *a, const struct port_mapping *b)
{
    return a->container_port == b->container_port && ip_equals(&a->container_ip, &b->container_ip);
}

static struct spread **find(struct network_service *s, const struct port_mapping *key)
{
    struct spread **at = &s->spreads;
    while (*at && !is_same_key(&(*at)->key, key))
        at = &(*at)->next;
    return at;
}

static struct spread *begin(struct network_service *s, const struct port_mapping *key)
{
    struct spread *new = NEW(struct spread);
    *new = (struct spread){ .next = s->spreads, .key = *key };
    s->spreads = new;
    return new;
}

static bool is_shared(struct network_service *s, const struct port_mapping *key)
{
    return *find(s, key) || ports_is_shared(&s->ports, key->protocol, &key->host_ip, key->host_port);
}

bool spread_is_shared(struct network_service *s, const struct port_mapping *ports, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_shared(s, &ports[i]))
            return true;
    return false;
}

void spread_free_all(struct network_service *s)
{
    for (struct spread *p = s->spreads, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    s->spreads = NULL;
}

// --- members
struct members {
    struct port_mapping *items; // owned
    size_t n;
    size_t plugged_count; // with those that do not serve
};

static void members_done(struct members *m)
{
    free(m->items);
}

static bool find_mapping(const struct network_endpoint *e, const struct port_mapping *key,
                         struct port_mapping *ret)
{
    size_t n, i = 0;
    bool is_possible = false;
    for (size_t k = 0; k < e->port_count && !is_possible; k++)
        is_possible = e->ports[k].host_port == key->host_port;
    if (!is_possible)
        return false;
    struct port_mapping *all CLEANUP(cleanup_free) = endpoint_mappings(e, &n);
    while (i < n && !is_same_key(&all[i], key))
        i++;
    if (i < n)
        *ret = all[i];
    return i < n;
}

// Those that serve, but for `except` (an endpoint's id or NULL). Where none is fit, all are better than nobody.
static struct members members_of(struct network_service *s, const struct port_mapping *key,
                                 const char *except)
{
    struct members m = { 0 };
    size_t at = 0, unfit_count = 0;
    pthread_mutex_lock(&s->lock);
    m.items = xcalloc(s->attachments.len + 1, sizeof *m.items);
    struct port_mapping *unfit CLEANUP(cleanup_free) = xcalloc(s->attachments.len + 1, sizeof *unfit);
    for (const struct map_entry *e; (e = map_next(&s->attachments, &at)) != NULL;) {
        const struct attachment *a = e->value;
        struct port_mapping mapping;
        if (!a->is_plugged || (except && streq(e->key, except)) || !find_mapping(&a->endpoint, key, &mapping))
            continue;
        if (a->is_unfit)
            unfit[unfit_count++] = mapping;
        else
            m.items[m.n++] = mapping;
    }
    pthread_mutex_unlock(&s->lock);
    m.plugged_count = m.n + unfit_count;
    if (m.n == 0) {
        memcpy(m.items, unfit, unfit_count * sizeof *unfit);
        m.n = unfit_count;
    }
    if (m.n > RULESET_SLOTS)
        m.n = RULESET_SLOTS;
    return m;
}

// --- dealing
static size_t index_of(const struct members *m, const struct port_mapping *target)
{
    size_t i = 0;
    while (i < m->n && !is_same_target(&m->items[i], target))
        i++;
    return i;
}

// Slots are used one after the other; in steps of the golden ratio any run of the order lies scattered over them, so that a
// newcomer gets its share of the next few connections, too.
static size_t scattered(size_t i)
{
    enum { STEP = 633 }; // odd: every slot is met once
    return i * STEP % RULESET_SLOTS;
}

// `now` dealt among the members: each keeps what it has up to its share, what is left over goes round.
static void deal(const struct port_mapping *now, const struct members *m, struct port_mapping *ret)
{
    size_t *counts CLEANUP(cleanup_free) = xcalloc(m->n + 1, sizeof *counts), next = 0;
    memset(ret, 0, RULESET_SLOTS * sizeof *ret);
    if (m->n == 0)
        return;
    size_t base = RULESET_SLOTS / m->n, extra = RULESET_SLOTS % m->n;
    for (size_t k = 0; k < RULESET_SLOTS; k++) {
        size_t i = scattered(k), owner = now[i].container_port ? index_of(m, &now[i]) : m->n;
        if (owner == m->n || counts[owner] >= base + (owner < extra))
            continue;
        counts[owner]++;
        ret[i] = now[i];
    }
    for (size_t k = 0; k < RULESET_SLOTS; k++) {
        size_t i = scattered(k);
        if (ret[i].container_port)
            continue;
        while (counts[next] >= base + (next < extra))
            next = (next + 1) % m->n;
        counts[next]++;
        ret[i] = m->items[next];
        next = (next + 1) % m->n;
    }
}

// One transaction: the slots that change hands, and elements outside the spread that go.
static int change(struct network_service *s, struct spread *p, const struct members *m,
                  const struct members *plain)
{
    struct port_mapping *then CLEANUP(cleanup_free) = xcalloc(RULESET_SLOTS, sizeof *then);
    struct port_slot *out CLEANUP(cleanup_free) = xcalloc(RULESET_SLOTS, sizeof *out);
    struct port_slot *in CLEANUP(cleanup_free) = xcalloc(RULESET_SLOTS, sizeof *in);
    size_t out_count = 0, in_count = 0;
    deal(p->slots, m, then);
    for (uint32_t i = 0; i < RULESET_SLOTS; i++) {
        if (is_same_target(&p->slots[i], &then[i]))
            continue;
        if (p->slots[i].container_port)
            out[out_count++] = (struct port_slot){ p->slots[i], i };
        if (then[i].container_port)
            in[in_count++] = (struct port_slot){ then[i], i };
    }
    const struct slot_change all = { out, out_count, in, in_count };
    int rc = ruleset_change_slots(&s->rules, &all, plain->items, plain->n);
    if (rc == 0)
        memcpy(p->slots, then, sizeof p->slots);
    return rc;
}

// --- members come and go
static int join(struct network_service *s, const struct port_mapping *key, const char *endpoint_id)
{
    struct members plain CLEANUP(members_done) = { 0 };
    struct members all CLEANUP(members_done) = members_of(s, key, NULL);
    struct spread *p = *find(s, key);
    if (!p) { // whoever was alone has a plain element
        plain = members_of(s, key, endpoint_id);
        p = begin(s, key);
    }
    return change(s, p, &all, &plain);
}

static int refresh(struct network_service *s, struct spread **at)
{
    const struct members none = { 0 };
    struct members m CLEANUP(members_done) = members_of(s, &(*at)->key, NULL);
    int rc = change(s, *at, &m, &none);
    if (m.plugged_count == 0) {
        struct spread *p = *at;
        *at = p->next;
        free(p);
    }
    return rc;
}

int spread_refresh_all(struct network_service *s)
{
    int rc = 0;
    for (struct spread *p = s->spreads, *next; p && rc == 0; p = next) {
        next = p->next;
        rc = refresh(s, find(s, &p->key));
    }
    return rc;
}

// Those that are nobody else's to the front; how many.
static size_t sort_plain(struct network_service *s, struct port_mapping *ports, size_t n)
{
    size_t plain_count = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_shared(s, &ports[i]))
            continue;
        struct port_mapping moved = ports[plain_count];
        ports[plain_count++] = ports[i];
        ports[i] = moved;
    }
    return plain_count;
}

int spread_publish(struct network_service *s, const struct network_endpoint *e)
{
    size_t n;
    struct port_mapping *ports CLEANUP(cleanup_free) = endpoint_mappings(e, &n);
    size_t plain_count = sort_plain(s, ports, n);
    int rc = plain_count > 0 ? ruleset_add_ports(&s->rules, ports, plain_count) : 0;
    for (size_t i = plain_count; i < n && rc == 0; i++)
        rc = join(s, &ports[i], e->endpoint_id);
    return rc;
}

void spread_unpublish(struct network_service *s, const struct network_endpoint *e)
{
    size_t n;
    struct port_mapping *ports CLEANUP(cleanup_free) = endpoint_mappings(e, &n);
    size_t plain_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct spread **at = find(s, &ports[i]);
        if (*at)
            refresh(s, at);
        else
            ports[plain_count++] = ports[i];
    }
    if (plain_count == 0 || ruleset_remove_ports(&s->rules, ports, plain_count) != -ENOENT)
        return;
    for (size_t i = 0; i < plain_count; i++) // one of them was gone; the others still are there
        ruleset_remove_ports(&s->rules, &ports[i], 1);
}

struct port_slot *spread_rebuild(struct network_service *s, struct port_mapping *ports, size_t *n,
                                 size_t *ret_slot_count)
{
    size_t plain_count, slot_count = 0, spread_count = 0;
    spread_free_all(s);
    plain_count = sort_plain(s, ports, *n);
    for (size_t i = plain_count; i < *n; i++)
        if (!*find(s, &ports[i])) {
            begin(s, &ports[i]);
            spread_count++;
        }
    struct port_slot *slots = xcalloc(spread_count * RULESET_SLOTS + 1, sizeof *slots);
    for (struct spread *p = s->spreads; p; p = p->next) {
        struct members m CLEANUP(members_done) = members_of(s, &p->key, NULL);
        struct port_mapping *then CLEANUP(cleanup_free) = xcalloc(RULESET_SLOTS, sizeof *then);
        deal(p->slots, &m, then);
        memcpy(p->slots, then, sizeof p->slots);
        for (uint32_t i = 0; i < RULESET_SLOTS && m.n > 0; i++)
            slots[slot_count++] = (struct port_slot){ then[i], i };
    }
    *n = plain_count;
    *ret_slot_count = slot_count;
    return slots;
}
