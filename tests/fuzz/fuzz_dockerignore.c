// The first line is a path, the rest a .dockerignore. Asked folder by folder or about the whole path, the answer is the
// same; what nothing below may take back is left out to the end.
#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/ignore.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool walked(const struct dockerignore *ignore, const char *path)
{
    bool *parent CLEANUP(cleanup_free) = xcalloc(ignore->count + 1, 1);
    bool *own CLEANUP(cleanup_free) = xcalloc(ignore->count + 1, 1);
    bool is_out = false, is_final = false;
    const bool *above = NULL;
    for (const char *end = strchr(path, '/');; end = strchr(end + 1, '/')) {
        char *part CLEANUP(cleanup_free) = xstrndup(path, end ? (size_t)(end - path) : strlen(path));
        is_out = dockerignore_matches_below(ignore, part, above, own);
        if (is_final && !is_out)
            abort();
        is_final |= is_out && !dockerignore_may_take_back(ignore, part);
        memcpy(parent, own, ignore->count);
        above = parent;
        if (!end)
            return is_out;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dockerignore ignore;
    struct error err;
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : size;
    char *raw CLEANUP(cleanup_free) = xstrndup((const char *)data, n);
    char *path CLEANUP(cleanup_free) = path_cleaned(raw, strlen(raw));
    size_t from = n < size ? n + 1 : size;
    if (dockerignore_read((const char *)data + from, size - from, &ignore, &err) < 0)
        return 0;
    bool is_relative = path[0] != '/' && path[0] != '.';
    if (is_relative && dockerignore_matches(&ignore, path) != walked(&ignore, path))
        abort();
    dockerignore_done(&ignore);
    return 0;
}
