// What the files of netd/ share. One thread, so nothing is locked.
//
// server.c    the loop, the control socket, what skiffd says
// resolver.c  one container's sockets: its questions, answered from names and cache or handed on
// forward.c   one question under way to upstream servers
// proxy.c     connections that the kernel cannot translate, relayed
#pragma once

#include "base/ip.h"
#include "base/map.h"
#include "base/str.h"
#include "netd/cache.h"
#include "netd/dns.h"
#include "netd/names.h"
#include "netdproto/netdproto.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { NETD_EVENTS_MAX = 64, NETD_PROXY_KEY_MAX = IP_TEXT_MAX + 8 };

struct netd;

// A descriptor in the epoll set.
struct watch {
    int fd;
    void (*on_ready)(struct netd *d, struct watch *w, uint32_t events);
};

struct resolver {
    struct watch udp, tcp;
    char id[NETD_ID_MAX]; // the container's
    char **networks, **links;
    struct ip_address upstreams[NETD_UPSTREAMS_MAX];
    size_t upstream_count;
    char upstream_set[NETD_UPSTREAMS_MAX * IP_TEXT_MAX]; // the cache's word for them
    unsigned forward_count, client_count;
    struct ip_prefix from; // whom it answers; none: all who reach it
    uint64_t generation;
};

// Who asked, and how to answer. A connection that ends takes its questions under way with it.
struct client;
struct asker {
    struct resolver *resolver;
    struct client *client; // over TCP; NULL: datagram
    struct sockaddr_storage address;
    socklen_t address_len;
};

struct forward;
struct netd {
    int epoll_fd;
    struct watch listener, control; // control.fd -1: no skiffd
    struct names *names;
    struct cache *cache;
    struct map resolvers; // container id -> struct resolver, owned
    size_t gateway_count; // of them, those that are a network's and no container's
    struct forward *forwards;
    unsigned forward_count;
    struct client *clients;
    struct map proxies; // "address port" -> struct proxy, owned
    unsigned relay_count;
    struct map upstreams; // address -> when it failed last (struct upstream), owned
    uint64_t generation;
    int64_t now_ns;                             // monotonic, of this turn of the loop
    int64_t needed_ns;                          // when somebody last needed us
    struct epoll_event events[NETD_EVENTS_MAX]; // of this turn
    int event_count, event_at;
};

// --- server.c
bool watch_add(struct netd *d, struct watch *w, uint32_t events);
void watch_change(struct netd *d, struct watch *w, uint32_t events);
// Close it; events of this turn that are still to come for it are dropped.
void watch_remove(struct netd *d, struct watch *w);

// --- resolver.c

// What NETD_RESOLVER says. Takes the descriptors.
void resolver_put(struct netd *d, struct netd_message *m);
void resolver_remove(struct netd *d, struct resolver *r);
// Send an answer, over whatever the question came by.
void asker_answer(struct netd *d, const struct asker *to, const uint8_t *message, size_t n);
// The next moment clients_expire has something to do; INT64_MAX: none.
int64_t clients_deadline(const struct netd *d);
void clients_expire(struct netd *d);

// --- forward.c

// Hand a question on; it will be answered, or fail with SERVFAIL, in time.
void forward_start(struct netd *d, const struct asker *asker, const struct dns_question *q,
                   const uint8_t *query, size_t n);
// Those of a resolver or connection that goes.
void forward_cancel(struct netd *d, const struct resolver *resolver, const struct client *client);
int64_t forward_deadline(const struct netd *d);
void forward_expire(struct netd *d);
void forward_done(struct netd *d);

// --- proxy.c

// What NETD_PROXY says. Takes the descriptor.
void proxy_put(struct netd *d, struct netd_message *m);
void proxy_remove(struct netd *d, const struct netd_message *m);
bool proxy_is_there(const struct netd *d, const struct netd_message *m);
// Those that were not told since BEGIN, or all.
void proxies_forget(struct netd *d, bool is_all);

// --- sandbox.c

// Give up every privilege and every system call that is not needed from here on. 0 or -errno.
int sandbox_enter(void);
