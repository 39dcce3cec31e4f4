#include "kernel/process.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    int pidfd = -1;
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal =
            flags & CLONE_PARENT ? 0 : SIGCHLD, // with CLONE_PARENT the kernel takes the caller's own
        .cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
    };
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid > 0)
        *ret_pidfd = pidfd;
    return result(pid);
}

int pidfd_open(pid_t pid)
{
    return result(syscall(SYS_pidfd_open, pid, 0));
}

int pidfd_kill(int pidfd, int signal)
{
    return result(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int pidfd_wait(int pidfd, int timeout_ms)
{
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    return result(poll(&p, 1, timeout_ms));
}

int capability_get(struct capability_sets *ret)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    ret->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    ret->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    ret->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

int capability_set(const struct capability_sets *sets)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(sets->effective >> 32 * i);
        data[i].permitted = (uint32_t)(sets->permitted >> 32 * i);
        data[i].inheritable = (uint32_t)(sets->inheritable >> 32 * i);
    }
    return result(syscall(SYS_capset, &header, data));
}

int capability_last(void)
{
    static int last;
    if (last == 0)
        for (last = CAP_LAST_CAP; last < 63 && prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0;)
            last++;
    return last;
}

int capability_bound(uint64_t keep)
{
    for (int n = 0; n <= capability_last(); n++) {
        if (keep >> n & 1)
            continue;
        if (prctl(PR_CAPBSET_DROP, n, 0, 0, 0) < 0) {
            if (errno == EINVAL) // an older kernel than our headers
                break;
            return -errno;
        }
    }
    return 0;
}

int capability_set_ambient(uint64_t ambient)
{
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return ambient || errno != EINVAL ? -errno : 0;
    for (int n = 0; ambient && n <= capability_last(); n++)
        if (ambient >> n & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0) < 0)
            return -errno;
    return 0;
}

int seccomp_load(const void *program, size_t size_bytes)
{
    struct sock_fprog filter = {
        .len = (unsigned short)(size_bytes / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(uintptr_t)program,
    };
    if (size_bytes == 0 || size_bytes % sizeof(struct sock_filter) ||
        size_bytes / sizeof(struct sock_filter) > BPF_MAXINSNS)
        return -EINVAL;
    return result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}
