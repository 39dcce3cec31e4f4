// GET /containers/{name}/stats, GET /containers/stats.
#include "api/request.h"
#include "api/stats_document.h"
#include "base/mem.h"
#include <errno.h>

static int answer_once(struct request *request, const struct container_info *info, struct error *err)
{
    struct container_stats now;
    if (container_stats_read(request->engine->containers, info->id, &now, err) < 0)
        return -1;
    CLEANUP(str_done) struct str text = STR_INIT;
    stats_document_write(&text, info->id, info->name, request->version, &now, NULL);
    container_stats_done(&now);
    return respond_json_text(request, 200, &text);
}

// stream=false: the second sample, because only that has a first one to compare the processor time with.
static int answer_compared(struct request *request, const struct container_info *info,
                           struct stats_listener *listener, struct error *err)
{
    const struct container_stats *now = NULL, *previous = NULL;
    while (!previous)
        if (container_stats_next(listener, http_exchange_fd(request->http), &now, &previous) != 1)
            return error_set(err, ERROR_NOT_FOUND, "No such container: %s", request->name);
    CLEANUP(str_done) struct str text = STR_INIT;
    stats_document_write(&text, info->id, info->name, request->version, now, previous);
    return respond_json_text(request, 200, &text);
}

// --- streams
struct stats_stream {
    struct http_stream *http;
    char *id, *name;
    int version;
};

static int stream_put(void *context, struct stats_text *shared, const struct container_stats *now,
                      const struct container_stats *previous)
{
    struct stats_stream *stream = context;
    if (shared->version != stream->version) {
        str_clear(&shared->text);
        stats_document_write(&shared->text, stream->id, stream->name, stream->version, now, previous);
        str_append_char(&shared->text, '\n');
        shared->version = stream->version;
    }
    return http_stream_put(stream->http, shared->text.ptr, shared->text.len);
}

static void stream_end(void *context, bool is_container_gone)
{
    struct stats_stream *stream = context;
    http_stream_end(stream->http, is_container_gone);
    free(stream->id);
    free(stream->name);
    free(stream);
}

// The request's thread is done with it: the sampler writes on.
static int answer_stream(struct request *request, const struct container_info *info)
{
    struct error ignored;
    struct stats_stream *stream = NEW(struct stats_stream);
    *stream = (struct stats_stream){ .id = xstrdup(info->id),
                                     .name = xstrdup(info->name),
                                     .version = request->version,
                                     .http = http_reply_detached(request->http, 200, "application/json") };
    const struct stats_feed feed = { stream_put, stream_end, stream };
    if (!stream->http) {
        free(stream->id);
        free(stream->name);
        free(stream);
    } else if (container_stats_feed(request->engine->containers, info->id, &feed, &ignored) < 0) {
        stream_end(stream, true); // removed meanwhile: an empty stream
    }
    return 0;
}

int api_container_stats(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    struct stats_listener *listener;
    bool wants_stream = request_flag(request, "stream", true),
         is_once = request_flag(request, "one-shot", false);
    if (wants_stream && is_once)
        return error_set(err, ERROR_INVALID, "cannot have stream=true and one-shot=true");
    if (container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    bool is_up = info->status == CONTAINER_RUNNING || info->status == CONTAINER_PAUSED;
    if (is_once || (!wants_stream && !is_up))
        return answer_once(request, info, err);
    if (wants_stream)
        return answer_stream(request, info);
    if (container_stats_listen(request->engine->containers, info->id, &listener, err) < 0)
        return -1;
    int r = answer_compared(request, info, listener, err);
    container_stats_unlisten(listener);
    return r;
}

// --- all containers
// Lines go out in batches. A client that has not read the last pass when the next begins misses that one, as a whole.
enum { BATCH_BYTES = 32 * 1024 };

struct stats_passes {
    struct http_stream *http;
    bool wants_all; // those that do not run, too
    bool is_begun, is_missed;
    struct str lines;
};

static int passes_send(struct stats_passes *passes)
{
    int r = http_stream_put(passes->http, passes->lines.ptr, passes->lines.len);
    if (r == 0)
        str_clear(&passes->lines);
    return r == -EAGAIN ? 0 : r;
}

static int passes_put(void *context, const char *id, const char *name, const struct container_stats *now)
{
    struct stats_passes *passes = context;
    if (!passes->is_begun) {
        int r = passes->lines.len ? passes_send(passes) : 0;
        if (r < 0)
            return r;
        passes->is_begun = true;
        passes->is_missed = passes->lines.len > 0;
    }
    if (!id)
        passes->is_begun = false;
    if (passes->is_missed || (id && now->read_ns == 0 && !passes->wants_all))
        return 0;
    if (id)
        stats_summary_write(&passes->lines, id, name, now);
    else
        str_append(&passes->lines, "{}");
    str_append_char(&passes->lines, '\n');
    return !id || passes->lines.len >= BATCH_BYTES ? passes_send(passes) : 0;
}

static void passes_end(void *context)
{
    struct stats_passes *passes = context;
    http_stream_end(passes->http, false);
    str_done(&passes->lines);
    free(passes);
}

// One JSON line for each container, an empty object after the last, once a second.
int api_container_stats_all(struct request *request, struct error *err)
{
    (void)err;
    struct error ignored;
    struct stats_passes *passes = NEW(struct stats_passes);
    *passes = (struct stats_passes){ .wants_all = request_flag(request, "all", false),
                                     .lines = STR_INIT,
                                     .http = http_reply_detached(request->http, 200, "application/json") };
    const struct stats_all_feed feed = { passes_put, passes_end, passes };
    if (!passes->http)
        free(passes);
    else if (container_stats_feed_all(request->engine->containers, &feed, &ignored) < 0)
        passes_end(passes);
    return 0;
}
