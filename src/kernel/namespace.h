// Mount namespaces seen from outside. Source: setns(2), mount_namespaces(7), open_tree(2).
#pragma once

#include <stdbool.h>

// Run `work` on a thread of its own that shares neither root, current directory nor umask with the process, and may so enter
// a mount namespace; it ends with the work, so that nothing else ever runs there. What work returns, or -errno.
int thread_run_aside(int (*work)(void *context), void *context);

// The root directory of the mount namespace that a process is in, as an O_PATH descriptor: of the namespace, not of the
// process, which may have changed its own by chroot. is_bare: a detached copy of the root mount without what is mounted
// below it. pidfd: of a process that has not been reaped. The descriptor or -errno.
int mount_namespace_root(int pidfd, bool is_bare);
