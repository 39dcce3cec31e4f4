// Equal files of different layers share their blocks.
#pragma once

#include "image/image.h"
#include "store/dedup.h"

// store_dedup while no layer is collected.
int image_dedup(struct image_service *images, bool is_dry, struct dedup_result *ret, struct error *err);
