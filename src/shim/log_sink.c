// Theory of operation. The socket is non-blocking, its connecting too. A message goes out at once when nothing waits;
// otherwise it joins the queue, which the loop empties when the socket has room. How full the queue may become is the
// mode's choice: in blocking mode a full queue makes the monitor stop reading the container's output (the container then waits
// for its log, as in Docker); in non-blocking mode a message that finds it full is dropped. A peer that went away is tried
// again once a second. TLS is another program's affair (log_relay.c): to us it is a stream socket like the others.
#include "shim/log_sink.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "shim/log_relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const int64_t RETRY_NS = NS_PER_S;

void log_sink_init(struct log_sink *sink, const struct shim_log_options *options)
{
    *sink = (struct log_sink){ .address = options->address,
                               .tls = &options->tls,
                               .drops_when_full = options->is_nonblocking,
                               .queue_max = options->is_nonblocking ? (size_t)options->max_buffer_bytes
                                                                    : LOG_SINK_QUEUE_MAX,
                               .watch = WATCH_NONE };
    str_init(&sink->queue, 0);
}

static void disconnect(struct log_sink *sink)
{
    if (sink->loop)
        loop_close(sink->loop, &sink->watch);
    else
        sink->watch.fd = fd_close(sink->watch.fd);
    sink->is_connecting = false;
    sink->sent = 0; // the next connection gets the whole message
    sink->retry_ns = time_monotonic_ns() + RETRY_NS;
}

void log_sink_done(struct log_sink *sink)
{
    disconnect(sink);
    str_done(&sink->queue);
}

// --- connecting
static socklen_t unix_address(const char *path, struct sockaddr_storage *ret)
{
    struct sockaddr_un *un = (struct sockaddr_un *)ret;
    size_t n = strlen(path);
    if (n >= sizeof un->sun_path)
        return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    return (socklen_t)sizeof *un;
}

// "192.0.2.1:514", "[2001:db8::1]:514": names were resolved before.
static socklen_t inet_address(const char *text, struct sockaddr_storage *ret)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    const char *colon = strrchr(text, ':');
    uint32_t port;
    if (!colon || !parse_u32(colon + 1, UINT16_MAX, &port))
        return 0;
    bool is_bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    char *host CLEANUP(cleanup_free) =
        xstrndup(text + is_bracketed, (size_t)(colon - text) - 2u * is_bracketed);
    if (!is_bracketed && inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        return (socklen_t)sizeof *in;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
        return 0;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    return (socklen_t)sizeof *in6;
}

// 0, or -errno; -EINPROGRESS counts as 0 with is_connecting set.
static int connect_as(struct log_sink *sink, int type, const struct sockaddr_storage *address, socklen_t size)
{
    int fd CLEANUP(cleanup_close) = socket(address->ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, size) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        sink->is_connecting = true;
    }
    sink->is_stream = type == SOCK_STREAM;
    sink->watch.fd = TAKE_FD(fd);
    sink->retry_ns = 0;
    return 0;
}

// One that ends at once is not started for each message.
static int connect_relay(struct log_sink *sink)
{
    int64_t now = time_monotonic_ns();
    if (sink->relay_ns && now < sink->relay_ns + RETRY_NS)
        return -EAGAIN;
    sink->relay_ns = now;
    int fd = log_relay_start(sink->address + strlen("tls:"), sink->tls);
    if (fd < 0)
        return fd;
    sink->is_stream = true;
    sink->watch.fd = fd;
    sink->retry_ns = 0;
    return 0;
}

static int connect_now(struct log_sink *sink)
{
    struct sockaddr_storage address = { 0 };
    const char *rest = strchr(sink->address, ':');
    if (!rest)
        return -EINVAL;
    if (str_has_prefix(sink->address, "tls:"))
        return connect_relay(sink);
    rest++;
    bool is_unix = str_has_prefix(sink->address, "unix:");
    socklen_t size = is_unix ? unix_address(rest, &address) : inet_address(rest, &address);
    if (size == 0)
        return -EINVAL;
    int r =
        connect_as(sink, str_has_prefix(sink->address, "tcp:") ? SOCK_STREAM : SOCK_DGRAM, &address, size);
    if (r == -EPROTOTYPE && is_unix)
        r = connect_as(sink, SOCK_STREAM, &address, size);
    return r;
}

