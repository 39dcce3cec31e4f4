// Errors as values. A fallible function returns 0, or a negative number with *err filled in.
//
// `struct error` is plain memory on the caller's stack: nothing to free, no thread-local state. The kind decides
// the HTTP status (api/status.c) and the exit code (cli/exit.c); the message is what a person reads: lower case, no
// full stop, naming the object and the cause, in Docker's wording where clients match on it.
#pragma once

#include <stdbool.h>

enum error_kind {
    ERROR_NONE,
    ERROR_INVALID,      // the request is malformed or out of range            (400)
    ERROR_UNAUTHORISED, // credentials missing or wrong                        (401)
    ERROR_DENIED,       // not permitted                                       (403)
    ERROR_NOT_FOUND,    // the named object does not exist                     (404)
    ERROR_CONFLICT,     // the object's state or name forbids it               (409)
    ERROR_UNSUPPORTED,  // understood, but not offered here                    (501)
    ERROR_UNAVAILABLE,  // a peer (registry, shim) cannot be reached           (503 or 500)
    ERROR_EXHAUSTED,    // disk, memory, descriptors, address pool used up     (500)
    ERROR_CANCELLED,    // the caller went away or a deadline passed           (499)
    ERROR_NOT_MODIFIED, // already in the wanted state                         (304)
    ERROR_IO,           // the kernel refused: errnum says why                 (500)
    ERROR_INTERNAL,     // our own fault                                       (500)
    ERROR_KIND_COUNT
};

enum { ERROR_MESSAGE_MAX = 1000 };

struct error {
    enum error_kind kind;
    int errnum;                      // errno of the failed call, 0 when there was none
    char message[ERROR_MESSAGE_MAX]; // NUL-terminated, cut when too long
};

// Fill *err (never NULL) and return -1, so that `return error_set(...)` is one line.
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// As error_set; the message gets ": " and errnum's text appended, in lower case. errnum may be negative (-errno) or positive.
// The kind follows errnum: ENOSPC/EDQUOT/EMFILE/ENFILE/ENOMEM -> EXHAUSTED, ECANCELED -> CANCELLED, else IO.
int error_errno(struct error *err, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Put "context: " before the message; keeps kind and errnum; returns -1. Use at layer borders only.
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// The kind's name in lower case ("not found"), for logs.
const char *error_kind_name(enum error_kind kind);
