// Theory of operation: a question goes to the first upstream server that has not failed of late, from a socket and with a number of
// its own, both random. Without a word from it for a while the next one is asked as well, and the first good answer counts. A refusal
// or failure is kept for the case that nobody does better. Over TCP the servers are tried one after another.
#include "netd/netd_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

enum {
    FORWARDS_MAX = 1024,
    FORWARDS_PER_RESOLVER_MAX = 512,
    PORT = 53,
    NEXT_SERVER_MS = 250,
    NEXT_SERVER_TCP_MS = 1500,
    GIVE_UP_MS = 4500, // before the asker's own library does, after five seconds
    FAILED_FOR_S = 20, // so long a silent server is asked last
    QUERY_MAX = 1024
};

struct upstream {
    int64_t failed_ns; // 0: never
};

struct forward {
    struct forward *next;
    struct watch watch; // datagrams, or the connection to one server
    int family;         // of that socket
    struct asker asker;
    struct dns_question q;
    uint16_t id;                                   // of the question as the servers see it
    struct ip_address servers[NETD_UPSTREAMS_MAX]; // in the order of asking
    size_t server_count, asked;
    int64_t next_ns, give_up_ns;
    struct str in; // of a connection
    bool is_connected;
    uint8_t query[QUERY_MAX];
    size_t n;
    size_t poor_n; // an answer that is none, kept in `poor`
    uint8_t poor[DNS_UDP_PLAIN];
};

// --- servers
static struct upstream *upstream_of(struct netd *d, const struct ip_address *ip)
{
    char text[IP_TEXT_MAX];
    ip_format(ip, text);
    struct upstream *u = map_get(&d->upstreams, text);
    if (!u) {
        u = NEW(struct upstream);
        map_put(&d->upstreams, text, u);
    }
    return u;
}

static bool has_failed_of_late(struct netd *d, const struct ip_address *ip)
{
    int64_t failed_ns = upstream_of(d, ip)->failed_ns;
    return failed_ns != 0 && d->now_ns - failed_ns < FAILED_FOR_S * NS_PER_S;
}

static void order_servers(struct netd *d, const struct resolver *r, struct forward *f)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < r->upstream_count; i++)
            if (has_failed_of_late(d, &r->upstreams[i]) == (pass == 1))
                f->servers[f->server_count++] = r->upstreams[i];
}

// --- end
static void release(struct netd *d, struct forward *f)
{
    struct forward **at = &d->forwards;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    d->forward_count--;
    f->asker.resolver->forward_count--;
    watch_remove(d, &f->watch);
    str_done(&f->in);
    free(f);
}

static void fail(struct netd *d, struct forward *f)
{
    uint8_t reply[DNS_UDP_PLAIN];
    if (f->poor_n > 0)
        asker_answer(d, &f->asker, f->poor, f->poor_n);
    else
        asker_answer(d, &f->asker, reply, dns_reply_code(f->query, &f->q, DNS_SERVFAIL, reply, sizeof reply));
    release(d, f);
}

static bool is_reply(const struct forward *f, const uint8_t *m, size_t n)
{
    struct dns_question theirs;
    uint8_t question[DNS_HEADER + DNS_NAME_TEXT + 8];
    if (n < f->q.end || n < DNS_HEADER || dns_get16(m) != f->id || !(m[2] & 0x80))
        return false;
    memcpy(question, m, f->q.end); // their question, as a query: it must be ours
    question[2] = (uint8_t)(question[2] & 0x7f);
    memset(question + 6, 0, 6);
    return dns_parse_question(question, f->q.end, &theirs) && theirs.type == f->q.type &&
           theirs.class == f->q.class && streq(theirs.name, f->q.name);
}

// One more chance for a better answer, unless this was the last server.
static bool is_poor(const uint8_t *m)
{
    unsigned code = m[3] & 0x0f;
    return code != DNS_NOERROR && code != DNS_NXDOMAIN;
}

