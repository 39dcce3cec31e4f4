// What the checks of project quotas ask the kernel, past skiff. In the virtual machine; linked statically.
//   get PATH            its project id
//   set PATH ID         give it that id; says why not
//   limit DIR ID KIB    a limit of somebody else's
//   limits DIR          the ids that have a limit, one a line
//   used DIR            bytes used on its file system
#include <errno.h>
#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static long quota(int fd, unsigned command, unsigned id, void *argument)
{
    return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), id, argument);
}

static int list_limits(int fd)
{
    struct if_nextdqblk block;
    for (unsigned id = 1; quota(fd, Q_GETNEXTQUOTA, id, &block) == 0; id = block.dqb_id + 1)
        if (block.dqb_bhardlimit)
            printf("%u\n", block.dqb_id);
    return errno == ENOENT ? 0 : fail("Q_GETNEXTQUOTA");
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    int fd = argc > 2 ? open(argv[2], O_RDONLY) : -1;
    struct fsxattr attributes;
    struct statvfs st;
    if (fd < 0)
        return fail("open");
    if (strcmp(verb, "limits") == 0)
        return list_limits(fd);
    if (strcmp(verb, "used") == 0 && syncfs(fd) == 0 && fstatvfs(fd, &st) == 0)
        return printf("%llu\n", (unsigned long long)(st.f_blocks - st.f_bfree) * st.f_frsize) < 0;
    if (strcmp(verb, "limit") == 0 && argc > 4) {
        struct if_dqblk block = { .dqb_bhardlimit = strtoull(argv[4], NULL, 10), .dqb_valid = QIF_BLIMITS };
        return quota(fd, Q_SETQUOTA, (unsigned)strtoul(argv[3], NULL, 10), &block) < 0 ? fail("limit") : 0;
    }
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
        return fail("FS_IOC_FSGETXATTR");
    if (strcmp(verb, "get") == 0)
        return printf("%u\n", attributes.fsx_projid) < 0;
    attributes.fsx_projid = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 ? fail("FS_IOC_FSSETXATTR") : 0;
}
