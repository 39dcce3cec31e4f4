// The "/v1.NN" in front of a path.
#pragma once

#include "base/error.h"

// Take the prefix off: *ret_version is its version (WIRE_VERSION_MAX without prefix), *ret_path what follows (borrowed from
// path). ERROR_INVALID in Docker's words for a version out of range or malformed.
int api_version_split(const char *path, int *ret_version, const char **ret_path, struct error *err);
