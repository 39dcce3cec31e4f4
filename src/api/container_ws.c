// GET /containers/{name}/attach/ws. Theory of operation: the container's side is an ordinary attachment, one end of a socket
// pair that the shim takes over; the other end and the client's socket are relayed by this connection's thread, because
// somebody has to do the framing. Neither direction waits for the other: each has one buffer, and while something is in it
// its source is not read. Spec: RFC 6455; Docker sends output in binary frames, without stream headers.
#include "api/request.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/sha1.h"
#include "http/websocket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 16384, CLOSE_WAIT_MS = 2000 };
#define HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct relay {
    int client_fd;    // borrowed
    int container_fd; // our end of the pair; owned, FD_NONE: closed
    struct str in;    // from the client, not yet parsed
    struct str to_container, to_client;
    struct websocket_head frame; // under way
    uint64_t left, done;         // of its payload
    bool is_in_frame, is_in_message;
    struct str control;     // payload of a control frame
    bool discards_input;    // the container takes none
    bool is_closing;        // our close frame is queued or sent
    bool has_client_closed; // so is the client's
};

static void send_frame(struct relay *relay, enum websocket_opcode opcode, const void *bytes, size_t n)
{
    uint8_t head[WEBSOCKET_HEAD_MAX];
    str_append_n(&relay->to_client, head, websocket_head_write(opcode, n, head));
    str_append_n(&relay->to_client, bytes, n);
}

static void send_close(struct relay *relay, enum websocket_close code)
{
    const uint8_t payload[] = { (uint8_t)(code >> 8), (uint8_t)code };
    if (!relay->is_closing)
        send_frame(relay, WEBSOCKET_CLOSE, payload, sizeof payload);
    relay->is_closing = true;
}

static void end_control(struct relay *relay)
{
    if (relay->frame.opcode == WEBSOCKET_PING && !relay->is_closing)
        send_frame(relay, WEBSOCKET_PONG, relay->control.ptr, relay->control.len);
    if (relay->frame.opcode == WEBSOCKET_CLOSE) {
        send_close(relay, WEBSOCKET_CLOSE_NORMAL);
        relay->has_client_closed = true;
    }
    str_clear(&relay->control);
}

// A client masks what it sends, and a message is one frame or a first one with continuations.
static bool begin_frame(struct relay *relay)
{
    const struct websocket_head *f = &relay->frame;
    bool is_control = f->opcode >= WEBSOCKET_CLOSE;
    if (!f->is_masked || (!is_control && relay->is_in_message != (f->opcode == WEBSOCKET_CONTINUATION)))
        return false;
    if (!is_control)
        relay->is_in_message = !f->is_final;
    relay->is_in_frame = true;
    relay->left = f->size;
    relay->done = 0;
    return true;
}

// Take frames, or parts of them, out of relay->in. False: the client broke the protocol.
static bool parse_input(struct relay *relay)
{
    size_t at = 0;
    bool is_fine = true;
    while (is_fine && !relay->has_client_closed &&
           (at < relay->in.len || (relay->is_in_frame && !relay->left))) {
        if (!relay->is_in_frame) {
            int used =
                websocket_head_parse((const uint8_t *)relay->in.ptr + at, relay->in.len - at, &relay->frame);
            if (used == 0)
                break;
            is_fine = used > 0 && begin_frame(relay);
            at += used > 0 ? (size_t)used : 0;
            continue;
        }
        size_t n = relay->in.len - at < relay->left ? relay->in.len - at : (size_t)relay->left;
        bool is_control = relay->frame.opcode >= WEBSOCKET_CLOSE;
        websocket_mask((uint8_t *)relay->in.ptr + at, n, relay->frame.mask, relay->done);
        if (is_control || !relay->discards_input)
            str_append_n(is_control ? &relay->control : &relay->to_container, relay->in.ptr + at, n);
        at += n;
        relay->left -= n;
        relay->done += n;
        if (relay->left == 0) {
            relay->is_in_frame = false;
            if (is_control)
                end_control(relay);
        }
    }
    str_consume(&relay->in, at);
    return is_fine;
}

// 1: moved something, or would block; 0: the end; negative: broken.
static int receive(int fd, struct str *into)
{
    ssize_t n = recv(fd, str_reserve(into, CHUNK), CHUNK, MSG_DONTWAIT);
    if (n > 0)
        str_added(into, (size_t)n);
    return n > 0 ? 1 : n == 0 ? 0 : errno == EAGAIN || errno == EINTR ? 1 : -errno;
}

