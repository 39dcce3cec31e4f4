// Theory of operation
//
// Events are immutable and counted by reference; the last KEPT of them sit in a ring, and every subscription has a queue
// of its own, so that a slow reader holds up neither the emitter nor another reader. A subscription that falls more than
// QUEUE_MAX behind loses its oldest events, as in Docker. Emitting takes one short lock and never blocks on I/O: readers
// are woken through their eventfd.
#include "engine/events.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { KEPT = 256, QUEUE_MAX = 4096 };

struct record {
    atomic_uint refs;
    struct engine_event event;
};

struct engine_subscription {
    struct engine_events *events;
    struct engine_subscription *next;
    struct record **queue; // ring of `cap`
    size_t head, len, cap;
    int wake_fd;
};

struct engine_events {
    pthread_mutex_t lock; // guards everything here and in every subscription's queue
    struct record *ring[KEPT];
    size_t start, len;
    struct engine_subscription *subscriptions;
};

struct engine_events *engine_events_new(void)
{
    struct engine_events *events = NEW(struct engine_events);
    pthread_mutex_init(&events->lock, NULL);
    return events;
}

static void record_unref(struct record *record)
{
    if (atomic_fetch_sub(&record->refs, 1) != 1)
        return;
    engine_event_done(&record->event);
    free(record);
}

void engine_events_free(struct engine_events *events)
{
    if (!events)
        return;
    for (size_t i = 0; i < events->len; i++)
        record_unref(events->ring[(events->start + i) % KEPT]);
    pthread_mutex_destroy(&events->lock);
    free(events);
}

static void enqueue(struct engine_subscription *s, struct record *record)
{
    if (s->len == QUEUE_MAX) {
        record_unref(s->queue[s->head]);
        s->head = (s->head + 1) % s->cap;
        s->len--;
    }
    if (s->len == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct record **queue = xcalloc(cap, sizeof *queue);
        for (size_t i = 0; i < s->len; i++)
            queue[i] = s->queue[(s->head + i) % s->cap];
        free(s->queue);
        s->queue = queue;
        s->head = 0;
        s->cap = cap;
    }
    atomic_fetch_add(&record->refs, 1);
    s->queue[(s->head + s->len++) % s->cap] = record;
    (void)!write(s->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

void engine_events_emit(void *context, const struct event *event)
{
    struct engine_events *events = context;
    struct record *record = NEW(struct record);
    record->refs = 1;
    record->event = (struct engine_event){
        .time_ns = event->time_ns ? event->time_ns : time_now_ns(),
        .type = xstrdup(event->type),
        .action = xstrdup(event->action),
        .actor_id = xstrdup(event->actor_id ? event->actor_id : ""),
        .attributes = xcalloc(event->attribute_count + 1, sizeof(char *)),
    };
    for (unsigned i = 0; i < event->attribute_count; i++)
        record->event.attributes[i] = xasprintf("%s=%s", event->attributes[i].key,
                                                event->attributes[i].value ? event->attributes[i].value : "");
    pthread_mutex_lock(&events->lock);
    struct record *oldest = NULL;
    if (events->len == KEPT) {
        oldest = events->ring[events->start];
        events->ring[events->start] = record;
        events->start = (events->start + 1) % KEPT;
    } else {
        events->ring[(events->start + events->len++) % KEPT] = record;
    }
    for (struct engine_subscription *s = events->subscriptions; s; s = s->next)
        enqueue(s, record);
    pthread_mutex_unlock(&events->lock);
    if (oldest)
        record_unref(oldest);
}

struct engine_subscription *engine_events_subscribe(struct engine_events *events, int64_t since_ns)
{
    struct engine_subscription *s = NEW(struct engine_subscription);
    s->events = events;
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) {
        free(s);
        return NULL;
    }
    pthread_mutex_lock(&events->lock);
    for (size_t i = 0; since_ns && i < events->len; i++) {
        struct record *record = events->ring[(events->start + i) % KEPT];
        if (record->event.time_ns >= since_ns)
            enqueue(s, record);
    }
    s->next = events->subscriptions;
    events->subscriptions = s;
    pthread_mutex_unlock(&events->lock);
    return s;
}

static struct record *dequeue(struct engine_subscription *s)
{
    struct record *record = NULL;
    pthread_mutex_lock(&s->events->lock);
    if (s->len) {
        record = s->queue[s->head];
        s->head = (s->head + 1) % s->cap;
        s->len--;
    }
    pthread_mutex_unlock(&s->events->lock);
    return record;
}

static void copy_event(const struct engine_event *from, struct engine_event *ret)
{
    *ret = (struct engine_event){
        .time_ns = from->time_ns,
        .type = xstrdup(from->type),
        .action = xstrdup(from->action),
        .actor_id = xstrdup(from->actor_id),
        .attributes = strv_copy(from->attributes),
    };
}

// Wait for a wake-up. False: the deadline passed or the canceller hung up.
static bool wait_for_more(struct engine_subscription *s, int64_t until_ns, int cancel_fd)
{
    struct timespec left = { 0 };
    if (until_ns) {
        int64_t ns = until_ns - time_now_ns();
        if (ns <= 0)
            return false;
        left = (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
    }
    // POLLIN of the canceller is of no interest: bytes that a client sends ahead do not mean that it left.
    struct pollfd polls[] = { { .fd = s->wake_fd, .events = POLLIN },
                              { .fd = cancel_fd, .events = POLLRDHUP } };
    int n = ppoll(polls, 2, until_ns ? &left : NULL, NULL);
    if (n < 0)
        return errno == EINTR;
    if (polls[1].revents)
        return false;
    uint64_t count;
    if (polls[0].revents)
        (void)!read(s->wake_fd, &count, sizeof count);
    return n > 0;
}

int engine_events_next(struct engine_subscription *s, int64_t until_ns, int cancel_fd,
                       struct engine_event *ret)
{
    for (;;) {
        struct record *record = dequeue(s);
        if (record && until_ns && record->event.time_ns > until_ns) {
            record_unref(record);
            return 0;
        }
        if (record) {
            copy_event(&record->event, ret);
            record_unref(record);
            return 1;
        }
        if (!wait_for_more(s, until_ns, cancel_fd))
            return 0;
    }
}

void engine_event_done(struct engine_event *event)
{
    free(event->type);
    free(event->action);
    free(event->actor_id);
    strv_free(event->attributes);
    *event = (struct engine_event){ 0 };
}

void engine_events_unsubscribe(struct engine_subscription *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->events->lock);
    for (struct engine_subscription **at = &s->events->subscriptions; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    pthread_mutex_unlock(&s->events->lock);
    for (size_t i = 0; i < s->len; i++)
        record_unref(s->queue[(s->head + i) % s->cap]);
    free(s->queue);
    fd_close(s->wake_fd);
    free(s);
}
