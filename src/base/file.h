// Small files and directories, whole operations.
#pragma once

#include "base/str.h"

#include <dirent.h>
#include <sys/types.h>

// Read a whole file below dirfd (AT_FDCWD for a plain path) into *out (appended). Refuses more than max bytes (-EFBIG)
// and anything but a regular file or a /proc-like pseudo file (-EINVAL for fifos and devices). 0 or -errno.
int file_read_at(int dirfd, const char *path, size_t max, struct str *out);
// Read all of an open descriptor, at most max bytes (-EFBIG). 0 or -errno.
int file_read_fd(int fd, size_t max, struct str *out);
// Write text to an existing file in one write(2), as cgroup and sysctl files want it. 0 or -errno.
int file_write_existing_at(int dirfd, const char *path, const char *text);
// Replace path by a new file with these bytes: temporary name in the same folder, then rename. No fsync unless
// `durable` (then file and folder are synced). 0 or -errno.
int file_replace_at(int dirfd, const char *path, mode_t mode, const void *bytes, size_t n, bool durable);
// The directory that holds path, for its locks and syncs. The descriptor or -errno.
int dir_open_parent(int dirfd, const char *path);
// For the names in a directory, which is no link; "." lists dirfd itself, be it an O_PATH one. NULL with errno set.
DIR *dir_open_at(int dirfd, const char *name);
// The next name but "." and ".."; NULL at the end (errno 0) or with errno set.
struct dirent *dir_next(DIR *dir);
// mkdir -p below an absolute or relative path. 0 or -errno.
int dir_make_all(const char *path, mode_t mode);
// rm -rf of `name` in dirfd, never following a link, never crossing into another mount. Missing is success. 0 or -errno.
int dir_remove_all_at(int dirfd, const char *name);
