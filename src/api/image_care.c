// Images that look after themselves (all of it skiff's own): POST /images/gc and /images/dedup.
#include "api/request.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "http/http.h"
#include "image/dedup.h"
#include "image/gc.h"

// --- garbage collection

// The engine's policy; what the request says replaces it as a whole.
static int read_policy(struct request *request, struct image_gc_policy *ret, char **keeps, struct error *err)
{
    int64_t days = -1, last = -1, high = -1, low = -1;
    if (request_int(request, "unused-days", 0, 36500, &days, err) < 0 ||
        request_int(request, "keep-last", 0, 1000000, &last, err) < 0 ||
        request_int(request, "disk-high", 0, 100, &high, err) < 0 ||
        request_int(request, "disk-low", 0, 100, &low, err) < 0)
        return -1;
    *ret = request->engine->options.gc;
    if (days >= 0 || last >= 0 || high >= 0 || low >= 0)
        *ret = (struct image_gc_policy){ .unused_ns = days > 0 ? days * 86400 * NS_PER_S : 0,
                                         .keep_last = last > 0 ? (unsigned)last : 0,
                                         .disk_high = high > 0 ? (unsigned)high : 0,
                                         .disk_low = low > 0 ? (unsigned)low : 0,
                                         .keeps = ret->keeps };
    if (keeps)
        ret->keeps = keeps;
    if (!image_gc_policy_is_set(ret))
        return error_set(err, ERROR_INVALID,
                         "no policy: neither the request nor the engine says which images should go");
    return image_gc_policy_check(ret, err);
}

int api_image_gc(struct request *request, struct error *err)
{
    CLEANUP(strv_freep) char **keeps = http_query_get_all(request->query, "keep");
    struct image_gc_policy policy;
    json_t *report = NULL;
    if (read_policy(request, &policy, keeps, err) < 0 ||
        image_gc(request->engine->images, &policy, request_flag(request, "dry-run", false), &report, err) < 0)
        return -1;
    return respond_json(request, 200, report);
}

// --- deduplication
int api_image_dedup(struct request *request, struct error *err)
{
    struct dedup_result result;
    if (image_dedup(request->engine->images, request_flag(request, "dry-run", false), &result, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "FileSystem", result.file_system);
    json_set_bool(document, "CanShare", result.can_share);
    json_set_int(document, "Files", (int64_t)result.files);
    json_set_int(document, "SpaceSaved", (int64_t)result.saved_bytes);
    return respond_json(request, 200, document);
}
