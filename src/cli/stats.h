// The arithmetic of `skiff stats`, for tests.
#pragma once

#include <jansson.h>

// Percent of one processor, so that four busy ones are 400; `now` and `before` as GET /containers/{id}/stats gives them.
double stats_cpu_percent(const json_t *now, const json_t *before);
// Bytes without the page cache that is given back on demand.
double stats_memory_used(const json_t *now);
