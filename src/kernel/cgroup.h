// Cgroup directories, version 1 and 2. Paths are relative to a descriptor of /sys/fs/cgroup. Primitives: >=
// 0, or -errno. Source: Documentation/admin-guide/cgroup-v1, cgroup-v2.rst.
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Descriptor of /sys/fs/cgroup; *ret_is_v2: it is the v2 hierarchy itself (else a tmpfs with v1 hierarchies
// in it).
int cgroup_open_base(bool *ret_is_v2);
// mkdir of "<top>/<path>" with its parents, where <top> (a v1 hierarchy, or "" on v2) must exist: -ENOENT
// when not. Existing directories are fine.
int cgroup_make(int base_fd, const char *top, const char *path);
// v2: enable the named controllers for the children of every ancestor of path; those that the kernel does not
// offer are passed over.
int cgroup_enable_controllers(int base_fd, const char *path, const char *const *controllers);
// v1 cpuset: an empty set cannot hold a process, so ancestors and the directory get their parent's cpus and
// mems.
int cgroup_inherit_cpuset(int base_fd, const char *path);
// Write one file below dir. 0 or -errno.
int cgroup_write(int base_fd, const char *directory, const char *file, const char *value);
// Send SIGKILL to every process in it (not recursive). Number of processes found.
int cgroup_kill(int base_fd, const char *directory);
// rmdir. -EBUSY while a process is in it; missing is success.
int cgroup_remove(int base_fd, const char *directory);

// v2 device rules as BPF. One rule: type 'a' (any), 'b', 'c'; major/minor -1: any; access: bit mask below.
enum { CGROUP_DEVICE_MKNOD = 1, CGROUP_DEVICE_READ = 2, CGROUP_DEVICE_WRITE = 4 };
struct cgroup_device_rule {
    bool is_allow;
    char type;
    int64_t major, minor;
    unsigned access;
};
// Later rules override earlier ones; what no rule names is denied. Attached to the cgroup for good.
int cgroup_attach_device_rules(int cgroup_fd, const struct cgroup_device_rule *rules, size_t count);
// The same in the place of the program that is attached, at once: there is no moment without rules. Kernel 5.6. -EBUSY: somebody
// else has attached programs to this cgroup.
int cgroup_replace_device_rules(int cgroup_fd, const struct cgroup_device_rule *rules, size_t count);
