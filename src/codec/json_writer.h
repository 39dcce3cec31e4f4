// JSON text written as it is made, without a tree: for documents that are made so often that a tree would be most of their
// price. Commas are the writer's business, nesting and keys the caller's.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct json_writer {
    struct str *out; // borrowed
    bool has_member; // the object or array that is open has one already
};

// Everywhere, key NULL: an element of an array, or the document itself.
void json_write_open(struct json_writer *w, const char *key, char bracket); // '{' or '['
void json_write_close(struct json_writer *w, char bracket);                 // '}' or ']'
void json_write_uint(struct json_writer *w, const char *key, uint64_t value);
void json_write_string(struct json_writer *w, const char *key, const char *value);
void json_write_null(struct json_writer *w, const char *key);
