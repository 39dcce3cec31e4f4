// An image out of a container. Source: Docker Engine API, POST /commit.
#pragma once

#include "base/error.h"
#include "container/container.h"

#include <jansson.h>

struct container_commit {
    const char *reference; // "repo[:tag]", or NULL
    const char *author, *comment;
    bool squashes;        // one layer of all there is, on nothing
    bool pauses;          // freeze the container meanwhile, if it runs
    char *const *changes; // strv of Dockerfile instructions, or NULL
    const json_t *config; // Config to begin with, what it leaves open is the container's; or NULL
};

// The container's image with one layer on top, made of what the container changed; nothing when it changed nothing. ERROR_CONFLICT
// for one that is dead or being removed. Event commit. Squashed: one layer that holds the image's files and the container's changes
// merged (what was taken away is in it no more), one entry of history; what image_commit says of it applies. As podman's
// `commit --squash`; Docker has none.
int container_commit(struct container_service *containers, const char *name,
                     const struct container_commit *commit, char ret_id[static DIGEST_LEN + 1],
                     struct error *err);
