// Theory of operation. Both sides are stacks of layers (archive/stack.h) walked in step. Lower layers that both have are the common
// part. A name that only the common part has is equal on both sides, and not even looked at, as long as both sides see the same of
// the common part there; where a layer above hides some of it (an opaque directory, a whiteout) on one side only, all names are
// compared. Two files that come out of the same layer are the same file.
#include "image/diff.h"

#include "archive/archive.h"
#include "archive/stack.h"
#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BUFFER_BYTES = 128 * 1024, XATTR_NAMES_MAX = 4096, XATTR_VALUE_MAX = 64 * 1024 };

// --- sides
static void push(struct image_side *side, int fd, const char *key)
{
    side->fds = xreallocarray(side->fds, side->count + 1, sizeof *side->fds);
    side->fds[side->count++] = fd;
    strv_push(&side->keys, key);
}

int image_side_open(struct image_service *images, const char *name, struct image_side *ret, struct error *err)
{
    struct image *image CLEANUP(image_freep) = NULL;
    *ret = (struct image_side){ .images = images };
    image_acquire_begin(images);
    int r = image_get(images, name, &image, err), fd;
    for (size_t i = 0; r == 0 && image->diff_ids[i]; i++)
        if ((r = layer_open(images->store, image->diff_ids[i], &fd, err)) == 0)
            push(ret, fd, image->diff_ids[i]);
    if (r < 0) {
        image_side_done(ret);
        return -1;
    }
    ret->name = xstrdup(name);
    ret->config = json_incref(image->config);
    return 0;
}

void image_side_push(struct image_side *side, int fd, const char *key, const json_t *config)
{
    push(side, fd, key);
    json_t *whole = json_copy(side->config);
    json_object_set(whole, "config", (json_t *)(uintptr_t)config);
    json_decref(side->config);
    side->config = whole;
}

void image_side_done(struct image_side *side)
{
    for (size_t i = 0; i < side->count; i++)
        fd_close(side->fds[i]);
    free(side->fds);
    strv_free(side->keys);
    free(side->name);
    json_decref(side->config);
    if (side->images)
        image_acquire_end(side->images);
    *side = (struct image_side){ 0 };
}

// --- the comparison
struct diff {
    size_t common; // so many layers from the bottom are the same on both sides
    bool with_times;
    image_difference_visitor *visit;
    void *context;
    struct str path; // of the current entry: "/a/b"
    char *buffers[2];
    struct error *err;
};

static int cannot_read(struct diff *d, int r)
{
    return error_errno(d->err, r, "read %.500s", d->path.len ? d->path.ptr : "/");
}

static int tell(struct diff *d, enum image_difference_kind kind, unsigned reasons,
                const struct stack_entry *from, const struct stack_entry *to)
{
    const struct image_difference difference = { .kind = kind,
                                                 .path = d->path.ptr,
                                                 .reasons = reasons,
                                                 .from = from ? &from->st : NULL,
                                                 .to = to ? &to->st : NULL };
    return d->visit(d->context, &difference);
}

// 1: they differ; 0; or -errno.
static int compare_contents(struct diff *d, int a, int b)
{
    int from CLEANUP(cleanup_close) = reopen(a, O_RDONLY), to CLEANUP(cleanup_close) = reopen(b, O_RDONLY);
    if (from < 0 || to < 0)
        return from < 0 ? from : to;
    for (;;) {
        ssize_t n = fd_read_full(from, d->buffers[0], BUFFER_BYTES),
                m = fd_read_full(to, d->buffers[1], BUFFER_BYTES);
        if (n < 0 || m < 0)
            return (int)(n < 0 ? n : m);
        if (n != m || memcmp(d->buffers[0], d->buffers[1], (size_t)n) != 0)
            return 1;
        if (n == 0)
            return 0;
    }
}

static int compare_links(struct diff *d, int a, int b)
{
    ssize_t n = readlinkat(a, "", d->buffers[0], PATH_MAX), m = readlinkat(b, "", d->buffers[1], PATH_MAX);
    if (n < 0 || m < 0)
        return -errno;
    return n != m || memcmp(d->buffers[0], d->buffers[1], (size_t)n) != 0;
}

