// A container's figures as the Docker API shows them. Stands alone, so that it is tested without an engine.
#pragma once

#include "base/str.h"
#include "container/stats.h"

// GET /containers/{id}/stats: one document, appended to out. `previous` fills precpu_stats and preread; NULL: zeros.
void stats_document_write(struct str *out, const char *id, const char *name, int version,
                          const struct container_stats *now, const struct container_stats *previous);
// GET /containers/stats: those of the same members that a table of all containers is made of.
void stats_summary_write(struct str *out, const char *id, const char *name,
                         const struct container_stats *now);
