// File descriptors: `int` with -EBADF for "none", CLOEXEC from birth, closed by scope.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#define FD_NONE (-EBADF)

// Close fd when it is one, keep errno, return FD_NONE: `fd = fd_close(fd)`.
int fd_close(int fd);
// For CLEANUP(cleanup_close).
void cleanup_close(int *fd);

// Hand an owned descriptor on: yields it and leaves FD_NONE behind.
#define TAKE_FD(fd)          \
    ({                       \
        int take_fd_ = (fd); \
        (fd) = FD_NONE;      \
        take_fd_;            \
    })

// Write all of it (EINTR and short writes handled; SIGPIPE is the caller's business). 0 or -errno.
int fd_write_all(int fd, const void *bytes, size_t n);
// Read until n bytes or end of file. Bytes read, or -errno.
ssize_t fd_read_full(int fd, void *bytes, size_t n);
// The same at an offset of a file.
int fd_write_all_at(int fd, const void *bytes, size_t n, off_t offset);
// The name in /proc by which calls that take no descriptor reach an O_PATH one's object, be it a link.
enum { FD_PATH_MAX = 32 };
void fd_path(int fd, char path[static FD_PATH_MAX]);
// Set or clear O_NONBLOCK. 0 or -errno.
int fd_set_nonblock(int fd, int on);
// A sealed (read-only) memfd holding these bytes, offset 0. The descriptor, or -errno.
int fd_from_bytes(const char *name, const void *bytes, size_t n);
