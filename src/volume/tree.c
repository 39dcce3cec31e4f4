#include "volume/tree.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, LIST_MAX = 64 << 10, KEY_MAX = 40 };

static void file_key(const struct stat *st, char key[static KEY_MAX])
{
    snprintf(key, KEY_MAX, "%jx:%jx", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
}

// --- attributes

static int copy_xattr(const char *from, const char *to, const char *name)
{
    ssize_t n = getxattr(from, name, NULL, 0);
    if (n < 0)
        return errno == ENODATA ? 0 : -errno;
    CLEANUP(cleanup_free) char *value = xmalloc((size_t)n + 1);
    if ((n = getxattr(from, name, value, (size_t)n)) < 0)
        return errno == ENODATA ? 0 : -errno;
    // A file system that knows no such attributes loses them, as with every other way of copying.
    return setxattr(to, name, value, (size_t)n, 0) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}

static int copy_xattrs(int from_fd, int to_fd)
{
    char from[FD_PATH_MAX], to[FD_PATH_MAX];
    fd_path(from_fd, from);
    fd_path(to_fd, to);
    CLEANUP(cleanup_free) char *names = NULL;
    ssize_t n = listxattr(from, NULL, 0);
    if (n <= 0)
        return n < 0 && errno != EOPNOTSUPP ? -errno : 0;
    names = xmalloc(LIST_MAX);
    n = listxattr(from, names, LIST_MAX);
    int r = n < 0 ? -errno : 0;
    for (const char *name = names; r == 0 && name < names + n; name += strlen(name) + 1)
        if (!str_has_prefix(name, "trusted.overlay."))
            r = copy_xattr(from, to, name);
    return r;
}

int tree_copy_attributes(int from_fd, int to_fd)
{
    struct stat st;
    char to[FD_PATH_MAX];
    fd_path(to_fd, to);
    if (fstat(from_fd, &st) < 0 ||
        fchownat(to_fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    int r = copy_xattrs(from_fd, to_fd); // after the owner, whose change takes file capabilities away
    if (r < 0)
        return r;
    const struct timespec times[2] = { st.st_atim, st.st_mtim };
    if ((!S_ISLNK(st.st_mode) && chmod(to, st.st_mode & 07777) < 0) || utimensat(AT_FDCWD, to, times, 0) < 0)
        return -errno;
    return 0;
}

// --- data

// One range, from the kernel's own pages. 0 or -errno.
static int copy_range(int in, int out, off_t at, off_t end)
{
    loff_t from = at, to = at;
    while (from < end) {
        ssize_t n = copy_file_range(in, &from, out, &to, (size_t)(end - from), 0);
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
            off_t offset = from; // two file systems
            if (lseek(out, to, SEEK_SET) < 0)
                return -errno;
            n = sendfile(out, in, &offset, (size_t)(end - from));
            from = to = offset;
        }
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0) // it has become shorter
            return 0;
    }
    return 0;
}

static int copy_data(int in, int out, off_t size)
{
    if (size == 0 || ioctl(out, FICLONE, in) == 0)
        return 0;
    if (ftruncate(out, size) < 0)
        return -errno;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(in, at, SEEK_DATA), hole = size;
        if (data < 0 && errno == ENXIO) // a hole up to the end
            return 0;
        if (data < 0)
            data = at;
        else if ((hole = lseek(in, data, SEEK_HOLE)) < 0 || hole > size)
            hole = size;
        int r = copy_range(in, out, data, hole);
        if (r < 0)
            return r;
        at = hole;
    }
    return 0;
}

// --- trees

struct copy {
    int to_fd;        // the tree's root
    struct map links; // file key -> owned path of its copy below to_fd
    struct str path;  // of what is being copied, below the roots
};

static int copy_children(struct copy *c, int from_fd, int to_fd, unsigned depth);

// Open again for reading what an O_PATH descriptor holds.
static int reopen(int fd, int flags)
{
    char path[FD_PATH_MAX];
    fd_path(fd, path);
    int again = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return again < 0 ? -errno : again;
}

