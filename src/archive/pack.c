#include "archive/archive.h"

#include "archive/names.h"
#include "archive/pack_internal.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

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

enum {
    BUFFER_SIZE = 128 * 1024,
    VALUE_MAX_BYTES = 64 * 1024,
    VALUES_MAX = 64,
    NOBODY = 65534,
    LINKED_MAX = 1 << 20
};

static int write_failed(struct pack *p, int r)
{
    return error_errno(p->err, r, "write archive");
}

// --- metadata
static uint32_t to_archive_id(const struct archive_ids *ids, uint32_t id)
{
    if (ids->count == 0)
        return id;
    return id >= ids->first && id - ids->first < ids->count ? id - ids->first : NOBODY;
}

bool archive_xattr_is_wanted(const char *name, const struct archive_ids *ids)
{
    if (str_has_prefix(name, "user.") || streq(name, "security.capability"))
        return true;
    return ids->count == 0 &&
           (streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default"));
}

// Seen through a mapped mount, capabilities carry the id of the root they count for (revision 3); in an archive they count for
// the root of whoever unpacks it (revision 2). Source: capabilities(7), "File capability extended attribute versioning".
static void plain_capability(struct tar_xattr *x)
{
    if (x->value_n == XATTR_CAPS_SZ_3 && ((unsigned char)x->value[3]) == VFS_CAP_REVISION_3 >> 24) {
        x->value[3] = (char)(VFS_CAP_REVISION_2 >> 24);
        x->value_n = XATTR_CAPS_SZ_2;
    }
}

static void add_xattr(struct tar_entry *e, const char *path, const char *name)
{
    ssize_t n = getxattr(path, name, NULL, 0);
    if (n < 0 || n > VALUE_MAX_BYTES || e->xattr_count == VALUES_MAX)
        return;
    char *value = xmalloc((size_t)n + 1);
    n = getxattr(path, name, value, (size_t)n);
    if (n < 0) {
        free(value);
        return;
    }
    e->xattrs = xreallocarray(e->xattrs, e->xattr_count + 1, sizeof *e->xattrs);
    e->xattrs[e->xattr_count] = (struct tar_xattr){ xstrdup(name), value, (size_t)n };
    plain_capability(&e->xattrs[e->xattr_count++]);
}

// Of files and directories. An O_PATH descriptor has none of its own, but /proc/self/fd leads to the very object. Returns
// whether a layer can tell what overlay keeps here: renamed directories and files without data it cannot.
static bool read_xattrs(const struct pack *p, int fd, struct tar_entry *e, bool *ret_is_opaque)
{
    char path[FD_PATH_MAX], names[4096], value[2];
    fd_path(fd, path);
    ssize_t n = listxattr(path, names, sizeof names);
    bool is_plain = true;
    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        if (p->options->is_layer &&
            (streq(name, "trusted.overlay.redirect") || streq(name, "trusted.overlay.metacopy")))
            is_plain = false;
        else if (p->options->is_layer && streq(name, "trusted.overlay.opaque"))
            *ret_is_opaque = getxattr(path, name, value, sizeof value) == 1 && value[0] == 'y';
        else if (archive_xattr_is_wanted(name, &p->options->ids))
            add_xattr(e, path, name);
    }
    return is_plain;
}

static void entry_done(struct tar_entry *e)
{
    for (size_t i = 0; i < e->xattr_count; i++) {
        free(e->xattrs[i].name);
        free(e->xattrs[i].value);
    }
    free(e->xattrs);
    free(e->link);
}

static enum tar_type type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return TAR_REGULAR;
    case S_IFDIR:
        return TAR_DIRECTORY;
    case S_IFLNK:
        return TAR_SYMLINK;
    case S_IFCHR:
        return TAR_CHAR;
    case S_IFBLK:
        return TAR_BLOCK_DEVICE;
    case S_IFIFO:
        return TAR_FIFO;
    default:
        return TAR_OTHER; // a socket
    }
}

static struct tar_entry entry_of(const struct pack *p, const struct stat *st)
{
    const struct archive_ids *ids = &p->options->ids;
    bool is_device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
    return (struct tar_entry){ .type = type_of(st->st_mode),
                               .path = p->path.ptr,
                               .mode = st->st_mode & 07777,
                               .uid = to_archive_id(ids, st->st_uid),
                               .gid = to_archive_id(ids, st->st_gid),
                               .size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
                               .mtime_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec,
                               .major = is_device ? major(st->st_rdev) : 0,
                               .minor = is_device ? minor(st->st_rdev) : 0 };
}

// --- contents

// Exactly `size` bytes, as the header has promised: a file that has shrunk is filled up with zeros.
static int write_contents(struct pack *p, int fd, uint64_t size)
{
    bool is_over = false;
    for (uint64_t left = size; left > 0;) {
        size_t want = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
        ssize_t n = is_over ? 0 : read(fd, p->buffer, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 && p->options->needs_all)
            return error_errno(p->err, n < 0 ? errno : EIO, "read %.500s", p->path.ptr);
        if (n <= 0) {
            is_over = true;
            memset(p->buffer, 0, want);
            n = (ssize_t)want;
        }
        int r = p->to.write(p->to.context, p->buffer, (size_t)n);
        if (r < 0)
            return write_failed(p, r);
        left -= (uint64_t)n;
    }
    int r = tar_write_padding(p->to, size);
    return r < 0 ? write_failed(p, r) : 0;
}

static int write_header(struct pack *p, const struct tar_entry *e)
{
    int r = tar_write_header(p->to, e);
    return r < 0 ? write_failed(p, r) : 0;
}

