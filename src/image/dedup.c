#include "image/dedup.h"

#include "image/image_internal.h"

int image_dedup(struct image_service *images, bool is_dry, struct dedup_result *ret, struct error *err)
{
    image_acquire_begin(images);
    int r = store_dedup(images->store, is_dry, ret, err);
    image_acquire_end(images);
    return r;
}
