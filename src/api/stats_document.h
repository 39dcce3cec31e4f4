// A container's figures as the Docker API shows them. Stands alone, so that it is tested without an engine.
#pragma once

#include "container/stats.h"

#include <jansson.h>

// GET /containers/{id}/stats: one document. `previous` fills precpu_stats and preread; NULL: zeros. Owned.
json_t *stats_document(const char *id, const char *name, int version, const struct container_stats *now,
                       const struct container_stats *previous);
