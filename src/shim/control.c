// Requests and answers: one packet each, checked by shimproto before it gets here. A connection that does not
// read its answers is dropped, never waited for.
#include "shim/shim_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { DOCUMENT_MAX = 4 << 20, HEAP_KEPT = 4096 };

static void connection_drop(struct connection *connection)
{
    struct shim *shim = connection->shim;
    if (connection->watch.fd < 0)
        return;
    loop_close(&shim->loop, &connection->watch);
    for (struct connection **c = &shim->connections; *c; c = &(*c)->next)
        if (*c == connection) {
            *c = connection->next;
            break;
        }
    shim->connection_count--;
    loop_retire(&shim->loop, &connection->watch);
}

static void reply(struct connection *connection, const struct shim_message *message)
{
    if (connection->watch.fd >= 0 && shimproto_send(connection->watch.fd, message, NULL, 0) < 0)
        connection_drop(connection);
}

void connection_send_error(struct connection *connection, const struct error *err)
{
    struct shim_message message = { .type = SHIM_ERROR, .error_kind = err->kind, .error_errno = err->errnum };
    memcpy(message.error_message, err->message, sizeof message.error_message);
    reply(connection, &message);
}

void shim_tell(struct shim *shim, const struct shim_message *event)
{
    for (struct connection *c = shim->connections, *next; c; c = next) {
        next = c->next;
        if (c->is_subscriber)
            reply(c, event);
    }
}

bool shim_has_subscriber(const struct shim *shim)
{
    for (const struct connection *c = shim->connections; c; c = c->next)
        if (c->is_subscriber)
            return true;
    return false;
}

static int handle_signal(struct shim *shim, const struct shim_message *request, struct error *err)
{
    struct process *process = process_find(shim, request->exec_id);
    if (!process)
        return error_set(err, ERROR_NOT_FOUND, "No such exec instance: %s", request->exec_id);
    if (process->is_reaped || (request->exec_id[0] && !process->is_started))
        return error_set(err, ERROR_CONFLICT, "process is not running");
    if (request->signal < 0 || request->signal >= NSIG)
        return error_set(err, ERROR_INVALID, "invalid signal: %d", request->signal);
    int pidfd = process == &shim->init ? shim->container.pidfd : process->pidfd;
    if (pidfd_send_signal(pidfd, request->signal, NULL, 0) < 0) {
        if (errno == ESRCH)
            return error_set(err, ERROR_CONFLICT, "process is not running");
        return error_errno(err, errno, "signal %d", request->signal);
    }
    return 0;
}

static int handle_resize(struct shim *shim, const struct shim_message *request, struct error *err)
{
    struct process *process = process_find(shim, request->exec_id);
    if (!process)
        return error_set(err, ERROR_NOT_FOUND, "No such exec instance: %s", request->exec_id);
    if (!process->has_terminal || process->out.fd < 0)
        return error_set(err, ERROR_CONFLICT, "cannot resize: there is no terminal");
    struct winsize size = { .ws_row = request->rows, .ws_col = request->columns };
    if (ioctl(process->out.fd, TIOCSWINSZ, &size) < 0)
        return error_errno(err, errno, "resize");
    return 0;
}

// Takes fds[0].
static int handle_attach(struct shim *shim, const struct shim_message *request, int fds[static SHIM_FDS_MAX],
                         size_t count, struct error *err)
{
    if (count != 1)
        return error_set(err, ERROR_INVALID, "attach: one descriptor is needed");
    struct process *process = process_obtain(shim, request->exec_id);
    if (!process)
        return error_set(err, ERROR_EXHAUSTED, "too many execs");
    int r = client_attach(process, TAKE_FD(fds[0]), request);
    return r < 0 ? error_errno(err, r, "attach") : 0;
}

// A document out of its memfd, without a copy on the heap.
static int exec_document(int fd, struct shim_exec *ret, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > DOCUMENT_MAX)
        return error_set(err, ERROR_INVALID, "exec: bad document");
    void *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return error_errno(err, errno, "exec: read the document");
    int r = shim_exec_parse(text, (size_t)st.st_size, ret, err);
    (void)munmap(text, (size_t)st.st_size);
    return r;
}

