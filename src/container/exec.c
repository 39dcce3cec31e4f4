// Theory of operation. An exec is created (checked, its process document built, nothing started), then
// started once. Its object lives in the service's map until its container goes, or until it has ended and many
// newer ones have come. Its document is the
// container's own process with what the request changes; the user is looked up in the container's live root
// file system, through the first process's root and never outside it. The client's socket is attached before
// the process starts, so its first byte is not lost.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/rootfs.h"
#include "container/shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EXECS_KEPT = 256,
    EXECS_PER_CONTAINER_MAX = 1024,
    EXEC_EXIT_BAD = 126,
    SETTLE_ROUNDS = 200,
    KILLED_END_MS = 5000
};

// Guarded by the service's lock; the immutable members may be read by whoever holds a copy.
struct exec {
    char id[ID_LEN + 1];
    char container_id[ID_LEN + 1];
    json_t *options; // as the client gave them; immutable
    bool is_running, has_started;
    int exit_code;
    bool has_exit_code;
    pid_t pid;
};

static void exec_free(struct exec *e)
{
    json_decref(e->options);
    free(e);
}

// What a request needs of an exec, copied out of the table: options are a reference of the caller's.
static int exec_copy(struct container_service *s, const char *exec_id, struct exec *ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    const struct exec *e = map_get(&s->execs, exec_id);
    if (e) {
        *ret = *e;
        json_incref(ret->options);
    }
    pthread_mutex_unlock(&s->lock);
    return e ? 0 : error_set(err, ERROR_NOT_FOUND, "No such exec instance: %s", exec_id);
}

static int need_running(struct container *c, struct error *err)
{
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    pthread_mutex_unlock(&c->lock);
    if (status == CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT, "Container %s is paused, unpause the container before exec",
                         c->id);
    if (status == CONTAINER_RESTARTING)
        return error_set(err, ERROR_CONFLICT,
                         "Container %s is restarting, wait until the container is running", c->id);
    if (status != CONTAINER_RUNNING)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", c->id);
    return 0;
}

// --- create
static char *command_line(const json_t *options)
{
    char **args = json_get_strv(options, "Cmd");
    char *line = strv_join(args, " ");
    strv_free(args);
    return line;
}

static int check_options(const json_t *options, struct error *err)
{
    static const char *const known[] = {
        "User",       "Privileged", "Tty",        "AttachStdin", "AttachStderr", "AttachStdout", "Detach",
        "DetachKeys", "Env",        "WorkingDir", "Cmd",         "ConsoleSize",  "Container",    NULL
    };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)options, key, v)
    {
        bool is_known = false;
        for (size_t i = 0; known[i]; i++)
            is_known |= streq(known[i], key);
        if (!is_known)
            return error_set(err, ERROR_UNSUPPORTED, "exec option %s is not supported yet", key);
    }
    const char *cwd = json_get_string(options, "WorkingDir", "");
    if (*cwd && *cwd != '/')
        return error_set(err, ERROR_INVALID,
                         "the working directory '%s' is invalid, it needs to be an absolute path", cwd);
    const json_t *first = json_array_get(json_get_array(options, "Cmd"), 0);
    if (!json_is_string(first))
        return error_set(err, ERROR_INVALID, "No exec command specified");
    return 0;
}

// Both locks are held. What has ended is kept so that its exit code can be asked for, but not for as long as the container lives:
// the longest ended makes room.
static void forget_oldest_ended(struct container_service *s, struct container *c)
{
    for (size_t i = 0; c->exec_ids && c->exec_ids[i]; i++) {
        struct exec *e = map_get(&s->execs, c->exec_ids[i]);
        if (e && (e->is_running || !e->has_started))
            continue;
        CLEANUP(cleanup_free) char *id = xstrdup(c->exec_ids[i]);
        map_remove(&s->execs, id);
        strv_remove(c->exec_ids, id);
        if (e)
            exec_free(e);
        return;
    }
}

