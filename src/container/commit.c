// Theory of operation. The new layer is made in one pass: the upper directory is walked and written as a tar, in the layer
// format, while the layer store reads, hashes and unpacks it (archive/stream). So a commit costs what the
// container changed, whatever its image holds. Squashed, what is walked is a view of all layers, merged by overlay. A walk that
// fails makes the reading end fail too, never a shorter layer.
#include "container/commit.h"

#include "archive/stream.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/container_internal.h"
#include "container/view.h"
#include "image/changes.h"
#include "image/commit.h"

#include <errno.h>
#include <fcntl.h>

// --- the image's configuration

// What an image says of its containers; the rest of a container's Config is its own.
static json_t *image_part(const json_t *config)
{
    static const char *const kept[] = { "User",    "ExposedPorts", "Env",         "Entrypoint", "Cmd",
                                        "Volumes", "WorkingDir",   "Labels",      "StopSignal", "Healthcheck",
                                        "OnBuild", "Shell",        "ArgsEscaped", "StopTimeout" };
    json_t *part = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        json_t *v = json_object_get(config, kept[i]);
        if (v && !json_is_null(v))
            json_object_set_new(part, kept[i], json_deep_copy(v));
    }
    return part;
}

static int make_config(const struct container *c, const struct container_commit *commit, json_t **ret,
                       struct error *err)
{
    CLEANUP(json_cleanup) json_t *own = image_part(json_is_object(commit->config) ? commit->config : NULL);
    CLEANUP(json_cleanup) json_t *of_container = json_object();
    CLEANUP(json_cleanup) json_t *merged = NULL;
    for (size_t i = 0; commit->changes && commit->changes[i]; i++)
        if (image_change_apply(own, commit->changes[i], err) < 0)
            return -1;
    json_object_set_new(of_container, "config", image_part(c->config_document));
    if (config_merge_image(own, of_container, &merged, err) < 0)
        return -1;
    json_object_del(json_get_object(merged, "Healthcheck"), "FromImage");
    *ret = image_part(merged);
    return 0;
}

static char *command_of(const struct container *c)
{
    CLEANUP(strv_freep) char **command = json_get_strv(c->config_document, "Cmd");
    return command ? strv_join(command, " ") : xstrdup("");
}

// --- commit
static int check_state(struct container *c, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    pthread_mutex_unlock(&c->lock);
    if (status == CONTAINER_DEAD)
        return error_set(err, ERROR_CONFLICT, "You cannot commit container %s which is Dead", c->id);
    if (status == CONTAINER_REMOVING)
        return error_set(err, ERROR_CONFLICT, "You cannot commit container %s which is being removed", c->id);
    return 0;
}

static int pack_image(struct container *c, const struct container_commit *commit, int tree_fd, char *ret_id,
                      struct error *err)
{
    const struct archive_pack options = { .name = "", .leaves_top_out = true, .is_layer = !commit->squashes };
    CLEANUP(json_cleanup) json_t *config = NULL;
    CLEANUP(cleanup_free) char *command = command_of(c);
    CLEANUP(archive_stream_freep) struct archive_stream *tar = NULL;
    struct error cause;
    if (make_config(c, commit, &config, err) < 0 || archive_stream_new(tree_fd, &options, &tar, err) < 0)
        return -1;
    const struct image_commit image = { .parent_id = c->image_id,
                                        .container_id = c->id,
                                        .is_squashed = commit->squashes,
                                        .reference = commit->reference,
                                        .author = commit->author,
                                        .comment = commit->comment,
                                        .created_by = command,
                                        .config = config,
                                        .layer = archive_stream_reader(tar) };
    int r = image_commit(c->service->images, &image, ret_id, err);
    if (r < 0 && archive_stream_end(tar, &cause) < 0)
        *err = cause;
    return r;
}

static int make_image(struct container *c, const struct container_commit *commit, char *ret_id,
                      struct error *err)
{
    if (commit->squashes) {
        CLEANUP(container_view_close) struct container_view view = { 0 };
        if (container_view_open(c, VIEW_LAYERS, &view, err) < 0)
            return -1;
        return pack_image(c, commit, view.root_fd, ret_id, err);
    }
    CLEANUP(cleanup_free) char *path = xasprintf("%s/upper", c->directory);
    CLEANUP(cleanup_close) int upper = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0)
        return error_errno(err, errno, "read the changes of container %s", c->id);
    return pack_image(c, commit, upper, ret_id, err);
}

int container_commit(struct container_service *s, const char *name, const struct container_commit *commit,
                     char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct error ignored;
    if (container_find(s, name, &c, err) < 0 || check_state(c, err) < 0)
        return -1;
    // One that is paused already stays so; one that does not run needs no pause.
    bool was_paused = commit->pauses && container_pause(s, c->id, &ignored) == 0;
    int r = make_image(c, commit, ret_id, err);
    if (was_paused && container_unpause(s, c->id, &ignored) < 0)
        log_debug("commit: %s", ignored.message);
    if (r == 0)
        container_event(c, "commit", "imageID", ret_id);
    return r;
}