static int skip(const struct pack *p, int r)
{
    if (p->options->needs_all)
        return error_errno(p->err, r, "read %.500s", p->path.ptr);
    log_debug("archive: %s is left out: %s", p->path.ptr, strerrordesc_np(r < 0 ? -r : r));
    return 0;
}

static int too_odd(struct pack *p)
{
    return error_set(p->err, ERROR_UNSUPPORTED,
                     "%s: overlay keeps a rename or a copy of metadata only here, which no layer can say",
                     p->path.ptr);
}

static int pack_file(struct pack *p, int fd, const struct stat *st)
{
    bool unused;
    struct tar_entry e CLEANUP(entry_done) = entry_of(p, st);
    char key[48];
    if (st->st_nlink > 1) {
        snprintf(key, sizeof key, "%llx:%llx", (unsigned long long)st->st_dev,
                 (unsigned long long)st->st_ino);
        const char *first = map_get(&p->linked, key);
        if (first) {
            e.type = TAR_HARDLINK;
            e.size = 0;
            e.link = xstrdup(first);
            return write_header(p, &e);
        }
    }
    int data CLEANUP(cleanup_close) = reopen(fd, O_RDONLY);
    if (data < 0)
        return skip(p, data);
    if (!read_xattrs(p, fd, &e, &unused))
        return too_odd(p);
    if (st->st_nlink > 1 && p->linked.len < LINKED_MAX) // past that, a further name is a further file
        map_put(&p->linked, key, xstrdup(p->path.ptr));
    return write_header(p, &e) < 0 ? -1 : write_contents(p, data, e.size);
}

static int pack_link(struct pack *p, int fd, const struct stat *st)
{
    struct tar_entry e CLEANUP(entry_done) = entry_of(p, st);
    e.link = xcalloc(1, PATH_MAX);
    ssize_t n = readlinkat(fd, "", e.link, PATH_MAX - 1);
    return n < 0 ? skip(p, errno) : write_header(p, &e);
}

// --- directories
int pack_mark(struct pack *p, const char *prefix, const char *name)
{
    size_t n = p->path.len;
    str_appendf(&p->path, "%s%s", prefix, name);
    struct tar_entry e = { .type = TAR_REGULAR, .path = p->path.ptr };
    int r = write_header(p, &e);
    p->path.len = n;
    p->path.ptr[n] = 0;
    return r;
}

static int pack_child(struct pack *p, int fd, const char *name, int depth)
{
    struct stat st;
    int child CLEANUP(cleanup_close) = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0)
        return errno == ENOENT && !p->options->needs_all ? 0 : skip(p, errno);
    if (p->options->is_layer && fstat(child, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0)
        return pack_mark(p, ".wh.", name);
    size_t n = p->path.len;
    str_append(&p->path, name);
    int r = pack_object(p, child, depth);
    p->path.len = n;
    p->path.ptr[n] = 0;
    return r;
}

// p->path ends with a slash, or is empty.
static int pack_children(struct pack *p, int fd, int depth)
{
    struct names names CLEANUP(names_done) = { 0 };
    if (depth == ARCHIVE_DEPTH_MAX)
        return error_set(p->err, ERROR_UNSUPPORTED, "%.200s...: nested deeper than %d directories",
                         p->path.ptr, ARCHIVE_DEPTH_MAX);
    int r = names_read(fd, &names);
    if (r == -E2BIG)
        return error_set(p->err, ERROR_UNSUPPORTED, "directory %.200s has too many entries", p->path.ptr);
    if (r < 0)
        return skip(p, r);
    for (size_t i = 0; i < names.count; i++)
        if (pack_child(p, fd, names.list[i], depth + 1) < 0)
            return -1;
    return 0;
}

int pack_directory_entry(struct pack *p, int fd, const struct stat *st, bool *ret_is_opaque)
{
    struct tar_entry e CLEANUP(entry_done) = entry_of(p, st);
    *ret_is_opaque = false;
    return read_xattrs(p, fd, &e, ret_is_opaque) ? write_header(p, &e) : too_odd(p);
}

static int pack_directory(struct pack *p, int fd, const struct stat *st, int depth)
{
    if (p->path.len == 0 || p->path.ptr[p->path.len - 1] != '/')
        str_append_char(&p->path, '/');
    bool is_opaque;
    if (pack_directory_entry(p, fd, st, &is_opaque) < 0 ||
        (is_opaque && pack_mark(p, ".wh..wh..opq", "") < 0))
        return -1;
    return pack_children(p, fd, depth);
}

int pack_object(struct pack *p, int fd, int depth)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return skip(p, errno);
    switch (type_of(st.st_mode)) {
    case TAR_DIRECTORY:
        return pack_directory(p, fd, &st, depth);
    case TAR_REGULAR:
        return pack_file(p, fd, &st);
    case TAR_SYMLINK:
        return pack_link(p, fd, &st);
    case TAR_OTHER:
        return 0;
    default: {
        const struct tar_entry e = entry_of(p, &st);
        return write_header(p, &e);
    }
    }
}

void pack_init(struct pack *p, const struct archive_pack *options, struct writer to, struct error *err)
{
    *p = (struct pack){ .options = options,
                        .to = to,
                        .path = STR_INIT,
                        .linked = MAP_INIT,
                        .buffer = xmalloc(BUFFER_SIZE),
                        .err = err };
}

void pack_done(struct pack *p)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&p->linked, &at));)
        free(e->value);
    map_done(&p->linked);
    str_done(&p->path);
    free(p->buffer);
}

int archive_pack(int fd, const struct archive_pack *options, struct writer to, struct error *err)
{
    struct pack p CLEANUP(pack_done);
    pack_init(&p, options, to, err);
    str_append(&p.path, options->leaves_top_out ? "" : options->name);
    return options->leaves_top_out ? pack_children(&p, fd, 0) : pack_object(&p, fd, 0);
}
