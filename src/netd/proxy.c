// Theory of operation: what the kernel cannot translate is relayed: connections to ::1, and to IPv6 addresses for containers that
// have IPv4 only. skiffd listens, and hands the socket over with the container's address. Bytes go by splice(2) through a pipe for
// each direction and are never looked at. What one side does not take stays in the pipe, and is not read from the other side
// meanwhile; the end of one direction is handed on when its pipe is empty, the other direction lives on.
#include "netd/netd_internal.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RELAYS_MAX = 4096,           // of all ports: more wait in their kernel's queues
    RELAYS_PER_PROXY_MAX = 1024, // so that one port cannot take them all
    PIPE_BYTES = 64 * 1024,
    PIPES_A_TURN = 4,
    ACCEPTS_A_TURN = 16
};
_Static_assert(RELAYS_PER_PROXY_MAX < RELAYS_MAX, "one port must leave room for others");

// From a side of the connection to the other one.
struct flow {
    int pipe[2];
    size_t queued;
    bool has_ended, is_shut; // nothing more comes; and that has been handed on
};

struct relay {
    struct relay *next, **link;
    struct proxy *proxy;
    struct watch sides[2]; // the client, the container
    struct flow flows[2];  // from that side
    uint32_t interest[2];  // what epoll was told
    bool is_connected;
};

struct proxy {
    struct watch listener;
    char key[NETD_PROXY_KEY_MAX];
    struct sockaddr_storage target;
    socklen_t target_len;
    struct relay *relays;
    unsigned relay_count;
    bool is_paused; // it does not accept
    uint64_t generation;
};

// --- one connection
static void relay_free(struct netd *d, struct relay *r)
{
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    r->proxy->relay_count--;
    d->relay_count--;
    for (int i = 0; i < 2; i++) {
        watch_remove(d, &r->sides[i]);
        fd_close(r->flows[i].pipe[0]);
        fd_close(r->flows[i].pipe[1]);
    }
    free(r);
}

static bool is_over(int r)
{
    return r < 0 && errno != EAGAIN && errno != EINTR;
}

