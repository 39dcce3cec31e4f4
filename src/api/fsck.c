// POST /system/fsck (skiff's own): a document a line: {"Type":"progress","Bytes","Total"}, {"Type":"finding",...}, and at the
// end {"Type":"summary","Bytes","Findings","Repaired"}.
#include "container/fsck.h"
#include "api/request.h"
#include "base/mem.h"
#include "image/fsck.h"
#include "volume/fsck.h"

struct fsck_stream {
    struct line_stream lines;
    uint64_t bytes, findings, repaired;
};

static void found(void *context, const struct fsck_finding *finding)
{
    struct fsck_stream *s = context;
    json_t *document = json_object();
    json_set_string(document, "Type", "finding");
    json_set_string(document, "Kind", finding->kind);
    json_set_text(document, "Id", finding->id);
    json_set_string(document, "Problem", finding->problem);
    json_object_set_new(document, "NeededBy", json_from_strv(finding->needed_by));
    json_set_bool(document, "Repaired", finding->is_repaired);
    json_set_string(document, "Action", finding->action ? finding->action : "");
    s->findings++;
    s->repaired += finding->is_repaired;
    (void)line_stream_put(&s->lines, document);
}

static int progress(void *context, uint64_t bytes, uint64_t all_bytes)
{
    struct fsck_stream *s = context;
    json_t *document = json_object();
    json_set_string(document, "Type", "progress");
    json_set_int(document, "Bytes", (int64_t)bytes);
    json_set_int(document, "Total", (int64_t)all_bytes);
    s->bytes = bytes;
    return line_stream_put(&s->lines, document);
}

static int parse_repair(struct request *request, struct fsck_options *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *repair = request_get(request, "repair");
    *ret = (struct fsck_options){ .is_quick = request_flag(request, "quick", false) };
    if (str_is_empty(repair) || streq(repair, "no"))
        return 0;
    if (!streq(repair, "yes") && !streq(repair, "drop"))
        return error_set(err, ERROR_INVALID, "invalid value for repair: %s (yes or drop is wanted)", repair);
    ret->repairs = true;
    ret->may_drop = streq(repair, "drop");
    return 0;
}

int api_fsck(struct request *request, struct error *err)
{
    struct fsck_stream stream = { .lines = { .request = request } };
    const struct fsck_sink sink = { found, progress, &stream };
    struct fsck_options options;
    if (parse_repair(request, &options, err) < 0)
        return -1;
    if (image_fsck(request->engine->images, &options, &sink, err) < 0)
        return line_stream_fail(&stream.lines, err);
    container_fsck(request->engine->containers, &sink);
    volume_fsck(request->engine->volumes, &options, &sink);
    json_t *document = json_object();
    json_set_string(document, "Type", "summary");
    json_set_int(document, "Bytes", (int64_t)stream.bytes);
    json_set_int(document, "Findings", (int64_t)stream.findings);
    json_set_int(document, "Repaired", (int64_t)stream.repaired);
    (void)line_stream_put(&stream.lines, document);
    return 0;
}
