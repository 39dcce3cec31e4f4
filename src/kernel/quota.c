#include "kernel/quota.h"

#include "kernel/process.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LIMIT_UNIT_BYTES = 1024 };

static int call(int fd, unsigned command, uint32_t id, void *argument)
{
    return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), id, argument) < 0 ? -errno : 0;
}

int quota_check(int fd)
{
    struct fs_quota_statv state = { .qs_version = FS_QSTATV_VERSION1 };
    int r = call(fd, Q_XGETQSTATV, 0, &state);
    if (r < 0)
        return r;
    // ext4 counts, without limits, on every mount when it was made with the feature "quota".
    return state.qs_flags & FS_QUOTA_PDQ_ENFD ? 0 : -ESRCH;
}

int quota_get(int fd, uint32_t project_id, struct quota_usage *ret)
{
    struct if_dqblk block = { 0 };
    *ret = (struct quota_usage){ 0 };
    int r = call(fd, Q_GETQUOTA, project_id, &block);
    if (r == -ENOENT) // xfs has no entry before the first use
        return 0;
    if (r < 0)
        return r;
    ret->bytes = block.dqb_curspace;
    ret->files = block.dqb_curinodes;
    ret->limit_bytes = block.dqb_bhardlimit * LIMIT_UNIT_BYTES;
    return 0;
}

int quota_set(int fd, uint32_t project_id, uint64_t limit_bytes)
{
    uint64_t units = limit_bytes / LIMIT_UNIT_BYTES + (limit_bytes % LIMIT_UNIT_BYTES != 0);
    struct if_dqblk block = { .dqb_bhardlimit = units, .dqb_bsoftlimit = units, .dqb_valid = QIF_BLIMITS };
    return call(fd, Q_SETQUOTA, project_id, &block);
}

int quota_project_get(int dir_fd, uint32_t *ret_project_id)
{
    struct fsxattr attributes = { 0 };
    if (ioctl(dir_fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    *ret_project_id = attributes.fsx_projid;
    return 0;
}

int quota_project_set(int dir_fd, uint32_t project_id)
{
    struct fsxattr attributes = { 0 };
    if (ioctl(dir_fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    attributes.fsx_projid = project_id;
    if (project_id)
        attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    else
        attributes.fsx_xflags &= ~(uint32_t)FS_XFLAG_PROJINHERIT;
    return ioctl(dir_fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? -errno : 0;
}

int quota_obey(bool obeys)
{
    struct capability_sets sets;
    uint64_t right = 1ULL << CAP_SYS_RESOURCE;
    int r = capability_get(&sets);
    if (r < 0)
        return r;
    sets.effective = obeys ? sets.effective & ~right : sets.effective | (sets.permitted & right);
    return capability_set(&sets);
}
