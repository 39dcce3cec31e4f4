// What a container changed in its root file system. Source: Docker Engine API, GET /containers/{id}/changes.
#pragma once

#include "base/error.h"
#include "container/container.h"

#include <jansson.h>

enum container_change { CHANGE_MODIFIED, CHANGE_ADDED, CHANGE_DELETED };

// [{"Path":"/etc/x","Kind":1}, ...] in byte order of the paths, owned; empty when nothing has changed.
int container_changes(struct container_service *containers, const char *name, json_t **ret,
                      struct error *err);
// The same for an overlay's upper directory and the merged directory below it (O_PATH descriptors).
int changes_between(int upper, int lower, json_t **ret, struct error *err);
