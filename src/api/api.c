// Theory of operation
//
// A request is a straight line: version prefix, route (wire/routes), handler. A handler decodes and validates, calls the
// engine, encodes; when it fails without having answered, the error's kind decides the status (api/status.c).
#include "api/api.h"

#include "api/request.h"
#include "api/status.h"
#include "api/version.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/routes.h"

#include <string.h>

struct api {
    struct engine *engine;
};

static request_handler *const handlers[] = {
    [WIRE_PING] = api_ping,
    [WIRE_VERSION] = api_version,
    [WIRE_INFO] = api_info,
    [WIRE_EVENTS] = api_events,
    [WIRE_CONTAINER_LIST] = api_container_list,
    [WIRE_CONTAINER_CREATE] = api_container_create,
    [WIRE_CONTAINER_INSPECT] = api_container_inspect,
    [WIRE_CONTAINER_TOP] = api_container_top,
    [WIRE_CONTAINER_LOGS] = api_container_logs,
    [WIRE_CONTAINER_START] = api_container_start,
    [WIRE_CONTAINER_STOP] = api_container_stop,
    [WIRE_CONTAINER_RESTART] = api_container_restart,
    [WIRE_CONTAINER_KILL] = api_container_kill,
    [WIRE_CONTAINER_PAUSE] = api_container_pause,
    [WIRE_CONTAINER_UNPAUSE] = api_container_unpause,
    [WIRE_CONTAINER_RENAME] = api_container_rename,
    [WIRE_CONTAINER_UPDATE] = api_container_update,
    [WIRE_CONTAINER_RESIZE] = api_container_resize,
    [WIRE_CONTAINER_WAIT] = api_container_wait,
    [WIRE_CONTAINER_ATTACH] = api_container_attach,
    [WIRE_CONTAINER_REMOVE] = api_container_remove,
    [WIRE_CONTAINER_PRUNE] = api_container_prune,
    [WIRE_CONTAINER_STATS] = api_container_stats,
    [WIRE_CONTAINER_STATS_ALL] = api_container_stats_all,
    [WIRE_CONTAINER_LOGS_CLEAR] = api_container_logs_clear,
    [WIRE_CONTAINER_ATTACH_WS] = api_container_attach_ws,
    [WIRE_CONTAINER_CHECKPOINT] = api_container_checkpoint,
    [WIRE_SYSTEM_DF] = api_system_df,
    [WIRE_SYSTEM_FSCK] = api_fsck,
    [WIRE_CONTAINER_CHANGES] = api_container_changes,
    [WIRE_CONTAINER_EXPORT] = api_container_export,
    [WIRE_CONTAINER_ARCHIVE_STAT] = api_container_archive_stat,
    [WIRE_CONTAINER_ARCHIVE_GET] = api_container_archive_get,
    [WIRE_CONTAINER_ARCHIVE_PUT] = api_container_archive_put,
    [WIRE_COMMIT] = api_commit,
    [WIRE_EXEC_CREATE] = api_exec_create,
    [WIRE_EXEC_START] = api_exec_start,
    [WIRE_EXEC_INSPECT] = api_exec_inspect,
    [WIRE_EXEC_RESIZE] = api_exec_resize,
    [WIRE_IMAGE_LIST] = api_image_list,
    [WIRE_IMAGE_CREATE] = api_image_create,
    [WIRE_IMAGE_INSPECT] = api_image_inspect,
    [WIRE_IMAGE_HISTORY] = api_image_history,
    [WIRE_IMAGE_TAG] = api_image_tag,
    [WIRE_IMAGE_REMOVE] = api_image_remove,
    [WIRE_IMAGE_SAVE_ONE] = api_image_save_one,
    [WIRE_IMAGE_SAVE] = api_image_save,
    [WIRE_IMAGE_LOAD] = api_image_load,
    [WIRE_IMAGE_PRUNE] = api_image_prune,
    [WIRE_IMAGE_PUSH] = api_image_push,
    [WIRE_IMAGE_GC] = api_image_gc,
    [WIRE_IMAGE_DEDUP] = api_image_dedup,
    [WIRE_IMAGE_DIFF] = api_image_diff,
    [WIRE_IMAGE_FLATTEN] = api_image_flatten,
    [WIRE_MANIFEST_INSPECT] = api_manifest_inspect,
    [WIRE_MANIFEST_CREATE] = api_manifest_create,
    [WIRE_MANIFEST_ANNOTATE] = api_manifest_annotate,
    [WIRE_MANIFEST_PUSH] = api_manifest_push,
    [WIRE_MANIFEST_REMOVE] = api_manifest_remove,
    [WIRE_ARTIFACT_LIST] = api_artifact_list,
    [WIRE_ARTIFACT_ATTACH] = api_artifact_attach,
    [WIRE_ARTIFACT_PULL] = api_artifact_pull,
    [WIRE_IMAGE_SEARCH] = api_image_search,
    [WIRE_DISTRIBUTION] = api_distribution,
    [WIRE_AUTH] = api_auth,
    [WIRE_NETWORK_LIST] = api_network_list,
    [WIRE_NETWORK_INSPECT] = api_network_inspect,
    [WIRE_NETWORK_PRUNE] = api_network_prune,
    [WIRE_NETWORK_CREATE] = api_network_create,
    [WIRE_NETWORK_REMOVE] = api_network_remove,
    [WIRE_NETWORK_CONNECT] = api_network_connect,
    [WIRE_NETWORK_DISCONNECT] = api_network_disconnect,
    [WIRE_VOLUME_LIST] = api_volume_list,
    [WIRE_VOLUME_INSPECT] = api_volume_inspect,
    [WIRE_VOLUME_PRUNE] = api_volume_prune,
    [WIRE_VOLUME_CREATE] = api_volume_create,
    [WIRE_VOLUME_REMOVE] = api_volume_remove,
    [WIRE_VOLUME_CLONE] = api_volume_clone,
    [WIRE_VOLUME_RENAME] = api_volume_rename,
    [WIRE_VOLUME_UPDATE] = api_volume_update,
    [WIRE_VOLUME_SNAPSHOT] = api_volume_snapshot,
    [WIRE_VOLUME_SNAPSHOTS] = api_volume_snapshots,
    [WIRE_VOLUME_RESTORE] = api_volume_restore,
    [WIRE_PLUGIN_LIST] = api_plugin_list,
    [WIRE_PLUGIN_INSPECT] = api_plugin_inspect,
    [WIRE_BUILD_PRUNE] = api_build_prune,
    [WIRE_SWARM] = api_no_swarm,
    [WIRE_NOT_YET] = NULL, // answered here
};
_Static_assert(sizeof handlers / sizeof *handlers == WIRE_ROUTE_COUNT, "every route has an entry");

