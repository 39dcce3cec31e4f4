// Stop, kill, restart, pause, rename, resize.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/names.h"
#include "container/networks.h"
#include "container/shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { KILL_TIMEOUT_MS = 10000, SETTLE_MS = 1000, PROCESS_FILE_MAX = 1 << 16 };

static int need_running(struct container *c, const char *verb, struct error *err)
{
    if (container_is_running(c))
        return 0;
    return error_set(err, ERROR_CONFLICT, "cannot %s container: %s: container %s is not running", verb, c->id,
                     c->id);
}

static int send_signal(struct container *c, int signal, struct error *err)
{
    const struct shim_message m = { .type = SHIM_SIGNAL, .signal = signal };
    return shim_call(c->socket_path, &m, NULL, 0, NULL, err);
}

// A frozen process takes no signal but SIGKILL's effect once thawed.
static int thaw(struct container *c, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    bool was_paused = c->state.status == CONTAINER_PAUSED;
    pid_t pid = c->state.pid;
    if (was_paused)
        c->state.status = CONTAINER_RUNNING;
    pthread_mutex_unlock(&c->lock);
    int r = was_paused ? cgroup_freeze(c->cgroup_path, pid, false) : 0;
    return r < 0 ? error_errno(err, r, "unpause container %s", c->id) : 0;
}

// Signal and event, without a word on who wished it.
static int deliver(struct container *c, int signal, struct error *err)
{
    char number[16];
    if (send_signal(c, signal, err) < 0) {
        // Ended between the look and the signal: as if it had not been running.
        return err->kind == ERROR_NOT_FOUND || err->kind == ERROR_CONFLICT
                   ? error_set(err, ERROR_CONFLICT, "cannot kill container: %s: container %s is not running",
                               c->id, c->id)
                   : -1;
    }
    if (signal == SIGKILL && thaw(c, err) < 0)
        return -1;
    snprintf(number, sizeof number, "%d", signal);
    container_event(c, "kill", "signal", number);
    return 0;
}

// Somebody's wish, which outlives the engine where a policy asks for it: so it is on record before anything happens.
// is_end: this run is to end by it.
static void note_wish(struct container *c, bool is_end)
{
    struct error err;
    pthread_mutex_lock(&c->lock);
    c->state.was_stopped = true;
    c->state.is_stop_requested |= is_end;
    bool has_policy = c->restart.kind != RESTART_NO;
    pthread_mutex_unlock(&c->lock);
    if (has_policy && container_save_state(c, &err) < 0)
        log_warn("container %s: %s", c->id, err.message);
}

// Docker's rule: the stop signal and SIGKILL end a container, and so does any signal where no stop signal is configured.
static bool is_ending_signal(const struct container *c, int signal)
{
    bool has_stop_signal = !str_is_empty(json_get_string(c->config_document, "StopSignal", NULL));
    return signal == SIGKILL || !has_stop_signal || signal == c->config.stop_signal;
}

int container_kill(struct container_service *s, const char *name, int signal, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    int sent = signal == 0 ? SIGKILL : signal;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    if (restart_cancel(c))
        return 0;
    if (need_running(c, "kill", err) < 0)
        return -1;
    note_wish(c, is_ending_signal(c, sent));
    return deliver(c, sent, err);
}

int container_kill_run(struct container *c, struct error *err)
{
    return need_running(c, "kill", err) < 0 ? -1 : deliver(c, SIGKILL, err);
}

// --- stop
static int read_process_file(pid_t pid, const char *name, struct str *ret)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    str_clear(ret);
    return file_read_at(AT_FDCWD, path, PROCESS_FILE_MAX, ret);
}

// Whether it is in sigwait; also where that cannot be known.
static bool may_be_in_sigwait(pid_t pid)
{
    CLEANUP(str_done) struct str call = STR_INIT, wchan = STR_INIT;
    if (read_process_file(pid, "syscall", &call) < 0)
        return true;
    (void)read_process_file(pid, "wchan", &wchan);
    return is_in_sigwait(call.ptr, wchan.ptr);
}

// Nothing will come of this signal: the process is the first of its pid namespace and has no handler for it. In doubt, false.
// Its mask means what it says only outside sigwait, so that is looked at before and after.
static bool is_lost(struct container *c, int signal)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    struct signal_disposition disposition;
    pthread_mutex_lock(&c->lock);
    pid_t pid = c->state.pid;
    pthread_mutex_unlock(&c->lock);
    return pid > 0 && !may_be_in_sigwait(pid) && read_process_file(pid, "status", &text) == 0 &&
           signal_disposition_parse(text.ptr, signal, &disposition) && signal_is_lost(&disposition, signal) &&
           !may_be_in_sigwait(pid);
}