static int copy_file(int from_fd, const struct stat *st, int to_dir, const char *name)
{
    CLEANUP(cleanup_close) int in = reopen(from_fd, O_RDONLY);
    if (in < 0)
        return in;
    CLEANUP(cleanup_close)
    int out = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return out < 0 ? -errno : copy_data(in, out, st->st_size);
}

static int copy_link(int from_fd, int to_dir, const char *name)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(from_fd, "", text, sizeof text - 1);
    if (n < 0)
        return -errno;
    text[n] = 0;
    return symlinkat(text, to_dir, name) < 0 ? -errno : 0;
}

static int copy_directory(struct copy *c, int from_fd, int to_dir, const char *name, unsigned depth)
{
    if (depth >= DEPTH_MAX)
        return -ENAMETOOLONG;
    if (mkdirat(to_dir, name, 0700) < 0)
        return -errno;
    CLEANUP(cleanup_close)
    int to_fd = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return to_fd < 0 ? -errno : copy_children(c, from_fd, to_fd, depth + 1);
}

// 1: linked to the copy of another name of the same file; 0: this is its first name.
static int link_to_copy(struct copy *c, const struct stat *st, int to_dir, const char *name)
{
    char key[KEY_MAX];
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return 0;
    file_key(st, key);
    const char *former = map_get(&c->links, key);
    if (!former) {
        map_put(&c->links, key, xstrdup(c->path.ptr));
        return 0;
    }
    CLEANUP(cleanup_close) int fd = path_open(c->to_fd, former, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd;
    return linkat(fd, "", to_dir, name, AT_EMPTY_PATH) < 0 ? -errno : 1;
}

static int copy_one(struct copy *c, int from_dir, int to_dir, const char *name, unsigned depth)
{
    struct stat st;
    CLEANUP(cleanup_close) int from_fd = openat(from_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (from_fd < 0 || fstat(from_fd, &st) < 0)
        return -errno;
    int r = link_to_copy(c, &st, to_dir, name);
    if (r != 0)
        return r < 0 ? r : 0;
    if (S_ISDIR(st.st_mode))
        r = copy_directory(c, from_fd, to_dir, name, depth);
    else if (S_ISREG(st.st_mode))
        r = copy_file(from_fd, &st, to_dir, name);
    else if (S_ISLNK(st.st_mode))
        r = copy_link(from_fd, to_dir, name);
    else if (mknodat(to_dir, name, (st.st_mode & S_IFMT) | 0600, st.st_rdev) < 0)
        r = -errno;
    if (r < 0)
        return r;
    CLEANUP(cleanup_close) int to_fd = openat(to_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return to_fd < 0 ? -errno : tree_copy_attributes(from_fd, to_fd);
}

static int copy_children(struct copy *c, int from_fd, int to_fd, unsigned depth)
{
    size_t length = c->path.len;
    int r = 0;
    DIR *dir = dir_open_at(from_fd, ".");
    if (!dir)
        return -errno;
    for (struct dirent *e; r == 0 && (e = dir_next(dir));) {
        str_appendf(&c->path, "/%s", e->d_name);
        r = copy_one(c, dirfd(dir), to_fd, e->d_name, depth);
        if (r < 0)
            break; // the path says where
        c->path.ptr[c->path.len = length] = 0;
    }
    if (r == 0)
        r = -errno;
    closedir(dir);
    return r;
}

int tree_copy(int from_fd, int to_fd, struct error *err)
{
    struct copy c = { .to_fd = to_fd, .links = MAP_INIT };
    size_t at = 0;
    str_init(&c.path, 0);
    int r = copy_children(&c, from_fd, to_fd, 0);
    if (r == -EEXIST)
        error_set(err, ERROR_CONFLICT, "copy %s: file exists", c.path.len ? c.path.ptr : "/");
    else if (r < 0)
        error_errno(err, r, "copy %s", c.path.len ? c.path.ptr : "/");
    for (const struct map_entry *e; (e = map_next(&c.links, &at));)
        free(e->value);
    map_done(&c.links);
    str_done(&c.path);
    return r < 0 ? -1 : 0;
}
