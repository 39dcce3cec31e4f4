// GET /system/df as a document. Stands alone, so that it is tested without an engine.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

// One bit for each kind a client may ask for with `type`.
enum { DISK_CONTAINERS = 1, DISK_IMAGES = 2, DISK_VOLUMES = 4, DISK_BUILD_CACHE = 8, DISK_ALL = 15 };

// Arrays of what the list calls show; NULL: not asked for.
struct disk_usage {
    int64_t layers_bytes;      // of all images on disk, what they share counted once
    int64_t reclaimable_bytes; // of them, what no container's image needs
    json_t *images, *containers, *volumes, *build_cache;
};
// Releases what is in it.
void disk_usage_done(struct disk_usage *usage);

// Before 1.52 lists (LayersSize, Images, Containers, Volumes, BuildCache), from then on sums (ImageUsage, ...), with their
// Items when is_verbose. Owned.
json_t *disk_usage_document(const struct disk_usage *usage, int version, bool is_verbose);
