// A further process in a running container. A helper enters the container's namespaces (clone.c) and clones
// the process there as our child; it waits until it is in the container's cgroups. It never sees a descriptor
// of ours that it could be robbed of: we are not dumpable, and everything is close-on-exec.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct exec {
    const struct runtime_exec_spec *spec;
    int sock[2];
    int null_fd;
    bool has_userns;
    const void *filter;
    size_t filter_size;
    uint64_t self_dev, self_ino;
};

static int set_up(struct exec *e, struct error *err)
{
    const struct oci_process *p = e->spec->process;
    int slave = FD_NONE;
    process_reset_signals();
    if (barrier_wait(e->sock[1], err) < 0)
        return -1;
    if (e->has_userns && (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
        return error_errno(err, errno, "become root of the user namespace");
    if (setsid() < 0)
        return error_errno(err, errno, "setsid");
    if (p->has_terminal) {
        int devpts CLEANUP(cleanup_close) = open("/dev/pts", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (devpts < 0)
            return error_errno(err, errno, "open /dev/pts");
        if (process_open_terminal(p, devpts, e->sock[1], &slave, err) < 0)
            return -1;
    }
    if (process_stdio(e->spec->stdio, e->null_fd, slave, err) < 0)
        return -1;
    (void)syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL);
    if (syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) < 0 && errno != ENOSYS &&
        errno != EINVAL)
        return error_errno(err, errno, "close_range");
    return process_dress(p, e->filter, e->filter_size, err);
}

__attribute__((noreturn)) static void run_child(void *context)
{
    struct exec *e = context;
    struct error err = { 0 };
    if (set_up(e, &err) == 0)
        (void)process_execute(e->spec->process, e->self_dev, e->self_ino, &err);
    report_error(e->sock[1], &err);
    _exit(255);
}

// Namespaces in which the container differs from us; entering the one that we are in already would be
// refused.
int process_differing_namespaces(pid_t pid, int *ret_flags, struct error *err)
{
    static const struct {
        const char *name;
        int flag;
    } table[] = { { "user", CLONE_NEWUSER },    { "mnt", CLONE_NEWNS },  { "pid", CLONE_NEWPID },
                  { "net", CLONE_NEWNET },      { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS },
                  { "cgroup", CLONE_NEWCGROUP } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char ours[64], theirs[64];
        struct stat a, b;
        snprintf(ours, sizeof ours, "/proc/self/ns/%s", table[i].name);
        snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", pid, table[i].name);
        if (stat(theirs, &b) < 0)
            return error_errno(err, errno, "container process %d", pid);
        if (stat(ours, &a) == 0 && (a.st_ino != b.st_ino || a.st_dev != b.st_dev))
            *ret_flags |= table[i].flag;
    }
    return 0;
}

// The first line of its map that holds this id.
uint32_t process_host_id(pid_t pid, const char *map, uint32_t id)
{
    char path[64];
    unsigned inside, outside, size;
    uint32_t mapped = UINT32_MAX;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, map);
    FILE *f = fopen(path, "re");
    while (f && mapped == UINT32_MAX && fscanf(f, "%u %u %u", &inside, &outside, &size) == 3)
        if (id >= inside && id - inside < size)
            mapped = outside + (id - inside);
    if (f)
        fclose(f);
    return mapped;
}

static int launch(struct exec *e, const struct cgroups *c, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
    const struct runtime_exec_spec *spec = e->spec;
    int target CLEANUP(cleanup_close) = pidfd_open(spec->container_pid);
    struct clone_request request = {
        .cgroup_fd = FD_NONE, .target_pidfd = target, .run = run_child, .context = e
    };
    if (target < 0)
        return error_errno(err, target, "container process %d", spec->container_pid);
    if (process_differing_namespaces(spec->container_pid, &request.join_flags, err) < 0)
        return -1;
    e->has_userns = request.join_flags & CLONE_NEWUSER;
    uint32_t owner = process_host_id(spec->container_pid, "uid_map", spec->process->user.uid);
    if (owner == UINT32_MAX)
        return error_set(err, ERROR_INVALID, "user %u is not in the container's user namespace",
                         spec->process->user.uid);
    process_own_stdio(spec->stdio, owner);
    if (clone_child(&request, ret_pid, ret_pidfd, err) < 0)
        return -1;
    e->sock[1] = fd_close(e->sock[1]);
    if (process_dress_outside(spec->process, *ret_pid, err) < 0 ||
        cgroups_enter(c, spec->cgroup_path, *ret_pid, err) < 0)
        return -1;
    return barrier_open(e->sock[0], err);
}

static int wait_for_execve(struct exec *e, int *ret_terminal_fd, struct error *err)
{
    int type = 1;
    while (type > 0)
        type = report_receive(e->sock[0], ret_terminal_fd, err);
    return type;
}

static void exec_done(struct exec *e)
{
    e->sock[0] = fd_close(e->sock[0]);
    e->sock[1] = fd_close(e->sock[1]);
    e->null_fd = fd_close(e->null_fd);
    process_unmap_filter(e->filter, e->filter_size);
}

int runtime_exec(const struct runtime_exec_spec *spec, pid_t *ret_pid, int *ret_pidfd, int *ret_terminal_fd,
                 struct error *err)
{
    struct exec e CLEANUP(exec_done) = { .spec = spec, .sock = { FD_NONE, FD_NONE }, .null_fd = FD_NONE };
    struct cgroups c CLEANUP(cgroups_done) = { .base_fd = FD_NONE, .fd = FD_NONE };
    pid_t pid = -1;
    int pidfd CLEANUP(cleanup_close) = FD_NONE, terminal CLEANUP(cleanup_close) = FD_NONE;
    (void)prctl(PR_SET_DUMPABLE, 0);
    e.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (process_identify_self(&e.self_dev, &e.self_ino, err) < 0 ||
        process_map_filter(spec->seccomp_fd, &e.filter, &e.filter_size, err) < 0 ||
        cgroups_find(&c, spec->cgroup_path, err) < 0 || report_channel(e.sock, err) < 0)
        return -1;
    if (launch(&e, &c, &pid, &pidfd, err) < 0 || wait_for_execve(&e, &terminal, err) < 0) {
        if (pidfd >= 0) {
            (void)pidfd_kill(pidfd, SIGKILL);
            (void)waitid((idtype_t)P_PIDFD, (id_t)pidfd, &(siginfo_t){ 0 }, WEXITED);
        }
        return -1;
    }
    *ret_pid = pid;
    *ret_pidfd = TAKE_FD(pidfd);
    *ret_terminal_fd = TAKE_FD(terminal);
    return 0;
}
