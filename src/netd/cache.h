// What upstream servers answered, for as long as they said, within bounds. One thread.
#pragma once

#include "netd/dns.h"

struct cache;
struct cache *cache_new(void);
void cache_free(struct cache *cache);

// `set` tells askers of different upstreams apart. The reply is kept when it may be.
void cache_put(struct cache *cache, const char *set, const struct dns_question *q, const uint8_t *reply,
               size_t n, int64_t now_ns);
// Copies the reply into to[size], with the query's id and question and what is left of its time to live. 0: not there, or larger.
// *ret_is_larger: there, but it does not fit.
size_t cache_get(struct cache *cache, const char *set, const struct dns_question *q, const uint8_t *query,
                 uint8_t *to, size_t size, int64_t now_ns, bool *ret_is_larger);