// Has `b` every wanted attribute of `a`, with the same value? *ret_count: how many there are.
static bool has_xattrs_of(struct diff *d, int a, int b, size_t *ret_count)
{
    static const struct archive_ids plain = { 0 };
    char from[FD_PATH_MAX], to[FD_PATH_MAX], names[XATTR_NAMES_MAX];
    fd_path(a, from);
    fd_path(b, to);
    ssize_t n = listxattr(from, names, sizeof names);
    *ret_count = 0;
    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        if (!archive_xattr_is_wanted(name, &plain))
            continue;
        ++*ret_count;
        ssize_t x = getxattr(from, name, d->buffers[0], XATTR_VALUE_MAX),
                y = getxattr(to, name, d->buffers[1], XATTR_VALUE_MAX);
        if (x != y || (x > 0 && memcmp(d->buffers[0], d->buffers[1], (size_t)x) != 0))
            return false;
    }
    return true;
}

static bool has_same_xattrs(struct diff *d, int a, int b)
{
    size_t n, m;
    return has_xattrs_of(d, a, b, &n) && has_xattrs_of(d, b, a, &m) && n == m;
}

static int compare_by_type(struct diff *d, const struct stack_entry *x, const struct stack_entry *y)
{
    switch (x->st.st_mode & S_IFMT) {
    case S_IFREG:
        return x->st.st_size != y->st.st_size ? 1 : compare_contents(d, x->fd, y->fd);
    case S_IFLNK:
        return compare_links(d, x->fd, y->fd);
    case S_IFCHR:
    case S_IFBLK:
        return x->st.st_rdev != y->st.st_rdev;
    default:
        return 0;
    }
}

static int find_reasons(struct diff *d, const struct stack_entry *x, const struct stack_entry *y,
                        unsigned *ret)
{
    const struct stat *a = &x->st, *b = &y->st;
    *ret = 0;
    if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT)) {
        *ret = IMAGE_DIFFERS_TYPE;
        return 0;
    }
    int r = compare_by_type(d, x, y);
    if (r < 0)
        return cannot_read(d, r);
    *ret |= r ? IMAGE_DIFFERS_CONTENT : 0;
    if (!S_ISLNK(a->st_mode)) {
        *ret |= (a->st_mode & 07777) != (b->st_mode & 07777) ? IMAGE_DIFFERS_MODE : 0;
        *ret |= has_same_xattrs(d, x->fd, y->fd) ? 0 : IMAGE_DIFFERS_XATTR;
    }
    *ret |= a->st_uid != b->st_uid || a->st_gid != b->st_gid ? IMAGE_DIFFERS_OWNER : 0;
    // A directory's time follows from what is done in it.
    bool is_later = a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
    *ret |= d->with_times && is_later && !S_ISDIR(a->st_mode) ? IMAGE_DIFFERS_TIME : 0;
    return 0;
}

// --- walking
static int walk(struct diff *d, const struct stack *from, const struct stack *to, int depth);

static bool is_above_common(void *context, size_t layer)
{
    const struct diff *d = context;
    return layer >= d->common;
}

static bool is_common(const struct diff *d, const struct stack *stack, size_t *at)
{
    while (*at < stack->count && stack->members[*at].layer >= d->common)
        ++*at;
    return *at < stack->count;
}

// Do both see the same layers of the common part?
static bool sees_same_common(const struct diff *d, const struct stack *from, const struct stack *to)
{
    for (size_t i = 0, k = 0;; i++, k++) {
        bool more = is_common(d, from, &i), other = is_common(d, to, &k);
        if (!more || !other)
            return more == other;
        if (from->members[i].layer != to->members[k].layer)
            return false;
    }
}

static int compare_entries(struct diff *d, const struct stack_entry *x, const struct stack_entry *y,
                           int depth)
{
    bool was = x->kind == STACK_OBJECT, is = y->kind == STACK_OBJECT;
    unsigned reasons = 0;
    int r = 0;
    if (!was && !is)
        return 0;
    if (was && is && x->layer == y->layer && x->layer < d->common && !S_ISDIR(x->st.st_mode))
        return 0;
    if (was && is && find_reasons(d, x, y, &reasons) < 0)
        return -1;
    if (!was || !is)
        r = tell(d, was ? IMAGE_DELETED : IMAGE_ADDED, 0, was ? x : NULL, is ? y : NULL);
    else if (reasons)
        r = tell(d, IMAGE_CHANGED, reasons, x, y);
    bool has_children = (was && S_ISDIR(x->st.st_mode)) || (is && S_ISDIR(y->st.st_mode));
    return r < 0 || !has_children ? r : walk(d, &x->children, &y->children, depth + 1);
}

