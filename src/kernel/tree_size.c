#include "kernel/tree_size.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 512 };

// Of a file with several names: has one of them been here before?
static bool was_counted(struct map *counted, const struct stat *st)
{
    char key[48];
    if (st->st_nlink < 2)
        return false;
    snprintf(key, sizeof key, "%jx:%jx", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
    return map_put(counted, key, counted) != NULL;
}

struct walk {
    bool counts_blocks;
    struct map counted;
};

static uint64_t bytes_of(const struct walk *w, const struct stat *st)
{
    if (w->counts_blocks)
        return (uint64_t)st->st_blocks * 512;
    return S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_size; // a link has the size of its target's name
}

static uint64_t size_of_directory(int parent, const char *name, struct walk *w, unsigned depth)
{
    uint64_t total = 0;
    struct stat st;
    DIR *dir = depth < DEPTH_MAX ? dir_open_at(parent, name) : NULL;
    if (dir && fstat(dirfd(dir), &st) == 0)
        total += bytes_of(w, &st);
    for (struct dirent *e; dir && (e = dir_next(dir));) {
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            total += size_of_directory(dirfd(dir), e->d_name, w, depth + 1);
        else if (!was_counted(&w->counted, &st))
            total += bytes_of(w, &st);
    }
    if (dir)
        closedir(dir);
    return total;
}

static uint64_t size_of_tree(int fd, bool counts_blocks)
{
    struct walk w = { counts_blocks, MAP_INIT };
    uint64_t total = size_of_directory(fd, ".", &w, 0);
    map_done(&w.counted);
    return total;
}

uint64_t tree_size(int fd)
{
    return size_of_tree(fd, false);
}

uint64_t tree_disk_bytes(int fd)
{
    return size_of_tree(fd, true);
}
