// A second copy of what an image was made of, from the registry that it came from.
#pragma once

#include "image/image_internal.h"

// Of the layer at `index` of the image (as image_load_summary gives it). Anonymous. The copy in the store is replaced only by one
// that has the same diff id. ERROR_NOT_FOUND when no registry is known; else what the registry or the store said.
int image_refetch_layer(struct image_service *images, const struct image *image, size_t index, bool keeps_old,
                        struct error *err);
// Of the configuration, or of the manifest by which the others are found.
int image_refetch_document(struct image_service *images, const struct image *image, const char *digest,
                           struct error *err);
