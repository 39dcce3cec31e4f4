// Deduplication after pulls, when nobody waits for it.
#pragma once

#include "image/image.h"

struct engine_dedup;

struct engine_dedup *engine_dedup_new(struct image_service *images);
// Layers have come: compare them with the others, on a thread that ends with it. What comes while it works is looked at after.
void engine_dedup_soon(struct engine_dedup *dedup);
// Waits for what is under way. NULL is fine.
void engine_dedup_free(struct engine_dedup *dedup);