// From the side to the other what goes, within bounds: others wait for their turn. False: the connection is broken.
static bool pump(struct relay *r, int from)
{
    struct flow *f = &r->flows[from];
    const struct watch *in = &r->sides[from], *out = &r->sides[!from];
    bool is_moving = true;
    for (int i = 0; is_moving && i < PIPES_A_TURN; i++) {
        is_moving = false;
        if (!f->has_ended && f->queued == 0) {
            ssize_t n = splice(in->fd, NULL, f->pipe[1], NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (is_over((int)n))
                return false;
            f->has_ended = n == 0;
            f->queued = n > 0 ? (size_t)n : 0;
        }
        if (f->queued > 0) {
            ssize_t n = splice(f->pipe[0], NULL, out->fd, NULL, f->queued, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (is_over((int)n))
                return false;
            f->queued -= n > 0 ? (size_t)n : 0;
            is_moving = n > 0 && f->queued == 0;
        }
    }
    if (f->has_ended && f->queued == 0 && !f->is_shut) {
        f->is_shut = true;
        (void)shutdown(out->fd, SHUT_WR);
    }
    return true;
}

// A side that has ended both ways would report that for ever: it leaves the set.
static void settle_interest(struct netd *d, struct relay *r)
{
    for (int i = 0; i < 2; i++) {
        const struct flow *from = &r->flows[i], *to = &r->flows[!i];
        uint32_t wanted =
            (!from->has_ended && from->queued == 0 ? EPOLLIN : 0) | (to->queued > 0 ? EPOLLOUT : 0);
        if (from->has_ended && to->is_shut)
            epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, r->sides[i].fd, NULL);
        else if (wanted != r->interest[i])
            watch_change(d, &r->sides[i], wanted);
        r->interest[i] = wanted;
    }
}

static bool has_room(const struct netd *d, const struct proxy *p)
{
    return p->relay_count < RELAYS_PER_PROXY_MAX && d->relay_count < RELAYS_MAX;
}

// Connections beyond the bounds stay in the kernel's queue until others end.
static void proxy_settle(struct netd *d, struct proxy *p)
{
    bool is_paused = !has_room(d, p);
    if (is_paused != p->is_paused)
        watch_change(d, &p->listener, is_paused ? 0 : EPOLLIN);
    p->is_paused = is_paused;
}

static void relay_end(struct netd *d, struct relay *r)
{
    struct proxy *p = r->proxy;
    const struct map_entry *e;
    bool was_full = d->relay_count >= RELAYS_MAX;
    relay_free(d, r);
    proxy_settle(d, p);
    for (size_t at = 0; was_full && (e = map_next(&d->proxies, &at));)
        proxy_settle(d, e->value);
}

static bool has_connected(const struct relay *r)
{
    int error = 0;
    socklen_t n = sizeof error;
    return getsockopt(r->sides[1].fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

static void on_side(struct netd *d, struct relay *r, int side, uint32_t events)
{
    bool is_alive = !(events & EPOLLERR);
    if (is_alive && !r->is_connected) {
        if (side == 0) // the client has gone before we got through
            is_alive = !(events & EPOLLHUP);
        else
            r->is_connected = is_alive = has_connected(r);
        if (is_alive && !r->is_connected)
            return;
    }
    is_alive = is_alive && pump(r, 0) && pump(r, 1);
    if (!is_alive || (r->flows[0].is_shut && r->flows[1].is_shut))
        relay_end(d, r);
    else
        settle_interest(d, r);
}

static void on_client(struct netd *d, struct watch *w, uint32_t events)
{
    on_side(d, (struct relay *)(void *)((char *)w - offsetof(struct relay, sides[0])), 0, events);
}

static void on_container(struct netd *d, struct watch *w, uint32_t events)
{
    on_side(d, (struct relay *)(void *)((char *)w - offsetof(struct relay, sides[1])), 1, events);
}

// Takes the client's socket.
static void relay_start(struct netd *d, struct proxy *p, int client_fd)
{
    int on = 1, fd = socket(p->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct relay *r = NEW(struct relay);
    *r = (struct relay){ .next = p->relays,
                         .link = &p->relays,
                         .proxy = p,
                         .sides = { { client_fd, on_client }, { fd, on_container } },
                         .flows = { { .pipe = { -1, -1 } }, { .pipe = { -1, -1 } } },
                         .interest = { 0, EPOLLOUT } };
    if (r->next)
        r->next->link = &r->next;
    p->relays = r;
    p->relay_count++;
    d->relay_count++;
    bool is_well = fd >= 0;
    for (int i = 0; is_well && i < 2; i++)
        is_well = pipe2(r->flows[i].pipe, O_NONBLOCK | O_CLOEXEC) == 0;
    for (int i = 0; is_well && i < 2; i++) // what comes in small pieces goes on in small pieces
        setsockopt(r->sides[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (is_well && connect(fd, (const struct sockaddr *)&p->target, p->target_len) < 0)
        is_well = errno == EINPROGRESS;
    if (!is_well || !watch_add(d, &r->sides[0], r->interest[0]) ||
        !watch_add(d, &r->sides[1], r->interest[1]))
        relay_free(d, r);
}

// --- one port
static void on_listener(struct netd *d, struct watch *w, uint32_t events)
{
    struct proxy *p = (struct proxy *)(void *)((char *)w - offsetof(struct proxy, listener));
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && has_room(d, p); i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break;
        relay_start(d, p, fd);
    }
    proxy_settle(d, p);
}

static void key_of(const struct netd_message *m, char key[static NETD_PROXY_KEY_MAX])
{
    char ip[IP_TEXT_MAX];
    ip_format(&m->listen.ip, ip);
    snprintf(key, NETD_PROXY_KEY_MAX, "%s %u", ip, m->listen.port);
}

static void proxy_free(struct netd *d, struct proxy *p)
{
    while (p->relays)
        relay_free(d, p->relays);
    map_remove(&d->proxies, p->key);
    watch_remove(d, &p->listener);
    free(p);
}

void proxy_put(struct netd *d, struct netd_message *m)
{
    char key[NETD_PROXY_KEY_MAX];
    key_of(m, key);
    struct proxy *p = map_get(&d->proxies, key);
    if (m->fd_count == 1) {
        if (p)
            proxy_free(d, p);
        p = NEW(struct proxy);
        memcpy(p->key, key, sizeof key);
        p->listener = (struct watch){ TAKE_FD(m->fds[0]), on_listener };
        m->fd_count = 0;
        map_put(&d->proxies, p->key, p);
        if (!watch_add(d, &p->listener, EPOLLIN)) {
            proxy_free(d, p);
            return;
        }
    }
    if (!p)
        return;
    p->generation = d->generation;
    p->target_len = ip_to_sockaddr(&m->target.ip, m->target.port, &p->target);
}

void proxy_remove(struct netd *d, const struct netd_message *m)
{
    char key[NETD_PROXY_KEY_MAX];
    key_of(m, key);
    struct proxy *p = map_get(&d->proxies, key);
    if (p)
        proxy_free(d, p);
}

bool proxy_is_there(const struct netd *d, const struct netd_message *m)
{
    char key[NETD_PROXY_KEY_MAX];
    key_of(m, key);
    return map_get(&d->proxies, key) != NULL;
}

void proxies_forget(struct netd *d, bool is_all)
{
    // A map must not change while it is walked.
    struct proxy **untold CLEANUP(cleanup_free) = xcalloc(d->proxies.len + 1, sizeof(struct proxy *));
    const struct map_entry *e;
    size_t n = 0;
    for (size_t at = 0; (e = map_next(&d->proxies, &at));) {
        struct proxy *p = e->value;
        if (is_all || p->generation != d->generation)
            untold[n++] = p;
    }
    for (size_t i = 0; i < n; i++)
        proxy_free(d, untold[i]);
}
