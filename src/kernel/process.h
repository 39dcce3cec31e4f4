// Making, naming and dressing processes: clone3, pidfd, setns, capabilities, seccomp. Primitives: >= 0, or
// -errno.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// fork by clone3 with namespaces and a pidfd; 0 in the child. cgroup_fd >= 0: born in that v2 cgroup.
// Single-threaded callers only: the child shares no lock with anybody, but it is glibc's fork in nothing
// else.
pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd);
int pidfd_open(pid_t pid);
int pidfd_kill(int pidfd, int signal);
// Wait at most timeout_ms for the process to end. 1: ended, 0: not yet.
int pidfd_wait(int pidfd, int timeout_ms);

// CAP_* bits.
struct capability_sets {
    uint64_t effective, permitted, inheritable;
};
int capability_get(struct capability_sets *ret);
int capability_set(const struct capability_sets *sets);
// Drop from the bounding set what is not in keep.
int capability_bound(uint64_t keep);
// Make the ambient set this one (must be permitted and inheritable).
int capability_set_ambient(uint64_t ambient);
// Highest capability the kernel knows.
int capability_last(void);

// Load a filter (array of struct sock_filter). Needs no_new_privs or CAP_SYS_ADMIN. Source: seccomp(2).
int seccomp_load(const void *program, size_t size_bytes);