static int compare_name(struct diff *d, const struct stack *from, const struct stack *to, const char *name,
                        int depth)
{
    struct stack_entry x, y;
    size_t n = d->path.len;
    str_appendf(&d->path, "/%s", name);
    int r = stack_lookup(from, name, &x);
    if (r < 0)
        return cannot_read(d, r);
    r = stack_lookup(to, name, &y);
    if (r == 0) {
        r = compare_entries(d, &x, &y, depth);
        stack_entry_done(&y);
    } else {
        r = cannot_read(d, r);
    }
    stack_entry_done(&x);
    d->path.len = n;
    d->path.ptr[n] = 0;
    return r;
}

static int walk(struct diff *d, const struct stack *from, const struct stack *to, int depth)
{
    CLEANUP(names_done) struct names names = { 0 };
    CLEANUP(names_done) struct names others = { 0 };
    bool (*wants)(void *, size_t) = sees_same_common(d, from, to) ? is_above_common : NULL;
    if (depth == ARCHIVE_DEPTH_MAX)
        return cannot_read(d, ELOOP);
    int r = stack_names(from, wants, d, &names);
    if (r == 0)
        r = stack_names(to, wants, d, &others);
    if (r < 0)
        return cannot_read(d, r);
    names_unite(&names, &others);
    for (size_t i = 0; r == 0 && i < names.count; i++)
        r = compare_name(d, from, to, names.list[i], depth);
    return r;
}

// The roots themselves: only what is said of the topmost layer's.
static int compare_roots(struct diff *d, const struct stack *from, const struct stack *to)
{
    struct stack_entry x = { .kind = STACK_OBJECT }, y = { .kind = STACK_OBJECT };
    unsigned reasons;
    if (!from->count || !to->count)
        return 0;
    x.fd = from->members[0].fd;
    y.fd = to->members[0].fd;
    if (fstat(x.fd, &x.st) < 0 || fstat(y.fd, &y.st) < 0)
        return cannot_read(d, errno);
    if (find_reasons(d, &x, &y, &reasons) < 0)
        return -1;
    str_append(&d->path, "/");
    int r = reasons ? tell(d, IMAGE_CHANGED, reasons, &x, &y) : 0;
    str_clear(&d->path);
    return r;
}

// Layers of the two sides have numbers of their own but for the common ones.
static int make_stack(const struct image_side *side, size_t common, size_t offset, struct stack *ret,
                      struct error *err)
{
    bool is_hidden = false;
    for (size_t i = side->count; i-- > 0 && !is_hidden;) {
        int fd = fcntl(side->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return error_errno(err, errno, "open a layer of %s", side->name);
        stack_push(ret, fd, i < common ? i : i + offset);
        is_hidden = stack_is_opaque(fd);
    }
    return 0;
}

int image_diff(const struct image_side *from, const struct image_side *to, bool with_times,
               image_difference_visitor *visit, void *context, struct error *err)
{
    struct stack a CLEANUP(stack_done) = { 0 }, b CLEANUP(stack_done) = { 0 };
    struct diff d = {
        .with_times = with_times, .visit = visit, .context = context, .path = STR_INIT, .err = err
    };
    while (d.common < from->count && d.common < to->count && streq(from->keys[d.common], to->keys[d.common]))
        d.common++;
    if (make_stack(from, d.common, 0, &a, err) < 0 || make_stack(to, d.common, from->count, &b, err) < 0)
        return -1;
    error_set(err, ERROR_CANCELLED, "context canceled"); // when it is the visitor who stops
    int r = image_diff_config(from->config, to->config, visit, context);
    d.buffers[0] = xmalloc(BUFFER_BYTES);
    d.buffers[1] = xmalloc(BUFFER_BYTES);
    if (r == 0)
        r = compare_roots(&d, &a, &b);
    if (r == 0)
        r = walk(&d, &a, &b, 0);
    str_done(&d.path);
    free(d.buffers[0]);
    free(d.buffers[1]);
    return r;
}
