#include "container/archive.h"

#include "archive/archive.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/compress.h"
#include "container/container_internal.h"
#include "container/user.h"
#include "container/view.h"
#include "kernel/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

// --- what a path is
uint32_t container_go_mode(mode_t mode)
{
    static const struct {
        mode_t type;
        uint32_t bits;
    } types[] = { { S_IFDIR, 1u << 31 }, { S_IFLNK, 1u << 27 },
                  { S_IFBLK, 1u << 26 }, { S_IFCHR, 1u << 26 | 1u << 21 },
                  { S_IFIFO, 1u << 25 }, { S_IFSOCK, 1u << 24 } };
    uint32_t bits = mode & 0777;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((mode & S_IFMT) == types[i].type)
            bits |= types[i].bits;
    return bits | (mode & S_ISUID ? 1u << 23 : 0) | (mode & S_ISGID ? 1u << 22 : 0) |
           (mode & S_ISVTX ? 1u << 20 : 0);
}

char *container_path_base(const char *path)
{
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (n - start == 2 &&
        memcmp(path + start, "..", 2) == 0) { // the name is that of the directory it leads to
        CLEANUP(strv_freep) char **parts = strv_split(path, "/", false), **kept = NULL;
        for (size_t i = 0; parts[i]; i++) {
            size_t k = strv_len(kept);
            if (!streq(parts[i], "..") && !streq(parts[i], "."))
                strv_push(&kept, parts[i]);
            else if (streq(parts[i], "..") && k > 0)
                free(TAKE_PTR(kept[k - 1]));
        }
        size_t k = strv_len(kept);
        return xstrdup(k ? kept[k - 1] : "/");
    }
    return n == 0 ? xstrdup("/") : xstrndup(path + start, n - start);
}

void container_path_stat_done(struct container_path_stat *stat)
{
    free(stat->name);
    free(stat->link_target);
    *stat = (struct container_path_stat){ 0 };
}

static int path_error(struct error *err, int r, const char *name, const char *path)
{
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "Could not find the file %s in container %s", path, name);
    error_errno(err, r, "lstat %s", path);
    if (r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG)
        err->kind = ERROR_INVALID;
    if (r == -EACCES || r == -EPERM)
        err->kind = ERROR_DENIED;
    return -1;
}

// Path of an open object, from the top of the tree of mounts that it is in. Owned; NULL when it cannot be told.
static char *name_of(int fd)
{
    char link[FD_PATH_MAX], text[PATH_MAX];
    fd_path(fd, link);
    ssize_t n = readlink(link, text, sizeof text);
    return n < 0 || n == sizeof text ? NULL : xstrndup(text, (size_t)n);
}

// Where the link leads in the end, or as far as there is something. For the client to ask again with: it is resolved anew then.
static char *link_target(int root_fd, const char *path)
{
    CLEANUP(cleanup_free) char *at = xasprintf("/%s", path + strspn(path, "/"));
    for (int links = 0; links < LINKS_MAX; links++) {
        char text[PATH_MAX];
        CLEANUP(cleanup_close) int end = path_open(root_fd, at, O_PATH, 0);
        if (end >= 0) {
            CLEANUP(cleanup_free) char *top = name_of(root_fd);
            char *name = name_of(end);
            size_t n = top && !streq(top, "/") ? strlen(top) : 0;
            if (name && n && strncmp(name, top, n) == 0)
                memmove(name, name + n, strlen(name + n) + 1);
            return name ? name : xstrdup(at);
        }
        CLEANUP(cleanup_close) int link = path_open(root_fd, at, O_PATH | O_NOFOLLOW, 0);
        ssize_t n = link < 0 ? -1 : readlinkat(link, "", text, sizeof text - 1);
        if (n <= 0)
            break;
        text[n] = 0;
        const char *slash = strrchr(at, '/');
        char *next = text[0] == '/' ? xstrdup(text) : xasprintf("%.*s/%s", (int)(slash - at), at, text);
        free(at);
        at = next;
    }
    return TAKE_PTR(at);
}

static int describe(const struct container_view *view, int fd, const char *path,
                    struct container_path_stat *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = (struct container_path_stat){ .name = container_path_base(path),
                                         .size = st.st_size,
                                         .mode = container_go_mode(st.st_mode),
                                         .mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec };
    ret->link_target = S_ISLNK(st.st_mode) ? link_target(view->root_fd, path) : xstrdup("");
    return 0;
}

// The object itself, a link as a link; a path that ends with a slash or "/." is a directory's.
static int open_object(const struct container_view *view, const char *name, const char *path, int *ret,
                       struct container_path_stat *ret_stat, struct error *err)
{
    CLEANUP(cleanup_close) int fd = path_open(view->root_fd, path, O_PATH | O_NOFOLLOW, 0);
    int r = fd < 0 ? fd : describe(view, fd, path, ret_stat);
    if (r < 0)
        return path_error(err, r, name, path);
    *ret = TAKE_FD(fd);
    return 0;
}

int container_archive_stat(struct container_service *s, const char *name, const char *path,
                           struct container_path_stat *ret, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(container_view_close) struct container_view view = { 0 };
    CLEANUP(cleanup_close) int fd = FD_NONE;
    if (container_find(s, name, &c, err) < 0 || container_view_open(c, VIEW_READ, &view, err) < 0)
        return -1;
    return open_object(&view, name, path, &fd, ret, err);
}

