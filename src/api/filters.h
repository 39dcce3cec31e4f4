// The `filters` query parameter: {"key":["value",...]} or, as older clients send it, {"key":{"value":true}}.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct filters {
    json_t *map; // key -> array of strings; NULL: none
};

// accepted: NULL-terminated keys; another is ERROR_INVALID "invalid filter 'x'".
int filters_parse(const char *query, const char *const *accepted, struct filters *ret, struct error *err);
void filters_done(struct filters *filters);
size_t filters_count(const struct filters *filters, const char *key);
const char *filters_at(const struct filters *filters, const char *key, size_t i);
// No such key, or one of its values is equal / the beginning of value / a regular expression that matches it.
bool filters_pass(const struct filters *filters, const char *key, const char *value);
bool filters_pass_prefix(const struct filters *filters, const char *key, const char *value);
bool filters_pass_regex(const struct filters *filters, const char *key, const char *value);
// Every "k" or "k=v" under `key` is in labels (a JSON object of strings, or NULL).
bool filters_pass_labels(const struct filters *filters, const char *key, const json_t *labels);
// A boolean: "1", "true" / "0", "false". ERROR_INVALID otherwise. `otherwise` when the key is missing.
int filters_bool(const struct filters *filters, const char *key, bool otherwise, bool *ret,
                 struct error *err);
// A time: "until" and its kind. *ret_ns stays when the key is missing. ERROR_INVALID when malformed or repeated.
int filters_time(const struct filters *filters, const char *key, int64_t *ret_ns, struct error *err);
