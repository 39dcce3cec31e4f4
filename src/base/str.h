// struct str: a growing byte string. `ptr` is never NULL after str_init and always NUL-terminated at ptr[len]
// (bytes may hold NULs too). A ceiling, when given, makes appends past it set `failed` and change nothing more, so that
// many appends need one check at the end.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
    char *ptr;
    size_t len, cap;
    size_t max;  // ceiling for len; 0: none
    bool failed; // an append went past the ceiling
};

extern char str_empty[1]; // what an unused str points at; never written
#define STR_INIT ((struct str){ .ptr = str_empty })

// Caller's memory; str_done releases the contents and leaves an empty string. A STR_INIT'ed one needs no str_init.
void str_init(struct str *s, size_t max);
void str_done(struct str *s);
// Keep the memory, forget the contents (and `failed`).
void str_clear(struct str *s);
// Hand over the contents as an owned C string; s is empty afterwards.
char *str_take(struct str *s);

void str_append(struct str *s, const char *text);
void str_append_n(struct str *s, const void *bytes, size_t n);
void str_append_char(struct str *s, char c);
void str_appendf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vappendf(struct str *s, const char *fmt, va_list ap);
// Drop the first n bytes (n <= len).
void str_consume(struct str *s, size_t n);
// Make room for n more bytes and return where they go (ptr + len); NULL when the ceiling forbids it.
// After writing m <= n bytes there, call str_added(s, m).
char *str_reserve(struct str *s, size_t n);
void str_added(struct str *s, size_t m);

// --- plain C strings
bool streq(const char *a, const char *b); // NULL equals only NULL
bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
bool str_is_empty(const char *s); // NULL or ""
// What follows the last slash, or all of it: "a/b" -> "b".
const char *path_last_name(const char *path);

// --- owned, NULL-terminated string arrays ("strv")
// A strv is char ** ending with NULL; NULL is an empty one.
size_t strv_len(char *const *v);
void strv_free(char **v);
void strv_freep(char ***v); // for CLEANUP
char **strv_copy(char *const *v);
// Append a copy of s / s itself (takes it).
void strv_push(char ***v, const char *s);
void strv_take(char ***v, char *s);
bool strv_contains(char *const *v, const char *s);
// Take out (and free) every string equal to s.
void strv_remove(char **v, const char *s);
// Split at any of the characters of `separators`; empty pieces are kept when keep_empty. Owned result.
char **strv_split(const char *s, const char *separators, bool keep_empty);
char *strv_join(char *const *v, const char *separator);
