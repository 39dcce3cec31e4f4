// Theory of operation. The order of a start, in two processes:
//
//   parent                                        child
//   make and limit cgroups
//   open sources (binds, layers, /dev)
//   clone3 with all new namespaces        ------> signals, loopback; waits
//   raise rlimits, enter cgroups
//   write id maps, map ids, create overlay
//   open the first barrier                ------> joins, names, mounts, pivot, user, filter
//   (begin returns: the caller plugs the network)
//   [hooks of creation, where there are any]      [HOOKS, before pivot_root; createContainer hooks]
//   finish: receives terminal and READY   <------ READY; waits
//   start: open the second barrier        ------> execve: the channel closes | the error is sent
//
// With an embryo (embryo.c) the child and its cgroups exist before the plan does: the cgroups are renamed, and
// the child is told the plan instead of being born with it. Everything else is the same.
//
// A failure on either side ends in one place, undo: kill, reap, remove the cgroups. Mounts live in the
// child's namespace only and go with it.
#include "runtime/apply/apply.h"
#include "runtime/apply/hooks.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

void apply_init(struct apply *a, struct runtime_plan *plan)
{
    *a = (struct apply){ .plan = plan,
                         .root_fd = FD_NONE,
                         .overlay_fd = FD_NONE,
                         .layers_fd = FD_NONE,
                         .upper_fd = FD_NONE,
                         .null_fd = FD_NONE,
                         .place_fd = FD_NONE,
                         .userns_fd = FD_NONE,
                         .sock = { FD_NONE, FD_NONE },
                         .pidfd = FD_NONE };
    a->cgroups.base_fd = a->cgroups.fd = FD_NONE;
    for (size_t i = 0; i < CGROUP_TOPS_MAX; i++)
        a->cgroup_mounts[i] = FD_NONE;
}

// The clones of the layers' and the upper directory stay for a while: closing a mount that is attached nowhere
// waits for an RCU grace period, and there is time for that while the child runs execve.
static void apply_done(struct apply *a)
{
    int *fds[] = { &a->root_fd,  &a->overlay_fd, &a->layers_fd, &a->upper_fd, &a->null_fd,
                   &a->place_fd, &a->userns_fd,  &a->sock[0],   &a->sock[1],  &a->pidfd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        *fds[i] = fd_close(*fds[i]);
    for (size_t i = 0; i < CGROUP_TOPS_MAX; i++)
        a->cgroup_mounts[i] = fd_close(a->cgroup_mounts[i]);
    for (size_t i = 0; i < a->plan->mount_count; i++)
        a->plan->mounts[i].fd = fd_close(a->plan->mounts[i].fd);
    for (size_t i = 0; i < a->plan->join_count; i++)
        a->plan->joins[i].fd = fd_close(a->plan->joins[i].fd);
    process_unmap_filter(a->filter, a->filter_size);
    cgroups_done(&a->cgroups);
}

static int write_map(pid_t pid, const char *file, const struct oci_id_mapping *maps, size_t count,
                     struct error *err)
{
    char path[64];
    struct str text CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; i < count; i++)
        str_appendf(&text, "%u %u %u\n", maps[i].container_id, maps[i].host_id, maps[i].size);
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd CLEANUP(cleanup_close) = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len)
        return error_errno(err, errno, "write %s", file);
    return 0;
}

static const struct plan_join *find_join(const struct runtime_plan *p, enum oci_namespace_type type)
{
    for (size_t i = 0; i < p->join_count; i++)
        if (p->joins[i].type == type)
            return &p->joins[i];
    return NULL;
}

