// skiffd's side of the shim: spawn it, talk to it. No function here holds a lock; all may block on the shim, bounded by
// SHIM_REPLY_TIMEOUT_MS where nothing says otherwise.
#pragma once

#include "base/error.h"
#include "shimproto/shimproto.h"

#include <sys/types.h>

enum { SHIM_REPLY_TIMEOUT_MS = 30000 };

struct shim_start {
    pid_t shim_pid; // our child (or an orphan after a restart)
    int control_fd; // subscription: EXIT, OOM, EXEC_EXIT, DETACHED arrive here (poll it)
    pid_t container_pid;
    int64_t started_ns;
};

// A shim that waits for its CREATE, with a container's first process prepared in a cgroup of its own below
// `cgroup_parent`. Starting the program and making namespaces and cgroups is half of a container's start, so one is kept ready.
// It ends by itself when our end of its socket closes.
struct shim_program {
    const char *path;          // of skiff-shim
    const char *cgroup_parent; // where most containers' cgroups are
};
struct shim_spare {
    pid_t pid;      // 0: none
    int control_fd; // valid while pid is not 0
};
int shim_prepare(const struct shim_program *program, struct shim_spare *ret, struct error *err);
// Let it end and reap it. Nothing to do for an empty one.
void shim_spare_done(struct shim_spare *spare);

// Give CREATE to `spare` (taken, and left empty; NULL or empty: a fresh one is started); returns once the namespaces exist
// (container_pid set).
int shim_spawn(const struct shim_program *program, struct shim_spare *spare, const struct shim_create *create,
               int seccomp_fd, struct shim_start *ret, struct error *err);
// Hand a client's socket over before GO. Not answered: what goes wrong with it fails shim_go.
int shim_hand_over(struct shim_start *start, const struct shim_message *attach, int socket,
                   struct error *err);
// Send GO and wait for STARTED; the shim's ERROR comes back with its kind (see runtime_start).
int shim_go(struct shim_start *start, struct error *err);
// Give up between the two: the shim cleans up and ends.
void shim_abandon(struct shim_start *start);

// A connection to a running shim's socket; ERROR_NOT_FOUND when nothing listens there.
int shim_connect(const char *socket_path, int *ret_fd, struct error *err);
// One request, one reply. `reply` may be NULL when only success matters.
int shim_call(const char *socket_path, const struct shim_message *request, const int *fds, size_t fd_count,
              struct shim_message *reply, struct error *err);
// Connect and SUBSCRIBE; the descriptor then yields events for shimproto_receive.
int shim_subscribe(const char *socket_path, int *ret_fd, struct error *err);
