// How much a container holds on disk.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "store/layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 512 };

struct tree {
    struct map seen; // inodes with several names, by number
    uint64_t bytes;
};

static bool is_counted(struct tree *tree, const struct stat *st)
{
    char key[24];
    if (st->st_nlink < 2)
        return false;
    snprintf(key, sizeof key, "%llx", (unsigned long long)st->st_ino);
    return map_put(&tree->seen, key, tree) != NULL;
}

// Takes fd. The container may be at work in there: names are only ever used below the directory that was opened, and no link is
// followed.
static void add_directory(struct tree *tree, int fd, unsigned depth)
{
    DIR *dir = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!dir) {
        fd_close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode)) {
            int below = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (below >= 0)
                add_directory(tree, below, depth + 1);
        } else if (st.st_size > 0 && !is_counted(tree, &st)) {
            tree->bytes += (uint64_t)st.st_size;
        }
    }
    closedir(dir);
}

uint64_t container_written_bytes(const struct container *c)
{
    struct tree tree = { .seen = MAP_INIT };
    CLEANUP(cleanup_free) char *upper = xasprintf("%s/upper", c->directory);
    int fd = open(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        add_directory(&tree, fd, 0);
    map_done(&tree.seen);
    return tree.bytes;
}

int container_size(struct container_service *s, const char *name, uint64_t *ret_written, uint64_t *ret_all,
                   struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    if (container_find(s, name, &c, err) < 0)
        return -1;
    uint64_t written = container_written_bytes(c), all = written;
    for (size_t i = 0; c->diff_ids && c->diff_ids[i]; i++) {
        struct layer_info layer;
        struct error ignored;
        if (layer_get(s->store, c->diff_ids[i], &layer, &ignored) == 0)
            all += layer.size_bytes;
    }
    *ret_written = written;
    *ret_all = all;
    return 0;
}
