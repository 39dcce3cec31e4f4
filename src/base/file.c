#include "base/file.h"

#include "base/fd.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read_fd(int fd, size_t max, struct str *out)
{
    for (size_t total = 0;;) {
        char *at = str_reserve(out, 4096);
        if (!at)
            return -EFBIG;
        ssize_t n = read(fd, at, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        total += (size_t)n;
        if (total > max)
            return -EFBIG;
        str_added(out, (size_t)n);
    }
}

int file_read_at(int dirfd, const char *path, size_t max, struct str *out)
{
    int fd CLEANUP(cleanup_close) = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    return file_read_fd(fd, max, out);
}

int file_write_existing_at(int dirfd, const char *path, const char *text)
{
    int fd CLEANUP(cleanup_close) = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    size_t n = strlen(text);
    ssize_t k = write(fd, text, n);
    if (k < 0)
        return -errno;
    return (size_t)k == n ? 0 : -EIO;
}

static int write_temporary(int dirfd, const char *path, mode_t mode, const void *bytes, size_t n,
                           bool durable)
{
    int fd CLEANUP(cleanup_close) =
        openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, bytes, n);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && durable && fsync(fd) < 0)
        r = -errno;
    return r;
}

static int sync_parent(int dirfd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent CLEANUP(cleanup_free) =
        !slash ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd CLEANUP(cleanup_close) = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_replace_at(int dirfd, const char *path, mode_t mode, const void *bytes, size_t n, bool durable)
{
    unsigned tag = 0;
    (void)!getrandom(&tag, sizeof tag, GRND_NONBLOCK);
    char *temporary CLEANUP(cleanup_free) = xasprintf("%s.%08x.tmp", path, tag);
    int r = write_temporary(dirfd, temporary, mode, bytes, n, durable);
    if (r == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlinkat(dirfd, temporary, 0);
        return r;
    }
    return durable ? sync_parent(dirfd, path) : 0;
}

int dir_make_all(const char *path, mode_t mode)
{
    char *copy CLEANUP(cleanup_free) = xstrdup(path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    return mkdir(copy, mode) < 0 && errno != EEXIST ? -errno : 0;
}

enum { REMOVE_DEPTH_MAX = 4096 };

static int remove_tree(int parent, const char *name, dev_t device, int depth);

static int remove_children(DIR *d, dev_t device, int depth)
{
    for (struct dirent *e; (errno = 0, e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN && unlinkat(dirfd(d), e->d_name, 0) == 0)
            continue;
        int r = remove_tree(dirfd(d), e->d_name, device, depth + 1);
        if (r < 0)
            return r;
    }
    return -errno;
}

static int remove_tree(int parent, const char *name, dev_t device, int depth)
{
    if (depth > REMOVE_DEPTH_MAX)
        return -ELOOP;
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_dev != device) {
        fd_close(fd);
        return -EXDEV;
    }
    DIR *d = fdopendir(fd);
    if (!d) {
        fd_close(fd);
        return -ENOMEM;
    }
    int r = remove_children(d, device, depth);
    closedir(d);
    if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        r = -errno;
    return r;
}

int dir_remove_all_at(int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return remove_tree(dirfd, name, st.st_dev, 0);
}