static int exec_start(struct shim *shim, struct process *process, const struct oci_process *config,
                      int seccomp_fd, struct error *err)
{
    struct process_stdio stdio;
    int terminal_fd = FD_NONE, r;
    process->has_terminal = config->has_terminal;
    if ((r = process_open_stdio(process, &stdio)) < 0) {
        process_close_child_ends(&stdio);
        return error_errno(err, r, "exec: make pipes");
    }
    struct runtime_exec_spec spec = { .process = config,
                                      .container_pid = shim->container.pid,
                                      .cgroup_path = shim->container.cgroup_path,
                                      .seccomp_fd = seccomp_fd,
                                      .stdio = { stdio.child[0], stdio.child[1], stdio.child[2] } };
    r = runtime_exec(&spec, &process->pid, &process->pidfd, &terminal_fd, err);
    process_close_child_ends(&stdio);
    if (r < 0)
        return -1;
    process->is_started = true;
    process_listen(process, terminal_fd);
    if (process->is_in_ending)
        process_end_input(process);
    return 0;
}

static int handle_exec(struct shim *shim, const int *fds, size_t count, struct shim_message *answer,
                       struct error *err)
{
    if (count < 1 || count > 2)
        return error_set(err, ERROR_INVALID, "exec: a document and at most a filter are needed");
    if (!shim->init.is_started || shim->init.is_reaped)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", shim->id);
    struct shim_exec document CLEANUP(shim_exec_done) = { 0 };
    if (exec_document(fds[0], &document, err) < 0)
        return -1;
    struct process *process = process_obtain(shim, document.exec_id);
    if (!process)
        return error_set(err, ERROR_EXHAUSTED, "too many execs");
    if (process->is_started)
        return error_set(err, ERROR_CONFLICT, "exec %s has already been started", document.exec_id);
    process->has_stdin = document.has_stdin;
    struct oci_process config;
    int r = oci_process_parse(document.process, &config, err);
    if (r == 0) {
        r = exec_start(shim, process, &config, count > 1 ? fds[1] : FD_NONE, err);
        oci_process_done(&config);
    }
    if (r < 0) {
        process_finish(process);
        return -1;
    }
    answer->type = SHIM_EXEC_STARTED;
    answer->pid = process->pid;
    memcpy(answer->exec_id, process->exec_id, sizeof answer->exec_id);
    return 0;
}

static int handle_update(struct shim *shim, const int *fds, size_t count, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *document CLEANUP(json_cleanup) = NULL;
    struct oci_runtime_config config;
    int r = count == 1 ? file_read_fd(fds[0], DOCUMENT_MAX, &text) : -EINVAL;
    if (r < 0)
        return error_errno(err, r, "update: read the document");
    if (!shim->init.is_started || shim->init.is_reaped)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", shim->id);
    if (json_parse(text.ptr, text.len, &document, err) < 0 ||
        oci_runtime_config_parse(document, &config, err) < 0)
        return -1;
    r = runtime_update(shim->container.cgroup_path, &config.resources, err);
    oci_runtime_config_done(&config);
    if (r == 0 && config.resources.memory_limit > 0)
        oom_watch(shim);
    return r;
}

static int change_container(struct shim *shim, const struct shim_change *document, struct error *err)
{
    struct oci_runtime_config from, to;
    if (oci_runtime_config_parse(document->from, &from, err) < 0)
        return -1;
    int r = oci_runtime_config_parse(document->to, &to, err);
    if (r == 0) {
        const struct runtime_change change = { .from = &from,
                                               .to = &to,
                                               .kept = document->kept,
                                               .is_forced = document->is_forced,
                                               .is_repeated = document->is_repeated };
        r = runtime_change(&shim->container, &change, err);
        oci_runtime_config_done(&to);
    }
    oci_runtime_config_done(&from);
    return r;
}

static int handle_change(struct shim *shim, const int *fds, size_t count, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    struct shim_change document CLEANUP(shim_change_done) = { 0 };
    int r = count == 1 ? file_read_fd(fds[0], DOCUMENT_MAX, &text) : -EINVAL;
    if (r < 0)
        return error_errno(err, r, "change: read the document");
    if (!shim->init.is_started || shim->init.is_reaped)
        return error_set(err, ERROR_CONFLICT, "container %s is not running", shim->id);
    if (shim_change_parse(text.ptr, text.len, &document, err) < 0)
        return -1;
    return change_container(shim, &document, err);
}

