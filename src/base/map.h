// struct map: string keys to void pointers, open addressing, iteration in no order. Keys are copied; values are the
// caller's. Not locked.
#pragma once

#include <stddef.h>

struct map_entry {
    char *key; // NULL: empty; a tombstone has a key of its own
    void *value;
};

struct map {
    struct map_entry *entries;
    size_t cap, len, used;
};

#define MAP_INIT ((struct map){ 0 })

void map_done(struct map *m);                        // releases keys, not values
void *map_get(const struct map *m, const char *key); // NULL when absent
void *map_put(struct map *m, const char *key,
              void *value);                       // value must not be NULL; returns the former value or NULL
void *map_remove(struct map *m, const char *key); // returns the value that was there or NULL
// Iterate: size_t at = 0; while ((e = map_next(&m, &at))) ...; the map must not change meanwhile.
const struct map_entry *map_next(const struct map *m, size_t *at);
