// Project quotas: a directory's tree carries a number (its project id), and the file system limits what all files of that number
// hold together. ext4 and xfs have them. Primitives: 0, or -errno.
// Source: quotactl(2), quotactl_fd (Linux 5.14), FS_IOC_FSSETXATTR in <linux/fs.h>.
//
// Past a limit a write fails with EDQUOT (ext4) or ENOSPC (xfs). ext4 lets CAP_SYS_RESOURCE of the first user namespace pass; overlayfs
// gives that right up for what is written through it. Nobody in another user namespace can change a project id.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Does the file system that fd lies on count and enforce project quotas? -ESRCH, -ENOSYS, -EOPNOTSUPP: it does not.
int quota_check(int fd);
// What the project holds and may hold, in bytes; a limit of 0 is none. A project that nobody knows holds nothing. Counts files too,
// so that a project of empty files is seen to be in use.
struct quota_usage {
    uint64_t bytes, files, limit_bytes;
};
int quota_get(int fd, uint32_t project_id, struct quota_usage *ret);
// The kernel counts in KiB: rounded up. 0 takes the limit off.
int quota_set(int fd, uint32_t project_id, uint64_t limit_bytes);

// The id of the directory dir_fd (opened for reading) and of what will be made in it. Files that are there keep theirs. 0 takes it off.
int quota_project_set(int dir_fd, uint32_t project_id);
int quota_project_get(int dir_fd, uint32_t *ret_project_id);

// The calling thread gives up, or takes back, its right to write past limits.
int quota_obey(bool obeys);
