// Theory of operation. One thread waits with epoll on the control sockets of all shims; what they say (an
// exit, an out-of-memory kill, the end of an exec) it turns into state and wake-ups, and nothing that takes
// time: address, directory and record are dealt with by a second thread, the janitor,
// from a queue of jobs. So a client that waits for an exit is answered at once, and a slow removal holds up
// nobody else's exit. A socket that closes without an EXIT means that the shim was killed: then the exit
// record on disk counts, and without one the container's processes are killed, because nobody would ever reap
// or log them.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "container/shim_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENTS_MAX = 32, THREAD_STACK_BYTES = 256 * 1024, EXIT_CODE_KILLED = 137 };

struct janitor_job {
    struct janitor_job *next;
    struct container *container;
    void (*work)(struct container *c);
};

// --- the janitor
void janitor_add(struct container *c, void (*work)(struct container *c))
{
    struct container_service *s = c->service;
    struct janitor_job *job = NEW(struct janitor_job);
    job->container = container_ref(c);
    job->work = work;
    pthread_mutex_lock(&s->janitor_lock);
    *s->jobs_tail = job;
    s->jobs_tail = &job->next;
    pthread_cond_signal(&s->janitor_wake);
    pthread_mutex_unlock(&s->janitor_lock);
}

static void *janitor_run(void *context)
{
    struct container_service *s = context;
    pthread_mutex_lock(&s->janitor_lock);
    while (s->jobs || !s->is_closing) { // what is queued is done before the end
        struct janitor_job *job = s->jobs;
        if (!job) {
            pthread_cond_wait(&s->janitor_wake, &s->janitor_lock);
            continue;
        }
        s->jobs = job->next;
        if (!s->jobs)
            s->jobs_tail = &s->jobs;
        pthread_mutex_unlock(&s->janitor_lock);
        job->work(job->container);
        container_unref(job->container);
        free(job);
        pthread_mutex_lock(&s->janitor_lock);
    }
    pthread_mutex_unlock(&s->janitor_lock);
    return NULL;
}

// --- the end of a run
static void save_exit(struct container *c)
{
    struct error err;
    if (container_save_state(c, &err) < 0)
        log_warn("container %s: %s", c->id, err.message);
}

static void clean_after_exit(struct container *c)
{
    pthread_mutex_lock(&c->operation); // else a start under way could lose the address it has just been given
    if (!container_is_running(c)) {
        container_release_network(c);
        mounts_end_run(c);
    }
    save_exit(c);
    pthread_mutex_unlock(&c->operation);
}

static void remove_after_exit(struct container *c)
{
    pthread_mutex_lock(&c->operation);
    container_release_network(c);
    mounts_end_run(c);
    container_destroy_locked(c);
    pthread_mutex_unlock(&c->operation);
}

void container_exited(struct container *c, int exit_code, int64_t finished_ns, bool was_oom_killed)
{
    char code[16];
    pthread_mutex_lock(&c->lock);
    bool is_auto_remove = c->config.is_auto_remove && !c->state.is_restarting;
    bool was_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
    bool holds_ports = false;
    for (size_t i = 0; i < c->endpoint_count; i++)
        holds_ports |= c->endpoints[i].port_count > 0;
    pthread_mutex_unlock(&c->lock);
    if (!was_running)
        return;
    if (holds_ports) // whoever sees the exit may ask for the same port at once
        container_release_network(c);
    timers_clear(c, TIMER_HEALTH);
    execs_end(c, false);
    if (is_auto_remove) {
        container_forget(c); // to the world it is removed now; what remains is cleaning up
        mounts_release(c);
    }
    pthread_mutex_lock(&c->lock);
    c->state.status = is_auto_remove ? CONTAINER_REMOVING : CONTAINER_EXITED;
    c->state.pid = 0;
    c->state.exit_code = exit_code;
    c->state.finished_ns = finished_ns;
    c->state.was_oom_killed |= was_oom_killed;
    bool is_again = !is_auto_remove && restart_decide(c, exit_code, finished_ns);
    waiters_notify(c, is_auto_remove ? CONTAINER_WAIT_REMOVED : CONTAINER_WAIT_NEXT_EXIT, exit_code);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    snprintf(code, sizeof code, "%d", exit_code);
    container_event(c, "die", "exitCode", code);
    janitor_add(c, is_auto_remove ? remove_after_exit : clean_after_exit);
    if (is_again)
        restart_schedule(c);
    spares_refill(c->service->spares);
}

