// What is done with registries but pulling: push.
#include "api/registry_auth.h"
#include "api/request.h"
#include "base/mem.h"
#include "codec/block_encoder.h"
#include "image/push.h"

#include <string.h>

// --- push

// compression and compressionLevel are skiff's own.
static int read_compression(struct request *request, struct image_push_options *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *format = request_get(request, "compression");
    int64_t level = 0;
    if (!str_is_empty(format)) {
        ret->has_compression = true;
        ret->compression = streq(format, "zstd") ? COMPRESSION_ZSTD : COMPRESSION_GZIP;
        if (!streq(format, "zstd") && !streq(format, "gzip"))
            return error_set(err, ERROR_INVALID, "invalid compression \"%.100s\": must be gzip or zstd",
                             format);
    }
    int max = ret->compression == COMPRESSION_ZSTD ? ZSTD_LEVEL_MAX : GZIP_LEVEL_MAX;
    if (request_int(request, "compressionLevel", 0, INT64_MAX, &level, err) < 0)
        return -1;
    if (level > max)
        return error_set(err, ERROR_INVALID, "invalid compression level %lld: %s has 1 to %d",
                         (long long)level, max == ZSTD_LEVEL_MAX ? "zstd" : "gzip", max);
    ret->level = (int)level;
    return 0;
}

int api_image_push(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free)
    char *tag = request_get(request, "tag"), *platform = request_get(request, "platform");
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    struct image_push_options options = { .compression = COMPRESSION_GZIP };
    struct line_stream lines = { .request = request };
    struct progress_sink sink = { report_progress, &lines };
    if (!str_is_empty(platform))
        return error_set(err, ERROR_UNSUPPORTED,
                         "platform: pushing one platform of several is not offered by this version of skiff");
    if (read_compression(request, &options, err) < 0 || registry_auth_read(request, &auth, err) < 0)
        return -1;
    if (image_push(request->engine->images, request->name, str_is_empty(tag) ? NULL : tag, &options,
                   registry_auth_is_anonymous(&auth) ? NULL : &auth, &sink, err) < 0)
        return line_stream_fail(&lines, err);
    return lines.is_begun ? 0 : respond_empty(request, 200);
}
