// The container's first process, from birth to execve. It is a plain fork of a single-threaded program, so
// libc works; whatever fails is sent to the parent as a struct error, and the process ends.
#include "runtime/apply/apply.h"
#include "runtime/apply/hooks.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"
#include "kernel/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static int become_root_inside(struct error *err)
{
    if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0 ||
        syscall(SYS_setgroups, 0, NULL) < 0)
        return error_errno(err, errno, "become root of the user namespace");
    return 0;
}

// All others it was born in.
static int enter_cgroup_namespace(const struct apply *a, struct error *err)
{
    return a->plan->wants_new_cgroupns && unshare(CLONE_NEWCGROUP) < 0
               ? error_errno(err, errno, "new cgroup namespace")
               : 0;
}

static int raise_loopback(struct error *err)
{
    int fd CLEANUP(cleanup_close) = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_errno(err, errno, "bring the loopback interface up");
    return 0;
}

static int set_names(const struct apply *a, struct error *err)
{
    const struct oci_runtime_config *c = a->plan->config;
    if (c->hostname && *c->hostname && sethostname(c->hostname, strlen(c->hostname)) < 0)
        return error_errno(err, errno, "sethostname %s", c->hostname);
    if (c->domainname && *c->domainname && setdomainname(c->domainname, strlen(c->domainname)) < 0)
        return error_errno(err, errno, "setdomainname %s", c->domainname);
    return 0;
}

// Through the proc that we mounted, never by a path that the image could have bent (rule R3).
static int set_sysctls(const struct apply *a, const struct child_mounts *m, struct error *err)
{
    const struct oci_runtime_config *c = a->plan->config;
    struct statfs st;
    if (c->sysctl_count && (m->proc_fd < 0 || fstatfs(m->proc_fd, &st) < 0 || st.f_type != PROC_SUPER_MAGIC))
        return error_set(err, ERROR_INVALID, "sysctls need a proc mount");
    for (size_t i = 0; i < c->sysctl_count; i++) {
        char *path CLEANUP(cleanup_free) = xasprintf("sys/%s", c->sysctls[i].key);
        const char *value = c->sysctls[i].value;
        bool has_slash = strchr(path + 4, '/'); // then dots are part of a name ("net/ipv4/conf/eth0.100/...")
        for (char *p = path; !has_slash && *p; p++)
            if (*p == '.')
                *p = '/';
        int fd CLEANUP(cleanup_close) = path_open(m->proc_fd, path, O_WRONLY | O_NOFOLLOW, 0);
        if (fd < 0 || write(fd, value, strlen(value)) < 0)
            return error_errno(err, fd < 0 ? fd : errno, "sysctl %s=%s", c->sysctls[i].key, value);
    }
    return 0;
}

static int open_console(const struct apply *a, const struct child_mounts *m, int *ret_slave,
                        struct error *err)
{
    if (!a->plan->config->process.has_terminal)
        return 0;
    if (m->devpts_fd < 0)
        return error_set(err, ERROR_INVALID, "a terminal needs a devpts mount");
    if (process_open_terminal(&a->plan->config->process, m->devpts_fd, a->sock[1], ret_slave, err) < 0)
        return -1;
    int target CLEANUP(cleanup_close) = path_make_target(m->root_fd, "/dev/console", false);
    int clone CLEANUP(cleanup_close) = mount_clone(*ret_slave, "", false);
    int r = target < 0 ? target : clone < 0 ? clone : mount_attach(clone, target);
    return r < 0 ? error_errno(err, r, "mount /dev/console") : 0;
}

static int set_up_files(struct apply *a, int *ret_slave, struct error *err)
{
    struct child_mounts m = { FD_NONE, FD_NONE, FD_NONE, FD_NONE };
    umask(0);
    if (child_mount_root(a, &m, err) < 0 || child_mount_all(a, &m, err) < 0 ||
        open_console(a, &m, ret_slave, err) < 0 || set_sysctls(a, &m, err) < 0 ||
        child_mask_paths(a, &m, err) < 0)
        return -1;
    if (a->plan->has_create_hooks &&
        (report_hooks(a->sock[1], err) < 0 || barrier_wait(a->sock[1], err) < 0 ||
         hooks_run_planned(a->plan, OCI_HOOK_CREATE_CONTAINER, "creating", getpid(), err) < 0))
        return -1;
    return child_pivot(a, &m, err);
}

int child_prepare(bool has_own_network, struct error *err)
{
    process_reset_signals();
    if (setsid() < 0)
        return error_errno(err, errno, "setsid");
    return has_own_network ? raise_loopback(err) : 0;
}

static int set_up(struct apply *a, int (*wait)(struct apply *a, struct error *err), struct error *err)
{
    int slave = FD_NONE;
    if (wait(a, err) < 0)
        return -1;
    if (a->place_fd >= 0 && fchdir(a->place_fd) < 0) // of a new mount namespace one stands on the same place
        return error_errno(err, errno, "go to the place of the root");
    if (a->late_flags && unshare((int)a->late_flags) < 0)
        return error_errno(err, errno, "make namespaces");
    if (a->plan->has_userns && become_root_inside(err) < 0)
        return -1;
    if (enter_cgroup_namespace(a, err) < 0 || set_names(a, err) < 0 || set_up_files(a, &slave, err) < 0)
        return -1;
    if (process_stdio(a->plan->spec.stdio, a->null_fd, slave, err) < 0)
        return -1;
    (void)syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */,
                  NULL); // not the host's keys; old kernels have none
    if (syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) < 0 && errno != ENOSYS &&
        errno != EINVAL)
        return error_errno(err, errno, "close_range");
    return process_dress(&a->plan->config->process, a->filter, a->filter_size, err);
}

void child_run(struct apply *a, int (*wait)(struct apply *a, struct error *err))
{
    struct error err = { 0 };
    if (set_up(a, wait, &err) == 0 && report_ready(a->sock[1], &err) == 0 &&
        barrier_wait(a->sock[1], &err) == 0 && hooks_run_inside(a->plan, a->self_dev, a->self_ino, &err) == 0)
        (void)process_execute(&a->plan->config->process, a->self_dev, a->self_ino, &err);
    report_error(a->sock[1], &err);
    _exit(CHILD_FAILED);
}
