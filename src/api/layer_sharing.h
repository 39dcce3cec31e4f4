// Which layers several images have: a layer is kept once, so what they share takes its place once.
#pragma once

#include "base/map.h"
#include "image/image.h"

#include <stdint.h>

struct layer_sharing {
    struct map layers;   // diff id -> struct layer_use
    int64_t total_bytes; // every layer once
};

// images: NULL-terminated (image_list), all there are. To be released by layer_sharing_done.
void layer_sharing_count(struct store *store, struct image *const *images, struct layer_sharing *ret);
void layer_sharing_done(struct layer_sharing *sharing);
// The part of an image's size that would still be on disk without it, or is there once though the image has it twice:
// SharedSize of the API. Its size less this is what it alone holds.
int64_t layer_sharing_bytes(const struct layer_sharing *sharing, const struct image *image);
