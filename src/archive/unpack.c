#include "archive/archive.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/path.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { TIMES_MAX = 1 << 20 }; // directories whose time is set again at the end

struct directory_time {
    char *path;
    struct timespec mtime;
};

struct unpack {
    const struct archive_unpack *options;
    struct tar_reader *tar;
    int root;          // no entry leaves it
    int parent;        // of the last entry, FD_NONE: none
    char *parent_path; // the same as text
    struct directory_time *times;
    size_t time_count, time_room;
    struct error *err;
};

// --- errors
static int fail(struct unpack *u, const char *path, int errnum)
{
    errnum = errnum < 0 ? -errnum : errnum;
    if (errnum == EXDEV || errnum == ELOOP)
        return error_set(u->err, ERROR_INVALID, "invalid path \"%.500s\" in archive: it leads outside", path);
    if (errnum == EOVERFLOW)
        return error_set(
            u->err, ERROR_INVALID,
            "write \"%.500s\": its owner cannot be mapped to a host ID: the container has %u ids of its own",
            path, u->options->ids.count);
    error_errno(u->err, errnum, "write \"%.500s\"", path);
    if (errnum == ENOTDIR || errnum == ENAMETOOLONG || errnum == EISDIR || errnum == EINVAL)
        u->err->kind = ERROR_INVALID;
    if (errnum == EROFS)
        u->err->kind = ERROR_DENIED;
    return -1;
}

static int stream_error(struct unpack *u, int r)
{
    const char *problem = tar_reader_problem(u->tar);
    return problem ? error_set(u->err, ERROR_INVALID, "Error processing tar file: %s", problem)
                   : error_errno(u->err, r, "read archive");
}

// --- names

// "./a//b/../c" -> "a/c"; what climbs above the top is refused.
static int clean_path(struct unpack *u, const char *path, char **ret)
{
    char **parts CLEANUP(strv_freep) = strv_split(path, "/", false);
    struct str s CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; parts && parts[i]; i++) {
        if (streq(parts[i], "."))
            continue;
        if (streq(parts[i], "..")) {
            char *slash = strrchr(s.ptr, '/');
            if (!s.len)
                return fail(u, path, EXDEV);
            s.len = slash ? (size_t)(slash - s.ptr) : 0;
            s.ptr[s.len] = 0;
            continue;
        }
        if (s.len + strlen(parts[i]) + 1 >= PATH_MAX)
            return fail(u, path, ENAMETOOLONG);
        str_appendf(&s, "%s%s", s.len ? "/" : "", parts[i]);
    }
    *ret = str_take(&s);
    return 0;
}

// The name that an entry gets here, by options->from and ->to.
static char *renamed(const struct unpack *u, char *path)
{
    const char *from = u->options->from;
    if (!from)
        return path;
    size_t n = strlen(from);
    bool is_below = n == 0 || (str_has_prefix(path, from) && (path[n] == 0 || path[n] == '/'));
    if (!is_below)
        return path;
    const char *rest = path + n + (path[n] == '/');
    char *name = xasprintf("%s%s%s", u->options->to, *rest && *u->options->to ? "/" : "", rest);
    free(path);
    return name;
}

static int entry_path(struct unpack *u, const char *path, char **ret)
{
    if (clean_path(u, path, ret) < 0)
        return -1;
    *ret = renamed(u, *ret);
    return 0;
}

static void forget_parent(struct unpack *u)
{
    u->parent = fd_close(u->parent);
    free(TAKE_PTR(u->parent_path));
}

// The descriptor of the directory that `path` is in, borrowed until the next call.
static int parent_of(struct unpack *u, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder CLEANUP(cleanup_free) = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    if (u->parent_path && streq(u->parent_path, folder))
        return u->parent;
    forget_parent(u);
    int fd = path_open(u->root, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT) {
        int made CLEANUP(cleanup_close) = path_make_dirs(u->root, folder, 0755);
        if (made < 0)
            return fail(u, path, made);
        fd = path_open(u->root, folder, O_RDONLY | O_DIRECTORY, 0);
    }
    if (fd < 0)
        return fail(u, path, fd);
    u->parent = fd;
    u->parent_path = TAKE_PTR(folder);
    return fd;
}

// --- what is there already

