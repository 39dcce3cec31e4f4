// Taking containers away: one, or all that are stopped.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/meta.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { KILL_TIMEOUT_MS = 10000 };

static void remove_directories(struct container *c)
{
    const struct container_roots roots = container_roots(c->service);
    int r = directories_remove(&roots, c->id);
    if (r < 0)
        log_warn("container %s: remove its directories: %s", c->id, strerror(-r));
}

static int delete_record(struct container *c, struct error *err)
{
    CLEANUP(cleanup_free) char *state_key = container_state_key(c->id);
    int r = meta_delete(c->service->store, META_CONTAINERS, c->id, err);
    return r < 0 ? r : meta_delete(c->service->store, META_CONTAINERS, state_key, err);
}

// The record goes first: what is not recorded is garbage that the next start of the engine removes. A full disk may have no room
// for that; then it has once the directories are gone.
static void delete_record_and_directories(struct container *c)
{
    struct error err;
    bool is_deleted = delete_record(c, &err) == 0;
    remove_directories(c);
    if (!is_deleted && delete_record(c, &err) < 0)
        log_warn("container %s: %s", c->id, err.message);
    else
        storage_release(c);
}

void container_destroy_locked(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool was_dead = c->state.status == CONTAINER_DEAD; // perhaps nobody looked whether it ran
    c->state.status = CONTAINER_REMOVING;
    pthread_mutex_unlock(&c->lock);
    for (int kind = 0; kind < TIMER_KIND_COUNT; kind++)
        timers_clear(c, (enum timer_kind)kind);
    if (was_dead)
        cgroup_sweep(c->cgroup_path);
    attach_drop_pending(c);
    execs_end(c, true);
    container_forget(c);
    mounts_end_run(c);
    delete_record_and_directories(c);
    mounts_release(c);
    mounts_discard(c);
    userns_release(&c->service->userns, c->userns_first_id);
    pthread_mutex_lock(&c->lock);
    waiters_notify(c, CONTAINER_WAIT_REMOVED, c->state.exit_code);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    image_note_use(c->service->images, c->image_id); // it was in use until now
    container_event(c, "destroy", NULL, NULL);
}

static int kill_and_wait(struct container *c, struct error *err)
{
    if (restart_cancel(c) || !container_is_running(c))
        return 0;
    struct error ignored;
    if (container_kill(c->service, c->id, SIGKILL, &ignored) < 0 && container_is_running(c))
        return error_set(err, ignored.kind, "could not kill container: %s", ignored.message);
    if (!container_wait_stopped(c, KILL_TIMEOUT_MS))
        return error_set(
            err, ERROR_INTERNAL,
            "could not kill container: tried to kill container, but did not receive an exit event");
    return 0;
}

int container_remove(struct container_service *s, const char *name, bool is_forced, bool with_volumes,
                     struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    pthread_mutex_unlock(&c->lock);
    if (!is_forced && (status == CONTAINER_RUNNING || status == CONTAINER_RESTARTING))
        return error_set(err, ERROR_CONFLICT,
                         "cannot remove container \"%s\": container is %s: stop the container before "
                         "removing or force remove",
                         name, container_status_name(status));
    if (!is_forced && status == CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT,
                         "cannot remove container \"%s\": container is paused and must be unpaused first",
                         name);
    if (kill_and_wait(c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    pthread_mutex_lock(&c->lock);
    bool is_gone = c->is_gone;
    bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED ||
                      c->state.status == CONTAINER_RESTARTING;
    pthread_mutex_unlock(&c->lock);
    int r = 0;
    if (is_running) // started again meanwhile
        r = error_set(err, ERROR_CONFLICT,
                      "cannot remove container \"%s\": container is running: stop the container before "
                      "removing or force remove",
                      name);
    else if (!is_gone) { // else its own --rm was quicker: it is removed, as was asked
        c->takes_volumes_along = with_volumes;
        container_destroy_locked(c);
    }
    pthread_mutex_unlock(&c->operation);
    return r;
}

int container_prune(struct container_service *s,
                    bool (*keep)(void *context, const struct container_info *info), void *context,
                    char ***ret_ids, uint64_t *ret_bytes, struct error *err)
{
    struct container **all = container_all(s);
    char **ids = NULL;
    uint64_t bytes = 0;
    (void)err;
    for (size_t i = 0; all[i]; i++) {
        CLEANUP(container_info_freep) struct container_info *info = container_snapshot(all[i]);
        if ((info->status != CONTAINER_CREATED && info->status != CONTAINER_EXITED &&
             info->status != CONTAINER_DEAD) ||
            (keep && keep(context, info)))
            continue;
        uint64_t size = container_written_bytes(all[i]);
        struct error ignored; // one that was started or removed meanwhile is simply not pruned
        if (container_remove(s, all[i]->id, false, false, &ignored) < 0)
            continue;
        strv_push(&ids, all[i]->id);
        bytes += size;
    }
    container_all_free(all);
    *ret_ids = ids;
    *ret_bytes = bytes;
    return 0;
}
