// The names in a directory, in byte order.
#pragma once

#include <stddef.h>

struct names {
    char **list;
    size_t count, bytes;
};
void names_done(struct names *names);

// Of the directory behind a descriptor (O_PATH will do), "." and ".." left out. -E2BIG past ARCHIVE_DIRECTORY_MAX_BYTES;
// -ENOTDIR; 0.
int names_read(int fd, struct names *ret);
// Open what an O_PATH descriptor stands for, without blocking and without becoming a terminal's process. -errno.
int reopen(int fd, int flags);
