#include "shim/loop.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

int loop_open(struct loop *loop)
{
    *loop = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
    return loop->epoll_fd < 0 ? -errno : 0;
}

struct watch watch_for(int fd, void (*ready)(struct watch *watch, uint32_t events), void *owner)
{
    return (struct watch){ .fd = fd, .ready = ready, .owner = owner };
}

void loop_ask(struct loop *loop, struct watch *watch, uint32_t events)
{
    if (watch->fd < 0 || (watch->is_registered && watch->events == events))
        return;
    struct epoll_event e = { .events = events, .data.ptr = watch };
    int op = watch->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->epoll_fd, op, watch->fd, &e) == 0) {
        watch->is_registered = true;
        watch->events = events;
    }
}

void loop_forget(struct loop *loop, struct watch *watch)
{
    // Closing is not enough where another process holds the same open file: the kernel would go on reporting
    // it.
    if (watch->is_registered)
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->is_registered = false;
}

void loop_close(struct loop *loop, struct watch *watch)
{
    loop_forget(loop, watch);
    watch->fd = fd_close(watch->fd);
}

void loop_retire(struct loop *loop, struct watch *watch)
{
    watch->next_retired = loop->retired;
    loop->retired = watch;
}

void loop_run_once(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[16];
    int n = epoll_wait(loop->epoll_fd, events, sizeof(events) / sizeof(events[0]), timeout_ms);
    for (int i = 0; i < n; i++) {
        struct watch *watch = events[i].data.ptr;
        if (watch->fd >= 0 && watch->is_registered)
            watch->ready(watch, events[i].events);
    }
    while (loop->retired) {
        struct watch *watch = loop->retired;
        loop->retired = watch->next_retired;
        free(watch->owner);
    }
}
