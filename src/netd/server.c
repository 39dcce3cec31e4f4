#include "netd/netd.h"
#include "netd/netd_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { IDLE_S = 30, CONTROL_BATCH = 64 }; // without container and engine for so long, nobody needs us

// --- watches
bool watch_add(struct netd *d, struct watch *w, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = w };
    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) == 0;
}

void watch_change(struct netd *d, struct watch *w, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = w };
    epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, w->fd, &event);
}

void watch_remove(struct netd *d, struct watch *w)
{
    for (int i = d->event_at; i < d->event_count; i++)
        if (d->events[i].data.ptr == w)
            d->events[i].data.ptr = NULL;
    // Closing would not take it out of the set while another process has the socket: skiffd, or a child of its before exec.
    if (w->fd >= 0)
        epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = fd_close(w->fd);
}

// --- what skiffd says

// Containers that were not named between BEGIN and END are gone.
static void forget_untold(struct netd *d)
{
    // A map must not change while it is walked.
    struct resolver **untold CLEANUP(cleanup_free) = xcalloc(d->resolvers.len + 1, sizeof(struct resolver *));
    const struct map_entry *e;
    size_t n = 0;
    for (size_t at = 0; (e = map_next(&d->resolvers, &at));) {
        struct resolver *r = e->value;
        if (r->generation != d->generation)
            untold[n++] = r;
    }
    for (size_t i = 0; i < n; i++)
        resolver_remove(d, untold[i]);
    names_end(d->names);
    proxies_forget(d, false);
}

static void answer_has(struct netd *d, const struct netd_message *m)
{
    struct netd_message reply = NETD_MESSAGE_INIT;
    bool is_there = m->type == NETD_HAS ? map_get(&d->resolvers, m->container) != NULL : proxy_is_there(d, m);
    reply.type = is_there ? NETD_YES : NETD_NO;
    memcpy(reply.container, m->container, sizeof reply.container);
    (void)netd_send(d->control.fd, &reply);
}

static void obey(struct netd *d, struct netd_message *m)
{
    struct resolver *r = map_get(&d->resolvers, m->container);
    switch (m->type) {
    case NETD_BEGIN:
        d->generation++;
        names_begin(d->names);
        break;
    case NETD_END:
        forget_untold(d);
        break;
    case NETD_NAMES:
        names_put(d->names, m->network, m->container, m->names, m->addresses, m->address_count);
        break;
    case NETD_UNNAMES:
        names_remove(d->names, m->network, m->container);
        break;
    case NETD_RESOLVER:
        resolver_put(d, m);
        break;
    case NETD_FORGET:
        if (r)
            resolver_remove(d, r);
        break;
    case NETD_PROXY:
        proxy_put(d, m);
        break;
    case NETD_UNPROXY:
        proxy_remove(d, m);
        break;
    case NETD_HAS:
    case NETD_HAS_PROXY:
        answer_has(d, m);
        break;
    default:
        break; // of a newer skiffd
    }
}

// What has been said is heard before the next question is: who was told of a change over the API asks the changed names.
static void on_control(struct netd *d, struct watch *w, uint32_t events)
{
    struct netd_message m;
    int r = 1;
    (void)events;
    for (int i = 0; i < CONTROL_BATCH && r == 1; i++) {
        r = netd_receive(w->fd, &m);
        if (r != 1)
            break;
        obey(d, &m);
        netd_message_done(&m);
    }
    if (r <= 0 && r != -EAGAIN && r != -EBADMSG) { // skiffd has ended; what it said stays true
        watch_remove(d, w);
    }
}

// The newest engine is the engine.
static void on_engine(struct netd *d, struct watch *w, uint32_t events)
{
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    (void)events;
    if (fd < 0)
        return;
    if (d->control.fd >= 0)
        watch_remove(d, &d->control);
    d->control = (struct watch){ fd, on_control };
    if (!watch_add(d, &d->control, EPOLLIN))
        watch_remove(d, &d->control);
}

// --- the loop

// By an engine, or by containers: those that ask, and on a network that asks at its gateway those that have names.
static bool has_use(const struct netd *d)
{
    return d->control.fd >= 0 || d->resolvers.len > d->gateway_count || d->proxies.len > 0 ||
           !names_is_empty(d->names);
}

static bool is_needed(struct netd *d)
{
    if (has_use(d))
        d->needed_ns = d->now_ns;
    return d->now_ns - d->needed_ns < IDLE_S * NS_PER_S;
}

static int timeout_ms(const struct netd *d)
{
    int64_t forwards = forward_deadline(d), clients = clients_deadline(d),
            first = forwards < clients ? forwards : clients;
    if (!has_use(d)) {
        int64_t end = d->needed_ns + IDLE_S * NS_PER_S;
        first = end < first ? end : first;
    }
    if (first == INT64_MAX)
        return -1;
    int64_t wait = (first - d->now_ns + NS_PER_MS - 1) / NS_PER_MS;
    return wait < 0 ? 0 : wait > INT_MAX ? INT_MAX : (int)wait;
}

static void turn(struct netd *d)
{
    d->event_count = epoll_wait(d->epoll_fd, d->events, NETD_EVENTS_MAX, timeout_ms(d));
    d->now_ns = time_monotonic_ns();
    for (d->event_at = 0; d->event_at < d->event_count;) {
        struct epoll_event *e = &d->events[d->event_at++];
        struct watch *w = e->data.ptr;
        if (w)
            w->on_ready(d, w, e->events);
    }
    d->event_count = d->event_at = 0;
    forward_expire(d);
    clients_expire(d);
}

static void done(struct netd *d)
{
    const struct map_entry *e;
    size_t at;
    while ((at = 0, e = map_next(&d->resolvers, &at)))
        resolver_remove(d, e->value);
    forward_done(d);
    proxies_forget(d, true);
    map_done(&d->proxies);
    map_done(&d->resolvers);
    names_free(d->names);
    cache_free(d->cache);
    watch_remove(d, &d->control);
    watch_remove(d, &d->listener);
    fd_close(d->epoll_fd);
}

int netd_run(int listen_fd)
{
    struct netd d = { .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                      .listener = { listen_fd, on_engine },
                      .control.fd = -1,
                      .names = names_new(),
                      .cache = cache_new(),
                      .now_ns = time_monotonic_ns() };
    d.needed_ns = d.now_ns;
    mallopt(M_ARENA_MAX, 1);
    if (d.epoll_fd < 0 || !watch_add(&d, &d.listener, EPOLLIN)) {
        log_error("epoll: %s", strerror(errno));
        return 1;
    }
    int r = sandbox_enter();
    if (r < 0) {
        log_error("give up privileges: %s", strerror(-r));
        return 1;
    }
    while (is_needed(&d))
        turn(&d);
    done(&d);
    return 0;
}