// It counts as running until its exit record is there: "no" sends the asker to the record.
static void fill_state(const struct shim *shim, struct shim_message *answer)
{
    *answer = (struct shim_message){ .type = SHIM_STATE_REPLY,
                                     .pid = shim->init.pid,
                                     .started_ns = shim->started_ns,
                                     .is_running = shim->init.is_started && !shim->is_exited,
                                     .exit_code = shim->init.exit_code,
                                     .finished_ns = shim->finished_ns,
                                     .was_oom_killed = shim->was_oom_killed };
}

static int dispatch(struct connection *connection, const struct shim_message *request,
                    int fds[static SHIM_FDS_MAX], size_t count, struct shim_message *answer,
                    struct error *err)
{
    struct shim *shim = connection->shim;
    switch (request->type) {
    case SHIM_SIGNAL:
        return handle_signal(shim, request, err);
    case SHIM_ATTACH:
        return handle_attach(shim, request, fds, count, err);
    case SHIM_EXEC:
        return handle_exec(shim, fds, count, answer, err);
    case SHIM_UPDATE:
        return handle_update(shim, fds, count, err);
    case SHIM_CHANGE:
        return handle_change(shim, fds, count, err);
    case SHIM_RESIZE:
        return handle_resize(shim, request, err);
    case SHIM_STATE:
        fill_state(shim, answer);
        return 0;
    case SHIM_SUBSCRIBE:
        connection->is_subscriber = true;
        return 0;
    case SHIM_RELEASE:
        shim->is_released = true;
        return 0;
    case SHIM_LOGS: {
        int r = shim_log_reopen(&shim->log);
        return r < 0 ? error_errno(err, r, "reopen the log") : 0;
    }
    default:
        return error_set(err, ERROR_UNSUPPORTED, "unknown request %u", request->type);
    }
}

static void handle(struct connection *connection, const struct shim_message *request,
                   int fds[static SHIM_FDS_MAX], size_t count)
{
    struct shim *shim = connection->shim;
    struct error err = { 0 };
    struct shim_message answer = { .type = SHIM_OK };
    if (request->type == SHIM_GO && connection->is_control && !shim->init.is_started)
        shim_start(shim, connection);
    else if (dispatch(connection, request, fds, count, &answer, &err) < 0)
        connection_send_error(connection, &err);
    else
        reply(connection, &answer);
    if (request->type == SHIM_SUBSCRIBE)
        oom_tell_missed(shim);
    for (size_t i = 0; i < count; i++)
        fds[i] = fd_close(fds[i]);
    // Documents and failed attempts leave holes in the heap; the monitor's memory counts forty-fold.
    if (request->type == SHIM_GO || request->type == SHIM_EXEC || request->type == SHIM_UPDATE ||
        request->type == SHIM_CHANGE)
        (void)malloc_trim(HEAP_KEPT);
}

static void connection_ready(struct watch *watch, uint32_t events)
{
    struct connection *connection = watch->owner;
    struct shim_message request;
    int fds[SHIM_FDS_MAX];
    size_t count = 0;
    (void)events;
    int r = shimproto_receive(watch->fd, &request, fds, &count);
    if (r == 1) {
        handle(connection, &request, fds, count);
    } else if (r != -EAGAIN) {
        bool is_over = connection->is_control && !connection->shim->init.is_started;
        connection_drop(connection);
        if (is_over)
            shim_give_up(connection->shim);
    }
}

struct connection *connection_add(struct shim *shim, int fd, bool is_control)
{
    struct connection *connection = NEW(struct connection);
    connection->shim = shim;
    connection->is_control = connection->is_subscriber = is_control;
    connection->watch = watch_for(fd, connection_ready, connection);
    connection->next = shim->connections;
    shim->connections = connection;
    shim->connection_count++;
    loop_ask(&shim->loop, &connection->watch, EPOLLIN);
    return connection;
}

void connection_accept(struct watch *watch, uint32_t events)
{
    struct shim *shim = watch->owner;
    (void)events;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (shim->connection_count >= CONNECTIONS_MAX)
        fd_close(fd);
    else
        (void)connection_add(shim, fd, false);
}
