// An image made of another one and one more layer, or of one layer instead of all the other's.
#pragma once

#include "image/image.h"

struct image_commit {
    const char *parent_id;    // "sha256:..."
    const char *container_id; // that the layer was made in; NULL: none
    bool
        is_squashed; // the layer holds the parent's files as well: it replaces the parent's layers and their history
    const char *reference; // "repo[:tag]", NULL or "": untagged
    const char *author, *comment, *created_by;
    const json_t *config; // the image's "config" object
    struct reader layer;  // tar in the layer format; one without entries makes no layer
};

// ERROR_INVALID for a bad reference or layer; ERROR_EXHAUSTED for too many layers. Event "tag" when tagged.
int image_commit(struct image_service *images, const struct image_commit *commit,
                 char ret_id[static DIGEST_LEN + 1], struct error *err);
