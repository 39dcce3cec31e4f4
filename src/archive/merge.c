// Theory of operation. The layers are read as overlay would show them (stack.h). A name that shows an object gives that object; one
// that shows a whiteout gives a whiteout, since what lies further down may have it; and a directory whose own look down was ended
// by something in these layers (opaque, a whiteout, a file) is opaque in the merged one.
#include "archive/pack_internal.h"
#include "archive/stack.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>

struct merge {
    struct pack pack;
    bool is_lowest;
};

static int write_root(struct merge *m, const struct stack *top, bool is_opaque)
{
    struct stat st;
    bool unused;
    if (fstat(top->members[0].fd, &st) < 0)
        return error_errno(m->pack.err, errno, "open a layer");
    str_append(&m->pack.path, "./");
    int r = pack_directory_entry(&m->pack, top->members[0].fd, &st, &unused);
    str_clear(&m->pack.path);
    return r == 0 && is_opaque && !m->is_lowest ? pack_mark(&m->pack, ".wh..wh..opq", "") : r;
}

static int cannot_read(struct merge *m, int r)
{
    return error_errno(m->pack.err, r, "read /%.500s of a layer", m->pack.path.ptr);
}

static int merge_directory(struct merge *m, const struct stack *stack, int depth);

static int merge_entry(struct merge *m, const struct stack_entry *entry, const char *name, int depth)
{
    struct pack *p = &m->pack;
    size_t n = p->path.len;
    bool unused;
    if (entry->kind == STACK_ABSENT || (entry->kind == STACK_WHITEOUT && m->is_lowest))
        return 0;
    if (entry->kind == STACK_WHITEOUT)
        return pack_mark(p, ".wh.", name);
    str_append(&p->path, name);
    int r;
    if (S_ISDIR(entry->st.st_mode)) {
        str_append_char(&p->path, '/');
        r = pack_directory_entry(p, entry->fd, &entry->st, &unused);
        if (r == 0 && entry->hides_below && !m->is_lowest)
            r = pack_mark(p, ".wh..wh..opq", "");
        if (r == 0)
            r = merge_directory(m, &entry->children, depth + 1);
    } else {
        r = pack_object(p, entry->fd, depth);
    }
    p->path.len = n;
    p->path.ptr[n] = 0;
    return r;
}

static int merge_directory(struct merge *m, const struct stack *stack, int depth)
{
    CLEANUP(names_done) struct names names = { 0 };
    if (depth == ARCHIVE_DEPTH_MAX)
        return error_set(m->pack.err, ERROR_UNSUPPORTED, "%.200s...: nested deeper than %d directories",
                         m->pack.path.ptr, ARCHIVE_DEPTH_MAX);
    int r = stack_names(stack, NULL, NULL, &names);
    if (r < 0)
        return cannot_read(m, r);
    for (size_t i = 0; i < names.count; i++) {
        struct stack_entry entry;
        r = stack_lookup(stack, names.list[i], &entry);
        if (r < 0)
            return cannot_read(m, r);
        r = merge_entry(m, &entry, names.list[i], depth);
        stack_entry_done(&entry);
        if (r < 0)
            return r;
    }
    return 0;
}

int archive_pack_layers(const int *fds, size_t count, bool is_lowest, struct writer to, struct error *err)
{
    static const struct archive_pack options = {
        .name = "", .leaves_top_out = true, .is_layer = true, .needs_all = true
    };
    struct merge m = { .is_lowest = is_lowest };
    struct stack top CLEANUP(stack_done) = { 0 };
    bool is_opaque = false;
    for (size_t i = 0; i < count && !is_opaque; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return error_errno(err, errno, "open a layer");
        stack_push(&top, fd, i);
        is_opaque = stack_is_opaque(fd);
    }
    pack_init(&m.pack, &options, to, err);
    int r = write_root(&m, &top, is_opaque);
    if (r == 0)
        r = merge_directory(&m, &top, 0);
    pack_done(&m.pack);
    return r;
}
