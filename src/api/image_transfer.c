// Images in and out: pull, import, load, save.
//
// Progress is a JSON document a line; the head goes out with the first one, so that what fails at once is an ordinary error
// and what fails later is told inside a 200.
#include "api/registry_auth.h"
#include "api/request.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

int report_progress(void *stream, const struct progress *progress)
{
    json_t *document = json_object();
    if (progress->stream)
        json_set_string(document, "stream", progress->stream);
    if (progress->status)
        json_set_string(document, "status", progress->status);
    if (progress->status && (progress->id || progress->total)) {
        json_t *detail = json_object();
        if (progress->current || progress->total) {
            json_set_int(detail, "current", progress->current);
            if (progress->total)
                json_set_int(detail, "total", progress->total);
        }
        json_object_set_new(document, "progressDetail", detail);
    }
    if (progress->id)
        json_set_string(document, "id", progress->id);
    if (progress->aux)
        json_object_set(document, "aux", (json_t *)(uintptr_t)progress->aux);
    return line_stream_put(stream, document);
}

// --- pull

static int pull(struct request *request, const char *from, struct error *err)
{
    CLEANUP(cleanup_free)
    char *tag = request_get(request, "tag"), *platform = request_get(request, "platform");
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    if (registry_auth_read(request, &auth, err) < 0)
        return -1;
    CLEANUP(cleanup_free)
    char *reference =
        str_is_empty(tag) ? xstrdup(from) : xasprintf(strchr(tag, ':') ? "%s@%s" : "%s:%s", from, tag);
    struct line_stream lines = { .request = request };
    struct progress_sink sink = { report_progress, &lines };
    // A name alone stands for all its tags here; that it means ":latest" is the clients' doing.
    bool wants_all = str_is_empty(tag) && !strchr(from, '@') && !strchr(path_last_name(from), ':');
    int r = (wants_all ? image_pull_all : image_pull)(
        request->engine->images, reference, str_is_empty(platform) ? NULL : platform,
        registry_auth_is_anonymous(&auth) ? NULL : &auth, &sink, err);
    if (r < 0)
        return line_stream_fail(&lines, err);
    if (request->engine->dedup)
        engine_dedup_soon(request->engine->dedup);
    return lines.is_begun ? 0 : respond_empty(request, 200);
}

// --- import

static int import(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free)
    char *repo = request_get(request, "repo"), *tag = request_get(request, "tag"),
         *message = request_get(request, "message"), *platform = request_get(request, "platform");
    CLEANUP(strv_freep) char **changes = http_query_get_all(request->query, "changes");
    CLEANUP(cleanup_free)
    char *reference = str_is_empty(repo)  ? NULL
                      : str_is_empty(tag) ? xstrdup(repo)
                                          : xasprintf("%s:%s", repo, tag);
    char id[DIGEST_LEN + 1];
    struct line_stream lines = { .request = request };
    if (image_import(request->engine->images, http_exchange_body(request->http), reference, message,
                     str_is_empty(platform) ? NULL : platform, changes, id, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "status", id);
    line_stream_put(&lines, document);
    return 0;
}

int api_image_create(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free)
    char *from_image = request_get(request, "fromImage"), *from_src = request_get(request, "fromSrc");
    if (!str_is_empty(from_image))
        return pull(request, from_image, err);
    if (streq(from_src, "-"))
        return import(request, err);
    if (!str_is_empty(from_src))
        return error_set(
            err, ERROR_UNSUPPORTED,
            "fromSrc: import from a URL is not offered by this version of skiff; send the archive (-)");
    return error_set(err, ERROR_INVALID, "fromImage or fromSrc is needed");
}

// --- load and save

int api_image_load(struct request *request, struct error *err)
{
    CLEANUP(strv_freep) char **names = NULL;
    CLEANUP(cleanup_free) char *platform = request_get(request, "platform");
    struct line_stream lines = { .request = request };
    struct progress_sink sink = { report_progress, &lines };
    bool is_quiet = request_flag(request, "quiet", true);
    if (!str_is_empty(platform))
        return error_set(err, ERROR_UNSUPPORTED,
                         "platform: loading one platform of several is not offered by this version of skiff");
    if (image_load(request->engine->images, http_exchange_body(request->http), is_quiet ? NULL : &sink,
                   &names, err) < 0)
        return line_stream_fail(&lines, err);
    for (size_t i = 0; is_quiet && names && names[i]; i++) {
        json_t *document = json_object();
        json_object_set_new(
            document, "stream",
            json_sprintf(str_has_prefix(names[i], "sha256:") ? "Loaded image ID: %s\n" : "Loaded image: %s\n",
                         names[i]));
        line_stream_put(&lines, document);
    }
    return lines.is_begun ? 0 : respond_empty(request, 200);
}

static int save(struct request *request, char *const *names, struct error *err)
{
    CLEANUP(cleanup_free) char *platform = request_get(request, "platform");
    struct lazy_stream stream = { .request = request };
    if (!str_is_empty(platform))
        return error_set(err, ERROR_UNSUPPORTED,
                         "platform: saving one platform of several is not offered by this version of skiff");
    return image_save(request->engine->images, names, lazy_stream_writer(&stream), err);
}

int api_image_save_one(struct request *request, struct error *err)
{
    char *names[] = { xstrdup(request->name), NULL };
    int r = save(request, names, err);
    free(names[0]);
    return r;
}

int api_image_save(struct request *request, struct error *err)
{
    CLEANUP(strv_freep) char **names = http_query_get_all(request->query, "names");
    if (!strv_len(names))
        return error_set(err, ERROR_INVALID, "names: no image named");
    return save(request, names, err);
}
