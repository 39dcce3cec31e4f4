// Theory of operation. SIGCHLD writes to an eventfd, the loop reaps everything there is: init, execs, the
// log's compressor, and orphans that fell to us (we are a subreaper). A process that was reaped has its
// streams drained, then its end is told. The order at init's end is the promise others build on:
//   1. every byte of output is in the log and with the clients;
//   2. the exit record is on disk (from here on the end is the truth, whoever asks and whenever);
//   3. the cgroup and the socket are gone, so that the next start of the same container cannot meet them,
//   however long
//      this shim stays for a slow client;
//   4. EXIT is told; 5. clients' sockets close; 6. the shim ends.
// pid namespace 1 dies after everybody in it, so init's pipes end by themselves; only with the host's pid
// namespace can somebody else hold them, and then DRAIN_MS bounds the wait.
#include "shim/shim_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int children_event = FD_NONE; // for the signal handler, which has no argument

// A handler, not a blocked signal with a signalfd: handlers do not survive execve, a signal mask would reach
// the container.
static void on_sigchld(int signal)
{
    (void)signal;
    int saved = errno;
    (void)!write(children_event, &(uint64_t){ 1 }, sizeof(uint64_t));
    errno = saved;
}

static void children_ready(struct watch *watch, uint32_t events)
{
    struct shim *shim = watch->owner;
    uint64_t count;
    (void)events;
    (void)!read(watch->fd, &count, sizeof count);
    if (shim->init.is_started)
        children_reap(shim);
}

int children_watch(struct shim *shim)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    children_event = fd;
    shim->children = watch_for(fd, children_ready, shim);
    loop_ask(&shim->loop, &shim->children, EPOLLIN);
    struct sigaction action = { .sa_handler = on_sigchld, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    return sigaction(SIGCHLD, &action, NULL) < 0 ? -errno : 0;
}

static void reaped(struct shim *shim, struct process *process, int status)
{
    process->is_reaped = true;
    process->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (process == &shim->init)
        shim->finished_ns = time_now_ns();
    process_drain(process);
}

void children_reap(struct shim *shim)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (shim_log_reaped(&shim->log, pid, status))
            continue;
        if (pid == shim->init.pid) {
            reaped(shim, &shim->init, status);
            continue;
        }
        for (struct process *p = shim->execs; p; p = p->next)
            if (p->is_started && !p->is_reaped && p->pid == pid) {
                reaped(shim, p, status);
                break;
            }
    }
}

static void tell_exec_exit(struct shim *shim, struct process *process)
{
    struct shim_message event = { .type = SHIM_EXEC_EXIT,
                                  .exit_code = process->exit_code,
                                  .pid = process->pid };
    memcpy(event.exec_id, process->exec_id, sizeof event.exec_id);
    process->is_told = true;
    shim_tell(shim, &event);
}

static void settle_init(struct shim *shim)
{
    struct error err;
    shim_log_flush(&shim->log);
    oom_settle(shim);
    struct shim_exit_record record = { .exit_code = shim->init.exit_code,
                                       .pid = shim->init.pid,
                                       .started_ns = shim->started_ns,
                                       .finished_ns = shim->finished_ns,
                                       .was_oom_killed = shim->was_oom_killed };
    (void)shim_exit_record_write(shim->state_dir, &record);
    loop_close(&shim->loop, &shim->listener);
    (void)unlink(shim->socket_path);
    (void)runtime_destroy(&shim->container, &err);
    children_reap(shim);
    // Execs outlive init only in the host's pid namespace; runtime_destroy has killed them.
    for (struct process *p = shim->execs, *next; p; p = next) {
        next = p->next;
        if (!p->is_started || p->is_told)
            continue;
        if (!p->is_reaped) {
            p->is_reaped = true;
            p->exit_code = 128 + SIGKILL;
            process_drain(p);
        }
        tell_exec_exit(shim, p);
        process_finish(p);
    }
    oom_tell_missed(shim);
    shim->init.is_told = shim->is_exited = true;
    shim_tell(shim, &(struct shim_message){ .type = SHIM_EXIT,
                                            .pid = shim->init.pid,
                                            .exit_code = record.exit_code,
                                            .started_ns = record.started_ns,
                                            .finished_ns = record.finished_ns,
                                            .was_oom_killed = record.was_oom_killed });
    process_finish(&shim->init);
}

void exits_settle(struct shim *shim)
{
    int64_t now = 0;
    for (struct process *p = shim->execs, *next; p; p = next) {
        next = p->next;
        if (!p->is_started || p->is_told) {
            if (!p->clients) // attached to, but never started; or its last client is served
                process_finish(p);
            continue;
        }
        if (!p->is_reaped)
            continue;
        now = now ? now : time_monotonic_ns();
        if (!process_is_drained(p, now))
            continue;
        tell_exec_exit(shim, p);
        process_finish(p);
    }
    if (shim->init.is_reaped && !shim->is_exited && process_is_drained(&shim->init, time_monotonic_ns()))
        settle_init(shim);
}

int exits_timeout_ms(const struct shim *shim)
{
    int64_t first = 0;
    const struct process *p = &shim->init;
    if (p->is_reaped && !p->is_told)
        first = p->drain_deadline_ns;
    for (p = shim->execs; p; p = p->next)
        if (p->is_reaped && !p->is_told && (first == 0 || p->drain_deadline_ns < first))
            first = p->drain_deadline_ns;
    int64_t log = shim_log_deadline_ns(&shim->log);
    if (log && (first == 0 || log < first))
        first = log;
    if (first == 0)
        return -1;
    int64_t left = first - time_monotonic_ns();
    return left <= 0 ? 0 : (int)(left / NS_PER_MS) + 1;
}
