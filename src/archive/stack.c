#include "archive/stack.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

void stack_push(struct stack *stack, int fd, size_t layer)
{
    stack->members = xreallocarray(stack->members, stack->count + 1, sizeof *stack->members);
    stack->members[stack->count++] = (struct stack_member){ fd, layer };
}

void stack_done(struct stack *stack)
{
    for (size_t i = 0; i < stack->count; i++)
        fd_close(stack->members[i].fd);
    free(stack->members);
    *stack = (struct stack){ 0 };
}

bool stack_is_opaque(int fd)
{
    char path[FD_PATH_MAX], value[2];
    fd_path(fd, path);
    return getxattr(path, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

// One layer's object below what was found above it. True: nothing further down shows.
static bool take(struct stack_entry *e, int fd, const struct stat *st, size_t layer)
{
    bool is_first = e->kind == STACK_ABSENT, is_whiteout = overlay_is_whiteout(st);
    if (is_whiteout || (!is_first && !S_ISDIR(st->st_mode))) {
        e->kind = is_first ? STACK_WHITEOUT : e->kind;
        e->hides_below = true;
        fd_close(fd);
        return true;
    }
    if (is_first) {
        e->kind = STACK_OBJECT;
        e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        e->st = *st;
        e->layer = layer;
    }
    if (!S_ISDIR(st->st_mode)) {
        fd_close(fd);
        e->hides_below = true;
        return true;
    }
    e->hides_below = stack_is_opaque(fd);
    stack_push(&e->children, fd, layer);
    return e->hides_below;
}

int stack_lookup(const struct stack *stack, const char *name, struct stack_entry *ret)
{
    *ret = (struct stack_entry){ .fd = FD_NONE };
    for (size_t i = 0; i < stack->count; i++) {
        struct stat st;
        int fd = openat(stack->members[i].fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fstat(fd, &st) < 0) {
            int r = -errno;
            fd_close(fd);
            stack_entry_done(ret);
            return r;
        }
        if (take(ret, fd, &st, stack->members[i].layer))
            break;
    }
    if (ret->kind == STACK_OBJECT && ret->fd < 0) {
        stack_entry_done(ret);
        return -EMFILE;
    }
    return 0;
}

void stack_entry_done(struct stack_entry *e)
{
    fd_close(e->fd);
    stack_done(&e->children);
    *e = (struct stack_entry){ .fd = FD_NONE };
}

void names_unite(struct names *into, struct names *other)
{
    struct names both = { .list = xcalloc(into->count + other->count + 1, sizeof(char *)),
                          .bytes = into->bytes + other->bytes };
    size_t i = 0, k = 0;
    while (i < into->count || k < other->count) {
        int r = i == into->count ? 1 : k == other->count ? -1 : strcmp(into->list[i], other->list[k]);
        both.list[both.count++] = xstrdup(r <= 0 ? into->list[i] : other->list[k]);
        i += r <= 0;
        k += r >= 0;
    }
    names_done(into);
    *into = both;
}

int stack_names(const struct stack *stack, bool (*wants)(void *context, size_t layer), void *context,
                struct names *ret)
{
    for (size_t i = 0; i < stack->count; i++) {
        CLEANUP(names_done) struct names names = { 0 };
        if (wants && !wants(context, stack->members[i].layer))
            continue;
        int r = names_read(stack->members[i].fd, &names);
        if (r < 0)
            return r;
        names_unite(ret, &names);
    }
    return 0;
}