// A program that has just been started may not have come to installing its handlers yet.
static int64_t until_settled_ms(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t age_ms = (time_now_ns() - c->state.started_ns) / NS_PER_MS;
    pthread_mutex_unlock(&c->lock);
    return age_ms < 0 || age_ms >= SETTLE_MS ? 0 : SETTLE_MS - age_ms;
}

// Send the stop signal and wait for the end, at most timeout_ms (< 0: for ever). 1: it has ended, 0: it has not, and need not
// be waited for any more.
static int ask_to_end(struct container *c, int signal, int64_t timeout_ms, struct error *err)
{
    int64_t pause_ms = until_settled_ms(c);
    if (timeout_ms >= 0 && pause_ms > timeout_ms)
        pause_ms = timeout_ms;
    bool was_lost = is_lost(c, signal);
    if (deliver(c, signal, err) < 0)
        return container_is_running(c) ? -1 : 1;
    if (!was_lost)
        return container_wait_stopped(c, timeout_ms);
    if (container_wait_stopped(c, pause_ms))
        return 1;
    if (is_lost(c, signal))
        return 0;
    // It has a handler now; the first signal was too early.
    if (deliver(c, signal, err) < 0)
        return container_is_running(c) ? -1 : 1;
    return container_wait_stopped(c, timeout_ms < 0 ? timeout_ms : timeout_ms - pause_ms);
}

static bool is_fit(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_fit = !c->has_health || c->health.status == HEALTH_HEALTHY;
    pthread_mutex_unlock(&c->lock);
    return is_fit;
}

int container_end_run(struct container *c, int signal, int timeout_s, struct error *err)
{
    if (timeout_s < 0)
        timeout_s =
            c->config.stop_timeout_s >= 0 ? c->config.stop_timeout_s : c->service->options.stop_timeout_s;
    if (thaw(c, err) < 0)
        return -1;
    network_set_fit(c->service->networks, c->id, false); // others take new connections while it ends
    int r = ask_to_end(c, signal ? signal : c->config.stop_signal, timeout_s * 1000LL, err);
    if (r == 0 && deliver(c, SIGKILL, err) < 0 && container_is_running(c))
        r = -1;
    if (r < 0) { // it goes on
        network_set_fit(c->service->networks, c->id, is_fit(c));
        return -1;
    }
    if (r == 0 && !container_wait_stopped(c, KILL_TIMEOUT_MS))
        return error_set(
            err, ERROR_INTERNAL,
            "cannot stop container: %s: tried to kill container, but did not receive an exit event", c->id);
    container_event(c, "stop", NULL, NULL);
    return 0;
}

int container_stop(struct container_service *s, const char *name, int signal, int timeout_s,
                   struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    if (restart_cancel(c)) {
        container_event(c, "stop", NULL, NULL);
        return 0;
    }
    if (!container_is_running(c))
        return error_set(err, ERROR_NOT_MODIFIED, "container %s is not running", c->id);
    note_wish(c, true);
    return container_end_run(c, signal, timeout_s, err);
}

static void set_restarting(struct container *c, bool is_restarting)
{
    pthread_mutex_lock(&c->lock);
    c->state.is_restarting = is_restarting;
    pthread_mutex_unlock(&c->lock);
}

int container_restart(struct container_service *s, const char *name, int signal, int timeout_s,
                      struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    (void)restart_cancel(c);
    set_restarting(c, true);
    int r = container_is_running(c) ? container_end_run(c, signal, timeout_s, err) : 0;
    if (r == 0) {
        pthread_mutex_lock(&c->operation);
        r = container_start_locked(c, err);
        pthread_mutex_unlock(&c->operation);
        if (r < 0)
            error_wrap(err, "Cannot restart container %s", name);
    }
    set_restarting(c, false);
    if (r < 0)
        return -1;
    container_event(c, "restart", NULL, NULL);
    return 0;
}