static void take_reply(struct netd *d, struct forward *f, const struct ip_address *from, uint8_t *m, size_t n)
{
    upstream_of(d, from)->failed_ns = 0;
    cache_put(d->cache, f->asker.resolver->upstream_set, &f->q, m, n, d->now_ns);
    dns_put16(m, f->q.id);
    memcpy(m + DNS_HEADER, f->query + DNS_HEADER, f->q.end - DNS_HEADER);
    if (is_poor(m) && f->asked < f->server_count && n <= sizeof f->poor) {
        memcpy(f->poor, m, n);
        f->poor_n = n;
        f->next_ns = d->now_ns;
        return;
    }
    if (!f->asker.client && n > (f->q.udp_size < DNS_UDP_MAX ? f->q.udp_size : DNS_UDP_MAX)) {
        uint8_t cut[DNS_UDP_PLAIN];
        asker_answer(d, &f->asker, cut, dns_reply_truncated(f->query, &f->q, cut, sizeof cut));
    } else {
        asker_answer(d, &f->asker, m, n);
    }
    release(d, f);
}

// --- datagrams
static bool is_asked(const struct forward *f, const struct ip_address *from)
{
    for (size_t i = 0; i < f->asked; i++)
        if (ip_equals(&f->servers[i], from))
            return true;
    return false;
}

static void on_datagram(struct netd *d, struct watch *w, uint32_t events)
{
    struct forward *f = (struct forward *)(void *)((char *)w - offsetof(struct forward, watch));
    uint8_t m[DNS_UDP_MAX];
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct ip_address from;
    uint16_t port;
    ssize_t n = recvfrom(w->fd, m, sizeof m, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&address, &len);
    (void)events;
    if (n < 0 && errno != EAGAIN)
        f->next_ns = d->now_ns; // refused: no need to wait
    if (n < 0 || !ip_from_sockaddr((struct sockaddr *)&address, &from, &port) || port != PORT ||
        !is_asked(f, &from) || !is_reply(f, m, (size_t)n < sizeof m ? (size_t)n : sizeof m))
        return;
    take_reply(d, f, &from, m,
               (size_t)n); // larger than m: it has not all arrived, and is only said to be too large
}

static bool send_datagram(struct netd *d, struct forward *f, const struct ip_address *to)
{
    struct sockaddr_storage address;
    uint8_t query[QUERY_MAX];
    if (f->watch.fd >= 0 &&
        f->family != to->family) // servers of both families are rare: the former ones are given up
        watch_remove(d, &f->watch);
    if (f->watch.fd < 0) {
        f->family = to->family;
        f->watch =
            (struct watch){ socket(to->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on_datagram };
        if (f->watch.fd < 0 || !watch_add(d, &f->watch, EPOLLIN)) {
            watch_remove(d, &f->watch);
            return false;
        }
    }
    memcpy(query, f->query, f->n);
    dns_put16(query, f->id);
    socklen_t len = ip_to_sockaddr(to, PORT, &address);
    return sendto(f->watch.fd, query, f->n, MSG_NOSIGNAL, (struct sockaddr *)&address, len) >= 0;
}

// --- connections
static void on_server(struct netd *d, struct watch *w, uint32_t events)
{
    struct forward *f = (struct forward *)(void *)((char *)w - offsetof(struct forward, watch));
    uint8_t bytes[4096];
    if ((events & EPOLLOUT) && !f->is_connected) {
        dns_put16(bytes, (uint16_t)f->n);
        memcpy(bytes + 2, f->query, f->n);
        dns_put16(bytes + 2, f->id);
        f->is_connected = true;
        if (send(w->fd, bytes, f->n + 2, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)f->n + 2)
            f->next_ns = d->now_ns;
        watch_change(d, w, EPOLLIN);
        return;
    }
    ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        f->next_ns = d->now_ns;
        watch_change(d, w, 0);
        return;
    }
    str_append_n(&f->in, bytes, (size_t)n);
    if (f->in.len < 2 || f->in.len < 2u + dns_get16((const uint8_t *)f->in.ptr))
        return;
    size_t len = dns_get16((const uint8_t *)f->in.ptr);
    uint8_t *m = (uint8_t *)f->in.ptr + 2;
    if (is_reply(f, m, len))
        take_reply(d, f, &f->servers[f->asked - 1], m, len);
    else
        f->next_ns = d->now_ns;
}