struct api *api_new(struct engine *engine)
{
    struct api *api = NEW(struct api);
    api->engine = engine;
    return api;
}

void api_free(struct api *api)
{
    free(api);
}

static void respond_error(struct request *request, int status, const char *message)
{
    if (status == 304) {
        respond_empty(request, status);
        return;
    }
    json_t *document = json_object();
    json_set_string(document, "message", message);
    respond_json(request, status, document);
}

static void call(struct request *request, const struct wire_match *match)
{
    struct error err = { 0 };
    int r;
    const struct wire_route *route = match->route;
    if (!route || route->since > request->version) {
        respond_error(request, match->is_path_known && !route ? 405 : 404,
                      match->is_path_known && !route ? "method not allowed" : "page not found");
        return;
    }
    if (handlers[route->id])
        r = handlers[route->id](request, &err);
    else
        r = error_set(&err, ERROR_UNSUPPORTED, "%s %s is not offered by this version of skiff", route->method,
                      route->pattern);
    if (r >= 0)
        return;
    log_debug("%s %s: %s", route->method, route->pattern, err.message);
    if (!http_exchange_is_answered(request->http))
        respond_error(request, api_status_of(err.kind), err.message);
    else
        http_reply_abort(request->http);
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct api *api = context;
    struct request request = { .engine = api->engine,
                               .http = exchange,
                               .query = http_exchange_query(exchange) };
    struct wire_match match;
    struct error err;
    const char *path;
    http_exchange_add_header(exchange, "Api-Version", WIRE_VERSION_MAX_TEXT);
    http_exchange_add_header(exchange, "Docker-Experimental", "false");
    http_exchange_add_header(exchange, "Ostype", "linux");
    http_exchange_add_header(exchange, "Server", "Docker/" SKIFF_VERSION " (skiff; linux)");
    log_debug("%s %s", http_exchange_method(exchange), http_exchange_path(exchange));
    if (api_version_split(http_exchange_path(exchange), &request.version, &path, &err) < 0) {
        respond_error(&request, 400, err.message);
        return;
    }
    if (strcmp(http_exchange_method(exchange), "OPTIONS") == 0) {
        respond_empty(&request, 200);
        return;
    }
    if (!wire_match(http_exchange_method(exchange), path, &match)) {
        respond_error(&request, 400, "malformed escape in the path");
        return;
    }
    request.name = match.parameters[0];
    call(&request, &match);
    wire_match_done(&match);
}

struct http_handler api_handler(struct api *api)
{
    return (struct http_handler){ .handle = handle, .context = api };
}
