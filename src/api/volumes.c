// Volumes.
#include "api/filters.h"
#include "api/request.h"
#include "api/volume_document.h"
#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

// Docker shows whole seconds here.
static void set_created(json_t *document, int64_t created_ns)
{
    char text[TIME_TEXT_MAX];
    time_format_rfc3339(created_ns / NS_PER_S * NS_PER_S, text);
    json_set_string(document, "CreatedAt", text);
}

json_t *volume_document(const struct volume_info *info)
{
    json_t *document = json_object();
    set_created(document, info->created_ns);
    json_set_string(document, "Driver", "local");
    json_object_set_new(document, "Labels",
                        json_object_size(info->labels) ? json_incref(info->labels) : json_null());
    json_set_string(document, "Mountpoint", info->mountpoint);
    json_set_string(document, "Name", info->name);
    json_object_set_new(document, "Options", info->options ? json_incref(info->options) : json_null());
    json_set_string(document, "Scope", "local");
    if (info->snapshot_of)
        json_object_set_new(document, "Status", json_pack("{s:s}", "SnapshotOf", info->snapshot_of));
    return document;
}

static int respond_volume(struct request *request, int status, const char *name, struct error *err)
{
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    if (volume_get(request->engine->volumes, name, &info, err) < 0)
        return -1;
    return respond_json(request, status, volume_document(info));
}

int api_volume_list(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "dangling", "driver", "label", "name", NULL };
    CLEANUP(filters_done) struct filters filters;
    bool is_dangling = false;
    if (filters_parse(request->query, accepted, &filters, err) < 0 ||
        filters_bool(&filters, "dangling", false, &is_dangling, err) < 0)
        return -1;
    bool asks_dangling = filters_count(&filters, "dangling") > 0;
    struct volume_info **list = volume_list(request->engine->volumes);
    json_t *documents = json_array();
    for (size_t i = 0; list[i]; i++)
        if ((!asks_dangling || is_dangling == (strv_len(list[i]->holders) == 0)) &&
            filters_pass(&filters, "driver", "local") &&
            filters_pass_regex(&filters, "name", list[i]->name) &&
            filters_pass_labels(&filters, "label", list[i]->labels))
            json_array_append_new(documents, volume_document(list[i]));
    volume_list_free(list);
    return respond_json(request, 200, json_pack("{s:o, s:n}", "Volumes", documents, "Warnings"));
}

int api_volume_inspect(struct request *request, struct error *err)
{
    return respond_volume(request, 200, request->name, err);
}

// An object of strings, or nothing.
static int check_strings(const json_t *body, const char *key, struct error *err)
{
    const char *name;
    json_t *value = json_object_get(body, key);
    if (value && !json_is_null(value) && !json_is_object(value))
        return error_set(err, ERROR_INVALID, "%s must be an object of strings", key);
    json_t *member;
    json_object_foreach(value, name, member)
    {
        if (!json_is_string(member))
            return error_set(err, ERROR_INVALID, "%s must be an object of strings", key);
    }
    return 0;
}

