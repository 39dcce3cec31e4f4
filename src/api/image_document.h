// Images as the Docker API shows them.
#pragma once

#include "api/request.h"

// GET /images/json's element; containers: how many are made from it, -1: not counted. Owned.
json_t *image_summary_document(const struct request *request, const struct image *image, int64_t containers);
// GET /images/{name}/json. Owned.
json_t *image_inspect_document(const struct request *request, const struct image *image);
// GET /images/{name}/history. Owned.
json_t *image_history_document(const struct request *request, const struct image *image);
