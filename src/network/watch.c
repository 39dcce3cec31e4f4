// Theory of operation: the kernel tells of every transaction on the host's tables and whose it was. Our own are passed
// over; after somebody else's, this thread waits a moment (a firewall is reloaded in several), counts the rules of our
// table once and builds it anew when some are missing. While nobody changes rules it sleeps.
#include "network/service.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "kernel/nft/notify.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 128 * 1024, SETTLE_MS = 100 };

struct rule_watch {
    struct network_service *service;
    pthread_t thread;
    int notify_fd, stop_fd; // owned
};

// Everything that has come in. True: a transaction was not ours, or cannot be told.
static bool was_changed(struct rule_watch *w)
{
    uint32_t port;
    bool is_foreign = false;
    int rc;
    pthread_mutex_lock(&w->service->setup_lock); // our socket is opened anew under it
    const uint32_t own = nft_port_id(w->service->rules.fd);
    while ((rc = nft_notify_read(w->notify_fd, &port)) > 0)
        is_foreign |= port != own;
    pthread_mutex_unlock(&w->service->setup_lock);
    return is_foreign || rc < 0;
}

static void check(struct network_service *s)
{
    struct error err;
    pthread_mutex_lock(&s->setup_lock);
    bool is_broken = !ruleset_is_whole(&s->rules);
    int rc = is_broken ? setup_table(s, &err) : 0;
    pthread_mutex_unlock(&s->setup_lock);
    if (rc < 0)
        log_error("build the rules anew that somebody removed: %s", err.message);
    else if (is_broken)
        log_warn("somebody removed rules of the table %s: it has been built anew", s->rules.table);
}

// True: it is time to end.
static bool is_stopped_within(const struct rule_watch *w, int timeout_ms)
{
    struct pollfd stop = { .fd = w->stop_fd, .events = POLLIN };
    return poll(&stop, 1, timeout_ms) > 0;
}

static void *watch(void *context)
{
    struct rule_watch *w = context;
    for (;;) {
        struct pollfd wait[] = { { .fd = w->stop_fd, .events = POLLIN },
                                 { .fd = w->notify_fd, .events = POLLIN } };
        if (poll(wait, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (wait[0].revents)
            return NULL;
        if (!wait[1].revents || !was_changed(w))
            continue;
        if (is_stopped_within(w, SETTLE_MS))
            return NULL;
        was_changed(w); // the check that follows has seen those, too
        check(w->service);
    }
}

static void free_watch(struct rule_watch *w)
{
    fd_close(w->notify_fd);
    fd_close(w->stop_fd);
    free(w);
}

void watch_start(struct network_service *s)
{
    if (s->watch)
        return;
    struct rule_watch *w = NEW(struct rule_watch);
    *w = (struct rule_watch){ .service = s, .notify_fd = nft_notify_open() };
    w->stop_fd = eventfd(0, EFD_CLOEXEC);
    int rc = w->notify_fd < 0 ? w->notify_fd : w->stop_fd < 0 ? -EMFILE : 0;
    if (rc == 0)
        rc = thread_start(&w->thread, STACK_BYTES, watch, w);
    if (rc == 0) {
        s->watch = w;
        return;
    }
    log_warn("watch the host's nftables: %s; removed rules come back with the next start only",
             strerror(-rc));
    free_watch(w);
}

void watch_stop(struct network_service *s)
{
    struct rule_watch *w = s->watch;
    if (!w)
        return;
    const uint64_t one = 1;
    (void)!write(w->stop_fd, &one, sizeof one);
    pthread_join(w->thread, NULL);
    free_watch(w);
    s->watch = NULL;
}
