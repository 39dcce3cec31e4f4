// A container as one side of a comparison (image/diff.h).
#pragma once

#include "container/container.h"
#include "image/diff.h"

// Its image's layers with what it has written on top, and its configuration. A container that runs may change meanwhile. ERROR_NOT_FOUND
// "No such container: x".
int container_side_open(struct container_service *containers, const char *name, struct image_side *ret,
                        struct error *err);