int container_exec_create(struct container_service *s, const char *name, const json_t *options,
                          char ret_exec_id[static 65], struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    uint8_t keys[SHIM_DETACH_KEYS_MAX];
    unsigned key_count;
    if (container_find(s, name, &c, err) < 0 || need_running(c, err) < 0 || check_options(options, err) < 0 ||
        detach_keys_parse(json_get_string(options, "DetachKeys", ""), keys, &key_count, err) < 0)
        return -1;
    struct exec *e = NEW(struct exec);
    id_new(e->id);
    memcpy(e->container_id, c->id, sizeof e->container_id);
    memcpy(ret_exec_id, e->id, sizeof e->id);
    e->options = json_deep_copy(options);
    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&c->lock);
    if (strv_len(c->exec_ids) >= EXECS_KEPT)
        forget_oldest_ended(s, c);
    bool is_full = strv_len(c->exec_ids) >= EXECS_PER_CONTAINER_MAX, is_gone = c->is_gone;
    if (!is_full && !is_gone) {
        strv_push(&c->exec_ids, e->id);
        map_put(&s->execs, e->id, e);
    }
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&s->lock);
    if (is_full || is_gone) {
        exec_free(e);
        return is_gone ? error_set(err, ERROR_NOT_FOUND, "No such container: %s", name)
                       : error_set(err, ERROR_EXHAUSTED, "container %s has more than %d execs", c->id,
                                   EXECS_PER_CONTAINER_MAX);
    }
    CLEANUP(cleanup_free) char *line = command_line(options);
    CLEANUP(cleanup_free) char *action = xasprintf("exec_create: %s", line);
    container_event(c, action, "execID", ret_exec_id);
    return 0;
}

// --- the document
static int look_up_user(struct container *c, const char *spec, struct oci_process *p,
                        struct user_identity *ret, struct error *err)
{
    char path[64];
    CLEANUP(rootfs_done) struct rootfs root = { 0 };
    pthread_mutex_lock(&c->lock);
    pid_t pid = c->state.pid;
    pthread_mutex_unlock(&c->lock);
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    int r = rootfs_add(&root, path);
    if (r < 0)
        return error_errno(err, r, "open the root of container %s", c->id);
    if (user_lookup_in_root(&root, spec, c->config.group_add, ret, err) < 0)
        return -1;
    if (c->userns_first_id && (ret->uid >= USERNS_RANGE_SIZE || ret->gid >= USERNS_RANGE_SIZE)) {
        user_identity_done(ret);
        return error_set(err, ERROR_INVALID, "user id is outside the container's own range of %u ids",
                         USERNS_RANGE_SIZE);
    }
    free(TAKE_PTR(p->user.additional_gids));
    return 0;
}

static void set_exec_env(struct container *c, const json_t *options, const char *home, struct oci_process *p)
{
    CLEANUP(strv_freep) char **own = json_get_strv(options, "Env");
    CLEANUP(strv_freep) char **merged = strv_copy(c->config.env);
    for (size_t i = 0; own && own[i]; i++)
        strv_push(&merged, own[i]);
    strv_free(p->env);
    p->env = spec_environment(merged, c->config.hostname, json_get_bool(options, "Tty", false), home);
}

static int build_process(struct container *c, const json_t *options, unsigned rows, unsigned columns,
                         struct oci_process *p, struct error *err)
{
    CLEANUP(user_identity_done) struct user_identity user = { 0 };
    const char *spec = json_get_string(options, "User", ""),
               *cwd = json_get_string(options, "WorkingDir", "");
    oci_capset bounding = c->config.capabilities;
    if (json_get_bool(options, "Privileged", false))
        for (int n = 0; n < 64 && oci_capability_name(n); n++)
            bounding |= 1ULL << n;
    if (look_up_user(c, *spec ? spec : c->config.user, p, &user, err) < 0)
        return -1;
    spec_set_user(p, &user, bounding);
    strv_free(p->args);
    p->args = json_get_strv(options, "Cmd");
    set_exec_env(c, options, user.home, p);
    if (*cwd)
        free_and_strdup(&p->cwd, cwd);
    const json_t *console = json_get_array(options, "ConsoleSize"); // [height, width]
    p->has_terminal = json_get_bool(options, "Tty", false);
    p->console_height = rows ? rows : (unsigned)json_integer_value(json_array_get(console, 0)) & 0xffff;
    p->console_width = columns ? columns : (unsigned)json_integer_value(json_array_get(console, 1)) & 0xffff;
    p->has_oom_score_adj = c->config.oom_score_adj != 0;
    p->oom_score_adj = c->config.oom_score_adj;
    return 0;
}

