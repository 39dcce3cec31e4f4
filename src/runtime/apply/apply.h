// Carrying a plan out; private to runtime/. The parent (the shim) makes what needs the host's privileges, the
// child does the rest inside its namespaces; docs of the order are in create.c.
#pragma once

#include "runtime/plan/plan.h"

#include <stdint.h>

enum { CGROUP_TOPS_MAX = 8 };

struct cgroups {
    int base_fd; // /sys/fs/cgroup
    bool is_v2;
    bool was_made;
    int fd;                            // v2: the cgroup's directory, else FD_NONE
    const char *tops[CGROUP_TOPS_MAX]; // v1 hierarchies in which it was made; "" on v2
    size_t top_count;
    unsigned entered; // bit i: the process is in the i-th v1 hierarchy already
};

struct apply {
    struct runtime_plan *plan;
    struct cgroups cgroups;
    int cgroup_mounts[CGROUP_TOPS_MAX]; // detached clones, by top
    int root_fd;                        // the root mount when it is a plain directory
    int overlay_fd;                     // the overlay's context: created by the parent, mounted by the child
    int layers_fd, upper_fd;
    int null_fd;
    int place_fd; // with hooks: where the root is shown to them, else FD_NONE
    int userns_fd;
    int sock[2];        // [0] parent's, [1] child's end of the report channel
    const void *filter; // seccomp BPF, NULL: none
    size_t filter_size;
    uint64_t self_dev, self_ino; // our own executable: never run inside
    pid_t pid;
    int pidfd;
    uint64_t late_flags; // in the child: namespaces that it was born without and makes itself
};
void apply_init(struct apply *a, struct runtime_plan *plan);
void runtime_close_late(struct runtime_container *container);

// report.c: one SOCK_SEQPACKET pair a process; packets are plain structs between two copies of the same
// program.
enum report_type { REPORT_ERROR = 1, REPORT_TERMINAL, REPORT_READY, REPORT_HOOKS };
int report_channel(int sock[2], struct error *err);
void report_error(int fd, const struct error *error);
int report_ready(int fd, struct error *err);
// The mounts are made: it is the hooks' turn. The answer is a barrier.
int report_hooks(int fd, struct error *err);
int report_terminal(int fd, int terminal_fd, struct error *err);
// Blocks for the next packet. REPORT_*; 0: the channel was closed; -1: error (also when an error was
// reported: then *err is what the child said). *ret_terminal_fd is set by REPORT_TERMINAL.
int report_receive(int fd, int *ret_terminal_fd, struct error *err);
// The parent's side of the barriers: one byte. The child's side: 0, or -1 with *err when the parent is gone.
int barrier_open(int fd, struct error *err);
int barrier_wait(int fd, struct error *err);

// cgroups.c
// Make and limit the container's cgroups; those that an embryo is in (NULL: none) are renamed.
int cgroups_make(struct apply *a, const struct runtime_embryo *embryo, struct error *err);
// v1: cgroups of an embryo, entered; *ret_entered tells which. Removed again by cgroups_remove.
int cgroups_make_early(const char *path, pid_t pid, unsigned *ret_entered, struct error *err);
int cgroups_remove(const char *path, struct error *err);
int cgroups_enter(const struct cgroups *c, const char *path, pid_t pid, struct error *err);
// Existing cgroups of a container, for exec.
int cgroups_find(struct cgroups *c, const char *path, struct error *err);
void cgroups_done(struct cgroups *c);
// The device rules of cgroups that exist become those of `to`. v2: the program is replaced; v1: what `from` allowed and `to` does
// not is denied, then what `to` allows is allowed.
int cgroups_change_devices(const struct cgroups *c, const char *path, const struct runtime_plan *from,
                           const struct runtime_plan *to, struct error *err);

// change.c and its parts change_devices.c, change_mounts.c: a container that runs.
// Run `work` in a process of its own in the container's mount namespace (and user namespace, as its root, when is_inside; else with
// the host's privileges). It must not take long; what takes CHANGE_TIMEOUT_MS is killed.
enum { CHANGE_TIMEOUT_MS = 8000 }; // with what follows a failure, less than a client of the shim waits
struct change {
    const struct runtime_container *container;
    struct runtime_plan *from, *to; // mounts and devices only
    int mountinfo_fd, proc_fd;      // the host's view: of the container's first process / all of /proc
    char *const *kept;              // strv
    bool is_forced, is_repeated;
};
int change_run(const struct change *change, bool is_inside,
               int (*work)(struct change *change, struct error *err), struct error *err);
// Nodes and rules / mounts: `from` becomes `to`, all or nothing.
int change_devices(struct change *change, struct error *err);
int change_mounts(struct change *change, struct error *err);

