// Containers: create, state changes, removal.
#include "api/container_document.h"
#include "api/filters.h"
#include "api/host.h"
#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

// --platform names what this machine runs anyway, or cannot be had.
static int check_platform(const struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *platform = request_get(request, "platform");
    if (str_is_empty(platform) || streq(platform, "linux") || streq(platform, host_go_architecture()))
        return 0;
    size_t n = strlen(host_go_architecture());
    if (str_has_prefix(platform, "linux/") && strncmp(platform + 6, host_go_architecture(), n) == 0 &&
        (!platform[6 + n] || platform[6 + n] == '/'))
        return 0;
    return error_set(err, ERROR_UNSUPPORTED, "platform: %s cannot be run on this machine (linux/%s)",
                     platform, host_go_architecture());
}

int api_container_create(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *config = NULL;
    CLEANUP(cleanup_free) char *name = request_get(request, "name");
    CLEANUP(strv_freep) char **warnings = NULL;
    char id[65];
    if (request_json(request, true, &config, err) < 0 || check_platform(request, err) < 0)
        return -1;
    if (!json_is_object(config))
        return error_set(err, ERROR_INVALID, "config cannot be empty in order to create a container");
    CLEANUP(json_cleanup) json_t *host_config = json_incref(json_object_get(config, "HostConfig"));
    CLEANUP(json_cleanup) json_t *networking = json_incref(json_object_get(config, "NetworkingConfig"));
    json_object_del(config, "HostConfig");
    json_object_del(config, "NetworkingConfig");
    if ((host_config && !json_is_object(host_config) && !json_is_null(host_config)) ||
        (networking && !json_is_object(networking) && !json_is_null(networking)))
        return error_set(err, ERROR_INVALID, "invalid JSON: HostConfig and NetworkingConfig must be objects");
    CLEANUP(json_cleanup) json_t *empty = json_object();
    if (container_create(request->engine->containers, name, config,
                         json_is_object(host_config) ? host_config : empty,
                         json_is_object(networking) ? networking : empty, id, &warnings, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Id", id);
    json_object_set_new(document, "Warnings", json_from_strv(warnings));
    return respond_json(request, 201, document);
}

int api_container_inspect(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    if (container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    json_t *document = container_inspect_document(request, info);
    if (request_flag(request, "size", false))
        container_add_sizes(request, info, document);
    return respond_json(request, 200, document);
}

int api_container_start(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    CLEANUP(cleanup_free) char *checkpoint = request_get(request, "checkpoint");
    CLEANUP(str_done) struct str body = STR_INIT;
    if (!str_is_empty(checkpoint))
        return error_set(err, ERROR_UNSUPPORTED,
                         "checkpoint: checkpoints are not offered by this version of skiff");
    if (reader_read_all(http_exchange_body(request->http), REQUEST_BODY_MAX, &body) < 0 || body.len > 3)
        return error_set(err, ERROR_INVALID,
                         "starting container with non-empty request body was deprecated since API v1.22 and "
                         "removed in v1.24");
    if (container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    int r = container_start(request->engine->containers, request->name, err);
    // A program that is not there or may not be run: the container's configuration is wrong, so 400, as in Docker.
    if (r < 0 && (err->kind == ERROR_NOT_FOUND || err->kind == ERROR_DENIED))
        err->kind = ERROR_INVALID;
    return r < 0 ? r : respond_empty(request, 204);
}

static int stop_or_restart(struct request *request,
                           int (*act)(struct container_service *, const char *, int, int, struct error *),
                           struct error *err)
{
    int signal = 0, timeout_s = -1;
    if (request_signal(request, "signal", &signal, err) < 0 ||
        request_timeout(request, &timeout_s, err) < 0 ||
        act(request->engine->containers, request->name, signal, timeout_s, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

int api_container_stop(struct request *request, struct error *err)
{
    return stop_or_restart(request, container_stop, err);
}

int api_container_restart(struct request *request, struct error *err)
{
    return stop_or_restart(request, container_restart, err);
}

int api_container_kill(struct request *request, struct error *err)
{
    int signal = 9;
    if (request_signal(request, "signal", &signal, err) < 0 ||
        container_kill(request->engine->containers, request->name, signal, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

int api_container_pause(struct request *request, struct error *err)
{
    int r = container_pause(request->engine->containers, request->name, err);
    return r < 0 ? r : respond_empty(request, 204);
}

int api_container_unpause(struct request *request, struct error *err)
{
    int r = container_unpause(request->engine->containers, request->name, err);
    return r < 0 ? r : respond_empty(request, 204);
}

int api_container_rename(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *name = request_get(request, "name");
    if (str_is_empty(name))
        return error_set(err, ERROR_INVALID, "Neither old nor new names may be empty");
    int r = container_rename(request->engine->containers, request->name, name, err);
    return r < 0 ? r : respond_empty(request, 204);
}

int api_container_update(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    CLEANUP(strv_freep) char **warnings = NULL;
    if (request_json(request, true, &body, err) < 0)
        return -1;
    if (!json_is_object(body))
        return error_set(err, ERROR_INVALID, "invalid JSON: an object is needed");
    if (container_update(request->engine->containers, request->name, body, &warnings, err) < 0)
        return -1;
    json_t *document = json_object();
    json_object_set_new(document, "Warnings", warnings && *warnings ? json_from_strv(warnings) : json_null());
    return respond_json(request, 200, document);
}

int api_container_resize(struct request *request, struct error *err)
{
    int64_t rows = -1, columns = -1;
    if (request_int(request, "h", 0, UINT16_MAX, &rows, err) < 0 ||
        request_int(request, "w", 0, UINT16_MAX, &columns, err) < 0)
        return -1;
    if (rows < 0 || columns < 0)
        return error_set(err, ERROR_INVALID, "h and w are needed");
    if (container_resize(request->engine->containers, request->name, (unsigned)rows, (unsigned)columns, err) <
        0)
        return -1;
    return respond_empty(request, 200);
}

int api_container_top(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *arguments = request_get(request, "ps_args");
    json_t *document = NULL;
    if (container_top(request->engine->containers, request->name, arguments, &document, err) < 0)
        return -1;
    return respond_json(request, 200, document);
}

int api_container_remove(struct request *request, struct error *err)
{
    if (request_flag(request, "link", false))
        return container_unlink(request->engine->containers, request->name, err) < 0
                   ? -1
                   : respond_empty(request, 204);
    if (container_remove(request->engine->containers, request->name, request_flag(request, "force", false),
                         request_flag(request, "v", false), err) < 0)
        return -1;
    return respond_empty(request, 204);
}

// --- prune

struct prune {
    struct filters filters;
    int64_t until_ns;
};

static bool keeps(void *context, const struct container_info *info)
{
    const struct prune *prune = context;
    const json_t *labels = json_get_object(info->config, "Labels");
    if (prune->until_ns && info->created_ns > prune->until_ns)
        return true;
    if (!filters_pass_labels(&prune->filters, "label", labels))
        return true;
    return filters_count(&prune->filters, "label!") && filters_pass_labels(&prune->filters, "label!", labels);
}

int api_container_prune(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "label", "label!", "until", NULL };
    struct prune prune = { 0 };
    CLEANUP(strv_freep) char **ids = NULL;
    uint64_t bytes = 0;
    int r = filters_parse(request->query, accepted, &prune.filters, err);
    if (r == 0 && (r = filters_time(&prune.filters, "until", &prune.until_ns, err)) == 0)
        r = container_prune(request->engine->containers, keeps, &prune, &ids, &bytes, err);
    filters_done(&prune.filters);
    if (r < 0)
        return r;
    json_t *document = json_object();
    json_object_set_new(document, "ContainersDeleted", ids && *ids ? json_from_strv(ids) : json_null());
    json_set_int(document, "SpaceReclaimed", (int64_t)bytes);
    return respond_json(request, 200, document);
}
