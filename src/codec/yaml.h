// YAML into the JSON value it stands for, over libyaml. What JSON cannot say (anchors and aliases, tags, several documents, keys
// that are no strings) is refused.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

// One document; plain scalars become null, booleans and numbers as YAML 1.2's core schema has them. Bounded as json_parse is:
// ERROR_INVALID with the line when malformed, deeper than JSON_DEPTH_MAX, or when keys repeat. Owned result.
int yaml_parse(const char *text, size_t n, json_t **ret, struct error *err);