static int settle_userns(struct apply *a, struct error *err)
{
    const struct oci_runtime_config *c = a->plan->config;
    const struct plan_join *join = find_join(a->plan, OCI_NS_USER);
    char path[64];
    if (!a->plan->has_userns)
        return 0;
    if (join) {
        a->userns_fd = fcntl(join->fd, F_DUPFD_CLOEXEC, 3);
        return a->userns_fd < 0 ? error_errno(err, errno, "user namespace") : 0;
    }
    if (write_map(a->pid, "uid_map", c->uid_mappings, c->uid_mapping_count, err) < 0 ||
        write_map(a->pid, "gid_map", c->gid_mappings, c->gid_mapping_count, err) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/ns/user", a->pid);
    a->userns_fd = open(path, O_RDONLY | O_CLOEXEC);
    return a->userns_fd < 0 ? error_errno(err, errno, "open the user namespace") : 0;
}

static int wait_at_barrier(struct apply *a, struct error *err)
{
    return barrier_wait(a->sock[1], err);
}

__attribute__((noreturn)) static void run_child(void *context)
{
    struct apply *a = context;
    struct error err = { 0 };
    if (child_prepare(a->plan->clone_flags & CLONE_NEWNET, &err) == 0)
        child_run(a, wait_at_barrier);
    report_error(a->sock[1], &err);
    _exit(CHILD_FAILED);
}

static int clone_container(struct apply *a, struct error *err)
{
    if (a->plan->has_create_hooks) // it stands on the place of its root when it makes its mount namespace
        a->late_flags = CLONE_NEWNS;
    struct clone_request request = {
        .flags = a->plan->clone_flags & ~a->late_flags,
        .cgroup_fd = a->cgroups.fd,
        .joins = a->plan->joins,
        .join_count = a->plan->join_count,
        .target_pidfd = FD_NONE,
        .run = run_child,
        .context = a,
    };
    if (report_channel(a->sock, err) < 0 || clone_child(&request, &a->pid, &a->pidfd, err) < 0)
        return -1;
    a->sock[1] = fd_close(a->sock[1]);
    return 0;
}

static uint32_t host_uid(const struct runtime_plan *p)
{
    const struct oci_runtime_config *c = p->config;
    uint32_t uid = c->process.user.uid;
    return p->has_userns ? plan_map_id(c->uid_mappings, c->uid_mapping_count, uid) : uid;
}

static int begin(struct apply *a, struct runtime_embryo *embryo, int document_fd, struct error *err)
{
    const struct runtime_plan *p = a->plan;
    (void)prctl(PR_SET_DUMPABLE,
                0); // inherited by the child: nobody in a joined pid namespace may look into it (rule R1)
    if (process_identify_self(&a->self_dev, &a->self_ino, err) < 0 ||
        process_map_filter(p->spec.seccomp_fd, &a->filter, &a->filter_size, err) < 0)
        return -1;
    if (cgroups_make(a, embryo, err) < 0 || (embryo && embryo_adopt(a, embryo, document_fd, err) < 0) ||
        sources_open(a, err) < 0)
        return -1;
    process_own_stdio(p->spec.stdio, host_uid(p));
    if (!embryo && clone_container(a, err) < 0)
        return -1;
    if (process_dress_outside(&p->config->process, a->pid, err) < 0)
        return -1;
    if (!a->cgroups.is_v2 && cgroups_enter(&a->cgroups, p->spec.cgroup_path, a->pid, err) < 0)
        return -1;
    if (settle_userns(a, err) < 0 || sources_finish(a, err) < 0)
        return -1;
    return embryo ? embryo_equip(a, err) : barrier_open(a->sock[0], err);
}

int runtime_create_begin(struct runtime_plan *plan, struct runtime_embryo *embryo, int document_fd,
                         struct runtime_container *ret, struct error *err)
{
    struct apply a CLEANUP(apply_done);
    apply_init(&a, plan);
    int r = begin(&a, embryo && runtime_embryo_suits(embryo, plan) ? embryo : NULL, document_fd, err);
    struct runtime_container c = { .pid = a.pid,
                                   .pidfd = TAKE_FD(a.pidfd),
                                   .report_fd = TAKE_FD(a.sock[0]),
                                   .terminal_fd = FD_NONE,
                                   .late_fds = { TAKE_FD(a.layers_fd), TAKE_FD(a.upper_fd) } };
    if (a.cgroups.was_made)
        c.cgroup_path = xstrdup(plan->spec.cgroup_path);
    if (c.pid > 0)
        c.hooks = hooks_keep(plan);
    if (r < 0) {
        struct error ignored;
        (void)runtime_destroy(&c, &ignored);
        return -1;
    }
    *ret = c;
    return 0;
}

void runtime_close_late(struct runtime_container *container)
{
    for (int i = 0; i < 2; i++)
        container->late_fds[i] = fd_close(container->late_fds[i]);
}

// Its mounts are made, the old root is still there.
static int run_create_hooks(const struct runtime_plan *plan, const struct runtime_container *container,
                            struct error *err)
{
    if (hooks_run_planned(plan, OCI_HOOK_PRESTART, "creating", container->pid, err) < 0 ||
        hooks_run_planned(plan, OCI_HOOK_CREATE_RUNTIME, "creating", container->pid, err) < 0)
        return -1;
    return barrier_open(container->report_fd, err);
}

int runtime_create_finish(struct runtime_plan *plan, struct runtime_container *container, struct error *err)
{
    for (int packets = 0; packets < 4; packets++) {
        int type = report_receive(container->report_fd, &container->terminal_fd, err);
        if (type == REPORT_READY)
            return 0;
        if (type == REPORT_HOOKS && run_create_hooks(plan, container, err) < 0)
            break;
        if (type == 0)
            error_set(err, ERROR_INTERNAL, "the container's process ended while it was set up");
        if (type <= 0)
            break;
    }
    struct error ignored;
    (void)runtime_destroy(container, &ignored);
    return -1;
}

int runtime_start(struct runtime_container *container, struct error *err)
{
    int r = barrier_open(container->report_fd, err);
    runtime_close_late(container);
    if (r == 0)
        r = report_receive(container->report_fd, NULL, err);
    container->report_fd = fd_close(container->report_fd);
    if (r >= 0 && container->hooks)
        r = hooks_poststart(container->hooks, container->pid, err);
    return r < 0 ? -1 : 0;
}