static int exec_document(struct container *c, const struct exec *e, unsigned rows, unsigned columns,
                         char **ret, struct error *err)
{
    struct oci_process process;
    pthread_mutex_lock(&c->lock);
    CLEANUP(json_cleanup) json_t *base = json_incref(c->process);
    pthread_mutex_unlock(&c->lock);
    if (!base)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", c->id);
    if (oci_process_parse(base, &process, err) < 0)
        return -1;
    int r = build_process(c, e->options, rows, columns, &process, err);
    if (r == 0) {
        struct shim_exec document = { .exec_id = xstrdup(e->id),
                                      .has_stdin = json_get_bool(e->options, "AttachStdin", false),
                                      .process = oci_process_emit(&process) };
        *ret = shim_exec_emit(&document);
        shim_exec_done(&document);
    }
    oci_process_done(&process);
    return r;
}

static int exec_seccomp(struct container *c, const json_t *options, int *ret_fd, struct error *err)
{
    *ret_fd = FD_NONE;
    if (json_get_bool(options, "Privileged", false))
        return 0;
    return container_seccomp_program(c, ret_fd, err);
}

// --- start
static int exec_attach(struct container *c, const struct exec *e, int socket,
                       const struct container_attach *attach, struct error *err)
{
    struct shim_message m = { 0 };
    struct container_attach allowed = *attach;
    allowed.wants_stdin = json_get_bool(e->options, "AttachStdin", false);
    allowed.wants_stdout = json_get_bool(e->options, "AttachStdout", false);
    allowed.wants_stderr = json_get_bool(e->options, "AttachStderr", false);
    attach_fill(&m, &allowed, json_get_bool(e->options, "Tty", false));
    memcpy(m.exec_id, e->id, sizeof e->id);
    const char *keys = str_is_empty(attach->detach_keys) ? json_get_string(e->options, "DetachKeys", "")
                                                         : attach->detach_keys;
    if (detach_keys_parse(keys, m.detach_keys, &m.detach_key_count, err) < 0)
        return -1;
    return shim_call(c->socket_path, &m, &socket, 1, NULL, err);
}

static int exec_run(struct container *c, const struct exec *e, const char *document, int seccomp_fd,
                    pid_t *ret_pid, struct error *err)
{
    struct shim_message m = { .type = SHIM_EXEC }, reply;
    memcpy(m.exec_id, e->id, sizeof e->id);
    CLEANUP(cleanup_close) int fd = fd_from_bytes("exec", document, strlen(document));
    if (fd < 0)
        return error_errno(err, fd, "exec in container %s", c->id);
    if (shim_call(c->socket_path, &m, (int[]){ fd, seccomp_fd }, seccomp_fd >= 0 ? 2 : 1, &reply, err) == 0) {
        *ret_pid = reply.pid;
        return 0;
    }
    if (err->kind == ERROR_NOT_FOUND || err->kind == ERROR_DENIED || err->kind == ERROR_INVALID) {
        struct error inner = *err;
        error_set(err, ERROR_INVALID,
                  "OCI runtime exec failed: exec failed: unable to start container process: %s: unknown",
                  inner.message);
    }
    return -1;
}

// The one transition from created to running, so that two starts at once cannot both pass.
static int claim_start(struct container_service *s, const char *exec_id, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct exec *e = map_get(&s->execs, exec_id);
    bool has_started = e && e->has_started;
    if (e)
        e->has_started = e->is_running = true;
    pthread_mutex_unlock(&s->lock);
    if (!e)
        return error_set(err, ERROR_NOT_FOUND, "No such exec instance: %s", exec_id);
    return has_started ? error_set(err, ERROR_CONFLICT, "exec %s has already been started", exec_id) : 0;
}

static void exec_started(struct container_service *s, const char *exec_id, pid_t pid)
{
    pthread_mutex_lock(&s->lock);
    struct exec *e = map_get(&s->execs, exec_id);
    if (e)
        e->pid = pid;
    pthread_mutex_unlock(&s->lock);
}