static void socket_ready(struct watch *watch, uint32_t events)
{
    struct log_sink *sink = watch->owner;
    int problem = 0;
    socklen_t size = sizeof problem;
    bool was_congested = log_sink_is_congested(sink);
    if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem != 0 && sink->is_stream)
        disconnect(sink);
    else if (events & (EPOLLHUP | EPOLLRDHUP))
        disconnect(sink);
    else if (events & EPOLLOUT)
        sink->is_connecting = false;
    log_sink_push(sink);
    if (was_congested && !log_sink_is_congested(sink) && sink->on_room)
        sink->on_room(sink->context);
}

static void open_socket(struct log_sink *sink)
{
    if (connect_now(sink) < 0) {
        sink->retry_ns = (sink->relay_ns ? sink->relay_ns : time_monotonic_ns()) + RETRY_NS;
        return;
    }
    sink->watch = watch_for(sink->watch.fd, socket_ready, sink);
}

void log_sink_listen(struct log_sink *sink, struct loop *loop, void (*on_room)(void *context), void *context)
{
    sink->loop = loop;
    sink->on_room = on_room;
    sink->context = context;
}

// --- sending
// 1: sent; 0: no room now; -1: not to be sent (dropped), or the peer is gone (then the socket is closed).
static int send_one(struct log_sink *sink, const char *bytes, size_t n)
{
    ssize_t r = send(sink->watch.fd, bytes + sink->sent, n - sink->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r >= 0 && sink->is_stream) {
        sink->sent += (size_t)r;
        if (sink->sent < n)
            return 0;
        sink->sent = 0;
        return 1;
    }
    if (r >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return 0;
    // A datagram that is too long, or that nobody listens for on the other host, is lost; that is UDP.
    if (!sink->is_stream && (errno == EMSGSIZE || !str_has_prefix(sink->address, "unix:"))) {
        sink->dropped_count++;
        return 1;
    }
    disconnect(sink);
    return -1;
}

static bool is_open(const struct log_sink *sink)
{
    return sink->watch.fd >= 0 && !sink->is_connecting;
}

void log_sink_push(struct log_sink *sink)
{
    if (sink->watch.fd < 0 && (sink->retry_ns == 0 || time_monotonic_ns() >= sink->retry_ns))
        open_socket(sink);
    size_t used = 0;
    while (is_open(sink) && used < sink->queue.len) {
        uint32_t size;
        memcpy(&size, sink->queue.ptr + used, sizeof size);
        if (send_one(sink, sink->queue.ptr + used + sizeof size, size) <= 0)
            break;
        used += sizeof size + size;
    }
    str_consume(&sink->queue, used);
    if (sink->queue.len == 0) {
        str_done(&sink->queue);
        if (sink->watch.fd < 0)
            sink->retry_ns = 0; // the next message tries
    }
    if (sink->loop && sink->watch.fd >= 0)
        loop_ask(sink->loop, &sink->watch, sink->queue.len > 0 || sink->is_connecting ? EPOLLOUT : 0);
}

void log_sink_add(struct log_sink *sink, const char *bytes, size_t n)
{
    if (sink->queue.len == 0) {
        if (sink->watch.fd < 0)
            log_sink_push(sink);
        if (is_open(sink) && send_one(sink, bytes, n) > 0)
            return;
    }
    bool is_full = sink->queue.len + n > sink->queue_max;
    if (is_full && (sink->drops_when_full || !is_open(sink)) && !(sink->queue.len == 0 && sink->sent > 0)) {
        sink->dropped_count++;
        return;
    }
    uint32_t size = (uint32_t)n;
    str_append_n(&sink->queue, &size, sizeof size);
    str_append_n(&sink->queue, bytes, n);
    log_sink_push(sink);
}

bool log_sink_is_congested(const struct log_sink *sink)
{
    return !sink->drops_when_full && is_open(sink) && sink->queue.len > sink->queue_max;
}