static int flush(int fd, struct str *from)
{
    ssize_t n = send(fd, from->ptr, from->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        str_consume(from, (size_t)n);
    return n >= 0 || errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void read_container(struct relay *relay)
{
    CLEANUP(str_done) struct str output = STR_INIT;
    int r = receive(relay->container_fd, &output);
    if (output.len)
        send_frame(relay, WEBSOCKET_BINARY, output.ptr, output.len);
    if (r <= 0) {
        relay->container_fd = fd_close(relay->container_fd);
        send_close(relay, WEBSOCKET_CLOSE_NORMAL);
    }
}

// False: the client is gone.
static bool read_client(struct relay *relay)
{
    if (receive(relay->client_fd, &relay->in) <= 0)
        return false;
    if (!parse_input(relay)) {
        send_close(relay, WEBSOCKET_CLOSE_PROTOCOL);
        relay->has_client_closed = true; // nothing more is read from it
    }
    if (relay->has_client_closed)
        relay->container_fd = fd_close(relay->container_fd);
    return true;
}

static short wanted(bool reads, bool writes)
{
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

// One round. False: it is over.
static bool relay_once(struct relay *relay)
{
    bool is_over = relay->has_client_closed && relay->to_client.len == 0;
    if (is_over)
        return false;
    // A client that is not read, because the container is slow, is heard to leave all the same.
    bool reads_client = !relay->has_client_closed && relay->to_container.len == 0;
    struct pollfd p[] = {
        { .fd = relay->client_fd,
          .events = (short)(wanted(reads_client, relay->to_client.len > 0) | POLLRDHUP) },
        { .fd = relay->container_fd,
          .events = wanted(relay->to_client.len == 0, relay->to_container.len > 0) },
    };
    int n = poll(p, 2, relay->is_closing ? CLOSE_WAIT_MS : -1);
    if (n == 0 || (n < 0 && errno != EINTR))
        return false;
    if (p[0].revents & POLLOUT && flush(relay->client_fd, &relay->to_client) < 0)
        return false;
    if (p[1].revents & POLLOUT && flush(relay->container_fd, &relay->to_container) < 0)
        str_clear(&relay->to_container); // its input is closed
    if (p[1].revents & (POLLIN | POLLHUP | POLLERR) && relay->to_client.len == 0)
        read_container(relay);
    if (reads_client && p[0].revents & (POLLIN | POLLHUP | POLLERR))
        return read_client(relay);
    return reads_client || !(p[0].revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void run_relay(struct relay *relay)
{
    bool goes_on = parse_input(relay);
    if (!goes_on)
        send_close(relay, WEBSOCKET_CLOSE_PROTOCOL);
    while (relay_once(relay))
        if (relay->container_fd < 0)
            str_clear(&relay->to_container);
    fd_close(relay->container_fd);
    str_done(&relay->in);
    str_done(&relay->to_container);
    str_done(&relay->to_client);
    str_done(&relay->control);
}

// --- handshake
static int check_handshake(struct request *request, struct error *err)
{
    const char *upgrade = http_exchange_header(request->http, "Upgrade");
    const char *version = http_exchange_header(request->http, "Sec-WebSocket-Version");
    const char *key = http_exchange_header(request->http, "Sec-WebSocket-Key");
    CLEANUP(str_done) struct str nonce = STR_INIT;
    if (!upgrade || strcasecmp(upgrade, "websocket") != 0)
        return error_set(err, ERROR_INVALID, "not websocket protocol");
    if (!streq(version, "13"))
        return error_set(err, ERROR_INVALID, "missing or bad WebSocket Version: 13 is wanted");
    if (!key || !base64_decode(&nonce, key) || nonce.len != 16)
        return error_set(err, ERROR_INVALID, "mismatch challenge/response: bad Sec-WebSocket-Key");
    return 0;
}

struct ws_answer {
    struct request *request;
    struct relay relay;
    int shim_fd; // the end that goes to the shim
};

static int answer(void *context, struct container_attach *attach, int *ret_socket, struct error *err)
{
    struct ws_answer *a = context;
    struct http_exchange *http = a->request->http;
    (void)attach;
    int pair[2];
    uint8_t digest[SHA1_SIZE];
    CLEANUP(str_done) struct str accept = STR_INIT;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make a socket pair");
    a->shim_fd = pair[0];
    a->relay.container_fd = pair[1];
    CLEANUP(cleanup_free)
    char *challenge = xasprintf("%s" HANDSHAKE_GUID, http_exchange_header(http, "Sec-WebSocket-Key"));
    sha1(challenge, strlen(challenge), digest);
    base64_encode(&accept, digest, sizeof digest, false);
    http_exchange_add_header(http, "Sec-WebSocket-Accept", accept.ptr);
    if (http_upgrade(http, "websocket", &a->relay.in) < 0)
        return error_set(err, ERROR_CANCELLED, "the client is gone");
    a->relay.client_fd = http_exchange_fd(http);
    *ret_socket = a->shim_fd;
    return 0;
}

int api_container_attach_ws(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    CLEANUP(cleanup_free) char *detach_keys = NULL;
    struct container_attach attach;
    request_attach(request, &attach, &detach_keys);
    attach.is_raw = true;
    if (check_handshake(request, err) < 0 ||
        container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    struct ws_answer a = { .request = request,
                           .shim_fd = FD_NONE,
                           .relay = { .client_fd = FD_NONE, .container_fd = FD_NONE } };
    a.relay.in = a.relay.to_container = a.relay.to_client = a.relay.control = STR_INIT;
    a.relay.discards_input = !attach.wants_stdin || !info->has_stdin;
    int r = container_attach(request->engine->containers, info->id, &attach, answer, &a, err);
    fd_close(a.shim_fd);
    if (r < 0 && a.relay.client_fd < 0) {
        fd_close(a.relay.container_fd);
        return r;
    }
    if (r < 0) {
        send_frame(&a.relay, WEBSOCKET_BINARY, err->message, strlen(err->message));
        send_close(&a.relay, WEBSOCKET_CLOSE_INTERNAL);
    }
    run_relay(&a.relay);
    return 0;
}

int api_container_checkpoint(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    if (container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    return error_set(err, ERROR_UNSUPPORTED, "checkpoints are not offered by this version of skiff");
}