// Returns whether it was running.
static bool exec_ended(struct container_service *s, const char *exec_id, int exit_code)
{
    pthread_mutex_lock(&s->lock);
    struct exec *e = map_get(&s->execs, exec_id);
    bool was_running = e && e->is_running;
    if (was_running) {
        e->is_running = false;
        e->exit_code = exit_code;
        e->has_exit_code = true;
    }
    pthread_mutex_unlock(&s->lock);
    return was_running;
}

static int start_in(struct container *c, const struct exec *e, bool is_detached, int socket,
                    const struct container_attach *attach, unsigned rows, unsigned columns, struct error *err)
{
    CLEANUP(cleanup_free) char *document = NULL;
    int seccomp_fd;
    pid_t pid = 0;
    if (exec_document(c, e, rows, columns, &document, err) < 0 ||
        exec_seccomp(c, e->options, &seccomp_fd, err) < 0)
        return -1;
    if (!is_detached && exec_attach(c, e, socket, attach, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *line = command_line(e->options);
    CLEANUP(cleanup_free) char *action = xasprintf("exec_start: %s", line);
    container_event(c, action, "execID", e->id);
    if (exec_run(c, e, document, seccomp_fd, &pid, err) < 0)
        return -1;
    exec_started(c->service, e->id, pid);
    return 0;
}

int container_exec_start(struct container_service *s, const char *exec_id, bool is_detached, int socket,
                         const struct container_attach *attach, unsigned rows, unsigned columns,
                         struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct exec e;
    if (exec_copy(s, exec_id, &e, err) < 0)
        return -1;
    int r = container_find(s, e.container_id, &c, err);
    if (r == 0)
        r = need_running(c, err);
    if (r == 0)
        r = claim_start(s, exec_id, err);
    if (r == 0) {
        r = start_in(c, &e, is_detached, socket, attach, rows, columns, err);
        if (r < 0)
            exec_ended(s, exec_id,
                       strstr(err->message, "not found") || strstr(err->message, "no such file")
                           ? 127
                           : EXEC_EXIT_BAD);
    }
    json_decref(e.options);
    return r;
}

void exec_exited(struct container *c, const char *exec_id, int exit_code)
{
    char code[16];
    if (!exec_ended(c->service, exec_id, exit_code))
        return;
    snprintf(code, sizeof code, "%d", exit_code);
    container_event(c, "exec_die", "execID", exec_id);
}

void execs_end(struct container *c, bool is_forgotten)
{
    struct container_service *s = c->service;
    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; c->exec_ids && c->exec_ids[i]; i++) {
        struct exec *e = map_get(&s->execs, c->exec_ids[i]);
        if (e && e->is_running) {
            e->is_running = false;
            e->exit_code = 137;
            e->has_exit_code = true;
        }
        if (e && is_forgotten) {
            map_remove(&s->execs, e->id);
            exec_free(e);
        }
    }
    if (is_forgotten) {
        strv_free(c->exec_ids);
        c->exec_ids = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&s->lock);
}

// --- inspect, resize
static json_t *process_config(struct container *c, const json_t *options)
{
    json_t *p = json_object(), *cmd = json_get_array(options, "Cmd"), *arguments = json_array();
    json_set_bool(p, "tty", json_get_bool(options, "Tty", false));
    json_set_string(p, "entrypoint", json_string_value(json_array_get(cmd, 0)));
    for (size_t i = 1; i < json_array_size(cmd); i++)
        json_array_append(arguments, json_array_get(cmd, i));
    json_object_set_new(p, "arguments", arguments);
    json_set_bool(p, "privileged", json_get_bool(options, "Privileged", false));
    const char *user = json_get_string(options, "User", "");
    json_set_string(p, "user", *user ? user : c->config.user);
    return p;
}

// The shim tells of an exec's end before it closes the client's stream, and clients ask for the exit code as soon as that closes: what
// waits in the control socket by now is part of the answer.
static void settle(struct container *c)
{
    for (int round = 0; round < SETTLE_ROUNDS; round++) {
        pthread_mutex_lock(&c->lock);
        struct pollfd p = { .fd = c->control_fd, .events = POLLIN };
        bool is_waiting = c->control_fd >= 0 && poll(&p, 1, 0) > 0;
        pthread_mutex_unlock(&c->lock);
        if (!is_waiting && !atomic_load(&c->is_handling))
            return;
        poll(NULL, 0, 1);
    }
}

int container_exec_inspect(struct container_service *s, const char *exec_id, json_t **ret, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct exec e;
    if (exec_copy(s, exec_id, &e, err) < 0)
        return -1;
    if (container_find(s, e.container_id, &c, err) < 0) {
        json_decref(e.options);
        return -1;
    }
    if (e.is_running) {
        settle(c);
        json_decref(e.options);
        if (exec_copy(s, exec_id, &e, err) < 0)
            return -1;
    }
    json_t *j = json_object();
    json_set_string(j, "ID", e.id);
    json_set_bool(j, "Running", e.is_running);
    json_object_set_new(j, "ExitCode", e.has_exit_code ? json_integer(e.exit_code) : json_null());
    json_object_set_new(j, "ProcessConfig", process_config(c, e.options));
    json_set_bool(j, "OpenStdin", json_get_bool(e.options, "AttachStdin", false));
    json_set_bool(j, "OpenStderr", json_get_bool(e.options, "AttachStderr", false));
    json_set_bool(j, "OpenStdout", json_get_bool(e.options, "AttachStdout", false));
    json_set_bool(j, "CanRemove", !e.is_running && e.has_started);
    json_set_string(j, "ContainerID", e.container_id);
    json_set_string(j, "DetachKeys", json_get_string(e.options, "DetachKeys", ""));
    json_set_int(j, "Pid", e.pid);
    json_decref(e.options);
    *ret = j;
    return 0;
}

int container_exec_resize(struct container_service *s, const char *exec_id, unsigned rows, unsigned columns,
                          struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct exec e;
    if (exec_copy(s, exec_id, &e, err) < 0)
        return -1;
    json_decref(e.options);
    if (container_find(s, e.container_id, &c, err) < 0)
        return -1;
    if (!e.is_running)
        return error_set(err, ERROR_CONFLICT, "exec process is not running");
    struct shim_message m = { .type = SHIM_RESIZE, .rows = (uint16_t)rows, .columns = (uint16_t)columns };
    memcpy(m.exec_id, e.id, sizeof e.id);
    return shim_call(c->socket_path, &m, NULL, 0, NULL, err);
}

bool container_exec_has_tty(struct container_service *s, const char *exec_id)
{
    struct exec e;
    struct error ignored;
    if (exec_copy(s, exec_id, &e, &ignored) < 0)
        return false;
    bool has_tty = json_get_bool(e.options, "Tty", false);
    json_decref(e.options);
    return has_tty;
}

// --- a command of the engine's own
static void forget(struct container *c, const char *exec_id)
{
    struct container_service *s = c->service;
    pthread_mutex_lock(&s->lock);
    struct exec *e = map_remove(&s->execs, exec_id);
    pthread_mutex_lock(&c->lock);
    for (char **id = c->exec_ids; id && *id; id++)
        if (streq(*id, exec_id)) {
            free(*id);
            do
                id[0] = id[1];
            while (*id++);
            break;
        }
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&s->lock);
    if (e)
        exec_free(e);
}