// sources.c: what the parent opens or makes before the child exists, and what needs its user namespace.
int sources_open(struct apply *a, struct error *err);
int sources_finish(struct apply *a, struct error *err);
// Options of a file system, "key=value" or "flag". 0 or -errno.
int sources_configure(int context_fd, char *const *data);

// joined.c: file systems that show a namespace which is not the container's own.
int joined_mounts_make(struct apply *a, struct error *err);

// One bind's source as a detached mount with its flags (m->fd) / seen through the container's idmap where its file system can.
int source_open_bind(const char *bundle, struct plan_mount *m, struct error *err);
void source_map_bind(const struct plan_mount *m, int userns_fd);
// S_IFCHR, S_IFBLK or S_IFIFO.
mode_t device_type(const struct oci_device *d);

// embryo.c: tell it what its container is, and which document says so; then hand it what the parent opened, which is its
// first barrier.
int embryo_adopt(struct apply *a, struct runtime_embryo *embryo, int document_fd, struct error *err);
int embryo_equip(struct apply *a, struct error *err);

// child.c. What needs no plan: signals, session, the loopback interface.
int child_prepare(bool has_own_network, struct error *err);
enum { CHILD_FAILED = 255 };
// Never returns. `wait` is the first barrier: 0, or -1 with *err.
void child_run(struct apply *a, int (*wait)(struct apply *a, struct error *err)) __attribute__((noreturn));
// child_mounts.c
struct child_mounts {
    int root_fd, proc_fd, devpts_fd, dev_fd; // attached mounts; FD_NONE when the config has none
};
int child_mount_root(struct apply *a, struct child_mounts *m, struct error *err);
int child_mount_all(struct apply *a, struct child_mounts *m, struct error *err);
// Whether a mount may lie there: nowhere in /proc.
bool child_may_cover(int target_fd);
// A bind that the parent has opened, or a new file system. pm->fd is the attached mount afterwards.
int child_mount_one(struct child_mounts *m, struct plan_mount *pm, struct error *err);
int child_mask_paths(const struct apply *a, const struct child_mounts *m, struct error *err);
int child_pivot(const struct apply *a, const struct child_mounts *m, struct error *err);

// process.c: what create and exec have in common.
int process_open_terminal(const struct oci_process *p, int devpts_fd, int report_fd, int *ret_slave,
                          struct error *err);
int process_stdio(const int stdio[3], int null_fd, int terminal_slave, struct error *err);
void process_reset_signals(void);
// Raise what needs the host's privileges, from outside: rlimits and the OOM score. Host ids own the pipes of
// stdio.
int process_dress_outside(const struct oci_process *p, pid_t pid, struct error *err);
void process_own_stdio(const int stdio[3], uint32_t host_uid);
// Limits, user, capabilities, filter: everything up to the barrier in front of execve.
int process_dress(const struct oci_process *p, const void *filter, size_t filter_size, struct error *err);
// exec.c. CLONE_NEW* of the namespaces in which the process differs from us / the host's id of one of its user namespace by
// "uid_map" or "gid_map", UINT32_MAX: none.
int process_differing_namespaces(pid_t pid, int *ret_flags, struct error *err);
uint32_t process_host_id(pid_t pid, const char *map, uint32_t id);
// Only returns on failure.
int process_execute(const struct oci_process *p, uint64_t self_dev, uint64_t self_ino, struct error *err);
// seccomp_fd's bytes, mapped for the life of the process; NULL without a filter.
int process_map_filter(int seccomp_fd, const void **ret, size_t *ret_size, struct error *err);
void process_unmap_filter(const void *filter, size_t size);
int process_identify_self(uint64_t *ret_dev, uint64_t *ret_ino, struct error *err);

// clone.c: a child in new namespaces, some of which may have to be joined first. 0 in the child.
struct clone_request {
    uint64_t flags;
    int cgroup_fd; // or FD_NONE
    const struct plan_join
        *joins; // namespaces joined before the child is born, the user namespace last; NULL: none
    size_t join_count;
    int target_pidfd; // join these namespaces of that process (join_flags) before; or FD_NONE
    int join_flags;
    void (*run)(void *context) __attribute__((noreturn)); // the child
    void *context;
};
// The same for a mere function of ours, run as long as the caller sleeps, sharing memory and descriptors: in the namespaces of
// `joins` but the user namespace, so with the host's privileges. Its result, or -errno.
int clone_visit(const struct plan_join *joins, size_t join_count, int (*visit)(void *context), void *context,
                struct error *err);
int clone_child(const struct clone_request *request, pid_t *ret_pid, int *ret_pidfd, struct error *err);
