// What spec.c and the parts that add to its document share.
#pragma once

#include "oci/runtime_config.h"

#include <stdbool.h>
#include <sys/stat.h>

// Copies; options: comma-separated.
struct oci_mount *spec_add_mount(struct oci_runtime_config *c, const char *destination, const char *type,
                                 const char *source, const char *options);
// A node like this one at `inside`; false when it is no device, or there are too many. There already: nothing to do.
bool spec_add_device(struct oci_runtime_config *c, const struct stat *st, const char *inside);
// access: "rwm" or a part of it.
void spec_add_device_rule(struct oci_resources *r, bool is_allow, char type, int64_t major, int64_t minor,
                          const char *access);
