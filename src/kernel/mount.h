// The mount system calls that work on descriptors (fsopen family, open_tree, move_mount, mount_setattr).
// Mount trees are built detached, where nobody can see or race them, and attached by descriptor. Primitives:
// a descriptor or 0, or -errno. Descriptors are CLOEXEC. Source: mount_setattr(2), fsopen(2), kernel 5.12.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// A file system context. The options follow with mount_config; mount_create makes the superblock.
int mount_open_fs(const char *type);
// key=value; value NULL: a flag. value_fd >= 0 hands the descriptor over instead of a text.
int mount_config(int context_fd, const char *key, const char *value);
int mount_config_fd(int context_fd, const char *key, int value_fd);
int mount_create(int context_fd);
// The detached mount of a created context. attributes: MOUNT_ATTR_*.
int mount_take(int context_fd, uint64_t attributes);
// What the file system had to say about the last failure ("overlay: ..."), or "". text is NUL-terminated.
void mount_message(int context_fd, char *text, int size);

// A detached copy of the mount at path (with all below it when is_recursive).
int mount_clone(int dirfd, const char *path, bool is_recursive);
// Attach a detached mount on the object that target_fd is (O_PATH).
int mount_attach(int mount_fd, int target_fd);
// Change attributes of the mount that path (or dirfd itself with "") lies on. propagation: MS_SLAVE etc. or
// 0.
int mount_set(int dirfd, const char *path, bool is_recursive, uint64_t set, uint64_t clear,
              uint64_t propagation);
// A detached clone of the mount at `path` as process `pid` sees it, from that process's mount namespace. No link on the way is
// followed. Single-threaded callers only: for the moment the caller is in that namespace (and comes back to "/"; where that
// fails the process is aborted, because it would go on among another's files).
int mount_clone_of(pid_t pid, const char *path);
// Map ids of a detached mount by the user namespace. -EINVAL / -EPERM: the file system cannot.
int mount_set_idmap(int mount_fd, bool is_recursive, int userns_fd);
// Which mount the object lies on (as /proc/PID/mountinfo numbers them, unique over all namespaces), and whether it is that
// mount's root. path "": dirfd itself. flags: AT_SYMLINK_NOFOLLOW or 0. Source: statx(2), kernel 5.8.
int mount_identify(int dirfd, const char *path, int flags, uint64_t *ret_id, bool *ret_is_root);
