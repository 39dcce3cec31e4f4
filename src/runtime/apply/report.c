#include "runtime/apply/apply.h"

#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct packet {
    uint32_t type;
    struct error error;
};

int report_channel(int sock[2], struct error *err)
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0
               ? error_errno(err, errno, "socketpair")
               : 0;
}

// write(2), not send(2): it works under any filter that lets a program print.
void report_error(int fd, const struct error *error)
{
    struct packet p = { .type = REPORT_ERROR, .error = *error };
    (void)!write(fd, &p, sizeof p);
}

static int report(int fd, uint32_t type, struct error *err)
{
    return write(fd, &type, sizeof type) < 0 ? error_errno(err, errno, "report to the runtime") : 0;
}

int report_ready(int fd, struct error *err)
{
    return report(fd, REPORT_READY, err);
}

int report_hooks(int fd, struct error *err)
{
    return report(fd, REPORT_HOOKS, err);
}

int report_terminal(int fd, int terminal_fd, struct error *err)
{
    uint32_t type = REPORT_TERMINAL;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { &type, sizeof type };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &terminal_fd, sizeof(int));
    return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? error_errno(err, errno, "hand the terminal over") : 0;
}

static void take_descriptor(struct msghdr *msg, int *ret_terminal_fd)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    int fd;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof(int)))
        return;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (ret_terminal_fd && *ret_terminal_fd < 0)
        *ret_terminal_fd = fd;
    else
        fd_close(fd);
}

int report_receive(int fd, int *ret_terminal_fd, struct error *err)
{
    struct packet p = { 0 };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { &p, sizeof p };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ECONNRESET)
        return error_errno(err, errno, "read the container's report");
    if (n <= 0)
        return 0;
    take_descriptor(&msg, ret_terminal_fd);
    if (p.type != REPORT_ERROR)
        return (int)p.type;
    p.error.message[ERROR_MESSAGE_MAX - 1] = 0;
    *err = p.error;
    return -1;
}

int barrier_open(int fd, struct error *err)
{
    return send(fd, "g", 1, MSG_NOSIGNAL) < 0 ? error_errno(err, errno, "release the container's process")
                                              : 0;
}

int barrier_wait(int fd, struct error *err)
{
    char c;
    ssize_t n;
    do
        n = read(fd, &c, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        return 0;
    return n < 0 ? error_errno(err, errno, "wait for the runtime")
                 : error_set(err, ERROR_CANCELLED, "the runtime has gone away");
}
