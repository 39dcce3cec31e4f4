#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {
    [ERROR_NONE] = "none",
    [ERROR_INVALID] = "invalid",
    [ERROR_UNAUTHORISED] = "unauthorised",
    [ERROR_DENIED] = "denied",
    [ERROR_NOT_FOUND] = "not found",
    [ERROR_CONFLICT] = "conflict",
    [ERROR_UNSUPPORTED] = "unsupported",
    [ERROR_UNAVAILABLE] = "unavailable",
    [ERROR_EXHAUSTED] = "exhausted",
    [ERROR_CANCELLED] = "cancelled",
    [ERROR_NOT_MODIFIED] = "not modified",
    [ERROR_IO] = "io",
    [ERROR_INTERNAL] = "internal",
};
_Static_assert(sizeof kind_names / sizeof *kind_names == ERROR_KIND_COUNT, "every kind has a name");

const char *error_kind_name(enum error_kind kind)
{
    return kind < ERROR_KIND_COUNT ? kind_names[kind] : "unknown";
}

int error_set(struct error *err, enum error_kind kind, const char *fmt, ...)
{
    char message[ERROR_MESSAGE_MAX]; // the arguments may point into err->message
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    err->kind = kind;
    err->errnum = 0;
    memcpy(err->message, message, sizeof message);
    return -1;
}

static enum error_kind kind_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERROR_EXHAUSTED;
    case ECANCELED:
        return ERROR_CANCELLED;
    default:
        return ERROR_IO;
    }
}

// The kernel's words as Docker says them (Go's begin in lower case), since clients match on them: "no such file or directory",
// "no space left on device".
static const char *errno_text(int errnum, char *buffer, size_t size)
{
    snprintf(buffer, size, "%s", strerrordesc_np(errnum) ? strerrordesc_np(errnum) : "unknown error");
    if (buffer[0] >= 'A' && buffer[0] <= 'Z' && buffer[1] >= 'a')
        buffer[0] = (char)(buffer[0] - 'A' + 'a');
    return buffer;
}

int error_errno(struct error *err, int errnum, const char *fmt, ...)
{
    char context[ERROR_MESSAGE_MAX], text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    if (errnum < 0)
        errnum = -errnum;
    error_set(err, kind_of_errno(errnum), "%s: %s", context, errno_text(errnum, text, sizeof text));
    err->errnum = errnum;
    return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
    char context[ERROR_MESSAGE_MAX];
    int errnum = err->errnum;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof context, fmt, ap);
    va_end(ap);
    error_set(err, err->kind, "%s: %s", context, err->message);
    err->errnum = errnum;
    return -1;
}
