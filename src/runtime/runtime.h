// The container runtime: plan, then apply. `runtime_plan_new` turns an OCI configuration into a list of values without
// touching the system (it needs no privilege; `runtime_plan_print` shows it, tests compare it); `runtime_create` carries
// the plan out. Single-threaded callers only (raw clone3).
// Spec: runtime-spec runtime.md "create", "start"; docs/start.md follows one start system call by system call.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "oci/runtime_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// The root file system as overlay layers, which the OCI config cannot express. When `lower_count` is 0 the config's
// root.path is used as it is.
struct runtime_rootfs {
    char *layers_dir;   // common parent of all lower layers: cloned once, with the idmap (DESIGN section 5)
    char **lower;       // strv, relative to layers_dir, the topmost first
    char *upper_parent; // directory that holds "upper" and "work" (both made by the caller, owned by 0:0)
    bool is_volatile;   // overlay "volatile": contents may be lost with the machine (--rm)
    // A config mount of type "overlay" whose source is layers_dir and whose "lowerdir" names directories below it, two at least, is
    // a read-only view of those layers (an image's), with the same idmap.
    // Paths inside the container of files under upper_parent's container directory that are bound read-write over the
    // root (hosts, hostname, resolv.conf) are ordinary config mounts; bind sources get the container's idmap as well.
};

struct runtime_spec {
    const struct oci_runtime_config *config; // borrowed
    const struct runtime_rootfs *rootfs;     // borrowed; NULL: config->root_path relative to bundle
    const char *id;                          // for hooks; NULL where the config has none
    const char *bundle;      // directory that relative paths start from; absolute when there are hooks
    const char *cgroup_path; // e.g. "/skiff/<id>", below each hierarchy's root
    int seccomp_fd;          // BPF bytes (oci_seccomp_compile); FD_NONE: no filter
    int stdio[3];            // ends for the container; FD_NONE with a terminal
};

struct runtime_plan; // opaque
int runtime_plan_new(const struct runtime_spec *spec, struct runtime_plan **ret, struct error *err);
void runtime_plan_free(struct runtime_plan *plan);
void runtime_plan_freep(struct runtime_plan **plan);
// One step a line, stable text.
void runtime_plan_print(const struct runtime_plan *plan, struct str *out);

struct runtime_container {
    pid_t pid; // init, in our pid namespace
    int pidfd;
    int report_fd;   // internal: barriers and failure reports; closes on execve
    int terminal_fd; // the pty's master when the process has a terminal, else FD_NONE
    int late_fds[2]; // internal: closed when nobody waits (see apply_done in create.c)
    char *cgroup_path;
    struct runtime_hooks *hooks; // internal: those that are still to come (apply/hooks.h)
};

// A container's first process, born ahead of its plan: what the kernel takes longest over (namespaces, cgroups and
// entering them) is done while nobody waits. cgroup v1 only: there a process enters a cgroup by a write that may wait for
// an RCU grace period, and the directories can be renamed once the container has a name; on v2 a process is born in its
// cgroup for nothing, but the directory cannot be renamed.
struct runtime_embryo {
    pid_t pid; // 0: none
    int pidfd;
    int report_fd;     // as in runtime_container
    char *cgroup_path; // owned
    unsigned cgroups;  // bit i: is in the i-th v1 hierarchy (apply/cgroups.c)
};
// Called in the child to make the plan anew from the document that runtime_create_begin was given: the same plan as the
// parent's. What it returns lives until execve. seccomp_fd and stdio of its spec are filled in by the runtime.
typedef int runtime_replan(int document_fd, struct runtime_plan **ret, struct error *err);
// ERROR_UNSUPPORTED where containers start as quickly without one (v2).
int runtime_embryo_new(const char *cgroup_path, runtime_replan *replan, struct runtime_embryo *ret,
                       struct error *err);
// Whether this plan's container can grow from it: the namespaces must be those that it was born with.
bool runtime_embryo_suits(const struct runtime_embryo *embryo, const struct runtime_plan *plan);
// Ends and removes it. Nothing to do for an empty one.
void runtime_embryo_done(struct runtime_embryo *embryo);

// Carry the plan out up to the barrier in front of execve. In two halves, so that the caller can set up networking while
// the child mounts: begin returns as soon as the child's namespaces exist (network namespace: /proc/<pid>/ns/net),
// finish waits for the child to be ready at the barrier (everything done but execve); `plan` is begin's. Hooks are run on the way
// (apply/hooks.h); one that fails is an error. On error everything that was made is
// undone ("as if never attempted"). An embryo that suits is taken and left empty, and told the plan by `document_fd`
// (borrowed); NULL: a child is born with the plan.
int runtime_create_begin(struct runtime_plan *plan, struct runtime_embryo *embryo, int document_fd,
                         struct runtime_container *ret, struct error *err);
int runtime_create_finish(struct runtime_plan *plan, struct runtime_container *container, struct error *err);
// Let it execve and report what came of it: ERROR_NOT_FOUND (exit 127 in Docker: "exec: \"x\": executable file not found in
// $PATH"), ERROR_DENIED (126: permission denied), ERROR_INVALID (126: exec format error, bad cwd), ERROR_INTERNAL (a startContainer
// or poststart hook failed; after the latter the process is still to be destroyed) or 0.
int runtime_start(struct runtime_container *container, struct error *err);
// Kill what is left, remove the cgroups (bounded wait), run the poststop hooks, release descriptors. Never fails loudly: what could
// not be removed, or the first hook that failed, is in *err with a negative result.
int runtime_destroy(struct runtime_container *container, struct error *err);

// Write these limits to the cgroups of a container that runs; what is not given stays. A file that the kernel refuses at first
// is written again after the others: whether memory comes before memory+swap, and the quota before the period, depends on
// what they were. Device rules are not looked at. ERROR_UNSUPPORTED names a limit that the host cannot hold.
// Spec: runtime-spec has no word for it; runc calls it "update".
int runtime_update(const char *cgroup_path, const struct oci_resources *resources, struct error *err);

// What changes in a container that runs, as two configurations of which mounts, linux.devices and linux.resources.devices count:
// the mounts of `from` are taken off and those of `to` mounted (as at a start: missing mount points are made; what is in both is
// named in neither), and the devices and their rules become those of `to` (without resources.devices in `to`, they stay). All or
// nothing; mount points that were made stay.
struct runtime_change {
    const struct oci_runtime_config *from, *to;
    char *const *
        kept; // strv: destinations of all mounts that the container has afterwards; what lies there is never another's
    bool is_forced;   // take a mount off that is in use (MNT_DETACH): processes that are in it stay in it
    bool is_repeated; // it may have been carried out before: what is there already, or gone already, is right
};
// A mount is only taken off when it is the one that `from` speaks of, wherever the container's links and renames have led the way.
// ERROR_CONFLICT: it is not there any more, or in use ("... is busy: in use by process 12 (sh)"), or something is in a device's
// place. Single-threaded callers only.
// Spec: the runtime-spec has no word for it.
int runtime_change(const struct runtime_container *container, const struct runtime_change *change,
                   struct error *err);

// A further process in the container's namespaces and cgroup (exec). stdio as above.
struct runtime_exec_spec {
    const struct oci_process *process;
    pid_t container_pid;
    const char *cgroup_path;
    int seccomp_fd;
    int stdio[3];
};
int runtime_exec(const struct runtime_exec_spec *spec, pid_t *ret_pid, int *ret_pidfd, int *ret_terminal_fd,
                 struct error *err);
