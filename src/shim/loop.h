// A level-triggered epoll loop over watches that live inside the objects they belong to.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watch {
    int fd; // owned; FD_NONE: closed
    bool is_registered;
    uint32_t events; // what is asked for; EPOLLHUP and EPOLLERR always come
    void (*ready)(struct watch *watch, uint32_t events);
    void *owner;
    struct watch *next_retired;
};

struct loop {
    int epoll_fd;
    struct watch *retired; // objects that died in this round; freed after it
};

#define WATCH_NONE ((struct watch){ .fd = -EBADF })

// 0 or -errno.
int loop_open(struct loop *loop);
// Takes fd; nothing is asked for until loop_ask.
struct watch watch_for(int fd, void (*ready)(struct watch *watch, uint32_t events), void *owner);
// Ask for these events from now on (0: only hang-up and error).
void loop_ask(struct loop *loop, struct watch *watch, uint32_t events);
// Forget the descriptor without closing it / and close it. Fine on a closed watch, fine inside a callback.
void loop_forget(struct loop *loop, struct watch *watch);
void loop_close(struct loop *loop, struct watch *watch);
// Free watch->owner once no event of this round can reach it any more; the watch must be closed.
void loop_retire(struct loop *loop, struct watch *watch);
// One round: wait (timeout_ms < 0: for ever), then call what is ready.
void loop_run_once(struct loop *loop, int timeout_ms);
