#include "base/fd.h"
#include "shimproto/shimproto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int shimproto_send(int socket, const struct shim_message *message, const int *fds, size_t fd_count)
{
    uint8_t packet[SHIM_PACKET_MAX];
    if (fd_count > SHIM_FDS_MAX)
        return -EMSGSIZE;
    ssize_t size = shimproto_encode(message, packet);
    if (size < 0)
        return (int)size;
    struct iovec iov = { .iov_base = packet, .iov_len = (size_t)size };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
    } control = { 0 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd_count > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &msg, MSG_NOSIGNAL);
        if (sent >= 0)
            return 0;
        if (errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
    }
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fds[i] = fd_close(fds[i]);
}

// Descriptors out of the control messages; a count past SHIM_FDS_MAX cannot occur, the buffer has no room for
// it.
static size_t take_fds(struct msghdr *msg, int fds[static SHIM_FDS_MAX])
{
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < SHIM_FDS_MAX)
                fds[count++] = fd;
            else
                fd_close(fd);
        }
    }
    return count;
}

int shimproto_receive(int socket, struct shim_message *message, int fds[static SHIM_FDS_MAX],
                      size_t *ret_fd_count)
{
    uint8_t packet[SHIM_PACKET_MAX];
    struct iovec iov = { .iov_base = packet, .iov_len = sizeof(packet) };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(SHIM_FDS_MAX * sizeof(int))];
    } control = { 0 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n;
    bool was_reset = false;
    for (;;) {
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
        // A peer that closed with packets of ours unread is told of first, once; what it said before that still waits.
        bool is_first_reset = n < 0 && errno == ECONNRESET && !was_reset;
        was_reset |= is_first_reset;
        if (n >= 0 || (errno != EINTR && !is_first_reset))
            break;
    }
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    int received[SHIM_FDS_MAX];
    size_t count = take_fds(&msg, received);
    // An empty packet cannot be told from the end of the conversation, and the codec never makes one.
    if (n == 0 && count == 0)
        return 0;
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || shimproto_decode(packet, (size_t)n, message) < 0) {
        close_all(received, count);
        return -EPROTO;
    }
    memcpy(fds, received, count * sizeof(int));
    *ret_fd_count = count;
    return 1;
}

// A unix address for any path: one that is too long for sun_path is reached through its folder's descriptor,
// which the caller closes after use. 0 or -errno.
static int address_for(const char *path, struct sockaddr_un *address, int *ret_dir)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    *ret_dir = FD_NONE;
    size_t n = strlen(path);
    if (n == 0)
        return -EINVAL;
    if (n < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, n + 1);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char folder[4096];
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = 0;
    int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int written =
        snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir, slash + 1);
    if (written < 0 || (size_t)written >= sizeof(address->sun_path)) {
        fd_close(dir);
        return -ENAMETOOLONG;
    }
    *ret_dir = dir;
    return 0;
}

int shimproto_listen(const char *path)
{
    struct sockaddr_un address;
    int dir;
    int r = address_for(path, &address, &dir);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The mode of the socket's inode before bind is the mode of the file: there is no moment at which others
    // get in.
    if (fd < 0 || fchmod(fd, 0600) < 0)
        r = -errno;
    else if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        r = -errno;
        // A file left behind by a shim that was killed; two live shims never share a path.
        if (r == -EADDRINUSE && unlink(address.sun_path) == 0)
            r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    }
    if (r == 0 && listen(fd, 64) < 0)
        r = -errno;
    fd_close(dir);
    if (r < 0) {
        fd_close(fd);
        return r;
    }
    return fd;
}

int shimproto_connect(const char *path)
{
    struct sockaddr_un address;
    int dir;
    int r = address_for(path, &address, &dir);
    if (r < 0)
        return r;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    fd_close(dir);
    if (r < 0) {
        fd_close(fd);
        return r;
    }
    return fd;
}
