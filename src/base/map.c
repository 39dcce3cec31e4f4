#include "base/map.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

static char tombstone[] = "";

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u; // FNV-1a
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

static struct map_entry *find(const struct map *m, const char *key)
{
    if (!m->cap)
        return NULL;
    for (size_t i = hash(key) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_entry *e = &m->entries[i];
        if (!e->key)
            return NULL;
        if (e->key != tombstone && strcmp(e->key, key) == 0)
            return e;
    }
}

static void insert(struct map *m, char *key, void *value)
{
    size_t i = hash(key) & (m->cap - 1);
    while (m->entries[i].key)
        i = (i + 1) & (m->cap - 1);
    m->entries[i] = (struct map_entry){ key, value };
    m->len++;
    m->used++;
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.len * 4 < 16 ? 16 : old.cap;
    while (m->cap < old.len * 4)
        m->cap *= 2;
    m->entries = xcalloc(m->cap, sizeof *m->entries);
    m->len = m->used = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.entries[i].key && old.entries[i].key != tombstone)
            insert(m, old.entries[i].key, old.entries[i].value);
    free(old.entries);
}

void map_done(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->entries[i].key != tombstone)
            free(m->entries[i].key);
    free(m->entries);
    *m = MAP_INIT;
}

void *map_get(const struct map *m, const char *key)
{
    struct map_entry *e = find(m, key);
    return e ? e->value : NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
    struct map_entry *e = find(m, key);
    if (e) {
        void *former = e->value;
        e->value = value;
        return former;
    }
    if ((m->used + 1) * 4 > m->cap * 3)
        grow(m);
    insert(m, xstrdup(key), value);
    return NULL;
}

void *map_remove(struct map *m, const char *key)
{
    struct map_entry *e = find(m, key);
    if (!e)
        return NULL;
    void *value = e->value;
    free(e->key);
    *e = (struct map_entry){ .key = tombstone };
    m->len--;
    return value;
}

const struct map_entry *map_next(const struct map *m, size_t *at)
{
    while (*at < m->cap) {
        const struct map_entry *e = &m->entries[(*at)++];
        if (e->key && e->key != tombstone)
            return e;
    }
    return NULL;
}
