// Overlay file systems out of directories that are named below one descriptor. Primitive: 0 or -errno.
// Source: Documentation/filesystems/overlayfs.rst.
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

// Does it stand for nothing, over whatever lower layers have there?
bool overlay_is_whiteout(const struct stat *st);

// Configure and create the superblock of an overlay context (mount_open_fs("overlay")); mount_take then gives the mount.
// lower: strv of paths relative to layers_fd, the topmost first; without an upper directory at least two of them.
// upper_fd: the directory that holds "upper" and "work"; FD_NONE: nothing can be written.
// On kernels before 6.7 the calling thread's current directory changes meanwhile, and some sixty layers are the most.
int overlay_create(int context_fd, int layers_fd, char *const *lower, int upper_fd, bool is_volatile);

// A detached, read-only overlay of the directories lower[i] below `parent` (topmost first, two at least): the root that a container
// made of them would see. Nothing is mounted in any mount namespace; the view ends with its descriptor. No thread's current
// directory changes. A CLOEXEC descriptor of the root, or -errno.
int overlay_open_view(const char *parent, char *const *lower);
// The same in the way of kernels before 6.7; for the test that compares both.
int overlay_open_view_by_one_option(const char *parent, char *const *lower);
