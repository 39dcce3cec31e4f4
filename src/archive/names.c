#include "archive/names.h"

#include "archive/archive.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

void names_done(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
    free(names->list);
    *names = (struct names){ 0 };
}

int reopen(int fd, int flags)
{
    char path[FD_PATH_MAX];
    fd_path(fd, path);
    int opened = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return opened < 0 ? -errno : opened;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int collect(DIR *d, struct names *names)
{
    size_t room = 0;
    for (struct dirent *e; (e = dir_next(d));) {
        if (names->count == room) {
            room = room ? room * 2 : 32;
            names->list = xreallocarray(names->list, room, sizeof *names->list);
        }
        names->list[names->count++] = xstrdup(e->d_name);
        names->bytes += strlen(e->d_name) + 1;
        if (names->bytes > ARCHIVE_DIRECTORY_MAX_BYTES)
            return -E2BIG;
    }
    return 0;
}

int names_read(int fd, struct names *ret)
{
    *ret = (struct names){ 0 };
    DIR *d = dir_open_at(fd, ".");
    if (!d)
        return -errno;
    int r = collect(d, ret);
    closedir(d);
    if (r < 0)
        names_done(ret);
    else if (ret->count)
        qsort(ret->list, ret->count, sizeof *ret->list, compare_names);
    return r;
}