// Is something mounted here? The kernel would let us take the place away below a mount of another namespace.
static bool is_mount_point(int parent, const char *name)
{
    struct statx stx;
    return statx(parent, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &stx) == 0 &&
           (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

// Make room. 1: there is a directory and one is wanted; 0: nothing is there any more.
static int clear_place(struct unpack *u, int parent, const char *path, bool wants_directory)
{
    struct stat st;
    const char *name = path_last_name(path);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail(u, path, errno);
    bool is_directory = S_ISDIR(st.st_mode);
    if (is_directory && wants_directory)
        return 1;
    if (u->options->keeps_kinds && is_directory)
        return error_set(u->err, ERROR_INVALID, "cannot overwrite directory \"%.400s\" with non-directory",
                         path);
    if (u->options->keeps_kinds && wants_directory)
        return error_set(u->err, ERROR_INVALID, "cannot overwrite non-directory \"%.400s\" with directory",
                         path);
    if (is_mount_point(parent, name))
        return fail(u, path, EBUSY);
    int r = is_directory ? dir_remove_all_at(parent, name) : unlinkat(parent, name, 0) < 0 ? -errno : 0;
    return r < 0 ? fail(u, path, r) : 0;
}

// --- metadata
static int to_file_id(const struct archive_ids *ids, uint32_t id, uint32_t *ret)
{
    if (ids->count && id >= ids->count)
        return -EOVERFLOW; // no such id in the container
    *ret = ids->count ? ids->first + id : id;
    return 0;
}

static int set_owner(const struct unpack *u, const struct tar_entry *e, int parent, const char *name)
{
    const struct archive_unpack *o = u->options;
    uint32_t uid, gid;
    if (o->ignores_owner)
        return 0;
    int r = to_file_id(&o->ids, o->has_owner ? o->uid : e->uid, &uid);
    if (r == 0)
        r = to_file_id(&o->ids, o->has_owner ? o->gid : e->gid, &gid);
    return r < 0 ? r : fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0 ? -errno : 0;
}

// Through a mapped mount the kernel wants to be told whose root file capabilities are for, and stores what the container's own
// setcap would have stored. Source: capabilities(7), "Namespaced file capabilities".
static int set_capability(const struct unpack *u, int fd, const struct tar_xattr *x)
{
    struct vfs_ns_cap_data mapped;
    if (u->options->ids.count == 0 || x->value_n != XATTR_CAPS_SZ_2)
        return fsetxattr(fd, x->name, x->value, x->value_n, 0);
    memcpy(&mapped, x->value, XATTR_CAPS_SZ_2);
    mapped.magic_etc = htole32((le32toh(mapped.magic_etc) & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3);
    mapped.rootid = htole32(u->options->ids.first);
    return fsetxattr(fd, x->name, &mapped, sizeof mapped, 0);
}

static int set_xattrs(const struct unpack *u, const struct tar_entry *e, int fd)
{
    for (size_t i = 0; i < e->xattr_count; i++) {
        const struct tar_xattr *x = &e->xattrs[i];
        if (!archive_xattr_is_wanted(x->name, &u->options->ids))
            continue;
        int r = streq(x->name, "security.capability") ? set_capability(u, fd, x)
                                                      : fsetxattr(fd, x->name, x->value, x->value_n, 0);
        if (r < 0 && errno != ENOTSUP && errno != EPERM)
            return -errno;
    }
    return 0;
}

// Of files and directories, by their own descriptor. Owner before mode: chown clears setuid.
static int set_metadata(const struct unpack *u, const struct tar_entry *e, int fd)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, time_to_timespec(e->mtime_ns) };
    int r = set_owner(u, e, fd, "");
    if (r < 0)
        return r;
    if (fchmod(fd, e->mode) < 0)
        return -errno;
    r = set_xattrs(u, e, fd);
    if (r < 0)
        return r;
    return futimens(fd, times) < 0 ? -errno : 0;
}

static void remember_time(struct unpack *u, const char *path, const struct tar_entry *e)
{
    if (u->time_count == TIMES_MAX)
        return;
    if (u->time_count == u->time_room) {
        u->time_room = u->time_room ? 2 * u->time_room : 64;
        u->times = xreallocarray(u->times, u->time_room, sizeof *u->times);
    }
    u->times[u->time_count++] = (struct directory_time){ xstrdup(path), time_to_timespec(e->mtime_ns) };
}

// Making entries has changed them. One that is gone or replaced by now does not matter.
static void set_directory_times(struct unpack *u)
{
    for (size_t i = 0; i < u->time_count; i++) {
        const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, u->times[i].mtime };
        int fd CLEANUP(cleanup_close) =
            path_open(u->root, u->times[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd >= 0)
            (void)futimens(fd, times);
    }
}

// --- entries
// `length` bytes of payload to `offset`; *have is what the reader gave and has not been written yet.
static int write_piece(struct unpack *u, int fd, const char *path, struct tar_extent piece, const char **have,
                       size_t *have_n)
{
    while (piece.length > 0) {
        if (*have_n == 0) {
            const void *at;
            ssize_t n = tar_reader_data(u->tar, &at);
            if (n <= 0)
                return stream_error(u, n < 0 ? (int)n : -EBADMSG);
            *have = at;
            *have_n = (size_t)n;
        }
        size_t k = *have_n < piece.length ? *have_n : (size_t)piece.length;
        int r = fd_write_all_at(fd, *have, k, (off_t)piece.offset);
        if (r < 0)
            return fail(u, path, r);
        *have += k;
        *have_n -= k;
        piece.offset += k;
        piece.length -= k;
    }
    return 0;
}

static int make_file(struct unpack *u, int parent, const char *path, const struct tar_entry *e)
{
    const char *have = NULL;
    size_t have_n = 0;
    struct tar_extent whole = { 0, e->payload };
    int fd CLEANUP(cleanup_close) =
        openat(parent, path_last_name(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(u, path, errno);
    const struct tar_extent *pieces = e->is_sparse ? e->extents : &whole;
    for (size_t i = 0; i < (e->is_sparse ? e->extent_count : 1); i++)
        if (write_piece(u, fd, path, pieces[i], &have, &have_n) < 0)
            return -1;
    if (e->is_sparse && ftruncate(fd, (off_t)e->size) < 0)
        return fail(u, path, errno);
    int r = set_metadata(u, e, fd);
    return r < 0 ? fail(u, path, r) : 0;
}

static int make_directory(struct unpack *u, int parent, const char *path, const struct tar_entry *e)
{
    const char *name = path_last_name(path);
    int r = clear_place(u, parent, path, true);
    if (r < 0)
        return -1;
    if (r == 0 && mkdirat(parent, name, 0700) < 0)
        return fail(u, path, errno);
    int fd CLEANUP(cleanup_close) = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(u, path, errno);
    r = set_metadata(u, e, fd);
    if (r < 0)
        return fail(u, path, r);
    remember_time(u, path, e);
    return 0;
}

static int make_hardlink(struct unpack *u, int parent, const char *path, const struct tar_entry *e)
{
    char *target CLEANUP(cleanup_free) = NULL;
    struct stat old, here;
    if (entry_path(u, e->link, &target) < 0)
        return -1;
    const char *slash = strrchr(target, '/');
    char *folder CLEANUP(cleanup_free) = slash ? xstrndup(target, (size_t)(slash - target)) : xstrdup(".");
    int from CLEANUP(cleanup_close) = path_open(u->root, folder, O_PATH | O_DIRECTORY, 0);
    if (from < 0 || !*target || fstatat(from, path_last_name(target), &old, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(u->err, ERROR_INVALID,
                         "invalid hard link \"%.300s\" in archive: \"%.300s\" is not there", path, e->link);
    if (fstatat(parent, path_last_name(path), &here, AT_SYMLINK_NOFOLLOW) == 0 && here.st_dev == old.st_dev &&
        here.st_ino == old.st_ino)
        return 0; // they are one file already
    if (clear_place(u, parent, path, false) < 0)
        return -1;
    return linkat(from, path_last_name(target), parent, path_last_name(path), 0) < 0 ? fail(u, path, errno)
                                                                                     : 0;
}

static int make_special(struct unpack *u, int parent, const char *path, const struct tar_entry *e)
{
    const char *name = path_last_name(path);
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, time_to_timespec(e->mtime_ns) };
    mode_t type = e->type == TAR_CHAR ? S_IFCHR : e->type == TAR_BLOCK_DEVICE ? S_IFBLK : S_IFIFO;
    bool is_link = e->type == TAR_SYMLINK;
    int r = is_link
                ? symlinkat(e->link, parent, name)
                : mknodat(parent, name, type | 0600, e->type == TAR_FIFO ? 0 : makedev(e->major, e->minor));
    if (r < 0)
        return fail(u, path, errno == ENOENT ? EINVAL : errno); // an empty link target is ENOENT
    int fd CLEANUP(cleanup_close) = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail(u, path, errno);
    r = set_owner(u, e, fd, "");
    if (r < 0)
        return fail(u, path, r);
    if (!is_link) { // a descriptor without rights takes no fchmod, its name in /proc does, whatever the place holds by now
        char own[FD_PATH_MAX];
        fd_path(fd, own);
        if (chmod(own, e->mode) < 0)
            return fail(u, path, errno);
    }
    (void)utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int make_entry(struct unpack *u, const struct tar_entry *e)
{
    char *path CLEANUP(cleanup_free) = NULL;
    if (entry_path(u, e->path, &path) < 0)
        return -1;
    if (!*path) // the directory itself: it is there, and stays as it is
        return e->type == TAR_DIRECTORY ? 0 : fail(u, e->path, EINVAL);
    int parent = parent_of(u, path);
    if (parent < 0)
        return -1;
    if (e->type == TAR_DIRECTORY)
        return make_directory(u, parent, path, e);
    if (e->type == TAR_HARDLINK)
        return make_hardlink(u, parent, path, e);
    if (clear_place(u, parent, path, false) < 0)
        return -1;
    return e->type == TAR_REGULAR ? make_file(u, parent, path, e) : make_special(u, parent, path, e);
}

static int make_all(struct unpack *u)
{
    const struct tar_entry *e;
    for (;;) {
        int r = tar_reader_next(u->tar, &e);
        if (r < 0)
            return stream_error(u, r);
        if (r == 0)
            return 0;
        if (e->type != TAR_OTHER && make_entry(u, e) < 0)
            return -1;
    }
}

int archive_unpack(int directory_fd, struct tar_reader *tar, const struct archive_unpack *options,
                   struct error *err)
{
    struct unpack u = { .options = options, .tar = tar, .root = directory_fd, .parent = FD_NONE, .err = err };
    int r = make_all(&u);
    if (r == 0)
        set_directory_times(&u);
    for (size_t i = 0; i < u.time_count; i++)
        free(u.times[i].path);
    free(u.times);
    forget_parent(&u);
    return r;
}
