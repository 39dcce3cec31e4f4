// Pushing images to registries.
#pragma once

#include "codec/compress.h"
#include "image/image.h"

struct image_push_options {
    bool has_compression; // given by the user: then layers known in another format are compressed anew
    enum compression compression;
    int level; // 0: the format's default
};

// Push `name` (without tag or digest) with `tag`, or every tag of the repository when tag is NULL. Progress and errors in Docker's
// words: "An image does not exist locally with the tag: x", "tag does not exist: x:y", "denied: ...", "no basic auth credentials".
int image_push(struct image_service *images, const char *name, const char *tag,
               const struct image_push_options *options, const struct registry_auth *auth,
               const struct progress_sink *progress, struct error *err);