static int set_paused(struct container *c, bool is_paused, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    pid_t pid = c->state.pid;
    pthread_mutex_unlock(&c->lock);
    if (is_paused && status == CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT, "container %s is already paused", c->id);
    if (is_paused && status == CONTAINER_RESTARTING)
        return error_set(err, ERROR_CONFLICT,
                         "Container %s is restarting, wait until the container is running", c->id);
    if (is_paused && status != CONTAINER_RUNNING)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", c->id);
    if (!is_paused && status != CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT, "Container %s is not paused", c->id);
    int r = cgroup_freeze(c->cgroup_path, pid, is_paused);
    if (r < 0)
        return error_errno(err, r, "cannot %s container %s", is_paused ? "pause" : "unpause", c->id);
    pthread_mutex_lock(&c->lock);
    if (c->state.status == status) // it has not been killed meanwhile
        c->state.status = is_paused ? CONTAINER_PAUSED : CONTAINER_RUNNING;
    pthread_mutex_unlock(&c->lock);
    container_event(c, is_paused ? "pause" : "unpause", NULL, NULL);
    return 0;
}

static int pause_by_name(struct container_service *s, const char *name, bool is_paused, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = set_paused(c, is_paused, err);
    pthread_mutex_unlock(&c->operation);
    return r;
}

int container_pause(struct container_service *s, const char *name, struct error *err)
{
    return pause_by_name(s, name, true, err);
}

int container_unpause(struct container_service *s, const char *name, struct error *err)
{
    return pause_by_name(s, name, false, err);
}

// --- rename
static int swap_names(struct container *c, const char *new_name, char **ret_old, struct error *err)
{
    struct container_service *s = c->service;
    char holder_id[ID_LEN + 1] = "";
    pthread_mutex_lock(&s->lock);
    const struct container *holder = map_get(&s->by_name, new_name);
    if (holder) {
        memcpy(holder_id, holder->id, sizeof holder_id);
    } else {
        pthread_mutex_lock(&c->lock);
        map_remove(&s->by_name, c->name);
        *ret_old = c->name;
        c->name = xstrdup(new_name);
        map_put(&s->by_name, new_name, c);
        pthread_mutex_unlock(&c->lock);
    }
    pthread_mutex_unlock(&s->lock);
    if (!*holder_id)
        return 0;
    return error_set(err, ERROR_CONFLICT,
                     "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have "
                     "to remove (or rename) "
                     "that container to be able to reuse that name.",
                     new_name, holder_id);
}

static int rename_locked(struct container *c, const char *new_name, struct error *err)
{
    CLEANUP(cleanup_free) char *old = NULL;
    struct error ignored;
    pthread_mutex_lock(&c->lock);
    bool is_same = streq(c->name, new_name), is_gone = c->is_gone;
    pthread_mutex_unlock(&c->lock);
    if (is_gone)
        return error_set(err, ERROR_NOT_FOUND, "No such container: %s", c->id);
    if (is_same)
        return error_set(err, ERROR_INVALID, "Renaming a container with the same name as its current name");
    if (swap_names(c, new_name, &old, err) < 0)
        return -1;
    if (container_save(c, err) < 0) {
        char *unused = NULL;
        if (swap_names(c, old, &unused, &ignored) < 0)
            log_error("container %s: %s", c->id, ignored.message);
        free(unused);
        return -1;
    }
    networks_rename(c);
    CLEANUP(cleanup_free) char *shown = xasprintf("/%s", old);
    container_event(c, "rename", "oldName", shown);
    return 0;
}

int container_rename(struct container_service *s, const char *name, const char *new_name, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (str_is_empty(new_name))
        return error_set(err, ERROR_INVALID, "Neither old nor new names may be empty");
    const char *plain = new_name[0] == '/' ? new_name + 1 : new_name;
    if (container_find(s, name, &c, err) < 0 || name_check(plain, err) < 0)
        return -1;
    pthread_mutex_lock(&c->operation);
    int r = rename_locked(c, plain, err);
    pthread_mutex_unlock(&c->operation);
    return r;
}

int container_resize(struct container_service *s, const char *name, unsigned rows, unsigned columns,
                     struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    char height[16];
    if (container_find(s, name, &c, err) < 0 || need_running(c, "resize", err) < 0)
        return -1;
    const struct shim_message m = { .type = SHIM_RESIZE,
                                    .rows = (uint16_t)rows,
                                    .columns = (uint16_t)columns };
    if (rows > UINT16_MAX || columns > UINT16_MAX)
        return error_set(err, ERROR_INVALID, "invalid terminal size %ux%u", rows, columns);
    if (shim_call(c->socket_path, &m, NULL, 0, NULL, err) < 0)
        return -1;
    snprintf(height, sizeof height, "%u", rows);
    container_event(c, "resize", "height", height);
    return 0;
}
