// One API request on its way through the handlers.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/stream.h"
#include "codec/json.h"
#include "engine/engine.h"
#include "http/server.h"

struct request {
    struct engine *engine;
    struct http_exchange *http;
    int version;       // 141 for 1.41
    const char *query; // "" when none
    const char *name;  // the path's parameter, decoded, or NULL
};

enum { REQUEST_BODY_MAX = 4 << 20 };

// A handler answers, or fails before having answered; then the dispatcher answers with the error.
typedef int request_handler(struct request *request, struct error *err);

// Takes the document. 0.
int respond_json(struct request *request, int status, json_t *document);
// A document that is text already; a line's end is appended to it. 0.
int respond_json_text(struct request *request, int status, struct str *text);
int respond_empty(struct request *request, int status);
// The body as JSON; *ret is NULL when there is none and it is not needed.
int request_json(struct request *request, bool is_needed, json_t **ret, struct error *err);
// A query parameter, owned; NULL when absent.
char *request_get(const struct request *request, const char *name);
bool request_flag(const struct request *request, const char *name, bool otherwise);
// A number in the query; *ret stays when it is absent or empty.
int request_int(const struct request *request, const char *name, int64_t min, int64_t max, int64_t *ret,
                struct error *err);
// A signal in the query; *ret stays when it is absent or empty. ERROR_INVALID "Invalid signal: x".
int request_signal(const struct request *request, const char *name, int *ret, struct error *err);
// `stop` and `restart`: seconds in "t", negative ones for "no limit"; *ret stays when absent.
int request_timeout(const struct request *request, int *ret, struct error *err);
// What an attach asks for in its query. *ret_detach_keys is owned and what ret->detach_keys points to.
void request_attach(const struct request *request, struct container_attach *ret, char **ret_detach_keys);

// A stream of JSON documents, one a line. The head goes out with the first one, so that an error before it is an ordinary
// answer; an error after it is a line of its own ({"errorDetail":{"message":..},"error":..}).
struct line_stream {
    struct request *request;
    const char *type;
    bool is_begun;
    struct writer out;
};
// Takes the document. 0, or -errno when the client is gone.
int line_stream_put(struct line_stream *stream, json_t *document);
// End with an error: 0 when it was told in the stream, -1 when nothing has been sent yet (the dispatcher answers).
int line_stream_fail(struct line_stream *stream, const struct error *err);

// For a struct progress_sink over a line_stream: a progress document as Docker writes it. 0, or -errno when the client is gone.
struct progress;
int report_progress(void *stream, const struct progress *progress);

// A tar answer whose head goes out with its first bytes, so that what fails before them is an ordinary answer.
struct lazy_stream {
    struct request *request;
    bool is_begun;
    struct writer out;
};
struct writer lazy_stream_writer(struct lazy_stream *stream);

// --- handlers, one per route (api/<area>.c)
request_handler api_ping, api_version, api_info, api_events, api_no_swarm, api_plugin_list,
    api_plugin_inspect;
request_handler api_build_prune;
request_handler api_container_list, api_container_create, api_container_inspect, api_container_top,
    api_container_logs, api_container_start, api_container_stop, api_container_restart, api_container_kill,
    api_container_pause, api_container_unpause, api_container_rename, api_container_resize,
    api_container_update, api_container_wait, api_container_attach, api_container_remove, api_container_prune;
request_handler api_container_stats_all;
request_handler api_container_stats, api_container_logs_clear, api_container_attach_ws,
    api_container_checkpoint;
request_handler api_system_df, api_fsck;
request_handler api_container_changes, api_container_export, api_container_archive_stat,
    api_container_archive_get, api_container_archive_put, api_commit;
request_handler api_exec_create, api_exec_start, api_exec_inspect, api_exec_resize;
request_handler api_image_list, api_image_create, api_image_inspect, api_image_history, api_image_tag,
    api_image_remove, api_image_save_one, api_image_save, api_image_load, api_image_prune;
request_handler api_image_gc, api_image_dedup, api_image_diff, api_image_flatten;
request_handler api_manifest_inspect, api_manifest_create, api_manifest_annotate, api_manifest_push,
    api_manifest_remove;
request_handler api_artifact_list, api_artifact_attach, api_artifact_pull;
request_handler api_image_push, api_image_search, api_distribution, api_auth;
request_handler api_network_list, api_network_inspect, api_network_prune, api_network_create,
    api_network_remove, api_network_connect, api_network_disconnect;
request_handler api_volume_list, api_volume_inspect, api_volume_prune;
request_handler api_volume_create, api_volume_remove, api_volume_clone, api_volume_rename;
request_handler api_volume_update, api_volume_snapshot, api_volume_snapshots, api_volume_restore;
