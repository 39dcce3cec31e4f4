// Theory of operation. A process has a stdin we write (`in`, or the terminal) and outputs we read (`out`,
// `err`, or the terminal). Output goes to the log first, then to every client. Two rules bound memory:
//   1. while any client still has output waiting, or the log's socket too much, the outputs are not read;
//   2. while input waits for the process (`pending_in`), no client is read.
// process_update derives what the loop is asked for from these two, and is called after every change.
#include "shim/shim_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static char read_buffer[READ_SIZE];

static void output_ready(struct watch *watch, uint32_t events);
static void input_ready(struct watch *watch, uint32_t events);

static bool is_init(const struct process *process)
{
    return process == &process->shim->init;
}

// One pipe; `ours` is 0 or 1, that end is non-blocking. 0 or -errno.
static int open_pipe(int ours, int *ret_ours, int *ret_theirs)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ret_ours = ends[ours];
    *ret_theirs = ends[!ours];
    // F_SETFL takes no notice of the access mode: nothing needs to be read first.
    return fcntl(ends[ours], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int process_open_stdio(struct process *process, struct process_stdio *ret)
{
    int in = FD_NONE, out = FD_NONE, err = FD_NONE, r = 0;
    *ret = (struct process_stdio){ { FD_NONE, FD_NONE, FD_NONE } };
    if (!process->has_terminal) {
        if (process->has_stdin)
            r = open_pipe(1, &in, &ret->child[0]);
        else if ((ret->child[0] = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
            r = -errno;
        if (r == 0)
            r = open_pipe(0, &out, &ret->child[1]);
        if (r == 0)
            r = open_pipe(0, &err, &ret->child[2]);
    }
    process->in = watch_for(in, input_ready, process);
    process->out = watch_for(out, output_ready, process);
    process->err = watch_for(err, output_ready, process);
    return r;
}

void process_close_child_ends(struct process_stdio *stdio)
{
    for (int i = 0; i < 3; i++)
        stdio->child[i] = fd_close(stdio->child[i]);
}

void process_listen(struct process *process, int terminal_fd)
{
    if (terminal_fd >= 0) {
        (void)fd_set_nonblock(terminal_fd, 1);
        process->out.fd = terminal_fd;
    }
    process_update(process);
    if (process->pending_in.len > 0)
        input_ready(process->has_terminal ? &process->out : &process->in, EPOLLOUT);
}

struct process *process_find(struct shim *shim, const char *exec_id)
{
    if (exec_id[0] == 0)
        return &shim->init;
    for (struct process *p = shim->execs; p; p = p->next)
        if (strcmp(p->exec_id, exec_id) == 0)
            return p;
    return NULL;
}

struct process *process_obtain(struct shim *shim, const char *exec_id)
{
    struct process *process = process_find(shim, exec_id);
    if (process || shim->process_count >= PROCESSES_MAX)
        return process;
    process = NEW(struct process);
    process->shim = shim;
    process->in = process->out = process->err = WATCH_NONE;
    process->in.owner = process;
    process->pidfd = FD_NONE;
    process->closes_stdin = true;
    process->has_stdin = true;
    str_init(&process->pending_in, 0);
    memcpy(process->exec_id, exec_id, strlen(exec_id) + 1);
    process->next = shim->execs;
    shim->execs = process;
    shim->process_count++;
    return process;
}

static bool has_slow_client(const struct process *process)
{
    for (const struct client *c = process->clients; c; c = c->next)
        if (c->out.len > 0)
            return true;
    return false;
}

void process_update(struct process *process)
{
    struct loop *loop = &process->shim->loop;
    bool must_wait =
        has_slow_client(process) || (is_init(process) && shim_log_is_congested(&process->shim->log));
    uint32_t reading = must_wait && process->drain_deadline_ns == 0 ? 0 : EPOLLIN;
    uint32_t writing = process->pending_in.len > 0 ? EPOLLOUT : 0;
    // Keys and input mean something only now that we know what the process has.
    for (struct client *c = process->clients; c; c = c->next) {
        if (process->is_started || is_init(process)) {
            if (!process->has_stdin)
                c->flags &= ~(uint32_t)SHIM_ATTACH_STDIN;
            if (!process->has_terminal)
                c->detach_key_count = 0;
        }
        client_update(c);
    }
    loop_ask(loop, &process->out, reading | (process->has_terminal ? writing : 0));
    loop_ask(loop, &process->err, reading);
    // With nothing to write, a reader that goes away is learnt at the next write: asking for hang-ups would
    // spin.
    if (process->in.fd >= 0 && writing)
        loop_ask(loop, &process->in, EPOLLOUT);
    else
        loop_forget(loop, &process->in);
}

bool process_takes_input(const struct process *process)
{
    return process->has_terminal ? process->out.fd >= 0 : process->in.fd >= 0;
}

static void close_input(struct process *process)
{
    str_done(&process->pending_in);
    loop_close(&process->shim->loop, &process->in);
}

// Write what waits. The pipe's reader may be gone: then there is nobody to keep it for.
static void push_input(struct process *process)
{
    int fd = process->has_terminal ? process->out.fd : process->in.fd;
    if (fd < 0)
        return;
    while (process->pending_in.len > 0) {
        ssize_t n = write(fd, process->pending_in.ptr, process->pending_in.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            if (process->has_terminal)
                str_done(&process->pending_in);
            else
                close_input(process);
            return;
        }
        str_consume(&process->pending_in, (size_t)n);
    }
    str_done(&process->pending_in);
    if (process->is_in_ending && !process->has_terminal)
        close_input(process);
}

void process_input(struct process *process, const void *bytes, size_t n)
{
    bool is_made = process->out.fd >= 0 || process->is_started;
    if (n == 0 || (is_made && !process_takes_input(process)))
        return;
    str_append_n(&process->pending_in, bytes, n);
    push_input(process);
    process_update(process);
}

void process_end_input(struct process *process)
{
    process->is_in_ending = true;
    push_input(process);
    process_update(process);
}

static void input_ready(struct watch *watch, uint32_t events)
{
    struct process *process = watch->owner;
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        push_input(process);
    process_update(process);
}

// One read of an output. Bytes read; 0: it ended and is closed; -EAGAIN.
static ssize_t read_output(struct process *process, struct watch *watch)
{
    ssize_t n;
    do
        n = read(watch->fd, read_buffer, sizeof read_buffer);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return -EAGAIN;
    if (n <= 0) { // a terminal says EIO when its last slave closed
        loop_close(&process->shim->loop, watch);
        return 0;
    }
    enum log_stream stream = watch == &process->err ? LOG_STDERR : LOG_STDOUT;
    if (is_init(process))
        shim_log_write(&process->shim->log, stream, read_buffer, (size_t)n, time_now_ns());
    for (struct client *c = process->clients, *next; c; c = next) {
        next = c->next;
        client_output(c, stream == LOG_STDERR ? 2 : 1, read_buffer, (size_t)n);
    }
    return n;
}

static void output_ready(struct watch *watch, uint32_t events)
{
    struct process *process = watch->owner;
    if (process->has_terminal && (events & EPOLLOUT))
        push_input(process);
    if (events & EPOLLIN) {
        (void)read_output(process, watch);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        if (!(watch->events & EPOLLIN)) {
            loop_forget(&process->shim->loop,
                        watch); // waits for a slow client; asked for again with the next update
            return;
        }
        (void)read_output(process, watch);
    }
    if (has_slow_client(process) || (process->has_terminal && (events & EPOLLOUT)) ||
        shim_log_is_congested(&process->shim->log))
        process_update(process);
}

static void drain_output(struct process *process, struct watch *watch)
{
    size_t total = 0;
    while (watch->fd >= 0 && total < DRAIN_BYTES_MAX) {
        ssize_t n = read_output(process, watch);
        if (n <= 0)
            return;
        total += (size_t)n;
    }
}

void process_drain(struct process *process)
{
    if (process->drain_deadline_ns == 0)
        process->drain_deadline_ns = time_monotonic_ns() + DRAIN_MS * NS_PER_MS;
    close_input(process);
    drain_output(process, &process->out);
    drain_output(process, &process->err);
    process_update(process);
}

bool process_is_drained(const struct process *process, int64_t now_ns)
{
    return (process->out.fd < 0 && process->err.fd < 0) || now_ns >= process->drain_deadline_ns;
}

static void process_unlink(struct process *process)
{
    for (struct process **p = &process->shim->execs; *p; p = &(*p)->next)
        if (*p == process) {
            *p = process->next;
            break;
        }
    process->shim->process_count--;
}

void process_finish(struct process *process)
{
    struct loop *loop = &process->shim->loop;
    loop_close(loop, &process->in);
    loop_close(loop, &process->out);
    loop_close(loop, &process->err);
    str_done(&process->pending_in);
    for (struct client *c = process->clients, *next; c; c = next) {
        next = c->next;
        client_end(c);
    }
    if (is_init(process))
        return;
    process->pidfd = fd_close(process->pidfd);
    if (process->clients)
        return; // it stays, reaped and silent, until the last one has its output; exits_settle comes back to
                // it
    process_unlink(process);
    loop_retire(loop, &process->in);
}
