#include "kernel/netlink/netlink.h"

#include "base/fd.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>

// An answer datagram is at most this long (the kernel sizes dump skbs by the reader's buffer, up to 32 KiB).
enum { RECEIVE_BYTES = 32768, SEND_BUFFER_BYTES = 16 << 20 };

int netlink_open(int protocol)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    // Without CAP_ACK every verdict carries the request back, and a batch of many overruns the receive
    // buffer.
    int on = 1, room = SEND_BUFFER_BYTES;
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    if (protocol == NETLINK_NETFILTER) // a batch is one datagram
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    // The kernel answers before send() returns; the limit only keeps a lost answer from hanging the engine.
    struct timeval limit = { .tv_sec = 10 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static int send_all(int fd, const void *bytes, size_t n)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t sent;
    do
        sent = sendto(fd, bytes, n, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    return (size_t)sent == n ? 0 : -EIO;
}

// Receive one datagram from the kernel itself. Bytes or -errno.
static ssize_t receive(int fd, void *bytes, size_t n)
{
    for (;;) {
        struct sockaddr_nl from = { 0 };
        socklen_t from_len = sizeof from;
        ssize_t got = recvfrom(fd, bytes, n, MSG_TRUNC, (struct sockaddr *)&from, &from_len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (from.nl_pid != 0) // another process may send to our port id; only the kernel is heard
            continue;
        return (size_t)got > n ? -EMSGSIZE : got;
    }
}

// How many verdicts will come, and the sequence number of the message that opens the batch.
static int count_acks(const void *messages, size_t n, unsigned *ret_count)
{
    const struct nlmsghdr *h = messages;
    int left = (int)n;
    unsigned count = 0;
    for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
        count += (h->nlmsg_flags & NLM_F_ACK) != 0;
    if (left != 0 || count == 0)
        return -EINVAL;
    *ret_count = count;
    return 0;
}

// The message of ours an answer is about; NULL: none, it is a late answer to an earlier request.
static const struct nlmsghdr *find_message(const void *messages, size_t n, uint32_t seq)
{
    const struct nlmsghdr *h = messages;
    int left = (int)n;
    for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
        if (h->nlmsg_seq == seq)
            return h;
    return NULL;
}

int netlink_transact(int fd, const void *messages, size_t n)
{
    _Alignas(struct nlmsghdr) char answer[4096];
    unsigned pending;
    int rc = count_acks(messages, n, &pending);
    if (rc == 0)
        rc = send_all(fd, messages, n);
    if (rc < 0)
        return rc;
    int verdict = 0;
    while (pending > 0) {
        ssize_t got = receive(fd, answer, sizeof answer);
        if (got < 0)
            return (int)got;
        int left = (int)got;
        for (const struct nlmsghdr *h = (const void *)answer; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR)
                continue; // a notification that was asked for by NLM_F_ECHO or a multicast group: not ours to
                          // judge
            if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nlmsgerr))
                return -EPROTO;
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            const struct nlmsghdr *about = find_message(messages, n, h->nlmsg_seq);
            if (about == NULL)
                continue;
            if (e->error != 0 && verdict == 0)
                verdict = e->error;
            // A refusal of a message that wanted no answer is a refusal of the batch as a whole: nothing more
            // is promised.
            if (e->error != 0 && !(about->nlmsg_flags & NLM_F_ACK))
                return verdict;
            if (pending > 0)
                pending--;
        }
    }
    return verdict;
}

int netlink_dump(int fd, const struct nlmsghdr *request,
                 int (*visit)(const struct nlmsghdr *message, void *context), void *context)
{
    _Alignas(struct nlmsghdr) char answer[RECEIVE_BYTES];
    int rc = send_all(fd, request, request->nlmsg_len);
    if (rc < 0)
        return rc;
    int verdict = 0;
    for (;;) {
        ssize_t got = receive(fd, answer, sizeof answer);
        if (got < 0)
            return (int)got;
        int left = (int)got;
        for (const struct nlmsghdr *h = (const void *)answer; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                verdict = -EINTR;
            if (h->nlmsg_type == NLMSG_DONE)
                return verdict;
            if (h->nlmsg_type == NLMSG_ERROR) {
                if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nlmsgerr))
                    return -EPROTO;
                const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
                return e->error != 0 ? e->error : verdict;
            }
            if (verdict >= 0 && (rc = visit(h, context)) < 0)
                verdict = rc; // the rest is read and dropped, so that the socket stays usable
        }
    }
}
