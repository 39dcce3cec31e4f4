#include "netd/cache.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { ENTRIES_MAX = 4096, BYTES_MAX = 4 << 20, TTL_MAX_S = 3600, NEGATIVE_TTL_MAX_S = 60, KEY_MAX = 704 };

struct entry {
    int64_t made_ns, expires_ns;
    uint16_t ttl_at[DNS_ANSWERS_MAX];
    size_t ttl_count, question_end, n;
    uint8_t reply[];
};

struct cache {
    struct map entries;
    size_t bytes;
};

struct cache *cache_new(void)
{
    return NEW(struct cache);
}

void cache_free(struct cache *c)
{
    const struct map_entry *e;
    for (size_t at = 0; (e = map_next(&c->entries, &at));)
        free(e->value);
    map_done(&c->entries);
    free(c);
}

// Everything a reply depends on.
static void key_of(const char *set, const struct dns_question *q, char key[static KEY_MAX])
{
    snprintf(key, KEY_MAX, "%s %u %x %d %x %s", set, q->type, (unsigned)(q->flags & DNS_FLAGS_OF_ASKER),
             q->has_edns, q->edns_flags, q->name);
}

static void drop(struct cache *c, const char *key)
{
    struct entry *e = map_remove(&c->entries, key);
    if (e)
        c->bytes -= e->n;
    free(e);
}

// Room for one more: first what has expired, then whatever comes first.
static void make_room(struct cache *c, int64_t now_ns)
{
    const struct map_entry *e;
    CLEANUP(cleanup_free) char *victim = NULL;
    for (size_t at = 0; (e = map_next(&c->entries, &at));) {
        bool has_expired = ((const struct entry *)e->value)->expires_ns <= now_ns;
        if (has_expired || !victim) {
            free(victim);
            victim = xstrdup(e->key);
        }
        if (has_expired)
            break;
    }
    if (victim)
        drop(c, victim);
}

void cache_put(struct cache *c, const char *set, const struct dns_question *q, const uint8_t *reply, size_t n,
               int64_t now_ns)
{
    struct dns_lifetime life;
    char key[KEY_MAX];
    if (q->has_options || n < q->end || n > DNS_UDP_MAX || !dns_lifetime(reply, n, &life))
        return;
    bool is_negative = life.code != DNS_NOERROR || dns_get16(reply + 6) == 0;
    uint32_t most = is_negative ? NEGATIVE_TTL_MAX_S : TTL_MAX_S, ttl = life.ttl_s < most ? life.ttl_s : most;
    key_of(set, q, key);
    drop(c, key);
    while (c->entries.len >= ENTRIES_MAX || c->bytes + n > BYTES_MAX)
        make_room(c, now_ns);
    struct entry *e = xmalloc(sizeof *e + n);
    *e = (struct entry){ .made_ns = now_ns,
                         .expires_ns = now_ns + ttl * NS_PER_S,
                         .ttl_count = life.ttl_count,
                         .question_end = q->end,
                         .n = n };
    memcpy(e->ttl_at, life.ttl_at, sizeof e->ttl_at);
    memcpy(e->reply, reply, n);
    map_put(&c->entries, key, e);
    c->bytes += n;
}

size_t cache_get(struct cache *c, const char *set, const struct dns_question *q, const uint8_t *query,
                 uint8_t *to, size_t size, int64_t now_ns, bool *ret_is_larger)
{
    char key[KEY_MAX];
    key_of(set, q, key);
    const struct entry *e = map_get(&c->entries, key);
    *ret_is_larger = false;
    if (!e || q->has_options || e->question_end != q->end)
        return 0;
    if (e->expires_ns <= now_ns) {
        drop(c, key);
        return 0;
    }
    *ret_is_larger = e->n > size;
    if (*ret_is_larger)
        return 0;
    uint32_t age_s = (uint32_t)((now_ns - e->made_ns) / NS_PER_S);
    memcpy(to, e->reply, e->n);
    memcpy(to, query, 2);
    memcpy(to + DNS_HEADER, query + DNS_HEADER, q->end - DNS_HEADER); // in the asker's own spelling
    for (size_t i = 0; i < e->ttl_count; i++) {
        uint32_t ttl = dns_get32(to + e->ttl_at[i]);
        dns_put32(to + e->ttl_at[i], ttl > age_s ? ttl - age_s : 0);
    }
    return e->n;
}
