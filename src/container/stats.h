// What a container uses: samples of its cgroup and network counters, taken for all listeners by one thread.
// Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst, proc(5); shape: Docker API GET /containers/{id}/stats.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "container/container.h"

#include <stdbool.h>
#include <stdint.h>

// One line of a "key value" file.
struct stats_value {
    const char *key; // in the text
    uint64_t value;
};
struct stats_values {
    struct stats_value *items;
    size_t count;
    char *text; // owned
};

struct stats_blkio_entry {
    unsigned major, minor;
    char op[16]; // as the kernel has it: "Read" (v1); "read" (v2)
    uint64_t value;
};
struct stats_blkio {
    struct stats_blkio_entry *items;
    size_t count;
};

enum { STATS_INTERFACE_MAX = 16 };
struct stats_interface {
    char name[STATS_INTERFACE_MAX];
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped, tx_bytes, tx_packets, tx_errors, tx_dropped;
};

// Everything that one moment's files say. Times in nanoseconds, sizes in bytes. Zero: not there.
struct container_stats {
    int64_t read_ns; // 0: the container does not run, and everything else is zero
    bool is_v2;
    uint64_t cpu_ns, cpu_kernel_ns, cpu_user_ns;
    uint64_t *cpu_each_ns; // per processor, v1 only
    size_t cpu_each_count;
    uint64_t system_ns; // all processors of the host, busy and idle
    unsigned online_cpus;
    uint64_t throttle_periods, throttled_periods, throttled_ns;
    uint64_t memory_bytes, memory_max_bytes, memory_limit_bytes, memory_failures;
    struct stats_values memory;
    uint64_t pids, pids_limit; // limit 0: none
    struct stats_blkio io_bytes, io_operations;
    struct stats_interface *interfaces;
    size_t interface_count;
};

// One sample now, for a listener that wants no more. Reads the files itself. *ret needs container_stats_done.
// ERROR_NOT_FOUND.
int container_stats_read(struct container_service *containers, const char *name, struct container_stats *ret,
                         struct error *err);
void container_stats_done(struct container_stats *stats);

// A stream of samples, one a second, the first at once. The sampler's thread lives while anybody listens and reads each file
// once a tick, however many listen to the same container.
struct stats_listener;
int container_stats_listen(struct container_service *containers, const char *name,
                           struct stats_listener **ret, struct error *err);
void container_stats_unlisten(struct stats_listener *listener);
// The next sample that this listener has not seen, borrowed until the call after the next; *ret_previous is the one before it,
// or NULL. Blocks. 1; 0 when the container is removed, the engine ends or cancel_fd (-1: none) hangs up.
int container_stats_next(struct stats_listener *listener, int cancel_fd, const struct container_stats **ret,
                         const struct container_stats **ret_previous);

// A stream without a thread of its own: the sampler's calls put with each sample (previous NULL: the first) until that says
// otherwise than 0 or -EAGAIN, or the container is removed or the engine ends; then it calls end, once. Neither may block.
// `shared` is for the document: emptied (version 0) for each sample, and the same for all feeds that see it with the same previous.
struct stats_text {
    struct str text;
    int version;
};
struct stats_feed {
    int (*put)(void *context, struct stats_text *shared, const struct container_stats *now,
               const struct container_stats *previous);
    void (*end)(void *context, bool is_container_gone);
    void *context;
};
// A stream of passes over all containers, one a second, newest container first: put is called with each one's sample, then with
// id NULL. It ends as a feed does; put's result other than 0 ends it.
struct stats_all_feed {
    int (*put)(void *context, const char *id, const char *name, const struct container_stats *now);
    void (*end)(void *context);
    void *context;
};
int container_stats_feed_all(struct container_service *containers, const struct stats_all_feed *feed,
                             struct error *err);
// On failure end is not called. ERROR_NOT_FOUND.
int container_stats_feed(struct container_service *containers, const char *name,
                         const struct stats_feed *feed, struct error *err);
