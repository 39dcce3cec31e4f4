// Theory of operation. Applies one layer's tar to an empty directory that nobody else can reach. Invariants:
//
//  1. Every name is resolved from the layer's root by openat2 RESOLVE_BENEATH: a ".." or a link that leaves fails the layer
//     before anything is made. Below the parent's descriptor only single names are used, never following a link.
//  2. A file is only ever made new (O_EXCL) and never written again. What a later entry replaces is displaced first: a file
//     whose payload the split file refers to is renamed to extra/<number>, anything else is removed. So the payload of every
//     'F' record stays readable and the tar can be rebuilt, duplicates and all.
//  3. Whiteouts become overlay's own form, at once: `.wh.x` a 0/0 character device x, `.wh..wh..opq` the xattr
//     trusted.overlay.opaque=y on its directory. They speak about lower layers only: what this same layer has at x stays,
//     and a directory that is whited out and made again is opaque.
//  4. Of extended attributes only user.*, security.capability and POSIX ACLs come through; trusted.* would be orders to
//     overlay itself.
//
// Times of directories are set at the end, because making entries in them changes them. Nothing is synced here.
#include "store/store_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DEPTH_MAX = 512, WRITEBACK_BYTES = 8 << 20 };
static const uint32_t DISPLACED = 1u << 31; // in inode_slot.number: already in extra/

struct inode_slot {
    uint64_t inode; // 0: empty
    uint32_t number;
};

struct apply {
    int root, staging, extra; // extra: FD_NONE until needed
    struct tar_reader *tar;
    struct split_writer *split;
    const struct layer_limits *limits;
    struct layer_tally tally;
    struct inode_slot *inodes; // files with payload, by inode: their number in the split file
    size_t inode_cap, inode_len;
    struct directory_times times;
    char *parent_path; // cache of the last parent; NULL: none
    char *parent_real; // the same without symbolic links, for the split file: a link may be replaced later on
    int parent;
    struct error *err;
};

// --- inode table
static struct inode_slot *inode_find(const struct apply *a, uint64_t inode)
{
    if (!a->inode_cap)
        return NULL;
    size_t i = (size_t)(inode * 0x9e3779b97f4a7c15u) & (a->inode_cap - 1);
    while (a->inodes[i].inode && a->inodes[i].inode != inode)
        i = (i + 1) & (a->inode_cap - 1);
    return &a->inodes[i];
}

static void inode_put(struct apply *a, uint64_t inode, uint32_t number)
{
    if ((a->inode_len + 1) * 4 > a->inode_cap * 3) {
        struct inode_slot *old = a->inodes;
        size_t old_cap = a->inode_cap;
        a->inode_cap = old_cap ? old_cap * 2 : 64;
        a->inodes = xcalloc(a->inode_cap, sizeof *a->inodes);
        for (size_t i = 0; i < old_cap; i++)
            if (old[i].inode)
                *inode_find(a, old[i].inode) = old[i];
        free(old);
    }
    *inode_find(a, inode) = (struct inode_slot){ inode, number };
    a->inode_len++;
}

// --- errors
static int fail(struct apply *a, const char *path, int errnum)
{
    if (errnum < 0)
        errnum = -errnum;
    if (errnum == EXDEV || errnum == ELOOP)
        return error_set(a->err, ERROR_INVALID,
                         "invalid path \"%.500s\" in layer: it leads outside of the layer", path);
    if (errnum == ENOTDIR || errnum == ENAMETOOLONG || errnum == EISDIR || errnum == EEXIST ||
        errnum == EINVAL)
        return error_set(a->err, ERROR_INVALID, "invalid path \"%.500s\" in layer: %s", path,
                         strerrordesc_np(errnum));
    return error_errno(a->err, errnum, "write \"%.500s\" of layer", path);
}

static int stream_error(struct apply *a, int r)
{
    const char *problem = tar_reader_problem(a->tar);
    return problem ? error_set(a->err, ERROR_INVALID, "%s", problem) : error_errno(a->err, r, "read layer");
}

// --- names
// "./a//b/" -> "a/b", "/" -> "". A ".." anywhere, a name too long or too deep is refused; a leading slash means the layer's
// root, as it does for Docker.
static int clean_path(struct apply *a, const char *path, char **ret)
{
    struct str s CLEANUP(str_done) = STR_INIT;
    int depth = 0;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return fail(a, path, EXDEV);
        if (n > NAME_MAX || s.len + n + 1 >= PATH_MAX || depth > DEPTH_MAX)
            return fail(a, path, ENAMETOOLONG);
        if (n > 0 && !(n == 1 && p[0] == '.')) {
            if (s.len)
                str_append_char(&s, '/');
            str_append_n(&s, p, n);
            depth++;
        }
        p += n + (p[n] == '/');
    }
    *ret = str_take(&s);
    return 0;
}