// --- out
static int pack(const struct container_view *view, int fd, const char *top, struct writer to,
                struct error *err)
{
    const struct archive_pack options = { .name = top ? top : "", .leaves_top_out = !top, .ids = view->ids };
    if (archive_pack(fd, &options, to, err) < 0)
        return -1;
    int r = tar_write_end(to);
    return r < 0 ? error_errno(err, r, "write archive") : 0;
}

int container_archive_get(struct container_service *s, const char *name, const char *path,
                          void (*begin)(void *context, const struct container_path_stat *stat), void *context,
                          struct writer to, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(container_view_close) struct container_view view = { 0 };
    CLEANUP(cleanup_close) int fd = FD_NONE;
    CLEANUP(container_path_stat_done) struct container_path_stat stat = { 0 };
    if (container_find(s, name, &c, err) < 0 || container_view_open(c, VIEW_READ, &view, err) < 0 ||
        open_object(&view, name, path, &fd, &stat, err) < 0)
        return -1;
    begin(context, &stat);
    container_event(c, "archive-path", NULL, NULL);
    return pack(&view, fd, stat.name, to, err);
}

int container_export(struct container_service *s, const char *name, struct writer to, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(container_view_close) struct container_view view = { 0 };
    if (container_find(s, name, &c, err) < 0 || container_view_open(c, VIEW_ROOT, &view, err) < 0)
        return -1;
    container_event(c, "export", NULL, NULL);
    return pack(&view, view.root_fd, NULL, to, err);
}

// --- in
static int check_writable(const struct container_view *view, int fd, struct error *err)
{
    struct statvfs fs;
    struct statx here, root;
    if (fstatvfs(fd, &fs) < 0)
        return error_errno(err, errno, "statfs");
    if (!(fs.f_flag & ST_RDONLY))
        return 0;
    bool is_root = statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &here) == 0 &&
                   statx(view->root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &root) == 0 &&
                   here.stx_mnt_id == root.stx_mnt_id;
    return error_set(err, ERROR_DENIED,
                     is_root ? "container rootfs is marked read-only" : "mounted volume is marked read-only");
}

static int open_destination(const struct container *c, const struct container_view *view, const char *name,
                            const char *path, int *ret, struct error *err)
{
    CLEANUP(cleanup_close) int fd = path_open(view->root_fd, path, O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOTDIR)
        return error_set(err, ERROR_INVALID, "extraction point is not a directory");
    if (fd < 0)
        return path_error(err, fd, name, path);
    struct stat here, root;
    if (c->config.is_read_only && !view->is_of_process && fstat(fd, &here) == 0 &&
        fstat(view->root_fd, &root) == 0 && here.st_dev == root.st_dev)
        return error_set(err, ERROR_DENIED, "container rootfs is marked read-only");
    if (check_writable(view, fd, err) < 0)
        return -1;
    *ret = TAKE_FD(fd);
    return 0;
}

static int find_owner(const struct container *c, const struct container_view *view,
                      struct archive_unpack *options, struct error *err)
{
    CLEANUP(user_identity_done) struct user_identity user = { 0 };
    int root_fd = view->root_fd;
    const struct rootfs root = { .dirs = &root_fd, .count = 1 };
    if (str_is_empty(c->config.user))
        return 0;
    if (user_lookup_in_root(&root, c->config.user, NULL, &user, err) < 0)
        return -1;
    options->has_owner = true;
    options->uid = user.uid;
    options->gid = user.gid;
    return 0;
}

static int unpack(const struct container_view *view, int fd, const struct archive_unpack *options,
                  struct reader from, struct error *err)
{
    CLEANUP(decoder_freep) struct decoder *decoder = NULL;
    int r = decoder_new(from, &decoder);
    if (r < 0)
        return error_errno(err, r, "read archive");
    CLEANUP(tar_reader_freep)
    struct tar_reader *tar = tar_reader_new(decoder_reader(decoder), (struct writer){ 0 });
    container_view_act_begin(view);
    r = archive_unpack(fd, tar, options, err);
    container_view_act_end(view);
    if (r < 0 && decoder_problem(decoder)) // the cause behind what the reader above it said
        error_set(err, ERROR_INVALID, "Error processing tar file: %s", decoder_problem(decoder));
    return r;
}

int container_archive_put(struct container_service *s, const char *name, const char *path,
                          const struct container_archive_put *put, struct reader from, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(container_view_close) struct container_view view = { 0 };
    CLEANUP(cleanup_close) int fd = FD_NONE;
    if (container_find(s, name, &c, err) < 0 || container_view_open(c, VIEW_WRITE, &view, err) < 0 ||
        open_destination(c, &view, name, path, &fd, err) < 0)
        return -1;
    struct archive_unpack options = { .keeps_kinds = put->keeps_kinds, .ids = view.ids };
    if (put->owns_by_user && find_owner(c, &view, &options, err) < 0)
        return -1;
    if (unpack(&view, fd, &options, from, err) < 0)
        return -1;
    container_event(c, "extract-to-dir", NULL, NULL);
    return 0;
}
