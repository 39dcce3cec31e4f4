// The one resolver of paths inside a container, volume or layer (security rule R2): a path never leaves the
// tree below root_fd, whatever links and ".." it holds, because the kernel resolves it as if root_fd were "/"
// (openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS). Kernels without openat2 get a walk component by
// component over O_PATH descriptors with the same result for a tree that nobody changes meanwhile.
// Primitives: a CLOEXEC descriptor or 0, or -errno.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

// path may be absolute or relative: both start at root_fd. flags as openat (O_PATH, O_NOFOLLOW, O_CREAT ...).
int path_open(int root_fd, const char *path, int flags, mode_t mode);
// The same by the walk; for the test that compares both.
int path_open_by_walk(int root_fd, const char *path, int flags, mode_t mode);
// mkdir -p; the O_PATH descriptor of the last directory. -ENOTDIR when a file is in the way.
int path_make_dirs(int root_fd, const char *path, mode_t mode);
// An O_PATH descriptor to mount on: what is there, or made: a directory, or an empty file (parents as well).
int path_make_target(int root_fd, const char *path, bool is_directory);
