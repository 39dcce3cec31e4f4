// Where in a Dockerfile something stands, and how an error shows it.
//
// Every function of this library that can find fault with the text fills a `struct dockerfile_error`: the cause as any
// `struct error`, and the lines at fault. Who has the text prints both with dockerfile_error_print().
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stddef.h>

// Lines of the file, counted from 1; first == 0: the whole file.
struct dockerfile_lines {
    size_t first, last;
};

struct dockerfile_error {
    struct error cause;
    struct dockerfile_lines lines;
};

// Fill *err with ERROR_INVALID and return -1.
int dockerfile_error_set(struct dockerfile_error *err, struct dockerfile_lines lines, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// Append what BuildKit prints below a failed build: "name:line", and the lines at fault (marked >>>) with up to two
// around them. Nothing when err has no lines, or lines that text does not have. `text`: n bytes, the Dockerfile.
void dockerfile_excerpt(struct dockerfile_lines lines, const char *name, const char *text, size_t n,
                        struct str *out);
// The excerpt, then "ERROR: " and the message, each on a line of its own.
void dockerfile_error_print(const struct dockerfile_error *err, const char *name, const char *text, size_t n,
                            struct str *out);

// The one of `options` (ending with NULL) that `word` was probably meant to be: fewer than three letters off. NULL when
// none is near, or when one is the word itself. Borrowed from options.
const char *dockerfile_suggest(const char *word, const char *const *options);
// Append " (did you mean NEAREST?)" to err's message when there is a nearest one.
void dockerfile_error_suggest(struct error *err, const char *word, const char *const *options);
