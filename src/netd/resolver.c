#include "netd/netd_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 16,
    TTL_S = 5, // of our own names: replicas come and go
    CLIENTS_MAX = 32,
    CLIENT_IDLE_S = 10,
    QUERY_MAX = 1024,
    UNREAD_MAX = 64 * 1024,       // of answers: more questions wait until the client has read some
    UNREAD_REFUSED = 1024 * 1024, // with those that were under way: it will not read them
};

// --- our own names
static const char *link_target(const struct resolver *r, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; r->links && r->links[i]; i++)
        if (str_has_prefix(r->links[i], name) && r->links[i][n] == '=')
            return r->links[i] + n + 1;
    return NULL;
}

// On every network of the container, in its order: the first that knows the name answers.
static bool find_name(struct netd *d, const struct resolver *r, const char *name, int family,
                      struct ip_address *list, size_t *count)
{
    bool is_known = false;
    for (size_t i = 0; r->networks && r->networks[i] && *count == 0; i++)
        is_known |= names_find(d->names, r->networks[i], name, family, list, DNS_ANSWERS_MAX, count);
    return is_known;
}

static const char *find_address(struct netd *d, const struct resolver *r, const struct ip_address *address)
{
    const char *name = NULL;
    for (size_t i = 0; !name && r->networks && r->networks[i]; i++)
        name = names_of(d->names, r->networks[i], address);
    return name;
}

// 0: nothing that we know of.
static size_t answer_own(struct netd *d, const struct resolver *r, const uint8_t *query,
                         const struct dns_question *q, uint8_t *to, size_t size)
{
    struct ip_address list[DNS_ANSWERS_MAX], address;
    size_t count = 0;
    if (q->type == DNS_PTR) {
        const char *name = dns_reverse_address(q->name, &address) ? find_address(d, r, &address) : NULL;
        return name ? dns_reply_name(query, q, name, TTL_S, to, size) : 0;
    }
    const char *target = link_target(r, q->name), *name = target ? target : q->name;
    int family = q->type == DNS_AAAA ? AF_INET6 : AF_INET;
    if (!*name || !find_name(d, r, name, family, list, &count))
        return 0;
    if (q->type != DNS_A && q->type != DNS_AAAA) // the name exists, and has nothing of that type
        count = 0;
    return dns_reply_addresses(query, q, list, count, TTL_S, to, size);
}

// --- a question
static void handle(struct netd *d, const struct asker *asker, const uint8_t *query, size_t n)
{
    uint8_t reply[DNS_UDP_MAX];
    struct dns_question q;
    const struct resolver *r = asker->resolver;
    bool is_larger = false;
    if (!dns_parse_question(query, n, &q))
        return;
    size_t size = asker->client ? sizeof reply : q.udp_size;
    size_t reply_n = !q.is_supported ? dns_reply_code(query, &q, DNS_NOTIMP, reply, size)
                                     : answer_own(d, r, query, &q, reply, size);
    if (reply_n == 0 &&
        r->upstream_count == 0) // the world is not for this container; it need not wait to learn that
        reply_n = dns_reply_code(query, &q, DNS_NXDOMAIN, reply, size);
    if (reply_n == 0)
        reply_n = cache_get(d->cache, r->upstream_set, &q, query, reply, size, d->now_ns, &is_larger);
    if (reply_n == 0 && is_larger)
        reply_n = dns_reply_truncated(query, &q, reply, size);
    if (reply_n > 0)
        asker_answer(d, asker, reply, reply_n);
    else
        forward_start(d, asker, &q, query, n);
}

static bool is_welcome(const struct resolver *r, const struct sockaddr_storage *address)
{
    struct ip_address ip;
    uint16_t port;
    return ip_is_none(&r->from.ip) || (ip_from_sockaddr((const struct sockaddr *)address, &ip, &port) &&
                                       ip_prefix_contains(&r->from, &ip));
}

