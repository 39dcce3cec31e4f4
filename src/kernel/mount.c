#include "kernel/mount.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

int mount_open_fs(const char *type)
{
    return result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int mount_config(int context_fd, const char *key, const char *value)
{
    return result(
        syscall(SYS_fsconfig, context_fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0));
}

int mount_config_fd(int context_fd, const char *key, int value_fd)
{
    return result(syscall(SYS_fsconfig, context_fd, FSCONFIG_SET_FD, key, NULL, value_fd));
}

int mount_create(int context_fd)
{
    return result(syscall(SYS_fsconfig, context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

int mount_take(int context_fd, uint64_t attributes)
{
    return result(syscall(SYS_fsmount, context_fd, FSMOUNT_CLOEXEC, (unsigned)attributes));
}

void mount_message(int context_fd, char *text, int size)
{
    int used = 0;
    text[0] = 0;
    for (int i = 0; i < 8; i++) { // one message a read, the kernel keeps eight
        char line[256];
        ssize_t n = read(context_fd, line, sizeof line - 1);
        if (n <= 2)
            break;
        line[n] = 0;
        line[strcspn(line, "\n")] = 0;
        int k = snprintf(text + used, (size_t)(size - used), "%s%s", used ? "; " : "",
                         line + 2); // "e text": e, w or i
        if (k < 0 || k >= size - used)
            break;
        used += k;
    }
}

int mount_clone(int dirfd, const char *path, bool is_recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0);
    return result(syscall(SYS_open_tree, dirfd, path, flags));
}

static int clone_here(const char *path)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
    int fd CLEANUP(cleanup_close) = result(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
    return fd < 0 ? fd : mount_clone(fd, "", false);
}

int mount_clone_of(pid_t pid, const char *path)
{
    int home CLEANUP(cleanup_close) = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int there CLEANUP(cleanup_close) = pidfd_open(pid);
    if (home < 0)
        return -errno;
    if (there < 0)
        return there;
    if (setns(there, CLONE_NEWNS) < 0)
        return -errno;
    int fd = clone_here(path);
    if (setns(home, CLONE_NEWNS) < 0)
        abort();
    return fd;
}

int mount_attach(int mount_fd, int target_fd)
{
    return result(syscall(SYS_move_mount, mount_fd, "", target_fd, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static int set_attributes(int dirfd, const char *path, bool is_recursive, struct mount_attr *attr)
{
    unsigned flags = AT_EMPTY_PATH | (is_recursive ? AT_RECURSIVE : 0);
    return result(syscall(SYS_mount_setattr, dirfd, path, flags, attr, sizeof *attr));
}

int mount_set(int dirfd, const char *path, bool is_recursive, uint64_t set, uint64_t clear,
              uint64_t propagation)
{
    struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
    return set_attributes(dirfd, path, is_recursive, &attr);
}

int mount_set_idmap(int mount_fd, bool is_recursive, int userns_fd)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd };
    return set_attributes(mount_fd, "", is_recursive, &attr);
}

int mount_identify(int dirfd, const char *path, int flags, uint64_t *ret_id, bool *ret_is_root)
{
    struct statx st;
    if (statx(dirfd, path, flags | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) <
        0)
        return -errno;
    if (!(st.stx_mask & STATX_MNT_ID) || !(st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
        return -EOPNOTSUPP;
    *ret_id = st.stx_mnt_id;
    *ret_is_root = st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
    return 0;
}