static void forget_parent(struct apply *a)
{
    free(a->parent_path);
    free(a->parent_real);
    a->parent_path = a->parent_real = NULL;
    a->parent = fd_close(a->parent);
}

static ssize_t name_of(int fd, char name[static PATH_MAX])
{
    char link[FD_PATH_MAX];
    fd_path(fd, link);
    ssize_t n = readlink(link, name, PATH_MAX - 1);
    if (n < 0)
        return -errno;
    name[n] = 0;
    return n;
}

// Where a folder of the layer really is, relative to the layer's root. 0 or -errno.
static int real_path(const struct apply *a, int fd, char **ret)
{
    char root[PATH_MAX], path[PATH_MAX];
    ssize_t n = name_of(a->root, root), m = name_of(fd, path);
    if (n < 0 || m < 0)
        return (int)(n < 0 ? n : m);
    if (m < n || memcmp(root, path, (size_t)n) != 0)
        return -EXDEV;
    *ret = xstrdup(path[n] == '/' ? path + n + 1 : path + n);
    return 0;
}

// Directories that the tar does not name are made as Docker makes them: 0755, root's.
static int make_parents(struct apply *a, const char *path)
{
    char *copy CLEANUP(cleanup_free) = xstrdup(path);
    for (char *p = copy;; p++) {
        if (*p && *p != '/')
            continue;
        char kept = *p;
        *p = 0;
        int fd CLEANUP(cleanup_close) = open_beneath(a->root, copy, O_PATH | O_DIRECTORY);
        if (fd == -ENOENT) {
            char *slash = strrchr(copy, '/');
            if (slash)
                *slash = 0;
            int up CLEANUP(cleanup_close) = open_beneath(a->root, slash ? copy : "", O_RDONLY | O_DIRECTORY);
            const char *name = slash ? slash + 1 : copy;
            if (up < 0 || mkdirat(up, name, 0755) < 0 || fchmodat(up, name, 0755, 0) < 0)
                return fail(a, path, up < 0 ? up : errno);
            if (slash)
                *slash = '/';
        } else if (fd < 0) {
            return fail(a, path, fd);
        }
        *p = kept;
        if (!kept)
            return 0;
    }
}

// The descriptor of the folder that `path` is in, borrowed until the next call.
static int parent_of(struct apply *a, const char *path, bool makes)
{
    const char *slash = strrchr(path, '/');
    char *folder CLEANUP(cleanup_free) = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
    if (a->parent_path && streq(a->parent_path, folder))
        return a->parent;
    forget_parent(a);
    int fd = open_beneath(a->root, folder, O_RDONLY | O_DIRECTORY);
    if (fd == -ENOENT && makes) {
        int r = make_parents(a, folder);
        if (r < 0)
            return r;
        fd = open_beneath(a->root, folder, O_RDONLY | O_DIRECTORY);
    }
    if (fd < 0)
        return fail(a, path, fd);
    a->parent = fd;
    int r = real_path(a, fd, &a->parent_real);
    if (r < 0)
        return fail(a, path, r);
    a->parent_path = TAKE_PTR(folder);
    return fd;
}

