// Theory of operation. What a container changed is its upper directory, read beside what lies below it: the two are walked in
// parallel, by descriptors. Overlay copies a directory up for each change below it and makes new ones opaque, so neither
// says that something changed: only differing metadata, a differing file, a new or a missing name do; the directories above
// a change are then shown as modified too, as Docker does.
#include "container/changes.h"

#include "archive/names.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/container_internal.h"
#include "container/view.h"
#include "kernel/overlay.h"
#include "kernel/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { CHANGES_MAX = 1 << 22 };

struct change {
    char *path;
    enum container_change kind;
};

struct walk {
    struct change *list;
    size_t count, room;
    struct str path; // of the current entry: "/a/b"
};

static void add(struct walk *w, enum container_change kind)
{
    if (w->count == w->room) {
        w->room = w->room ? w->room * 2 : 64;
        w->list = xreallocarray(w->list, w->room, sizeof *w->list);
    }
    w->list[w->count++] = (struct change){ xstrdup(w->path.ptr), kind };
}

static void walk_done(struct walk *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->list[i].path);
    free(w->list);
    str_done(&w->path);
}

static ssize_t read_xattr(int fd, const char *name, char *value, size_t n)
{
    char path[FD_PATH_MAX];
    fd_path(fd, path);
    return getxattr(path, name, value, n);
}

static bool is_opaque(int fd)
{
    char value[2];
    return read_xattr(fd, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

static bool has_same_capability(int a, int b)
{
    char x[64], y[64];
    ssize_t n = read_xattr(a, "security.capability", x, sizeof x);
    ssize_t m = read_xattr(b, "security.capability", y, sizeof y);
    return n == m ? n <= 0 || memcmp(x, y, (size_t)n) == 0 : n <= 0 && m <= 0;
}

// Size and time of a directory change with its entries, which are compared themselves.
static bool is_same(int a, const struct stat *x, int b, const struct stat *y)
{
    if (x->st_mode != y->st_mode || x->st_uid != y->st_uid || x->st_gid != y->st_gid)
        return false;
    if ((S_ISCHR(x->st_mode) || S_ISBLK(x->st_mode)) && x->st_rdev != y->st_rdev)
        return false;
    if (!S_ISDIR(x->st_mode) && (x->st_size != y->st_size || x->st_mtim.tv_sec != y->st_mtim.tv_sec ||
                                 x->st_mtim.tv_nsec != y->st_mtim.tv_nsec))
        return false;
    return S_ISLNK(x->st_mode) || has_same_capability(a, b);
}

static int open_at(int dir, const char *name, struct stat *st)
{
    int fd = dir < 0 ? -ENOENT : openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || (fd >= 0 && fstat(fd, st) < 0)) {
        int r = -errno;
        fd_close(fd);
        return r;
    }
    return fd;
}

static int walk_directory(struct walk *w, int upper, int lower, bool hides_lower, int depth);

// lower: FD_NONE or -errno when there is nothing.
static int walk_entry(struct walk *w, int upper, const struct stat *st, int lower,
                      const struct stat *lower_st, int depth)
{
    size_t before = w->count;
    if (overlay_is_whiteout(st)) {
        if (lower >= 0)
            add(w, CHANGE_DELETED);
        return 0;
    }
    bool is_modified = lower >= 0 && !is_same(upper, st, lower, lower_st);
    if (lower < 0 || is_modified)
        add(w, lower < 0 ? CHANGE_ADDED : CHANGE_MODIFIED);
    if (!S_ISDIR(st->st_mode))
        return 0;
    bool is_merged = lower >= 0 && S_ISDIR(lower_st->st_mode);
    size_t own = w->count;
    int r = walk_directory(w, upper, is_merged ? lower : FD_NONE, is_merged && is_opaque(upper), depth + 1);
    if (r == 0 && own == before && w->count > own) // only something below it changed
        add(w, CHANGE_MODIFIED);
    return r;
}

static void path_push(struct walk *w, const char *name)
{
    str_appendf(&w->path, "/%s", name);
}

static void path_pop(struct walk *w, size_t n)
{
    w->path.len = n;
    w->path.ptr[n] = 0;
}

static int compare_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// An opaque directory hides what lies below it: every name that it does not have itself is gone.
static int add_hidden(struct walk *w, const struct names *kept, int lower)
{
    CLEANUP(names_done) struct names names = { 0 };
    int r = names_read(lower, &names);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        size_t n = w->path.len;
        if (kept->count && bsearch(&names.list[i], kept->list, kept->count, sizeof *kept->list, compare_name))
            continue;
        path_push(w, names.list[i]);
        add(w, CHANGE_DELETED);
        path_pop(w, n);
    }
    return r;
}

static int walk_directory(struct walk *w, int upper, int lower, bool hides_lower, int depth)
{
    CLEANUP(names_done) struct names names = { 0 };
    if (depth > ARCHIVE_DEPTH_MAX)
        return -ELOOP;
    int r = names_read(upper, &names);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        struct stat st, lower_st;
        size_t n = w->path.len;
        CLEANUP(cleanup_close) int child = open_at(upper, names.list[i], &st);
        if (child < 0)
            continue; // gone meanwhile
        CLEANUP(cleanup_close) int below = open_at(lower, names.list[i], &lower_st);
        path_push(w, names.list[i]);
        r = walk_entry(w, child, &st, below, &lower_st, depth);
        path_pop(w, n);
        if (w->count > CHANGES_MAX)
            r = -E2BIG;
    }
    return r == 0 && hides_lower ? add_hidden(w, &names, lower) : r;
}

static int compare_change(const void *a, const void *b)
{
    return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

int changes_between(int upper, int lower, json_t **ret, struct error *err)
{
    CLEANUP(walk_done) struct walk w = { .path = STR_INIT };
    int r = walk_directory(&w, upper, lower, false, 0);
    if (r < 0)
        return error_errno(err, r, "compare %s", w.path.len ? w.path.ptr : "/");
    json_t *list = json_array();
    if (w.count)
        qsort(w.list, w.count, sizeof *w.list, compare_change);
    for (size_t i = 0; i < w.count; i++) {
        json_t *change = json_object();
        json_set_text(change, "Path", w.list[i].path);
        json_set_int(change, "Kind", w.list[i].kind);
        json_array_append_new(list, change);
    }
    *ret = list;
    return 0;
}

int container_changes(struct container_service *s, const char *name, json_t **ret, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(container_view_close) struct container_view image = { 0 };
    if (container_find(s, name, &c, err) < 0 || container_view_open(c, VIEW_IMAGE, &image, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/upper", c->directory);
    CLEANUP(cleanup_close) int upper = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0)
        return error_errno(err, errno, "open the changes of container %s", c->id);
    return changes_between(upper, image.root_fd, ret, err);
}
