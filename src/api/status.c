#include "api/status.h"

int api_status_of(enum error_kind kind)
{
    static const int statuses[] = {
        [ERROR_NONE] = 500,        [ERROR_INVALID] = 400,   [ERROR_UNAUTHORISED] = 401, [ERROR_DENIED] = 403,
        [ERROR_NOT_FOUND] = 404,   [ERROR_CONFLICT] = 409,  [ERROR_UNSUPPORTED] = 501,
        [ERROR_UNAVAILABLE] = 500, // a registry or shim out of reach: dockerd says 500, and clients retry on 503
        [ERROR_EXHAUSTED] = 500,   [ERROR_CANCELLED] = 499, [ERROR_NOT_MODIFIED] = 304, [ERROR_IO] = 500,
        [ERROR_INTERNAL] = 500,
    };
    _Static_assert(sizeof statuses / sizeof *statuses == ERROR_KIND_COUNT, "every kind has a status");
    return kind < ERROR_KIND_COUNT ? statuses[kind] : 500;
}