static bool open_connection(struct netd *d, struct forward *f, const struct ip_address *to)
{
    struct sockaddr_storage address;
    if (f->watch.fd >= 0)
        watch_remove(d, &f->watch);
    f->is_connected = false;
    str_clear(&f->in);
    f->watch = (struct watch){ socket(to->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on_server };
    if (f->watch.fd < 0)
        return false;
    socklen_t len = ip_to_sockaddr(to, PORT, &address);
    int r = connect(f->watch.fd, (struct sockaddr *)&address, len);
    return (r == 0 || errno == EINPROGRESS) && watch_add(d, &f->watch, EPOLLIN | EPOLLOUT);
}

// --- on the way
static void ask_next(struct netd *d, struct forward *f)
{
    bool is_tcp = f->asker.client != NULL;
    while (f->asked < f->server_count) {
        const struct ip_address *server = &f->servers[f->asked++];
        bool is_last = f->asked == f->server_count;
        if (!(is_tcp ? open_connection(d, f, server) : send_datagram(d, f, server)))
            continue;
        f->next_ns = d->now_ns + (is_tcp ? NEXT_SERVER_TCP_MS : NEXT_SERVER_MS) * NS_PER_MS;
        if (is_last || f->next_ns > f->give_up_ns)
            f->next_ns = f->give_up_ns;
        return;
    }
    fail(d, f);
}

void forward_start(struct netd *d, const struct asker *asker, const struct dns_question *q,
                   const uint8_t *query, size_t n)
{
    struct resolver *r = asker->resolver;
    struct forward *f = NEW(struct forward);
    *f = (struct forward){ .next = d->forwards,
                           .watch.fd = -1,
                           .asker = *asker,
                           .q = *q,
                           .give_up_ns = d->now_ns + GIVE_UP_MS * NS_PER_MS,
                           .in = STR_INIT,
                           .n = n };
    memcpy(f->query, query, n); // at most QUERY_MAX: resolver.c reads no more
    (void)!getrandom(&f->id, sizeof f->id, 0);
    order_servers(d, r, f);
    d->forwards = f;
    d->forward_count++;
    r->forward_count++;
    if (d->forward_count > FORWARDS_MAX || r->forward_count > FORWARDS_PER_RESOLVER_MAX)
        fail(d, f);
    else
        ask_next(d, f);
}

void forward_cancel(struct netd *d, const struct resolver *resolver, const struct client *client)
{
    for (struct forward *f = d->forwards, *next; f; f = next) {
        next = f->next;
        if ((resolver && f->asker.resolver == resolver) || (client && f->asker.client == client))
            release(d, f);
    }
}

int64_t forward_deadline(const struct netd *d)
{
    int64_t first = INT64_MAX;
    for (const struct forward *f = d->forwards; f; f = f->next)
        first = f->next_ns < first ? f->next_ns : first;
    return first;
}

void forward_expire(struct netd *d)
{
    for (struct forward *f = d->forwards, *next; f; f = next) {
        next = f->next;
        if (f->next_ns > d->now_ns)
            continue;
        if (f->asked > 0 && f->poor_n == 0)
            upstream_of(d, &f->servers[f->asked - 1])->failed_ns = d->now_ns;
        if (d->now_ns >= f->give_up_ns)
            fail(d, f);
        else
            ask_next(d, f);
    }
}

void forward_done(struct netd *d)
{
    const struct map_entry *e;
    while (d->forwards)
        release(d, d->forwards);
    for (size_t at = 0; (e = map_next(&d->upstreams, &at));)
        free(e->value);
    map_done(&d->upstreams);
}
