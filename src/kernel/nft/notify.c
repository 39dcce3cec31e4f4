// Theory of operation: the kernel tells of each element, rule and set of a transaction, then of the generation that
// begins with it. A filter on the socket lets only the last through, so that a thousand elements wake nobody a thousand
// times; its header names the socket that the transaction came from.
#include "kernel/nft/notify.h"

#include "base/fd.h"
#include "kernel/netlink/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <sys/socket.h>

enum { NOTIFICATION_BYTES = 4096 };

// The loads of a filter read network order, the header is in the host's: so the constant is swapped.
static int only_generations(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = { sizeof code / sizeof *code, code };
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

static int subscribe(int fd)
{
    int group = NFNLGRP_NFTABLES;
    struct sockaddr_nl any = { .nl_family = AF_NETLINK };
    int rc = only_generations(fd);
    if (rc < 0)
        return rc;
    // Without a port id the kernel takes a listener for the one to leave out.
    if (bind(fd, (const struct sockaddr *)&any, sizeof any) < 0)
        return -errno;
    if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
        return -errno;
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int nft_notify_open(void)
{
    int fd = netlink_open(NETLINK_NETFILTER);
    int rc = fd < 0 ? fd : subscribe(fd);
    if (rc >= 0)
        return fd;
    fd_close(fd);
    return rc;
}

int nft_notify_read(int fd, uint32_t *ret_port)
{
    _Alignas(struct nlmsghdr) char bytes[NOTIFICATION_BYTES];
    for (;;) {
        struct sockaddr_nl from = { 0 };
        socklen_t from_len = sizeof from;
        ssize_t got = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &from_len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (from.nl_pid != 0 || (size_t)got < sizeof(struct nlmsghdr)) // the kernel alone is heard
            continue;
        *ret_port = ((const struct nlmsghdr *)(const void *)bytes)->nlmsg_pid;
        return 1;
    }
}

uint32_t nft_port_id(int fd)
{
    struct sockaddr_nl own = { 0 };
    socklen_t n = sizeof own;
    return fd >= 0 && getsockname(fd, (struct sockaddr *)&own, &n) == 0 ? own.nl_pid : 0;
}
