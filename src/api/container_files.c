// The files of containers: archive (docker cp), changes (docker diff), export, commit.
#include "api/request.h"
#include "base/clock.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "container/archive.h"
#include "container/changes.h"
#include "container/commit.h"

#include <string.h>

// X-Docker-Container-Path-Stat: base64 of {"name","size","mode","mtime","linkTarget"}.
static void add_path_stat(void *context, const struct container_path_stat *stat)
{
    struct request *request = context;
    CLEANUP(json_cleanup) json_t *document = json_object();
    CLEANUP(str_done) struct str encoded = STR_INIT;
    char mtime[TIME_TEXT_MAX];
    if (stat->mtime_ns == 0) // which stands for "never" elsewhere, and for 1970 here
        memcpy(mtime, "1970-01-01T00:00:00Z", sizeof "1970-01-01T00:00:00Z");
    else
        time_format_rfc3339(stat->mtime_ns, mtime);
    json_set_text(document, "name", stat->name);
    json_set_int(document, "size", stat->size);
    json_set_int(document, "mode", stat->mode);
    json_set_string(document, "mtime", mtime);
    json_set_text(document, "linkTarget", stat->link_target);
    CLEANUP(cleanup_free) char *text = json_text(document);
    base64_encode(&encoded, text, strlen(text), false);
    http_exchange_add_header(request->http, "X-Docker-Container-Path-Stat", encoded.ptr);
}

static int get_path(struct request *request, char **ret, struct error *err)
{
    *ret = request_get(request, "path");
    return str_is_empty(*ret) ? error_set(err, ERROR_INVALID, "bad parameter: path cannot be empty") : 0;
}

int api_container_archive_stat(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *path = NULL;
    CLEANUP(container_path_stat_done) struct container_path_stat stat = { 0 };
    if (get_path(request, &path, err) < 0 ||
        container_archive_stat(request->engine->containers, request->name, path, &stat, err) < 0)
        return -1;
    add_path_stat(request, &stat);
    return respond_empty(request, 200);
}

int api_container_archive_get(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *path = NULL;
    struct lazy_stream stream = { .request = request };
    return get_path(request, &path, err) < 0
               ? -1
               : container_archive_get(request->engine->containers, request->name, path, add_path_stat,
                                       request, lazy_stream_writer(&stream), err);
}

int api_container_archive_put(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *path = NULL;
    const struct container_archive_put put = {
        .keeps_kinds = request_flag(request, "noOverwriteDirNonDir", false),
        .owns_by_user = request_flag(request, "copyUIDGID", false),
    };
    if (get_path(request, &path, err) < 0 ||
        container_archive_put(request->engine->containers, request->name, path, &put,
                              http_exchange_body(request->http), err) < 0)
        return -1;
    return respond_empty(request, 200);
}

int api_container_export(struct request *request, struct error *err)
{
    struct lazy_stream stream = { .request = request };
    return container_export(request->engine->containers, request->name, lazy_stream_writer(&stream), err);
}

int api_container_changes(struct request *request, struct error *err)
{
    json_t *changes = NULL;
    if (container_changes(request->engine->containers, request->name, &changes, err) < 0)
        return -1;
    if (json_array_size(changes) == 0) { // Docker's way to say none
        json_decref(changes);
        changes = json_null();
    }
    return respond_json(request, 200, changes);
}

int api_commit(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free)
    char *container = request_get(request, "container"), *repo = request_get(request, "repo"),
         *tag = request_get(request, "tag"), *author = request_get(request, "author"),
         *comment = request_get(request, "comment");
    CLEANUP(strv_freep) char **changes = http_query_get_all(request->query, "changes");
    CLEANUP(json_cleanup) json_t *config = NULL;
    char id[DIGEST_LEN + 1];
    if (str_is_empty(container))
        return error_set(err, ERROR_INVALID, "bad parameter: container cannot be empty");
    if (request_json(request, false, &config, err) < 0)
        return -1;
    CLEANUP(cleanup_free)
    char *reference = str_is_empty(repo)  ? NULL
                      : str_is_empty(tag) ? xstrdup(repo)
                                          : xasprintf("%s:%s", repo, tag);
    const struct container_commit commit = { .reference = reference,
                                             .author = author,
                                             .comment = comment,
                                             .squashes = request_flag(request, "squash", false),
                                             .pauses = request_flag(request, "pause", true),
                                             .changes = changes,
                                             .config = config };
    if (container_commit(request->engine->containers, container, &commit, id, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Id", id);
    return respond_json(request, 201, document);
}