// The payloads of Docker's stream, whose frames come in any pieces.
struct frames {
    uint8_t header[8];
    size_t header_size, left; // of the frame under way
    struct str output;
    size_t max;
    bool is_cut;
};

static void frames_take(struct frames *f, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        if (f->left == 0 && f->header_size < sizeof f->header) {
            f->header[f->header_size++] = *bytes++;
            n--;
            if (f->header_size == sizeof f->header)
                f->left = (size_t)f->header[4] << 24 | (size_t)f->header[5] << 16 |
                          (size_t)f->header[6] << 8 | f->header[7];
        } else {
            size_t m = n < f->left ? n : f->left, room = f->max - f->output.len;
            str_append_n(&f->output, bytes, m < room ? m : room);
            f->is_cut |= m > room;
            bytes += m;
            n -= m;
            f->left -= m;
        }
        if (f->left == 0 && f->header_size == sizeof f->header)
            f->header_size = 0;
    }
}

// Until the command's end, which closes the socket. 0: ended, 1: the time is over, -ECANCELED.
static int read_frames(int socket, int cancel_fd, int64_t deadline_ns, struct frames *f)
{
    uint8_t bytes[4096];
    for (;;) {
        struct pollfd fds[2] = { { .fd = socket, .events = POLLIN }, { .fd = cancel_fd, .events = POLLIN } };
        int64_t left = deadline_ns - time_monotonic_ns();
        if (left <= 0)
            return 1;
        int r = poll(fds, 2, left / NS_PER_MS < INT32_MAX ? (int)(left / NS_PER_MS) + 1 : INT32_MAX);
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r <= 0)
            continue;
        if (fds[1].revents)
            return -ECANCELED;
        ssize_t n = read(socket, bytes, sizeof bytes);
        if (n <= 0)
            return n < 0 && errno != ECONNRESET ? -errno : 0;
        frames_take(f, bytes, (size_t)n);
    }
}