// --- displacing what is replaced
static int displace_file(struct apply *a, int parent, const char *name, const struct stat *st)
{
    struct inode_slot *slot = S_ISREG(st->st_mode) ? inode_find(a, st->st_ino) : NULL;
    if (!slot || !slot->inode || (slot->number & DISPLACED))
        return unlinkat(parent, name, 0) < 0 ? -errno : 0;
    if (a->extra < 0) {
        if (mkdirat(a->staging, "extra", 0700) < 0)
            return -errno;
        a->extra = openat(a->staging, "extra", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (a->extra < 0)
            return -errno;
    }
    char number[16];
    snprintf(number, sizeof number, "%u", slot->number);
    slot->number |= DISPLACED;
    return renameat(parent, name, a->extra, number) < 0 ? -errno : 0;
}

static int displace(struct apply *a, int parent, const char *name);

static int displace_directory(struct apply *a, int parent, const char *name)
{
    DIR *d = dir_open_at(parent, name);
    if (!d)
        return -errno;
    int r = 0;
    for (struct dirent *e; r == 0 && (e = dir_next(d));)
        r = displace(a, dirfd(d), e->d_name);
    closedir(d);
    return r < 0 ? r : unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int displace(struct apply *a, int parent, const char *name)
{
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? displace_directory(a, parent, name) : displace_file(a, parent, name, &st);
}

// Make room for a new entry. 1: a whiteout stood there.
static int clear_place(struct apply *a, int parent, const char *path)
{
    struct stat st;
    const char *name = path_last_name(path);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail(a, path, errno);
    int r = displace(a, parent, name);
    if (r < 0)
        return fail(a, path, r);
    if (!S_ISREG(st.st_mode)) { // the cached parent may have been reached through it
        char *kept CLEANUP(cleanup_free) = xstrdup(path);
        forget_parent(a);
        r = parent_of(a, kept, false);
        if (r < 0)
            return r;
    }
    return overlay_is_whiteout(&st) ? 1 : 0;
}

// --- metadata
static bool xattr_is_wanted(const char *name)
{
    return str_has_prefix(name, "user.") || streq(name, "security.capability") ||
           streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default");
}

// By the entry's own descriptor; -1 when it has none (links, devices), to which no wanted attribute applies.
static int set_xattrs(const struct tar_entry *e, int fd)
{
    for (size_t i = 0; i < e->xattr_count; i++) {
        const struct tar_xattr *x = &e->xattrs[i];
        if (!xattr_is_wanted(x->name))
            continue;
        if (fsetxattr(fd, x->name, x->value, x->value_n, 0) < 0 && errno != ENOTSUP && errno != EPERM)
            return -errno;
    }
    return 0;
}

// st: as the file is now. What is right already is not set again: each of these calls is a change in the file system's journal.
static int set_metadata_fd(const struct tar_entry *e, int fd, const struct stat *st)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, time_to_timespec(e->mtime_ns) };
    bool is_owner_wrong = st->st_uid != e->uid || st->st_gid != e->gid;
    if (is_owner_wrong && fchown(fd, e->uid, e->gid) < 0)
        return -errno;
    // In this order: a change of owner clears setuid.
    if ((is_owner_wrong || (st->st_mode & 07777) != e->mode) && fchmod(fd, e->mode) < 0)
        return -errno;
    int r = set_xattrs(e, fd);
    if (r < 0)
        return r;
    return futimens(fd, times) < 0 ? -errno : 0;
}

static int set_metadata_at(const struct tar_entry *e, int parent, const char *name)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, time_to_timespec(e->mtime_ns) };
    if (fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (e->type != TAR_SYMLINK && fchmodat(parent, name, e->mode, 0) < 0)
        return -errno;
    return utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

// --- entries
static int add_bytes(struct apply *a, uint64_t n)
{
    a->tally.size_bytes += n;
    if (a->limits && a->limits->max_bytes && a->tally.size_bytes > a->limits->max_bytes)
        return error_set(a->err, ERROR_EXHAUSTED, "layer is larger than the limit of %llu bytes",
                         (unsigned long long)a->limits->max_bytes);
    return 0;
}

// One piece of payload; starts the disk early on large ones, so that the final sync has little left to do.
static int write_piece(struct apply *a, int fd, const char *path, struct tar_extent piece, const char **have,
                       size_t *have_n)
{
    uint64_t started = piece.offset;
    while (piece.length > 0) {
        if (*have_n == 0) {
            const void *at;
            ssize_t n = tar_reader_data(a->tar, &at);
            if (n <= 0)
                return stream_error(a, n < 0 ? (int)n : -EBADMSG);
            *have = at;
            *have_n = (size_t)n;
            if (add_bytes(a, (uint64_t)n) < 0)
                return -1;
        }
        size_t k = *have_n < piece.length ? *have_n : (size_t)piece.length;
        int r = fd_write_all_at(fd, *have, k, (off_t)piece.offset);
        if (r < 0)
            return fail(a, path, r);
        *have += k;
        *have_n -= k;
        piece.offset += k;
        piece.length -= k;
        if (piece.offset - started >= WRITEBACK_BYTES) {
            (void)sync_file_range(fd, (off_t)started, (off_t)(piece.offset - started), SYNC_FILE_RANGE_WRITE);
            started = piece.offset;
        }
    }
    return 0;
}

static int write_payload(struct apply *a, int fd, const char *path, const struct tar_entry *e)
{
    const char *have = NULL;
    size_t have_n = 0;
    struct tar_extent whole = { 0, e->payload };
    const struct tar_extent *pieces = e->is_sparse ? e->extents : &whole;
    size_t count = e->is_sparse ? e->extent_count : 1;
    for (size_t i = 0; i < count; i++)
        if (write_piece(a, fd, path, pieces[i], &have, &have_n) < 0)
            return -1;
    if (e->is_sparse && ftruncate(fd, (off_t)e->size) < 0)
        return fail(a, path, errno);
    return 0;
}

// A new file in its parent, which is looked up here. O_EXCL tells what a look beforehand would: only when something is there
// it is displaced. Nobody else can reach the staging directory, so the file may have its mode from birth.
static int create_file(struct apply *a, const char *path, const struct tar_entry *e)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const char *name = path_last_name(path);
    int parent = parent_of(a, path, true);
    if (parent < 0)
        return -1;
    int fd = openat(parent, name, flags, e->mode & 0777);
    if (fd < 0 && errno == EEXIST) {
        if (clear_place(a, parent, path) < 0)
            return -1;
        fd = openat(a->parent, name, flags, e->mode & 0777);
    }
    return fd < 0 ? fail(a, path, errno) : fd;
}

