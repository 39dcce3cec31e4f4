// GET /containers/{name}/stats.
#include "api/request.h"
#include "api/stats_document.h"
#include "base/mem.h"

static int write_line(struct writer out, json_t *document)
{
    CLEANUP(cleanup_free) char *text = json_text(document);
    CLEANUP(str_done) struct str line = STR_INIT;
    json_decref(document);
    str_appendf(&line, "%s\n", text);
    return out.write(out.context, line.ptr, line.len);
}

static int answer_once(struct request *request, const struct container_info *info, struct error *err)
{
    struct container_stats now;
    if (container_stats_read(request->engine->containers, info->id, &now, err) < 0)
        return -1;
    json_t *document = stats_document(info->id, info->name, request->version, &now, NULL);
    container_stats_done(&now);
    return respond_json(request, 200, document);
}

// stream=false: the second sample, because only that has a first one to compare the processor time with.
static int answer_compared(struct request *request, const struct container_info *info,
                           struct stats_listener *listener, struct error *err)
{
    const struct container_stats *now = NULL, *previous = NULL;
    while (!previous)
        if (container_stats_next(listener, http_exchange_fd(request->http), &now, &previous) != 1)
            return error_set(err, ERROR_NOT_FOUND, "No such container: %s", request->name);
    return respond_json(request, 200, stats_document(info->id, info->name, request->version, now, previous));
}

static int answer_stream(struct request *request, const struct container_info *info,
                         struct stats_listener *listener)
{
    struct writer out = http_reply_stream(request->http, 200, "application/json");
    const struct container_stats *now, *previous;
    int r = 0;
    while (r == 0 && container_stats_next(listener, http_exchange_fd(request->http), &now, &previous) == 1)
        r = write_line(out, stats_document(info->id, info->name, request->version, now, previous));
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
    if (container_stats_listen(request->engine->containers, info->id, &listener, err) < 0)
        return -1;
    int r =
        wants_stream ? answer_stream(request, info, listener) : answer_compared(request, info, listener, err);
    container_stats_unlisten(listener);
    return r;
}
