// JSON over jansson, with bounds at the door: size and depth are checked before a tree is built.
// Getters never fail: a missing key or another type gives the default; what must be there is asked for by json_need_*.
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 64 };

// For CLEANUP(json_cleanup) on a json_t *.
void json_cleanup(json_t **j);

// Parse one document. ERROR_INVALID with position when malformed, deeper than JSON_DEPTH_MAX, or when object keys repeat.
// Owned result in *ret.
int json_parse(const char *text, size_t n, json_t **ret, struct error *err);
// Compact text, owned. Keys keep insertion order.
char *json_text(const json_t *j);
// The same, at the end of `out`.
void json_append(struct str *out, const json_t *j);

// Borrowed until the tree changes.
const char *json_get_string(const json_t *object, const char *key, const char *otherwise);
int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *object, const char *key, bool otherwise);
// NULL unless there is an object / array under that key.
json_t *json_get_object(const json_t *object, const char *key);
json_t *json_get_array(const json_t *object, const char *key);
// Copy of an array of strings (non-strings are skipped). Owned; NULL when the key is missing or null.
char **json_get_strv(const json_t *object, const char *key);

// Setters that take care of ownership and of NULL (then JSON null).
void json_set_string(json_t *object, const char *key, const char *value);
// Of a file's name, which is not always UTF-8: other bytes become U+FFFD.
void json_set_text(json_t *object, const char *key, const char *bytes);
void json_set_int(json_t *object, const char *key, int64_t value);
void json_set_bool(json_t *object, const char *key, bool value);
json_t *json_from_strv(char *const *v); // an array; empty for NULL

// Append s as a quoted JSON string; bytes that are not UTF-8 become U+FFFD. For hot paths that print by hand.
void json_append_quoted(struct str *out, const char *s, size_t n);
