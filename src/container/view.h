// The files of a container seen from the engine: what its processes see while it runs, its layers and binds while it does not.
// None of it is ever reached by a path of the host: there is one descriptor of its root, below which kernel/path.h resolves.
#pragma once

#include "archive/archive.h"
#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct container;

enum container_view_kind {
    VIEW_READ,   // what the container sees, with its volumes and binds
    VIEW_WRITE,  // the same for writing
    VIEW_ROOT,   // the root file system alone, for reading
    VIEW_IMAGE,  // what the container began with, for reading
    VIEW_LAYERS, // the image's layers and the container's own, without the places the runtime mounts on; for reading. Neither a
                 // start nor a run is kept away: whoever wants it to hold still pauses the container
};

struct container_view {
    int root_fd;            // directory to resolve below
    int namespace_fd;       // keeps what is mounted below root_fd; or FD_NONE
    pthread_rwlock_t *held; // c->root; NULL: the container runs, or nothing of it can change
    bool is_of_process;     // the container runs: others change what is seen
    struct archive_ids ids; // how owners show through root_fd
};

// While the view of a stopped container is open a start waits for it, ten seconds at most. ERROR_NOT_FOUND: it has been
// removed. To be closed by the thread that opened it.
int container_view_open(struct container *c, enum container_view_kind kind, struct container_view *ret,
                        struct error *err);
void container_view_close(struct container_view *view); // a zeroed one is fine

// How the user namespace of a process maps ids; count 0: it is the host's. -errno.
int container_view_ids(pid_t pid, struct archive_ids *ret);

// Between the two the thread makes files as the container's root, and is still allowed everything.
void container_view_act_begin(const struct container_view *view);
void container_view_act_end(const struct container_view *view);

// Before a start mounts the root file system: wait for views of the stopped container. operation is held.
void container_views_await(struct container *c);
