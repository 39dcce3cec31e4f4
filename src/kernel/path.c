#include "kernel/path.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINKS_MAX = 40, DEPTH_MAX = 1024 };

// --- the walk

// Directories from the root down to where we are, so that ".." needs no look at the disk.
struct walk {
    int fds[DEPTH_MAX];
    int depth; // fds[0] is the root, borrowed
    int links;
};

static void walk_done(struct walk *w)
{
    for (; w->depth > 0; w->depth--)
        fd_close(w->fds[w->depth]);
}

// Read the link into rest, in front of what is left of it. 0 or -errno.
static int splice_link(int fd, char rest[static PATH_MAX], const char *left)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(fd, "", text, sizeof text);
    if (n < 0)
        return -errno;
    size_t left_len = strlen(left);
    if ((size_t)n + 1 + left_len + 1 > PATH_MAX)
        return -ENAMETOOLONG;
    memmove(rest + n + 1, left, left_len + 1);
    memcpy(rest, text, (size_t)n);
    rest[n] = '/';
    return 0;
}

static int open_last(struct walk *w, const char *name, int flags, mode_t mode)
{
    int fd = openat(w->fds[w->depth], name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

// Enter or open one component; rest holds what follows it. The final descriptor, -EAGAIN to go on, or -errno.
static int walk_step(struct walk *w, const char *name, char rest[static PATH_MAX], bool is_last, int flags,
                     mode_t mode)
{
    if (strcmp(name, "..") == 0) {
        if (w->depth > 0)
            fd_close(w->fds[w->depth--]);
        return -EAGAIN;
    }
    struct stat st;
    int fd CLEANUP(cleanup_close) = openat(w->fds[w->depth], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT && is_last && flags & O_CREAT ? open_last(w, name, flags, mode) : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode) && !(is_last && flags & O_NOFOLLOW)) {
        char left[PATH_MAX];
        memcpy(left, rest, strlen(rest) + 1);
        if (++w->links > LINKS_MAX)
            return -ELOOP;
        int r = splice_link(fd, rest, left);
        if (r == 0 && rest[0] == '/')
            while (w->depth > 0)
                fd_close(w->fds[w->depth--]);
        return r < 0 ? r : -EAGAIN;
    }
    if (is_last)
        return open_last(w, name, flags, mode);
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    if (w->depth + 1 == DEPTH_MAX)
        return -ENAMETOOLONG;
    w->fds[++w->depth] = TAKE_FD(fd);
    return -EAGAIN;
}

int path_open_by_walk(int root_fd, const char *path, int flags, mode_t mode)
{
    char rest[PATH_MAX], name[NAME_MAX + 1];
    struct walk w CLEANUP(walk_done) = { .fds = { root_fd } };
    if (strlen(path) >= sizeof rest)
        return -ENAMETOOLONG;
    memcpy(rest, path, strlen(path) + 1);
    for (;;) {
        size_t skip = strspn(rest, "/");
        size_t n = strcspn(rest + skip, "/");
        if (n == 0) {
            int fd = openat(w.fds[w.depth], ".", (flags & ~O_CREAT) | O_CLOEXEC);
            return fd < 0 ? -errno : fd;
        }
        if (n > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, rest + skip, n);
        name[n] = 0;
        memmove(rest, rest + skip + n, strlen(rest + skip + n) + 1);
        if (strcmp(name, ".") == 0)
            continue;
        bool is_last = rest[strspn(rest, "/")] == 0;
        int r = walk_step(&w, name, rest, is_last, flags, mode);
        if (r != -EAGAIN)
            return r;
    }
}

// --- openat2

int path_open(int root_fd, const char *path, int flags, mode_t mode)
{
    static bool is_missing; // learnt once; only ever goes to true
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    for (int i = 0; i < 16 && !is_missing;
         i++) { // EAGAIN: a rename happened somewhere while ".." was resolved
        int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0)
            return fd;
        if (errno == ENOSYS)
            is_missing = true;
        else if (errno != EAGAIN)
            return -errno;
    }
    return is_missing ? path_open_by_walk(root_fd, path, flags, mode) : -EAGAIN;
}

int path_make_dirs(int root_fd, const char *path, mode_t mode)
{
    int fd = path_open(root_fd, path, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT)
        return fd;
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return -ENAMETOOLONG;
    int at CLEANUP(cleanup_close) = path_open(root_fd, "/", O_PATH | O_DIRECTORY, 0);
    if (at < 0)
        return at;
    for (size_t i = 0; i < n;) {
        i += strspn(path + i, "/");
        size_t k = strcspn(path + i, "/");
        if (k == 0)
            break;
        memcpy(part, path, i + k);
        part[i + k] = 0;
        i += k;
        int next = path_open(root_fd, part, O_PATH | O_DIRECTORY, 0);
        if (next == -ENOENT) {
            const char *name = strrchr(part, '/');
            name = name ? name + 1 : part;
            if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
                return -errno;
            next = path_open(root_fd, part, O_PATH | O_DIRECTORY, 0);
        }
        if (next < 0)
            return next; // also a dangling link: what it names is not ours to make
        fd_close(at);
        at = next;
    }
    return TAKE_FD(at);
}

int path_make_target(int root_fd, const char *path, bool is_directory)
{
    int fd = path_open(root_fd, path, O_PATH, 0);
    if (fd != -ENOENT)
        return fd;
    if (is_directory)
        return path_make_dirs(root_fd, path, 0755);
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    char parent[PATH_MAX];
    if (n >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(parent, path, n);
    parent[n] = 0;
    int dir CLEANUP(cleanup_close) = path_make_dirs(root_fd, n ? parent : "/", 0755);
    if (dir < 0)
        return dir;
    const char *name = slash ? slash + 1 : path;
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    fd_close(fd);
    return path_open(root_fd, path, O_PATH, 0);
}
