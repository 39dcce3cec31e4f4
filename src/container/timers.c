#include "container/timers.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "container/container_internal.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WORKER_STACK_BYTES = 256 * 1024, RETRY_MS = 100 };

struct timers {
    timer_work *works[TIMER_KIND_COUNT];
    pthread_mutex_t lock; // everything below, and each container's struct timer
    pthread_cond_t wake;  // the first timer has changed, or the end has come; CLOCK_MONOTONIC
    pthread_cond_t idle;  // broadcast when the last worker has ended
    int closing_fd;
    pthread_t thread;
    bool has_thread, is_closing;
    struct timer *first;
    unsigned workers;
};

struct job {
    struct timers *timers;
    struct container *container; // a reference
    timer_work *work;
};

struct timers *timers_new(timer_work *const works[static TIMER_KIND_COUNT])
{
    struct timers *t = NEW(struct timers);
    pthread_condattr_t attributes;
    memcpy(t->works, works, sizeof t->works);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attributes);
    pthread_cond_init(&t->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    t->closing_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return t;
}

// --- work
static void *worker_run(void *context)
{
    struct job job = *(struct job *)context;
    free(context);
    job.work(job.container);
    container_unref(job.container);
    pthread_mutex_lock(&job.timers->lock);
    if (--job.timers->workers == 0)
        pthread_cond_broadcast(&job.timers->idle);
    pthread_mutex_unlock(&job.timers->lock);
    return NULL;
}

// Takes a reference of its own. The lock is held. 0, or -errno when no thread can be had.
static int start_worker(struct timers *t, struct container *c, timer_work *work)
{
    struct job *job = NEW(struct job);
    *job = (struct job){ .timers = t, .container = container_ref(c), .work = work };
    t->workers++;
    int r = thread_start(NULL, WORKER_STACK_BYTES, worker_run, job);
    if (r == 0)
        return 0;
    t->workers--;
    container_unref(c);
    free(job);
    return r;
}

void timers_run(struct container *c, timer_work *work)
{
    struct timers *t = c->service->timers;
    pthread_mutex_lock(&t->lock);
    int r = t->is_closing ? 0 : start_worker(t, c, work);
    pthread_mutex_unlock(&t->lock);
    if (r != 0)
        log_error("container %s: no thread for its policy: %s", c->id, strerror(-r));
}

// --- time. The lock is held.
static void insert(struct timers *t, struct timer *timer)
{
    struct timer **at = &t->first;
    while (*at && (*at)->due_ns <= timer->due_ns)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
}

// Returns the reference that it held; NULL when it was not set.
static struct container *take_out(struct timers *t, struct timer *timer)
{
    for (struct timer **at = &t->first; timer->container && *at; at = &(*at)->next)
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    return TAKE_PTR(timer->container);
}

static void fire(struct timers *t, struct timer *timer)
{
    struct container *c = take_out(t, timer);
    int r = start_worker(t, c, t->works[timer - c->timers]);
    if (r != 0) { // for want of memory or threads: later, then
        log_warn("container %s: no thread for its policy: %s", c->id, strerror(-r));
        timer->container = container_ref(c);
        timer->due_ns = time_monotonic_ns() + RETRY_MS * NS_PER_MS;
        insert(t, timer);
    }
    pthread_mutex_unlock(&t->lock); // the last reference may be this one, and what it frees takes other locks
    container_unref(c);
    pthread_mutex_lock(&t->lock);
}

static void *timers_main(void *context)
{
    struct timers *t = context;
    pthread_mutex_lock(&t->lock);
    while (!t->is_closing) {
        if (!t->first) {
            pthread_cond_wait(&t->wake, &t->lock);
        } else if (t->first->due_ns <= time_monotonic_ns()) {
            fire(t, t->first);
        } else {
            const struct timespec until = { .tv_sec = t->first->due_ns / NS_PER_S,
                                            .tv_nsec = t->first->due_ns % NS_PER_S };
            pthread_cond_timedwait(&t->wake, &t->lock, &until);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

void timers_set(struct container *c, enum timer_kind kind, int64_t due_ns)
{
    struct timers *t = c->service->timers;
    struct timer *timer = &c->timers[kind];
    int r = 0;
    pthread_mutex_lock(&t->lock);
    struct container *former = take_out(t, timer);
    if (!t->is_closing) {
        timer->container = container_ref(c);
        timer->due_ns = due_ns;
        insert(t, timer);
        if (!t->has_thread)
            t->has_thread = (r = thread_start(&t->thread, WORKER_STACK_BYTES, timers_main, t)) == 0;
        if (t->first == timer)
            pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->lock);
    container_unref(former);
    if (r != 0) // the next timer that is set tries again
        log_error("start the timer thread: %s", strerror(-r));
}

void timers_clear(struct container *c, enum timer_kind kind)
{
    struct timers *t = c->service->timers;
    pthread_mutex_lock(&t->lock);
    struct container *former = take_out(t, &c->timers[kind]);
    pthread_mutex_unlock(&t->lock);
    container_unref(former);
}

// --- the end
void timers_stop(struct timers *t)
{
    pthread_mutex_lock(&t->lock);
    t->is_closing = true;
    (void)!write(t->closing_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    pthread_cond_signal(&t->wake);
    while (t->workers > 0)
        pthread_cond_wait(&t->idle, &t->lock);
    bool has_thread = t->has_thread;
    pthread_mutex_unlock(&t->lock);
    if (has_thread)
        pthread_join(t->thread, NULL);
    while (t->first) // both kinds of threads are gone
        container_unref(take_out(t, t->first));
}

int timers_closing_fd(const struct timers *t)
{
    return t->closing_fd;
}

void timers_free(struct timers *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->idle);
    fd_close(t->closing_fd);
    free(t);
}