int api_volume_create(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    if (request_json(request, true, &body, err) < 0 || check_strings(body, "Labels", err) < 0 ||
        check_strings(body, "DriverOpts", err) < 0)
        return -1;
    if (json_get_object(body, "ClusterVolumeSpec"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "ClusterVolumeSpec: cluster volumes are not offered by skiff");
    const struct volume_request create = { .name = json_get_string(body, "Name", ""),
                                           .driver = json_get_string(body, "Driver", ""),
                                           .labels = json_get_object(body, "Labels"),
                                           .options = json_get_object(body, "DriverOpts") };
    if (volume_create(request->engine->volumes, &create, &info, err) < 0)
        return -1;
    return respond_json(request, 201, volume_document(info));
}

int api_volume_remove(struct request *request, struct error *err)
{
    bool is_forced = request_flag(request, "force", false);
    if (volume_remove(request->engine->volumes, request->name, is_forced, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

// Of skiff's own; Docker has nothing like it.
int api_volume_clone(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *name = request_get(request, "name");
    if (str_is_empty(name))
        return error_set(err, ERROR_INVALID, "the clone needs a name");
    if (volume_clone(request->engine->volumes, request->name, name, err) < 0)
        return -1;
    return respond_volume(request, 201, name, err);
}

// The same.
int api_volume_rename(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *name = request_get(request, "name");
    if (str_is_empty(name))
        return error_set(err, ERROR_INVALID, "the volume needs a new name");
    if (volume_rename(request->engine->volumes, request->name, name, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

// --- size and snapshots, of skiff's own
int api_volume_update(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    if (request_json(request, true, &body, err) < 0 || check_strings(body, "DriverOpts", err) < 0 ||
        volume_update(request->engine->volumes, request->name, json_get_object(body, "DriverOpts"), err) < 0)
        return -1;
    return respond_volume(request, 200, request->name, err);
}

int api_volume_snapshot(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *wanted = request_get(request, "name");
    CLEANUP(cleanup_free) char *name = NULL;
    if (volume_snapshot(request->engine->volumes, request->name, wanted, &name, err) < 0)
        return -1;
    return respond_volume(request, 201, name, err);
}

static int oldest_first(const void *a, const void *b)
{
    int64_t x = (*(struct volume_info *const *)a)->created_ns,
            y = (*(struct volume_info *const *)b)->created_ns;
    return x < y ? -1 : x > y;
}

// Also of a volume that is gone, or has another name now.
int api_volume_snapshots(struct request *request, struct error *err)
{
    (void)err;
    struct volume_info **list = volume_list(request->engine->volumes);
    json_t *documents = json_array();
    size_t count = 0;
    while (list[count])
        count++;
    qsort(list, count, sizeof *list, oldest_first);
    for (size_t i = 0; i < count; i++)
        if (list[i]->snapshot_of && streq(list[i]->snapshot_of, request->name))
            json_array_append_new(documents, volume_document(list[i]));
    volume_list_free(list);
    return respond_json(request, 200, json_pack("{s:o}", "Snapshots", documents));
}

int api_volume_restore(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *snapshot = request_get(request, "snapshot");
    if (str_is_empty(snapshot))
        return error_set(err, ERROR_INVALID, "which snapshot?");
    if (volume_restore(request->engine->volumes, request->name, snapshot,
                       request_flag(request, "force", false), err) < 0)
        return -1;
    return respond_empty(request, 204);
}

// --- prune

struct prune {
    struct filters filters;
    bool takes_named;
};

static bool keeps(void *context, const struct volume_info *info)
{
    const struct prune *prune = context;
    if (!prune->takes_named && !volume_is_anonymous(info))
        return true;
    if (!filters_pass_labels(&prune->filters, "label", info->labels))
        return true;
    return filters_count(&prune->filters, "label!") &&
           filters_pass_labels(&prune->filters, "label!", info->labels);
}

// Clients before 1.42 mean all unused ones.
int api_volume_prune(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "label", "label!", "all", NULL };
    static const char *const accepted_before_142[] = { "label", "label!", NULL };
    bool is_old = request->version < 142;
    struct prune prune = { 0 };
    CLEANUP(strv_freep) char **names = NULL;
    uint64_t bytes = 0;
    int r = filters_parse(request->query, is_old ? accepted_before_142 : accepted, &prune.filters, err);
    if (r == 0 && (r = filters_bool(&prune.filters, "all", is_old, &prune.takes_named, err)) == 0)
        r = volume_prune(request->engine->volumes, keeps, &prune, &names, &bytes, err);
    filters_done(&prune.filters);
    if (r < 0)
        return r;
    json_t *document = json_object();
    json_object_set_new(document, "VolumesDeleted", json_from_strv(names));
    json_set_int(document, "SpaceReclaimed", (int64_t)bytes);
    return respond_json(request, 200, document);
}