// --- the shim's end
// Its container's processes would run on with nobody to reap or log them: they are ended. The exit record
// that the shim can no longer write is written here, so that a later engine comes to the same end.
void container_shim_was_killed(struct container *c, int64_t started_ns, struct shim_exit_record *ret)
{
    int r = cgroup_sweep(c->cgroup_path);
    log_error("container %s: its monitor was killed; ended what was left of it%s%s", c->id, r < 0 ? ": " : "",
              r < 0 ? strerror(-r) : "");
    *ret = (struct shim_exit_record){ .exit_code = EXIT_CODE_KILLED,
                                      .started_ns = started_ns,
                                      .finished_ns = time_now_ns() };
    if ((r = shim_exit_record_write(c->state_directory, ret)) < 0)
        log_warn("container %s: write its exit record: %s", c->id, strerror(-r));
    unlink(c->socket_path);
    pthread_mutex_lock(&c->lock);
    free_and_strdup(&c->state.error, "the container's monitor (skiff-shim) was killed");
    pthread_mutex_unlock(&c->lock);
}

static void shim_is_gone(struct container *c)
{
    struct shim_exit_record record;
    if (!container_is_running(c))
        return;
    if (shim_exit_record_read(c->state_directory, &record) < 0) {
        pthread_mutex_lock(&c->lock);
        int64_t started_ns = c->state.started_ns;
        pthread_mutex_unlock(&c->lock);
        container_shim_was_killed(c, started_ns, &record);
    }
    container_exited(c, record.exit_code, record.finished_ns, record.was_oom_killed);
}

// --- the monitor
static void handle_message(struct container *c, const struct shim_message *m)
{
    switch (m->type) {
    case SHIM_EXIT:
        container_exited(c, m->exit_code, m->finished_ns ? m->finished_ns : time_now_ns(), m->was_oom_killed);
        break;
    case SHIM_OOM:
        pthread_mutex_lock(&c->lock);
        c->state.was_oom_killed = true;
        pthread_mutex_unlock(&c->lock);
        container_event(c, "oom", NULL, NULL);
        break;
    case SHIM_EXEC_EXIT:
        exec_exited(c, m->exec_id, m->exit_code);
        break;
    case SHIM_DETACHED:
        if (!m->exec_id[0])
            container_event(c, "detach", NULL, NULL);
        else
            container_event(c, "exec_detach", "execID", m->exec_id);
        break;
    default:
        break; // a reply to SUBSCRIBE, or a message of a newer shim
    }
}

static void unwatch(struct container *c, int fd)
{
    epoll_ctl(c->service->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    pthread_mutex_lock(&c->lock);
    if (c->control_fd == fd)
        c->control_fd = FD_NONE;
    pthread_mutex_unlock(&c->lock);
    fd_close(fd);
}

// One watch of the set. First it is a shim's control socket; when that is done with and the shim, our child,
// has not ended yet, it becomes the shim's pidfd: a shim may stay for a slow reader, and is reaped whenever
// it ends.
struct monitor_watch {
    struct monitor_watch *next, **link;
    struct container *container; // NULL: a pidfd
    int fd;
    pid_t shim_pid; // 0: not our child
};

static void watch_free(struct container_service *s, struct monitor_watch *w)
{
    pthread_mutex_lock(&s->janitor_lock);
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    pthread_mutex_unlock(&s->janitor_lock);
    if (w->container)
        container_unref(w->container);
    free(w);
}

// Only the monitor's thread waits for these children.
static bool is_reaped(pid_t pid)
{
    pid_t r;
    do
        r = waitpid(pid, NULL, WNOHANG);
    while (r < 0 && errno == EINTR);
    return r != 0;
}

static void reap_or_watch(struct container_service *s, struct monitor_watch *w)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = w };
    if (w->shim_pid <= 0 || is_reaped(w->shim_pid)) {
        watch_free(s, w);
        return;
    }
    container_unref(TAKE_PTR(w->container));
    w->fd = pidfd_open(w->shim_pid, 0);
    if (w->fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) == 0)
        return;
    log_warn("cannot watch the end of monitor %d: %s", (int)w->shim_pid, strerror(errno));
    fd_close(w->fd);
    watch_free(s, w);
}