static int apply_file(struct apply *a, const char *path, const struct tar_entry *e)
{
    struct stat st;
    int fd CLEANUP(cleanup_close) = create_file(a, path, e);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return fail(a, path, errno);
    if (e->payload > 0) {
        uint32_t number;
        const char *folder = a->parent_real;
        char *real CLEANUP(cleanup_free) =
            xasprintf("%s%s%s", folder, *folder ? "/" : "", path_last_name(path));
        int r = split_file(a->split, real, e, &number);
        if (r < 0)
            return error_errno(a->err, r, "write layer");
        inode_put(a, st.st_ino, number);
    }
    if (write_payload(a, fd, path, e) < 0)
        return -1;
    int r = set_metadata_fd(e, fd, &st);
    return r < 0 ? fail(a, path, r) : 0;
}

static int apply_directory(struct apply *a, const char *path, const struct tar_entry *e)
{
    struct stat st;
    int parent = parent_of(a, path, true);
    if (parent < 0)
        return -1;
    const char *name = *path ? path_last_name(path) : ".";
    bool is_there = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode),
         is_opaque = false;
    if (!is_there) {
        int r = clear_place(a, parent, path);
        if (r < 0)
            return -1;
        is_opaque = r == 1;
        parent = a->parent;
        if (mkdirat(parent, name, e->mode & 0777) < 0)
            return fail(a, path, errno);
    }
    int fd CLEANUP(cleanup_close) = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(a, path, errno);
    if (is_opaque && fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
        return fail(a, path, errno);
    int r = set_metadata_fd(e, fd, &st);
    if (r < 0)
        return fail(a, path, r);
    r = directory_times_add(&a->times, a->staging, path, e->mtime_ns);
    return r < 0 ? fail(a, path, r) : 0;
}

