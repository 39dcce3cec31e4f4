// What is done with registries but pulling: push, search, distribution, auth.
#include "api/filters.h"
#include "api/registry_auth.h"
#include "api/request.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/block_encoder.h"
#include "image/push.h"
#include "image/registry_service.h"

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

// --- auth

int api_auth(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    char *token = NULL;
    if (request_json(request, true, &body, err) < 0 || registry_auth_from_json(body, &auth, err) < 0)
        return -1;
    if (image_registry_login(request->engine->images, json_get_string(body, "serveraddress", ""), &auth,
                             &token, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "IdentityToken", token ? token : "");
    json_set_string(document, "Status", "Login Succeeded");
    free(token);
    return respond_json(request, 200, document);
}

// --- search

static int read_switch(const struct filters *filters, const char *key, int *ret, struct error *err)
{
    bool value = false;
    if (filters_count(filters, key) == 0)
        return 0;
    if (filters_bool(filters, key, false, &value, err) < 0)
        return -1;
    *ret = value;
    return 0;
}

static int read_stars(const struct filters *filters, int64_t *ret, struct error *err)
{
    for (size_t i = 0; i < filters_count(filters, "stars"); i++) {
        int64_t stars;
        const char *text = filters_at(filters, "stars", i);
        if (!parse_i64(text, 0, INT32_MAX, &stars))
            return error_set(err, ERROR_INVALID, "invalid filter 'stars=%.100s'", text);
        *ret = stars > *ret ? stars : *ret;
    }
    return 0;
}

int api_image_search(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "is-automated", "is-official", "stars", NULL };
    CLEANUP(cleanup_free) char *term = request_get(request, "term");
    CLEANUP(filters_done) struct filters filters = { 0 };
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    struct image_search search = { .term = term ? term : "", .is_official = -1, .is_automated = -1 };
    int64_t limit = 0;
    json_t *found = NULL;
    if (request_int(request, "limit", INT32_MIN, INT32_MAX, &limit, err) < 0 ||
        registry_auth_read(request, &auth, err) < 0 ||
        filters_parse(request->query, accepted, &filters, err) < 0 ||
        read_switch(&filters, "is-official", &search.is_official, err) < 0 ||
        read_switch(&filters, "is-automated", &search.is_automated, err) < 0 ||
        read_stars(&filters, &search.min_stars, err) < 0)
        return -1;
    if (limit == 0)
        limit = 25;
    if (limit < 1 || limit > 100)
        return error_set(err, ERROR_INVALID, "limit %lld is outside the range of [1, 100]", (long long)limit);
    search.limit = (unsigned)limit;
    if (image_registry_search(request->engine->images, &search,
                              registry_auth_is_anonymous(&auth) ? NULL : &auth, &found, err) < 0)
        return -1;
    return respond_json(request, 200, found);
}

// --- distribution

int api_distribution(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    json_t *document = NULL;
    if (registry_auth_read(request, &auth, err) < 0 ||
        image_registry_inspect(request->engine->images, request->name,
                               registry_auth_is_anonymous(&auth) ? NULL : &auth, &document, err) < 0)
        return -1;
    return respond_json(request, 200, document);
}
