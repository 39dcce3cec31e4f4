// Theory of operation. Who a container's user is stands in the image's /etc/passwd, which is foreign data in
// a foreign tree. Every open goes through openat2 with RESOLVE_IN_ROOT from a descriptor, so no link leaves
// the tree; the last component is opened without following it, and followed by hand, because a link in one
// layer may point to a file in another. The file is opened O_NONBLOCK and must be regular: a fifo named
// passwd may not hang the engine.
#include "container/rootfs.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernel/overlay.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINKS_MAX = 8 };

int rootfs_add(struct rootfs *root, const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    root->dirs = xreallocarray(root->dirs, root->count + 1, sizeof *root->dirs);
    root->dirs[root->count++] = fd;
    return 0;
}

void rootfs_done(struct rootfs *root)
{
    for (size_t i = 0; i < root->count; i++)
        fd_close(root->dirs[i]);
    free(root->dirs);
    *root = (struct rootfs){ 0 };
}

static int open_in_root(int dir, const char *path, unsigned flags)
{
    struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

// Does this layer's parent directory hide what lies below it?
static bool hides_lower(int dir, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return false;
    CLEANUP(cleanup_free) char *parent = xstrndup(path, (size_t)(slash - path));
    struct stat st;
    char opaque[2];
    CLEANUP(cleanup_close) int fd = open_in_root(dir, parent, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return hides_lower(dir, parent);
    if (fstat(fd, &st) < 0)
        return false;
    if (overlay_is_whiteout(&st))
        return true;
    CLEANUP(cleanup_close)
    int readable = S_ISDIR(st.st_mode) ? open_in_root(dir, parent, O_RDONLY | O_DIRECTORY) : FD_NONE;
    return readable >= 0 && fgetxattr(readable, "trusted.overlay.opaque", opaque, sizeof opaque) == 1 &&
           opaque[0] == 'y';
}

static int read_regular(int dir, const char *path, struct str *out)
{
    struct stat st;
    CLEANUP(cleanup_close) int fd = open_in_root(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? file_read_fd(fd, ROOTFS_FILE_MAX, out) : -EINVAL;
}

static int read_following(const struct rootfs *root, const char *path, unsigned links, struct str *out);

static int follow(const struct rootfs *root, int link_fd, const char *path, unsigned links, struct str *out)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(link_fd, "", target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    if (links >= LINKS_MAX)
        return -ELOOP;
    const char *slash = strrchr(path, '/');
    CLEANUP(cleanup_free)
    char *next = target[0] == '/' ? xstrdup(target)
                                  : xasprintf("%.*s/%s", (int)(slash ? slash - path : 0), path, target);
    return read_following(root, next, links + 1, out);
}

static int read_following(const struct rootfs *root, const char *path, unsigned links, struct str *out)
{
    for (size_t i = 0; i < root->count; i++) {
        struct stat st;
        CLEANUP(cleanup_close) int fd = open_in_root(root->dirs[i], path, O_PATH | O_NOFOLLOW);
        if (fd == -ENOENT || fd == -ENOTDIR || fd == -ENXIO) {
            if (hides_lower(root->dirs[i], path))
                return -ENOENT;
            continue;
        }
        if (fd < 0)
            return fd;
        if (fstat(fd, &st) < 0)
            return -errno;
        if (overlay_is_whiteout(&st))
            return -ENOENT;
        if (S_ISLNK(st.st_mode))
            return follow(root, fd, path, links, out);
        return S_ISREG(st.st_mode) ? read_regular(root->dirs[i], path, out) : -EINVAL;
    }
    return -ENOENT;
}

int rootfs_read(const struct rootfs *root, const char *path, struct str *out)
{
    return read_following(root, path, 0, out);
}
