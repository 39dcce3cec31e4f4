#include "kernel/extents.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum { DEPTH_MAX = 512, AT_ONCE = 64 };
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

void extents_done(struct extents *e)
{
    free(e->list);
    *e = (struct extents){ 0 };
}

bool extents_can_share(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == XFS_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC);
}

static void add(struct extents *e, uint64_t physical, uint64_t length, uint32_t owner)
{
    if (e->count == e->room) {
        e->room = e->room ? e->room * 2 : 256;
        e->list = xreallocarray(e->list, e->room, sizeof *e->list);
    }
    e->list[e->count++] = (struct extent){ physical, length, owner };
}

uint64_t extents_add_file(struct extents *e, int fd, uint32_t owner)
{
    union {
        struct fiemap map; // with its extents behind it
        char room[sizeof(struct fiemap) + AT_ONCE * sizeof(struct fiemap_extent)];
    } ask;
    uint64_t total = 0, from = 0;
    for (bool is_last = false; !is_last;) {
        memset(&ask, 0, sizeof ask.map);
        ask.map.fm_start = from;
        ask.map.fm_length = FIEMAP_MAX_OFFSET - from;
        ask.map.fm_flags = FIEMAP_FLAG_SYNC;
        ask.map.fm_extent_count = AT_ONCE;
        if (ioctl(fd, FS_IOC_FIEMAP, &ask.map) < 0 || ask.map.fm_mapped_extents == 0)
            break;
        for (unsigned i = 0; i < ask.map.fm_mapped_extents; i++) {
            const struct fiemap_extent *x = &ask.map.fm_extents[i];
            is_last |= (x->fe_flags & FIEMAP_EXTENT_LAST) != 0;
            from = x->fe_logical + x->fe_length;
            if (x->fe_flags & (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_NOT_ALIGNED))
                continue;
            add(e, x->fe_physical, x->fe_length, owner);
            total += x->fe_length;
        }
    }
    return total;
}

static uint64_t add_children(struct extents *e, int parent, const char *name, uint32_t owner, unsigned depth)
{
    uint64_t rest = 0;
    struct stat st;
    DIR *dir = depth < DEPTH_MAX ? dir_open_at(parent, name) : NULL;
    if (dir && fstat(dirfd(dir), &st) == 0)
        rest += (uint64_t)st.st_blocks * 512;
    for (struct dirent *d; dir && (d = dir_next(dir));) {
        if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            rest += add_children(e, dirfd(dir), d->d_name, owner, depth + 1);
            continue;
        }
        int fd CLEANUP(cleanup_close) =
            S_ISREG(st.st_mode) ? openat(dirfd(dir), d->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : FD_NONE;
        uint64_t bytes = fd >= 0 ? extents_add_file(e, fd, owner) : 0, all = (uint64_t)st.st_blocks * 512;
        rest += all > bytes ? all - bytes : 0;
    }
    if (dir)
        closedir(dir);
    return rest;
}

void extents_add_tree(struct extents *e, int fd, uint32_t owner, uint64_t *ret_rest)
{
    *ret_rest = add_children(e, fd, ".", owner, 0);
}

// --- once each
struct edge {
    uint64_t at;
    uint32_t owner;
    bool is_end;
};

static int compare_edges(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

struct active { // owners at the current place, with how often
    uint32_t *owners;
    unsigned *counts;
    size_t count, room;
};

static void note_edge(struct active *a, const struct edge *edge)
{
    size_t i = 0;
    while (i < a->count && a->owners[i] != edge->owner)
        i++;
    if (i == a->count) {
        if (a->count == a->room) {
            a->room = a->room ? a->room * 2 : 16;
            a->owners = xreallocarray(a->owners, a->room, sizeof *a->owners);
            a->counts = xreallocarray(a->counts, a->room, sizeof *a->counts);
        }
        a->owners[a->count] = edge->owner;
        a->counts[a->count++] = 0;
    }
    // At one place ends and beginnings come in any order: a count may pass through "below zero" and back.
    a->counts[i] += edge->is_end ? -1u : 1u;
}

static void drop_ended(struct active *a)
{
    for (size_t i = 0; i < a->count;) {
        if (a->counts[i]) {
            i++;
            continue;
        }
        a->count--;
        a->owners[i] = a->owners[a->count];
        a->counts[i] = a->counts[a->count];
    }
}

void extents_each(struct extents *e,
                  void (*visit)(void *context, uint64_t length, const uint32_t *owners, size_t count),
                  void *context)
{
    struct active active = { 0 };
    struct edge *edges = xcalloc(2 * e->count + 1, sizeof *edges);
    for (size_t i = 0; i < e->count; i++) {
        const struct extent *x = &e->list[i];
        edges[2 * i] = (struct edge){ x->physical, x->owner, false };
        edges[2 * i + 1] = (struct edge){ x->physical + x->length, x->owner, true };
    }
    qsort(edges, 2 * e->count, sizeof *edges, compare_edges);
    for (size_t i = 0; i < 2 * e->count;) {
        uint64_t at = edges[i].at;
        for (; i < 2 * e->count && edges[i].at == at; i++)
            note_edge(&active, &edges[i]);
        drop_ended(&active);
        if (active.count && i < 2 * e->count)
            visit(context, edges[i].at - at, active.owners, active.count);
    }
    free(edges);
    free(active.owners);
    free(active.counts);
}
