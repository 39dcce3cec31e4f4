// Reading small files of a container's root file system from outside, without mounting it and without being
// led astray.
#pragma once

#include "base/str.h"

#include <stddef.h>

enum { ROOTFS_FILE_MAX = 4 << 20 };

// A root: directories laid over each other, the topmost first (a container's upper directory, then its
// layers), or just one.
struct rootfs {
    int *dirs; // O_PATH directories, owned
    size_t count;
};

// Add a directory at the bottom. 0 or -errno.
int rootfs_add(struct rootfs *root, const char *path);
void rootfs_done(struct rootfs *root);
// Read a regular file, following links inside the root only; a fifo, device or directory is -EINVAL, so
// nothing blocks. Whiteouts and opaque directories count as overlay has them. 0, -ENOENT, or another -errno.
int rootfs_read(const struct rootfs *root, const char *path, struct str *out);
