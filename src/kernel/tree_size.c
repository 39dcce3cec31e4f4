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

static uint64_t size_of_children(int parent, const char *name, struct map *counted, unsigned depth)
{
    uint64_t total = 0;
    DIR *dir = depth < DEPTH_MAX ? dir_open_at(parent, name) : NULL;
    for (struct dirent *e; dir && (e = dir_next(dir));) {
        struct stat st;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            total += size_of_children(dirfd(dir), e->d_name, counted, depth + 1);
        else if (!was_counted(counted, &st)) // a link has the size of its target's name
            total += (uint64_t)st.st_size;
    }
    if (dir)
        closedir(dir);
    return total;
}

uint64_t tree_size(int fd)
{
    struct map counted = MAP_INIT;
    uint64_t total = size_of_children(fd, ".", &counted, 0);
    map_done(&counted);
    return total;
}
