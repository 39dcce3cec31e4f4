// Theory of operation. The new layer is made in one pass: a thread walks the upper directory and writes it as a tar, in the
// layer format, into a pipe; the layer store reads, hashes and unpacks it at the other end. So a commit costs what the
// container changed, whatever its image holds. A walk that fails makes the reading end fail too, never a shorter layer.
#include "container/commit.h"

#include "archive/archive.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/container_internal.h"
#include "image/changes.h"
#include "image/commit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { STACK_SIZE = 1 << 20, PIPE_SIZE = 1 << 20 };

// --- the tar of what has changed
struct changed_tar {
    int upper_fd, read_fd, write_fd;
    pthread_t thread;
    bool is_running;
    int result;
    struct error error; // of the thread
};

static void *write_tar(void *context)
{
    struct changed_tar *t = context;
    const struct archive_pack options = { .name = "", .leaves_top_out = true, .is_layer = true };
    const struct writer to = writer_to_fd(&t->write_fd);
    t->result = archive_pack(t->upper_fd, &options, to, &t->error);
    if (t->result == 0) {
        int r = tar_write_end(to);
        t->result = r < 0 ? error_errno(&t->error, r, "write archive") : 0;
    }
    t->write_fd = fd_close(t->write_fd);
    return NULL;
}

static void changed_tar_join(struct changed_tar *t)
{
    if (t->is_running)
        pthread_join(t->thread, NULL);
    t->is_running = false;
}

static ssize_t read_tar(void *context, void *buffer, size_t n)
{
    struct changed_tar *t = context;
    for (;;) {
        ssize_t k = read(t->read_fd, buffer, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k != 0)
            return k < 0 ? -errno : k;
        changed_tar_join(t);
        return t->result < 0 ? -EIO : 0;
    }
}

static int changed_tar_begin(const struct container *c, struct changed_tar *t, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/upper", c->directory);
    int pipe_fds[2];
    *t = (struct changed_tar){ .upper_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC),
                               .read_fd = FD_NONE,
                               .write_fd = FD_NONE };
    if (t->upper_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_errno(err, errno, "read the changes of container %s", c->id);
    t->read_fd = pipe_fds[0];
    t->write_fd = pipe_fds[1];
    (void)fcntl(t->read_fd, F_SETPIPE_SZ, PIPE_SIZE);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int r = pthread_create(&t->thread, &attributes, write_tar, t);
    pthread_attr_destroy(&attributes);
    t->is_running = r == 0;
    return r ? error_errno(err, r, "start a thread") : 0;
}

static void changed_tar_done(struct changed_tar *t)
{
    t->read_fd = fd_close(t->read_fd); // whoever still writes is told by EPIPE
    changed_tar_join(t);
    t->write_fd = fd_close(t->write_fd);
    t->upper_fd = fd_close(t->upper_fd);
}

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

static int make_image(struct container *c, const struct container_commit *commit, char *ret_id,
                      struct error *err)
{
    CLEANUP(json_cleanup) json_t *config = NULL;
    CLEANUP(cleanup_free) char *command = command_of(c);
    CLEANUP(changed_tar_done)
    struct changed_tar tar = { .upper_fd = FD_NONE, .read_fd = FD_NONE, .write_fd = FD_NONE };
    if (make_config(c, commit, &config, err) < 0 || changed_tar_begin(c, &tar, err) < 0)
        return -1;
    const struct image_commit image = { .parent_id = c->image_id,
                                        .container_id = c->id,
                                        .reference = commit->reference,
                                        .author = commit->author,
                                        .comment = commit->comment,
                                        .created_by = command,
                                        .config = config,
                                        .layer = { read_tar, &tar } };
    int r = image_commit(c->service->images, &image, ret_id, err);
    if (r < 0) {
        tar.read_fd = fd_close(tar.read_fd);
        changed_tar_join(&tar);
        if (tar.result < 0 && tar.error.errnum != EPIPE)
            *err = tar.error; // the cause
    }
    return r;
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
