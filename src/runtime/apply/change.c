// Theory of operation. A running container is changed from outside: by a short-lived process of ours that enters its mount
// namespace, does a few system calls and ends. Two such processes do what one could not: device nodes need the host's privileges
// (a user namespace makes none), mounts and mount points are made as the container's own root, like at the start. Devices come
// first, because making and removing a node leaves nothing that cannot be made again; mounts undo themselves when one
// of them fails, and then the devices are put back.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REAP_TIMEOUT_MS = 1000 };

// --- a process inside

static int enter(const struct change *change, bool is_inside, struct error *err)
{
    int flags = 0;
    if (process_differing_namespaces(change->container->pid, &flags, err) < 0)
        return -1;
    flags &= CLONE_NEWNS | (is_inside ? CLONE_NEWUSER : 0);
    if (setns(change->container->pidfd, flags) < 0)
        return error_errno(err, errno, "enter the container");
    // From here on "/" is the root of the container's mount namespace.
    if (flags & CLONE_NEWUSER && (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
        return error_errno(err, errno, "become root of the user namespace");
    umask(0);
    return 0;
}

__attribute__((noreturn)) static void run_child(struct change *change, bool is_inside, int report_fd,
                                                int (*work)(struct change *change, struct error *err))
{
    struct error err = { 0 };
    process_reset_signals();
    if (enter(change, is_inside, &err) == 0 && work(change, &err) == 0 && report_ready(report_fd, &err) == 0)
        _exit(0);
    report_error(report_fd, &err);
    _exit(CHILD_FAILED);
}

static int wait_for_report(int fd, struct error *err)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int n;
    do
        n = poll(&p, 1, CHANGE_TIMEOUT_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return error_set(err, ERROR_UNAVAILABLE, "change the container: no answer in %d seconds",
                         CHANGE_TIMEOUT_MS / 1000);
    int type = report_receive(fd, NULL, err);
    return type == REPORT_READY ? 0
           : type < 0           ? -1
                                : error_set(err, ERROR_INTERNAL, "change the container: no report");
}

int change_run(const struct change *change, bool is_inside,
               int (*work)(struct change *change, struct error *err), struct error *err)
{
    struct change copy = *change; // the child's
    int sock[2], pidfd CLEANUP(cleanup_close) = FD_NONE;
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (report_channel(sock, err) < 0)
        return -1;
    int ours CLEANUP(cleanup_close) = sock[0], theirs CLEANUP(cleanup_close) = sock[1];
    pid_t pid = process_clone(0, FD_NONE, &pidfd);
    if (pid < 0)
        return error_errno(err, pid, "clone a helper");
    if (pid == 0)
        run_child(&copy, is_inside, theirs, work);
    theirs = fd_close(theirs);
    int r = wait_for_report(ours, err);
    if (r < 0)
        (void)pidfd_kill(pidfd, SIGKILL);
    if (pidfd_wait(pidfd, REAP_TIMEOUT_MS) >
        0) // one that hangs in the kernel is reaped with the others, later
        (void)waitid((idtype_t)P_PIDFD, (id_t)pidfd, &(siginfo_t){ 0 }, WEXITED);
    return r;
}

// --- all

static int open_sources(const struct change *change, struct error *err)
{
    int userns CLEANUP(cleanup_close) = FD_NONE, flags = 0;
    char path[64];
    struct error ignored;
    if (process_differing_namespaces(change->container->pid, &flags, err) < 0)
        return -1;
    if (flags & CLONE_NEWUSER) {
        snprintf(path, sizeof path, "/proc/%d/ns/user", change->container->pid);
        userns = open(path, O_RDONLY | O_CLOEXEC);
        if (userns < 0)
            return error_errno(err, errno, "open %s", path);
    }
    for (size_t i = 0; i < change->to->mount_count; i++) {
        struct plan_mount *m = &change->to->mounts[i];
        if (m->kind != PLAN_MOUNT_BIND)
            continue;
        if (source_open_bind(NULL, m, err) < 0)
            return -1;
        if (userns >= 0)
            source_map_bind(m, userns);
    }
    for (size_t i = 0; i < change->from->mount_count; i++) // to know the mount by; it may be gone since
        if (change->from->mounts[i].kind == PLAN_MOUNT_BIND)
            (void)source_open_bind(NULL, &change->from->mounts[i], &ignored);
    return 0;
}

// Owners as the host numbers them: a process in the container's mount namespace sees no /proc of the host's to ask.
static void own_devices(const struct change *change, struct runtime_plan *plan)
{
    for (size_t i = 0; i < plan->device_count; i++) {
        struct oci_device *d = &plan->devices[i];
        d->uid = process_host_id(change->container->pid, "uid_map", d->uid);
        d->gid = process_host_id(change->container->pid, "gid_map", d->gid);
    }
}

static int change_all(struct change *change, struct error *err)
{
    own_devices(change, change->from);
    own_devices(change, change->to);
    if (open_sources(change, err) < 0 || change_devices(change, err) < 0)
        return -1;
    if (change_mounts(change, err) == 0)
        return 0;
    struct error ignored;
    struct change back = *change;
    back.from = change->to;
    back.to = change->from;
    back.is_repeated = true;
    (void)change_devices(&back, &ignored);
    return -1;
}

int runtime_change(const struct runtime_container *container, const struct runtime_change *wish,
                   struct error *err)
{
    struct runtime_plan *from CLEANUP(runtime_plan_freep) = NULL, *to CLEANUP(runtime_plan_freep) = NULL;
    char path[64];
    if (plan_change_new(wish->from, &from, err) < 0 || plan_change_new(wish->to, &to, err) < 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", container->pid);
    int mountinfo CLEANUP(cleanup_close) = open(path, O_RDONLY | O_CLOEXEC);
    int proc CLEANUP(cleanup_close) = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mountinfo < 0 || proc < 0)
        return error_errno(err, errno, "open %s", mountinfo < 0 ? path : "/proc");
    struct change change = { .container = container,
                             .from = from,
                             .to = to,
                             .mountinfo_fd = mountinfo,
                             .proc_fd = proc,
                             .kept = wish->kept,
                             .is_forced = wish->is_forced,
                             .is_repeated = wish->is_repeated };
    return change_all(&change, err);
}