void exec_kill(struct container *c, const char *exec_id)
{
    struct error ignored; // it has ended by itself
    struct shim_message m = { .type = SHIM_SIGNAL, .signal = SIGKILL };
    memcpy(m.exec_id, exec_id, ID_LEN + 1);
    (void)shim_call(c->socket_path, &m, NULL, 0, NULL, &ignored);
}

static int run_captured(struct container *c, const char *exec_id, int64_t timeout_ns, int cancel_fd,
                        struct frames *frames, struct exec_result *ret, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "run a command in container %s", c->id);
    CLEANUP(cleanup_close) int ours = pair[0];
    const struct container_attach attach = { .wants_stdout = true,
                                             .wants_stderr = true,
                                             .wants_stream = true };
    int r = container_exec_start(c->service, exec_id, false, pair[1], &attach, 0, 0, err);
    fd_close(pair[1]);
    if (r < 0)
        return r;
    r = read_frames(ours, cancel_fd, time_monotonic_ns() + timeout_ns, frames);
    if (r != 0) {
        exec_kill(c, exec_id);
        ret->is_late = r > 0;
        if (r > 0) // what it said before it was killed, and the end, so that killed probes do not pile up
            (void)read_frames(ours, cancel_fd, time_monotonic_ns() + KILLED_END_MS * NS_PER_MS, frames);
    }
    if (r < 0)
        return error_set(err, r == -ECANCELED ? ERROR_CANCELLED : ERROR_IO,
                         "run a command in container %s: %s", c->id, strerror(-r));
    return 0;
}

int exec_prepare(struct container *c, char *const *args, char ret_exec_id[static ID_LEN + 1],
                 struct error *err)
{
    CLEANUP(json_cleanup) json_t *options = json_object();
    json_object_set_new(options, "Cmd", json_from_strv(args));
    json_set_bool(options, "AttachStdout", true);
    json_set_bool(options, "AttachStderr", true);
    return container_exec_create(c->service, c->id, options, ret_exec_id, err);
}

static int exit_code_of(struct container *c, const char *exec_id, int *ret, struct error *err)
{
    struct exec e;
    settle(c);
    if (exec_copy(c->service, exec_id, &e, err) < 0)
        return -1;
    json_decref(e.options);
    if (!e.has_exit_code)
        return error_set(err, ERROR_INTERNAL, "the command in container %s has no exit code", c->id);
    *ret = e.exit_code;
    return 0;
}

int exec_capture(struct container *c, const char *exec_id, int64_t timeout_ns, size_t output_max,
                 int cancel_fd, struct exec_result *ret, struct error *err)
{
    struct frames frames = { .output = STR_INIT, .max = output_max };
    *ret = (struct exec_result){ 0 };
    int r = run_captured(c, exec_id, timeout_ns, cancel_fd, &frames, ret, err);
    if (r == 0 && !ret->is_late)
        r = exit_code_of(c, exec_id, &ret->exit_code, err);
    forget(c, exec_id);
    ret->is_cut = frames.is_cut;
    if (r == 0)
        ret->output = str_take(&frames.output);
    str_done(&frames.output);
    return r;
}
