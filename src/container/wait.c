// Waiting for a container: API clients (with a descriptor that wakes them and one that cancels them) and our
// own stop.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

// Held by its client; linked in container->waiters (guarded by container->lock) until it is satisfied or
// ended.
struct container_waiter {
    struct container *container;
    enum container_wait condition;
    int event_fd;
    bool is_done; // guarded by container->lock
    int exit_code;
    struct container_waiter *next;
};

static void satisfy(struct container_waiter *w, int exit_code)
{
    const uint64_t one = 1;
    w->is_done = true;
    w->exit_code = exit_code;
    if (write(w->event_fd, &one, sizeof one) < 0) {
        // An eventfd takes a one at any time but at its ceiling, and then its reader is awake already.
    }
}

void waiters_notify(struct container *c, enum container_wait what, int exit_code)
{
    for (struct container_waiter *w = c->waiters; w; w = w->next) {
        bool is_met = what == CONTAINER_WAIT_REMOVED ||
                      (w->condition != CONTAINER_WAIT_REMOVED && what == CONTAINER_WAIT_NEXT_EXIT);
        if (is_met && !w->is_done)
            satisfy(w, exit_code);
    }
}

int container_wait_begin(struct container_service *s, const char *name, enum container_wait condition,
                         struct container_waiter **ret, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    struct container_waiter *w = NEW(struct container_waiter);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0) {
        free(w);
        return error_errno(err, errno, "wait for container %s", name);
    }
    w->condition = condition;
    w->container = container_ref(c);
    pthread_mutex_lock(&c->lock);
    bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED ||
                      c->state.status == CONTAINER_RESTARTING;
    if ((condition == CONTAINER_WAIT_NOT_RUNNING && !is_running) || c->is_gone)
        satisfy(w, c->state.exit_code);
    w->next = c->waiters;
    c->waiters = w;
    pthread_mutex_unlock(&c->lock);
    *ret = w;
    return 0;
}

int container_waiter_fd(const struct container_waiter *waiter)
{
    return waiter->event_fd;
}

static void unlink_waiter(struct container_waiter *w)
{
    for (struct container_waiter **p = &w->container->waiters; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            return;
        }
}

void container_waiter_free(struct container_waiter *w)
{
    struct container *c = w->container;
    pthread_mutex_lock(&c->lock);
    unlink_waiter(w);
    pthread_mutex_unlock(&c->lock);
    fd_close(w->event_fd);
    free(w);
    container_unref(c);
}

int container_wait_end(struct container_waiter *w, int cancel_fd, int *ret_exit_code, struct error *err)
{
    struct pollfd fds[2] = { { .fd = w->event_fd, .events = POLLIN },
                             { .fd = cancel_fd, .events = POLLIN | POLLRDHUP } };
    while (poll(fds, cancel_fd >= 0 ? 2 : 1, -1) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&w->container->lock);
    bool is_done = w->is_done;
    int exit_code = w->exit_code;
    pthread_mutex_unlock(&w->container->lock);
    container_waiter_free(w);
    if (!is_done)
        return error_set(err, ERROR_CANCELLED, "the client has gone");
    *ret_exit_code = exit_code;
    return 0;
}

bool container_wait_stopped(struct container *c, int64_t timeout_ms)
{
    const struct timespec deadline = time_to_timespec(time_monotonic_ns() + timeout_ms * NS_PER_MS);
    pthread_mutex_lock(&c->lock);
    unsigned run = c->state.run;
    bool is_running;
    int r = 0;
    while ((is_running = c->state.run == run &&
                         (c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED)) &&
           r == 0)
        r = timeout_ms < 0 ? pthread_cond_wait(&c->changed, &c->lock)
                           : pthread_cond_timedwait(&c->changed, &c->lock, &deadline);
    pthread_mutex_unlock(&c->lock);
    return !is_running;
}
