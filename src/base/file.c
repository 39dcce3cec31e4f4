#include "base/file.h"

#include "base/fd.h"
#include "base/mem.h"

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

int dir_open_parent(int dirfd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent CLEANUP(cleanup_free) =
        !slash ? xstrdup(".") : xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int sync_parent(int dirfd, const char *path)
{
    int fd CLEANUP(cleanup_close) = dir_open_parent(dirfd, path);
    if (fd < 0)
        return fd;
    return fsync(fd) < 0 ? -errno : 0;
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

DIR *dir_open_at(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        fd_close(fd);
    return dir;
}

struct dirent *dir_next(DIR *dir)
{
    struct dirent *e;
    do {
        errno = 0;
        e = readdir(dir);
    } while (e && (streq(e->d_name, ".") || streq(e->d_name, "..")));
    return e;
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

// A tree may be nested as deep as whoever made it liked. Below REMOVE_DEPTH directories a directory is moved to the top of the
// tree and taken there in a further pass, so that neither the stack nor the descriptors grow with the depth.
enum { REMOVE_DEPTH = 64 };

struct removal {
    int top_fd; // FD_NONE while the top itself is not open
    dev_t device;
    unsigned moved;
};

static int remove_tree(struct removal *r, int parent, const char *name, int depth);

static int move_to_top(struct removal *r, int parent, const char *name)
{
    char unused[32];
    for (;;) {
        snprintf(unused, sizeof unused, ".deep-%u", r->moved++);
        if (renameat2(parent, name, r->top_fd, unused, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
}

static int remove_children(struct removal *r, DIR *d, int depth)
{
    for (struct dirent *e; (e = dir_next(d));) {
        if (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN && unlinkat(dirfd(d), e->d_name, 0) == 0)
            continue;
        int result = remove_tree(r, dirfd(d), e->d_name, depth + 1);
        if (result < 0)
            return result;
    }
    return -errno;
}

// Again as long as the directory holds something: what was moved to the top while it was read.
static int remove_contents(struct removal *r, DIR *d, int parent, const char *name, int depth)
{
    for (;;) {
        int result = remove_children(r, d, depth);
        if (result < 0)
            return result;
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != ENOTEMPTY || depth > 0 || r->moved == 0)
            return -errno;
        r->moved = 0;
        rewinddir(d);
    }
}

static int remove_tree(struct removal *r, int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    DIR *d = dir_open_at(parent, name);
    if (!d)
        return -errno;
    if (depth == 0)
        r->top_fd = dirfd(d);
    struct stat st;
    int result;
    if (fstat(dirfd(d), &st) < 0 || st.st_dev != r->device)
        result = -EXDEV;
    else if (depth == REMOVE_DEPTH)
        result = move_to_top(r, parent, name);
    else
        result = remove_contents(r, d, parent, name, depth);
    closedir(d);
    return result;
}

int dir_remove_all_at(int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    struct removal r = { .top_fd = FD_NONE, .device = st.st_dev };
    return remove_tree(&r, dirfd, name, 0);
}
