// A volume as the API shows it. Source: docker-api, Volume.
#pragma once

#include "volume/volume.h"

#include <jansson.h>

// Without UsageData. Owned.
json_t *volume_document(const struct volume_info *info);