static int apply_hardlink(struct apply *a, const char *path, const struct tar_entry *e)
{
    char *target CLEANUP(cleanup_free) = NULL;
    if (clean_path(a, e->link, &target) < 0)
        return -1;
    const char *slash = strrchr(target, '/');
    char *folder CLEANUP(cleanup_free) = slash ? xstrndup(target, (size_t)(slash - target)) : xstrdup("");
    int from CLEANUP(cleanup_close) = open_beneath(a->root, folder, O_PATH | O_DIRECTORY);
    struct stat old, here;
    if (from < 0)
        return fail(a, e->link, from);
    if (!*target || fstatat(from, path_last_name(target), &old, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(a->err, ERROR_INVALID,
                         "invalid hard link \"%.300s\" in layer: \"%.300s\" is not there", path, e->link);
    int parent = parent_of(a, path, true);
    if (parent < 0)
        return -1;
    if (fstatat(parent, path_last_name(path), &here, AT_SYMLINK_NOFOLLOW) == 0 && here.st_ino == old.st_ino)
        return 0; // a link to itself: displacing it would lose the file
    if (clear_place(a, parent, path) < 0)
        return -1;
    if (linkat(from, path_last_name(target), a->parent, path_last_name(path), 0) < 0)
        return errno == EPERM || errno == ENOENT
                   ? error_set(a->err, ERROR_INVALID, "invalid hard link \"%.300s\" in layer to \"%.300s\"",
                               path, e->link)
                   : fail(a, path, errno);
    return 0;
}

static int apply_special(struct apply *a, int parent, const char *path, const struct tar_entry *e)
{
    const char *name = path_last_name(path);
    int r;
    switch (e->type) {
    case TAR_SYMLINK:
        r = symlinkat(e->link, parent, name);
        break;
    case TAR_CHAR:
        r = mknodat(parent, name, S_IFCHR | 0600, makedev(e->major, e->minor));
        break;
    case TAR_BLOCK_DEVICE:
        r = mknodat(parent, name, S_IFBLK | 0600, makedev(e->major, e->minor));
        break;
    default:
        r = mknodat(parent, name, S_IFIFO | 0600, 0);
        break;
    }
    if (r < 0)
        return fail(a, path, errno == ENOENT ? EINVAL : errno); // an empty link target is ENOENT
    r = set_metadata_at(e, parent, name);
    return r < 0 ? fail(a, path, r) : 0;
}

static int apply_opaque(struct apply *a, const char *path)
{
    int parent = parent_of(a, path, true);
    if (parent < 0)
        return -1;
    return fsetxattr(parent, "trusted.overlay.opaque", "y", 1, 0) < 0 ? fail(a, path, errno) : 0;
}

static int apply_whiteout(struct apply *a, const char *path, const char *hidden)
{
    struct stat st;
    int parent = parent_of(a, path, true);
    if (parent < 0)
        return -1;
    if (!*hidden || streq(hidden, ".") || streq(hidden, ".."))
        return fail(a, path, EINVAL);
    if (fstatat(parent, hidden, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return mknodat(parent, hidden, S_IFCHR | 0600, 0) < 0 ? fail(a, path, errno) : 0;
    if (!S_ISDIR(st.st_mode))
        return 0; // it hides the lower one by being there
    int fd CLEANUP(cleanup_close) = openat(parent, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0 ? fail(a, path, errno) : 0;
}

static int apply_entry(struct apply *a, const struct tar_entry *e)
{
    char *path CLEANUP(cleanup_free) = NULL;
    if (clean_path(a, e->path, &path) < 0)
        return -1;
    const char *name = path_last_name(path);
    if (str_has_prefix(path, ".wh..wh.") && !streq(path, ".wh..wh..opq"))
        return 0; // what aufs left in the layer's root
    if (streq(name, ".wh..wh..opq"))
        return apply_opaque(a, path);
    if (str_has_prefix(name, ".wh."))
        return apply_whiteout(a, path, name + 4);
    if (e->type == TAR_DIRECTORY)
        return apply_directory(a, path, e);
    if (!*path)
        return fail(a, e->path, EINVAL);
    if (e->type == TAR_HARDLINK)
        return apply_hardlink(a, path, e);
    if (e->type == TAR_REGULAR)
        return apply_file(a, path, e);
    int parent = parent_of(a, path, true);
    if (parent < 0 || clear_place(a, parent, path) < 0)
        return -1;
    return apply_special(a, a->parent, path, e);
}

static int apply_all(struct apply *a)
{
    const struct tar_entry *e;
    for (;;) {
        int r = tar_reader_next(a->tar, &e);
        if (r < 0)
            return stream_error(a, r);
        if (r == 0)
            return 0;
        a->tally.entries++;
        if (a->limits && a->limits->max_entries && a->tally.entries > a->limits->max_entries)
            return error_set(a->err, ERROR_EXHAUSTED, "layer has more than %llu entries",
                             (unsigned long long)a->limits->max_entries);
        if (e->type != TAR_OTHER && apply_entry(a, e) < 0)
            return -1;
    }
}

int layer_apply(int staging_fd, struct tar_reader *tar, struct split_writer *split,
                const struct layer_limits *limits, struct layer_tally *ret, struct error *err)
{
    int root CLEANUP(cleanup_close) =
        openat(staging_fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (root < 0)
        return error_errno(err, errno, "open layer");
    struct apply a = { .root = root,
                       .staging = staging_fd,
                       .extra = FD_NONE,
                       .times = DIRECTORY_TIMES_INIT,
                       .tar = tar,
                       .split = split,
                       .limits = limits,
                       .parent = FD_NONE,
                       .err = err };
    int r = apply_all(&a);
    int set = r == 0 ? directory_times_set(&a.times, a.root) : 0;
    if (set < 0)
        r = error_errno(err, set, "write layer");
    directory_times_done(&a.times);
    free(a.inodes);
    forget_parent(&a);
    fd_close(a.extra);
    if (r == 0)
        *ret = a.tally;
    return r;
}
