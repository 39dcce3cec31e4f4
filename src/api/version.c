#include "api/version.h"

#include "wire/routes.h"

#include <string.h>

int api_version_split(const char *path, int *ret_version, const char **ret_path, struct error *err)
{
    if (path[0] != '/' || path[1] != 'v' || path[2] < '0' || path[2] > '9') {
        *ret_version = WIRE_VERSION_MAX;
        *ret_path = path;
        return 0;
    }
    size_t n = strspn(path + 2, "0123456789.");
    char text[16];
    int version = -1;
    if (n < sizeof text && path[2 + n] == '/') {
        memcpy(text, path + 2, n);
        text[n] = 0;
        version = wire_version_parse(text);
    }
    if (version < 0)
        return error_set(err, ERROR_INVALID, "invalid API version in %.40s", path);
    if (version > WIRE_VERSION_MAX)
        return error_set(
            err, ERROR_INVALID,
            "client version %s is too new. Maximum supported API version is " WIRE_VERSION_MAX_TEXT, text);
    if (version < WIRE_VERSION_MIN)
        return error_set(
            err, ERROR_INVALID,
            "client version %s is too old. Minimum supported API version is " WIRE_VERSION_MIN_TEXT
            ", please upgrade your client to a newer version",
            text);
    *ret_version = version;
    *ret_path = path + 2 + n;
    return 0;
}
