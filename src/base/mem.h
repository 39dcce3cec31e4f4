// Memory: allocation that cannot fail, and ownership moved by word. Running out of memory aborts: what is on disk is
// crash-safe at every moment, so an abort loses nothing, and no caller needs an error path that is never tested.
#pragma once

#include <stddef.h>
#include <stdlib.h>

// Run f(&variable) when the variable leaves its scope. One cleanup style per function: this one.
#define CLEANUP(f) __attribute__((cleanup(f)))

// Owned results. Abort when memory is exhausted or the size overflows; never return NULL (xstrdup(NULL) is NULL).
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t size);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define NEW(type) ((type *)xcalloc(1, sizeof(type)))

// For CLEANUP(cleanup_free) on any pointer variable.
static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

// Hand an owned pointer on: yields it and leaves NULL behind.
#define TAKE_PTR(p)                    \
    ({                                 \
        __typeof__(p) take_ptr_ = (p); \
        (p) = NULL;                    \
        take_ptr_;                     \
    })

// Replace an owned string (or NULL) by a copy of s (or NULL).
void free_and_strdup(char **p, const char *s);
