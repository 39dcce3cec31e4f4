// Consecutive layers of an image merged into one.
#pragma once

#include "image/image.h"

struct image_flatten {
    // The image; or "A..B": the layers that image B has on top of those of image A.
    const char *name;
    const char *from,
        *to; // lowest and topmost layer to merge: a number (1 is the bottom) or (a prefix of) a diff id; NULL: the ends
    const char *reference; // "repo[:tag]" for the result; NULL or "": untagged
};

// A new image with the same contents and the same configuration: in place of the layers one that has their effect; those below and
// above stay as they are. Costs what the merged layers hold. History: their entries stay, as entries without a layer, and one is added
// for the new layer. One layer alone is the image itself, which then only gets the name. ERROR_INVALID: no such layer, A is no ancestor
// of B. Event "tag" when tagged. *ret_merged: how many layers became one.
int image_flatten(struct image_service *images, const struct image_flatten *flatten,
                  char ret_id[static DIGEST_LEN + 1], size_t *ret_merged, struct error *err);