static void handle_end(struct container_service *s, struct monitor_watch *w)
{
    if (!is_reaped(w->shim_pid))
        return;
    // Explicitly: a process being spawned may hold a copy for a moment, and then the close alone would not do
    // it.
    epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    fd_close(w->fd);
    watch_free(s, w);
}

static void handle_ready(struct container_service *s, struct monitor_watch *w)
{
    struct container *c = w->container;
    struct shim_message m;
    int fds[SHIM_FDS_MAX];
    size_t fd_count = 0;
    if (!c) {
        handle_end(s, w);
        return;
    }
    atomic_store(&c->is_handling, true);
    int r = shimproto_receive(w->fd, &m, fds, &fd_count);
    for (size_t i = 0; r == 1 && i < fd_count; i++)
        fd_close(fds[i]);
    if (r == 1)
        handle_message(c, &m);
    atomic_store(&c->is_handling, false);
    if (r == 1 ? m.type != SHIM_EXIT : r == -EAGAIN || r == -EINTR)
        return;
    // After EXIT the shim stays for its readers only; we are no reader any more.
    unwatch(c, w->fd);
    if (r != 1)
        janitor_add(c, shim_is_gone);
    reap_or_watch(s, w);
}

static void *monitor_run(void *context)
{
    struct container_service *s = context;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(s->epoll_fd, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR)
            break;
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                return NULL; // woken to end
            handle_ready(s, events[i].data.ptr);
        }
    }
    return NULL;
}

int monitor_watch(struct container *c, struct error *err)
{
    struct container_service *s = c->service;
    struct monitor_watch *w = NEW(struct monitor_watch);
    w->container = container_ref(c);
    pthread_mutex_lock(&c->lock);
    w->fd = c->control_fd;
    w->shim_pid = c->state.shim_pid;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&s->janitor_lock);
    w->link = &s->watches;
    w->next = s->watches;
    if (w->next)
        w->next->link = &w->next;
    s->watches = w;
    pthread_mutex_unlock(&s->janitor_lock);
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = w };
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) == 0)
        return 0;
    int errnum = errno;
    watch_free(s, w);
    return error_errno(err, errnum, "watch container %s", c->id);
}

int monitor_start(struct container_service *s, struct error *err)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->wake_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &event) < 0)
        return error_errno(err, errno, "start the container monitor");
    int r = thread_start(&s->monitor_thread, THREAD_STACK_BYTES, monitor_run, s);
    if (r != 0)
        return error_errno(err, r, "start the container monitor");
    r = thread_start(&s->janitor_thread, THREAD_STACK_BYTES, janitor_run, s);
    if (r == 0)
        return 0;
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof one) > 0)
        pthread_join(s->monitor_thread, NULL);
    return error_errno(err, r, "start the container janitor");
}

void monitor_stop(struct container_service *s)
{
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof one) > 0)
        pthread_join(s->monitor_thread, NULL);
    pthread_mutex_lock(&s->janitor_lock);
    s->is_closing = true;
    pthread_cond_signal(&s->janitor_wake);
    pthread_mutex_unlock(&s->janitor_lock);
    pthread_join(s->janitor_thread, NULL);
    while (s->watches) { // both threads are gone; what they watched runs on
        if (!s->watches->container)
            fd_close(s->watches->fd);
        watch_free(s, s->watches);
    }
}