static void on_datagrams(struct netd *d, struct watch *w, uint32_t events)
{
    static uint8_t buffers[BATCH][QUERY_MAX]; // one thread
    struct resolver *r = (struct resolver *)(void *)((char *)w - offsetof(struct resolver, udp));
    struct asker askers[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
    (void)events;
    for (size_t i = 0; i < BATCH; i++) {
        askers[i] = (struct asker){ .resolver = r };
        parts[i] = (struct iovec){ buffers[i], QUERY_MAX };
        messages[i] = (struct mmsghdr){ .msg_hdr = { .msg_name = &askers[i].address,
                                                     .msg_namelen = sizeof askers[i].address,
                                                     .msg_iov = &parts[i],
                                                     .msg_iovlen = 1 } };
    }
    int n = recvmmsg(w->fd, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        askers[i].address_len = messages[i].msg_hdr.msg_namelen;
        if (!(messages[i].msg_hdr.msg_flags & MSG_TRUNC) && is_welcome(r, &askers[i].address))
            handle(d, &askers[i], buffers[i], messages[i].msg_len);
    }
}

// --- connections
struct client {
    struct client *next;
    struct watch watch;
    struct resolver *resolver;
    struct str in, out;
    int64_t deadline_ns;
};

static void client_free(struct netd *d, struct client *c)
{
    struct client **at = &d->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    forward_cancel(d, NULL, c);
    watch_remove(d, &c->watch);
    c->resolver->client_count--;
    str_done(&c->in);
    str_done(&c->out);
    free(c);
}

static bool client_flush(struct netd *d, struct client *c)
{
    if (c->out.len > UNREAD_REFUSED)
        return false;
    while (c->out.len > 0) {
        ssize_t n = send(c->watch.fd, c->out.ptr, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return false;
        str_consume(&c->out, (size_t)n);
    }
    watch_change(d, &c->watch, (c->out.len < UNREAD_MAX ? EPOLLIN : 0) | (c->out.len > 0 ? EPOLLOUT : 0));
    return true;
}

// Whole messages that have arrived. The client may go while one is handled.
static bool client_take(struct netd *d, struct client *c)
{
    while (c->in.len >= 2) {
        size_t n = dns_get16((const uint8_t *)c->in.ptr);
        uint8_t query[QUERY_MAX];
        if (n > QUERY_MAX)
            return false;
        if (c->in.len < n + 2)
            break;
        memcpy(query, c->in.ptr + 2, n);
        str_consume(&c->in, n + 2);
        struct asker asker = { .resolver = c->resolver, .client = c };
        handle(d, &asker, query, n);
    }
    return client_flush(d, c);
}

static void on_client(struct netd *d, struct watch *w, uint32_t events)
{
    struct client *c = (struct client *)(void *)((char *)w - offsetof(struct client, watch));
    char bytes[QUERY_MAX];
    bool is_alive = true;
    if (events & EPOLLIN) {
        ssize_t n = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        is_alive = n > 0 || (n < 0 && errno == EAGAIN);
        if (n > 0) {
            str_append_n(&c->in, bytes, (size_t)n);
            c->deadline_ns = d->now_ns + CLIENT_IDLE_S * NS_PER_S;
            is_alive = client_take(d, c);
        }
    } else {
        is_alive = (events & EPOLLOUT) && client_flush(d, c);
    }
    if (!is_alive)
        client_free(d, c);
}

static void on_connection(struct netd *d, struct watch *w, uint32_t events)
{
    struct resolver *r = (struct resolver *)(void *)((char *)w - offsetof(struct resolver, tcp));
    struct sockaddr_storage address;
    socklen_t address_len = sizeof address;
    int fd = accept4(w->fd, (struct sockaddr *)&address, &address_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    (void)events;
    if (fd < 0)
        return;
    struct client *c = NEW(struct client);
    *c = (struct client){ .next = d->clients,
                          .watch = { fd, on_client },
                          .resolver = r,
                          .in = STR_INIT,
                          .out = STR_INIT,
                          .deadline_ns = d->now_ns + CLIENT_IDLE_S * NS_PER_S };
    if (r->client_count >= CLIENTS_MAX || !is_welcome(r, &address) || !watch_add(d, &c->watch, EPOLLIN)) {
        fd_close(fd);
        free(c);
        return;
    }
    r->client_count++;
    d->clients = c;
}

int64_t clients_deadline(const struct netd *d)
{
    int64_t first = INT64_MAX;
    for (const struct client *c = d->clients; c; c = c->next)
        first = c->deadline_ns < first ? c->deadline_ns : first;
    return first;
}

void clients_expire(struct netd *d)
{
    for (struct client *c = d->clients, *next; c; c = next) {
        next = c->next;
        if (c->deadline_ns <= d->now_ns)
            client_free(d, c);
    }
}

void asker_answer(struct netd *d, const struct asker *to, const uint8_t *message, size_t n)
{
    if (!to->client) {
        (void)sendto(to->resolver->udp.fd, message, n, MSG_DONTWAIT | MSG_NOSIGNAL,
                     (const struct sockaddr *)&to->address, to->address_len);
        return;
    }
    uint8_t length[2];
    dns_put16(length, (uint16_t)n);
    str_append_n(&to->client->out, length, sizeof length);
    str_append_n(&to->client->out, message, n);
    watch_change(d, &to->client->watch,
                 EPOLLOUT); // a turn later: the client must not go under its caller's feet
}

// --- what skiffd says
static void set_upstreams(struct resolver *r, const struct netd_message *m)
{
    size_t at = 0;
    r->upstream_count = m->upstream_count;
    memcpy(r->upstreams, m->upstreams, sizeof r->upstreams);
    r->upstream_set[0] = '\0';
    for (size_t i = 0; i < r->upstream_count; i++) {
        char text[IP_TEXT_MAX];
        ip_format(&r->upstreams[i], text);
        int n = snprintf(r->upstream_set + at, sizeof r->upstream_set - at, "%s,", text);
        at += n > 0 ? (size_t)n : 0;
    }
}

void resolver_remove(struct netd *d, struct resolver *r)
{
    forward_cancel(d, r, NULL);
    for (struct client *c = d->clients, *next; c; c = next) {
        next = c->next;
        if (c->resolver == r)
            client_free(d, c);
    }
    map_remove(&d->resolvers, r->id);
    d->gateway_count -= !ip_is_none(&r->from.ip);
    watch_remove(d, &r->udp);
    watch_remove(d, &r->tcp);
    strv_free(r->networks);
    strv_free(r->links);
    free(r);
}

static struct resolver *resolver_new(struct netd *d, struct netd_message *m)
{
    struct resolver *r = NEW(struct resolver);
    memcpy(r->id, m->container, sizeof r->id);
    r->udp = (struct watch){ TAKE_FD(m->fds[0]), on_datagrams };
    r->tcp = (struct watch){ TAKE_FD(m->fds[1]), on_connection };
    m->fd_count = 0;
    map_put(&d->resolvers, r->id, r);
    if (watch_add(d, &r->udp, EPOLLIN) && watch_add(d, &r->tcp, EPOLLIN))
        return r;
    resolver_remove(d, r);
    return NULL;
}

void resolver_put(struct netd *d, struct netd_message *m)
{
    struct resolver *r = map_get(&d->resolvers, m->container);
    if (m->fd_count == 2) {
        if (r)
            resolver_remove(d, r);
        r = resolver_new(d, m);
    }
    if (!r)
        return;
    d->gateway_count += !ip_is_none(&m->from.ip) - !ip_is_none(&r->from.ip);
    r->from = m->from;
    r->generation = d->generation;
    strv_free(r->networks);
    strv_free(r->links);
    r->networks = TAKE_PTR(m->networks);
    r->links = TAKE_PTR(m->links);
    set_upstreams(r, m);
}
