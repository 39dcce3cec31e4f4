// Theory of operation
//
// The thread that calls http_server_run accepts; every connection gets a detached thread with a small stack that reads
// a head, calls the handler, and goes on to the next request. There is no other machinery: blocking is the design. A thread
// whose connection has ended waits a moment for the next one, because clients come in bursts of short connections.
//
//  1. A connection is in the server's list from accept until its thread has let go of the socket, so that stopping can
//     shut idle ones at once and, after the grace, the busy ones too (a shut socket makes every blocked read, write and
//     poll of a handler return).
//  2. The server is freed by whoever leaves last: http_server_free or the last connection thread.
//  3. Framing errors end the connection after a 400; so does a body the handler left unread past DRAIN_MAX. Then the
//     connection lingers: a client that is still sending reads the answer only if its writes do not fail first.
//  4. A detached connection (http_reply_detached) has lost its thread to whoever has the stream; stopping does not wait for it,
//     and it may outlive http_server_free.
//  5. Writing never raises SIGPIPE; after a failed write the connection ends and the handler's writer says -EPIPE.
#include "http/server.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    // Address space; only pages that are touched count. Walks of a container's tree take a level of stack for a level of it, 512 of
    // them and less than 1 kB each. Below 2 MB, so that no huge page comes.
    STACK_SIZE = 1024 * 1024,
    READ_AHEAD = 4096,
    DRAIN_MAX = 1 << 20,
    HEAD_TIMEOUT_S = 60, // a connection that begins a head must end it; idle ones may wait for ever
    SHUT_WAIT_MS = 2000,
    LINGER_MS = 2000,
    SPARE_THREADS_MAX = 4,
    SPARE_WAIT_MS = 100,
};

struct connection {
    struct http_server *server;
    struct connection *next, *previous;
    int fd;       // FD_NONE once given away
    bool is_idle; // between requests, or detached
    bool is_detached;
    struct connection *next_waiting;
};

struct http_server {
    struct http_handler handler;
    unsigned max_connections;
    pthread_mutex_t lock; // guards everything below and every connection's fd and is_idle
    pthread_cond_t changed;
    struct connection *first;
    unsigned count, holders; // holders: connection threads, connections and the owner
    unsigned detached_count; // of count: connections that have no thread
    bool is_stopping;
    bool wants_room;            // the acceptor waits for a connection to end
    int room_fd;                // eventfd: one has
    struct connection *waiting; // for the threads that have none
    unsigned spare_threads, waiting_count;
    pthread_cond_t given;
};

struct http_exchange {
    struct connection *connection;
    int fd; // FD_NONE after hijack
    struct http_input *input;
    struct http_head head;
    struct http_body body;
    char *path, *query;
    struct str headers; // "Name: value\r\n"..., for the answer
    bool is_answered, wants_continue, is_keep_alive, is_chunked;
    bool is_detached; // the connection is another's now: not to be touched
    int write_error;  // -errno of the first failed write
};

int http_server_new(struct http_handler handler, unsigned max_connections, struct http_server **ret)
{
    struct http_server *server = NEW(struct http_server);
    server->handler = handler;
    server->max_connections = max_connections;
    server->holders = 1;
    server->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->room_fd < 0) {
        int e = -errno;
        free(server);
        return e;
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attributes);
    pthread_cond_init(&server->given, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret = server;
    return 0;
}

// Called with the lock held; releases it.
static void unlock_and_unref(struct http_server *server)
{
    bool is_last = --server->holders == 0;
    pthread_mutex_unlock(&server->lock);
    if (!is_last)
        return;
    pthread_cond_destroy(&server->changed);
    pthread_cond_destroy(&server->given);
    pthread_mutex_destroy(&server->lock);
    fd_close(server->room_fd);
    free(server);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->lock);
    unlock_and_unref(server);
}

// --- writing

// Everything in iov (changed by the call), without SIGPIPE. 0 or -errno.
static int send_all(int fd, struct iovec *iov, size_t count)
{
    while (count) {
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        while (count && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            count--;
        }
        if (count) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int exchange_send(struct http_exchange *exchange, struct iovec *iov, size_t count)
{
    if (!exchange->write_error)
        exchange->write_error = exchange->fd < 0 ? -EPIPE : send_all(exchange->fd, iov, count);
    return exchange->write_error;
}

static struct iovec piece(const void *bytes, size_t n)
{
    union {
        const void *in;
        void *out;
    } pointer = { bytes }; // sendmsg does not write through iov_base; its type cannot say so
    return (struct iovec){ .iov_base = pointer.out, .iov_len = n };
}

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 101, "UPGRADED" },
    { 200, "OK" },
    { 201, "Created" },
    { 204, "No Content" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 409, "Conflict" },
    { 411, "Length Required" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 431, "Request Header Fields Too Large" },
    { 499, "Client Closed Request" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

static void begin_head(struct http_exchange *exchange, struct str *head, int status, const char *type)
{
    exchange->is_answered = true;
    str_appendf(head, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    str_append_n(head, exchange->headers.ptr, exchange->headers.len);
    if (type)
        str_appendf(head, "Content-Type: %s\r\n", type);
}

void http_exchange_add_header(struct http_exchange *exchange, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n")) // a header must never carry another one in
        return;
    str_appendf(&exchange->headers, "%s: %s\r\n", name, value);
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_reply(struct http_exchange *exchange, int status, const char *type, const void *bytes, size_t n)
{
    struct str head = STR_INIT;
    begin_head(exchange, &head, status, type);
    if (status_has_body(status))
        str_appendf(&head, "Content-Length: %zu\r\n", n);
    if (!exchange->is_keep_alive)
        str_append(&head, "Connection: close\r\n");
    str_append(&head, "\r\n");
    bool wants_body = status_has_body(status) && n && strcmp(exchange->head.method, "HEAD") != 0;
    struct iovec iov[] = { piece(head.ptr, head.len), piece(bytes, n) };
    exchange_send(exchange, iov, wants_body ? 2 : 1);
    str_done(&head);
}

static int stream_write(void *context, const void *bytes, size_t n)
{
    struct http_exchange *exchange = context;
    if (n == 0 || strcmp(exchange->head.method, "HEAD") == 0)
        return exchange->write_error;
    if (!exchange->is_chunked) {
        struct iovec iov[] = { piece(bytes, n) };
        return exchange_send(exchange, iov, 1);
    }
    char size[32];
    int m = snprintf(size, sizeof size, "%zx\r\n", n);
    struct iovec iov[] = { piece(size, (size_t)m), piece(bytes, n), piece("\r\n", 2) };
    return exchange_send(exchange, iov, 3);
}

struct writer http_reply_stream(struct http_exchange *exchange, int status, const char *type)
{
    struct str head = STR_INIT;
    begin_head(exchange, &head, status, type);
    exchange->is_chunked = exchange->head.minor >= 1;
    if (exchange->is_chunked)
        str_append(&head, "Transfer-Encoding: chunked\r\n");
    else
        exchange->is_keep_alive = false; // the end of the connection is the end of the body
    if (!exchange->is_keep_alive)
        str_append(&head, "Connection: close\r\n");
    str_append(&head, "\r\n");
    struct iovec iov[] = { piece(head.ptr, head.len) };
    exchange_send(exchange, iov, 1);
    str_done(&head);
    return (struct writer){ .write = stream_write, .context = exchange };
}

// --- answers without a thread
struct http_stream {
    struct connection *connection;
    int fd;
    bool is_chunked;
    struct str rest; // of the last chunk
};

struct http_stream *http_reply_detached(struct http_exchange *exchange, int status, const char *type)
{
    (void)http_reply_stream(exchange, status, type);
    if (exchange->write_error || strcmp(exchange->head.method, "HEAD") == 0)
        return NULL;
    struct http_stream *stream = NEW(struct http_stream);
    struct connection *connection = exchange->connection;
    *stream = (struct http_stream){
        .connection = connection, .fd = exchange->fd, .is_chunked = exchange->is_chunked, .rest = STR_INIT
    };
    exchange->fd = FD_NONE;
    exchange->is_chunked = false;
    exchange->is_detached = true;
    pthread_mutex_lock(&connection->server->lock);
    connection->is_idle = connection->is_detached = true;
    connection->server->detached_count++;
    if (connection->server->is_stopping) // it will not be shut with the others any more
        shutdown(connection->fd, SHUT_RDWR);
    pthread_mutex_unlock(&connection->server->lock);
    return stream;
}

static int send_rest(struct http_stream *stream)
{
    while (stream->rest.len) {
        ssize_t n = send(stream->fd, stream->rest.ptr, stream->rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        str_consume(&stream->rest, (size_t)n);
    }
    str_done(&stream->rest); // an idle stream keeps no buffer
    return 0;
}

int http_stream_put(struct http_stream *stream, const void *bytes, size_t n)
{
    char size[32];
    int r = send_rest(stream), m = snprintf(size, sizeof size, "%zx\r\n", n);
    if (r < 0 || n == 0)
        return r;
    struct iovec iov[] = { piece(size, (size_t)m), piece(bytes, n), piece("\r\n", 2) };
    struct msghdr message = { .msg_iov = stream->is_chunked ? iov : iov + 1,
                              .msg_iovlen = stream->is_chunked ? 3 : 1 };
    ssize_t sent;
    do
        sent = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    for (size_t i = 0; i < message.msg_iovlen; i++) {
        size_t gone = (size_t)sent < message.msg_iov[i].iov_len ? (size_t)sent : message.msg_iov[i].iov_len;
        str_append_n(&stream->rest, (char *)message.msg_iov[i].iov_base + gone,
                     message.msg_iov[i].iov_len - gone);
        sent -= (ssize_t)gone;
    }
    return 0;
}

static void leave(struct connection *connection);

void http_stream_end(struct http_stream *stream, bool is_complete)
{
    if (is_complete && stream->is_chunked && send_rest(stream) == 0)
        (void)send(stream->fd, "0\r\n\r\n", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
    str_done(&stream->rest);
    leave(stream->connection);
    free(stream);
}

void http_reply_abort(struct http_exchange *exchange)
{
    exchange->is_chunked = false;
    exchange->is_keep_alive = false;
}

static bool header_has_word(const struct http_head *head, const char *name, const char *word)
{
    for (size_t i = 0; i < head->header_count; i++) {
        if (strcasecmp(head->headers[i].name, name) != 0)
            continue;
        for (const char *at = head->headers[i].value; *at;) {
            at += strspn(at, ", \t");
            size_t n = strcspn(at, ", \t");
            if (n == strlen(word) && strncasecmp(at, word, n) == 0)
                return true;
            at += n;
        }
    }
    return false;
}

bool http_exchange_wants_upgrade(const struct http_exchange *exchange)
{
    return header_has_word(&exchange->head, "Upgrade", "tcp");
}

int http_hijack(struct http_exchange *exchange, const char *type, int *ret_fd, struct str *ret_leading)
{
    struct str head = STR_INIT;
    if (http_exchange_wants_upgrade(exchange)) {
        begin_head(exchange, &head, 101, type);
        str_append(&head, "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    } else {
        begin_head(exchange, &head, 200, type);
        str_append(&head, "\r\n");
    }
    struct iovec iov[] = { piece(head.ptr, head.len) };
    int r = exchange_send(exchange, iov, 1);
    str_done(&head);
    exchange->is_keep_alive = false;
    if (r < 0)
        return r;
    str_append_n(ret_leading, exchange->input->buffered.ptr, exchange->input->buffered.len);
    str_clear(&exchange->input->buffered);
    struct http_server *server = exchange->connection->server;
    pthread_mutex_lock(&server->lock);
    exchange->connection->fd = FD_NONE;
    pthread_mutex_unlock(&server->lock);
    *ret_fd = TAKE_FD(exchange->fd);
    return 0;
}

int http_upgrade(struct http_exchange *exchange, const char *protocol, struct str *ret_leading)
{
    struct str head = STR_INIT;
    begin_head(exchange, &head, 101, NULL);
    str_appendf(&head, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol);
    struct iovec iov[] = { piece(head.ptr, head.len) };
    int r = exchange_send(exchange, iov, 1);
    str_done(&head);
    exchange->is_keep_alive = false;
    str_append_n(ret_leading, exchange->input->buffered.ptr, exchange->input->buffered.len);
    str_clear(&exchange->input->buffered);
    return r;
}

bool http_exchange_is_answered(const struct http_exchange *exchange)
{
    return exchange->is_answered;
}

// --- request

const char *http_exchange_method(const struct http_exchange *exchange)
{
    return exchange->head.method;
}

const char *http_exchange_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

const char *http_exchange_query(const struct http_exchange *exchange)
{
    return exchange->query;
}

const char *http_exchange_header(const struct http_exchange *exchange, const char *name)
{
    return http_head_get(&exchange->head, name);
}

static ssize_t request_read(void *context, void *buffer, size_t n)
{
    struct http_exchange *exchange = context;
    if (exchange->wants_continue && !exchange->body.is_done) {
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        struct iovec iov[] = { piece(text, sizeof text - 1) };
        exchange->wants_continue = false;
        int r = exchange_send(exchange, iov, 1);
        if (r < 0)
            return r;
    }
    struct reader body = http_body_reader(&exchange->body);
    return body.read(body.context, buffer, n);
}

struct reader http_exchange_body(struct http_exchange *exchange)
{
    return (struct reader){ .read = request_read, .context = exchange };
}

bool http_exchange_has_body(const struct http_exchange *exchange)
{
    return exchange->body.framing != HTTP_BODY_NONE;
}

int http_exchange_fd(const struct http_exchange *exchange)
{
    return exchange->fd;
}

// --- connection

// 1: a head, 0: the peer left between requests, < 0: bad head (err) or the connection broke (err->kind ERROR_IO).
static int read_head(struct http_input *input, struct http_head *head, struct error *err)
{
    for (;;) {
        size_t used = 0;
        int r = input->buffered.len
                    ? http_head_parse(input->buffered.ptr, input->buffered.len, true, head, &used, err)
                    : 0;
        if (r < 0)
            return r;
        if (r > 0) {
            str_consume(&input->buffered, used);
            return 1;
        }
        if (input->buffered.len) { // begun: must end in time
            struct pollfd p = { .fd = input->fd, .events = POLLIN };
            int n = poll(&p, 1, HEAD_TIMEOUT_S * 1000);
            if (n == 0)
                return error_set(err, ERROR_INVALID, "HTTP head not complete in %d s", HEAD_TIMEOUT_S);
        }
        ssize_t n = read(input->fd, str_reserve(&input->buffered, READ_AHEAD), READ_AHEAD);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, errno, "read request");
        if (n == 0 && input->buffered.len == 0)
            return 0;
        if (n == 0)
            return error_errno(err, ECONNRESET, "read request");
        str_added(&input->buffered, (size_t)n);
    }
}

static void split_target(struct http_exchange *exchange)
{
    const char *target = exchange->head.target;
    const char *scheme_end = *target == '/' || *target == '*' ? NULL : strstr(target, "://");
    if (scheme_end) // absolute form (RFC 9112 3.2.2): the authority says nothing to us
        target = scheme_end + 3 + strcspn(scheme_end + 3, "/?");
    size_t n = strcspn(target, "?#");
    exchange->path = n ? xstrndup(target, n) : xstrdup("/");
    exchange->query =
        xstrndup(target + n + (target[n] == '?'), target[n] == '?' ? strcspn(target + n + 1, "#") : 0);
}

static bool host_is_fine(const struct http_head *head)
{
    unsigned count = 0;
    for (size_t i = 0; i < head->header_count; i++)
        count += strcasecmp(head->headers[i].name, "Host") == 0;
    return count == 1 || (count == 0 && head->minor == 0);
}

static void reply_bad_request(struct http_exchange *exchange, const char *message)
{
    struct str text = STR_INIT;
    exchange->is_keep_alive = false;
    if (!exchange->head.method)
        exchange->head.method = "GET";
    str_appendf(&text, "{\"message\":\"%s\"}\n", message); // our own words only: nothing to escape
    http_reply(exchange, 400, "application/json", text.ptr, text.len);
    str_done(&text);
}

// Read what the handler left of the body. True when the connection is at the next request.
static bool drain(struct http_exchange *exchange)
{
    if (exchange->body.is_done)
        return true;
    if (exchange->wants_continue) // never asked for: the client may or may not send it
        return false;
    char buffer[4096];
    struct reader body = http_exchange_body(exchange);
    for (size_t total = 0; total < DRAIN_MAX;) {
        ssize_t n = body.read(body.context, buffer, sizeof buffer);
        if (n <= 0)
            return n == 0;
        total += (size_t)n;
    }
    return false;
}

// No more is said; what the client still sends is swallowed until it closes, for a while.
static void linger(int fd)
{
    static const int64_t limit_ns = LINGER_MS * NS_PER_MS;
    char swallowed[16384];
    int64_t deadline_ns = time_monotonic_ns() + limit_ns;
    (void)shutdown(fd, SHUT_WR);
    for (;;) {
        int64_t left_ms = (deadline_ns - time_monotonic_ns()) / NS_PER_MS;
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (left_ms <= 0 || poll(&p, 1, (int)left_ms) <= 0 ||
            recv(fd, swallowed, sizeof swallowed, MSG_DONTWAIT) <= 0)
            return;
    }
}

static void finish_answer(struct http_exchange *exchange)
{
    if (!exchange->is_answered) {
        static const char text[] = "{\"message\":\"the request was not answered\"}\n";
        http_reply(exchange, 500, "application/json", text, sizeof text - 1);
    }
    if (exchange->is_chunked && exchange->fd >= 0 && strcmp(exchange->head.method, "HEAD") != 0) {
        struct iovec iov[] = { piece("0\r\n\r\n", 5) };
        exchange_send(exchange, iov, 1);
    }
}

// What comes after a request.
enum served { SERVED_ON, SERVED_LAST, SERVED_DETACHED };

static enum served serve_one(struct connection *connection, struct http_input *input)
{
    struct error err;
    struct http_exchange exchange = {
        .connection = connection, .fd = input->fd, .input = input, .headers = STR_INIT
    };
    int r = read_head(input, &exchange.head, &err);
    if (r <= 0) {
        if (r < 0 && err.kind == ERROR_INVALID)
            reply_bad_request(&exchange, err.message);
        str_done(&exchange.headers);
        return SERVED_LAST;
    }
    struct http_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    connection->is_idle = false;
    bool is_stopping = server->is_stopping;
    pthread_mutex_unlock(&server->lock);

    split_target(&exchange);
    exchange.is_keep_alive =
        !is_stopping &&
        (exchange.head.minor >= 1 ? !header_has_word(&exchange.head, "Connection", "close")
                                  : header_has_word(&exchange.head, "Connection", "keep-alive"));
    const char *expect = http_head_get(&exchange.head, "Expect");
    exchange.wants_continue = expect && strcasecmp(expect, "100-continue") == 0 && exchange.head.minor >= 1;
    if (!host_is_fine(&exchange.head))
        reply_bad_request(&exchange, "exactly one Host header is needed");
    else if (!http_query_is_valid(exchange.query))
        reply_bad_request(&exchange, "malformed escape in the query");
    else if (http_body_begin(&exchange.body, input, &exchange.head, &err) < 0)
        reply_bad_request(&exchange, err.message);
    else
        server->handler.handle(server->handler.context, &exchange);
    finish_answer(&exchange);
    bool is_open = exchange.fd >= 0 && !exchange.write_error;
    bool goes_on = is_open && exchange.is_keep_alive && drain(&exchange) && !exchange.body.failed;
    if (is_open && !goes_on && !exchange.body.is_done)
        linger(exchange.fd);
    http_head_done(&exchange.head);
    free(exchange.path);
    free(exchange.query);
    str_done(&exchange.headers);
    return exchange.is_detached ? SERVED_DETACHED : goes_on ? SERVED_ON : SERVED_LAST;
}

static void leave(struct connection *connection)
{
    struct http_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->first = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    // Closed under the lock, so that stopping never shuts a descriptor that has become another's.
    connection->fd = fd_close(connection->fd);
    server->count--;
    server->detached_count -= connection->is_detached;
    if (server->wants_room)
        (void)!write(server->room_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    pthread_cond_broadcast(&server->changed);
    unlock_and_unref(server);
    free(connection);
}

static struct timespec deadline_in(int timeout_ms)
{
    return time_to_timespec(time_monotonic_ns() + timeout_ms * NS_PER_MS);
}

static void serve(struct connection *connection)
{
    struct http_input input = { .fd = connection->fd, .buffered = STR_INIT };
    enum served served;
    while ((served = serve_one(connection, &input)) == SERVED_ON) {
        pthread_mutex_lock(&connection->server->lock);
        connection->is_idle = true;
        bool is_stopping = connection->server->is_stopping;
        pthread_mutex_unlock(&connection->server->lock);
        if (is_stopping)
            break;
        if (input.buffered.len == 0)
            str_done(&input.buffered); // an idle connection keeps no buffer
    }
    str_done(&input.buffered);
    if (served != SERVED_DETACHED)
        leave(connection);
}

// The next connection for a thread that has none, or NULL: none came, or the server ends. The thread holds the server.
static struct connection *wait_for_next(struct http_server *server)
{
    struct connection *connection = NULL;
    struct timespec until = deadline_in(SPARE_WAIT_MS);
    pthread_mutex_lock(&server->lock);
    if (server->spare_threads < SPARE_THREADS_MAX) {
        server->spare_threads++;
        while (!server->waiting && !server->is_stopping &&
               pthread_cond_timedwait(&server->given, &server->lock, &until) == 0)
            ;
        server->spare_threads--;
        connection = server->waiting;
    }
    if (connection) {
        server->waiting = connection->next_waiting;
        server->waiting_count--;
    }
    pthread_mutex_unlock(&server->lock);
    return connection;
}

static void *connection_main(void *argument)
{
    struct connection *connection = argument;
    struct http_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    server->holders++;
    pthread_mutex_unlock(&server->lock);
    for (; connection; connection = wait_for_next(server))
        serve(connection);
    pthread_mutex_lock(&server->lock);
    unlock_and_unref(server);
    return NULL;
}

// --- accepting

static bool give_to_spare_thread(struct http_server *server, struct connection *connection)
{
    if (server->waiting_count >= server->spare_threads)
        return false;
    connection->next_waiting = server->waiting;
    server->waiting = connection;
    server->waiting_count++;
    pthread_cond_signal(&server->given);
    return true;
}

static void start_connection(struct http_server *server, int fd)
{
    struct connection *connection = NEW(struct connection);
    connection->server = server;
    connection->fd = fd;
    connection->is_idle = true;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
                     sizeof(int)); // refused by unix sockets, rightly

    pthread_mutex_lock(&server->lock);
    connection->next = server->first;
    if (server->first)
        server->first->previous = connection;
    server->first = connection;
    server->count++;
    server->holders++;
    bool is_given = give_to_spare_thread(server, connection);
    pthread_mutex_unlock(&server->lock);
    int r = is_given ? 0 : thread_start(NULL, STACK_SIZE, connection_main, connection);
    if (r != 0) {
        log_warn("connection refused: no thread: %s", strerror(-r));
        leave(connection);
    }
}

static void accept_one(struct http_server *server, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        start_connection(server, fd);
        return;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        log_warn("accept: %s", strerror(errno));
        // Until a connection ends there is nothing to do; wait for that, at most a second.
        pthread_mutex_lock(&server->lock);
        server->wants_room = true;
        pthread_mutex_unlock(&server->lock);
        struct pollfd p = { .fd = server->room_fd, .events = POLLIN };
        poll(&p, 1, 1000);
    }
}

static bool has_room(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool r = server->count < server->max_connections;
    server->wants_room = !r;
    pthread_mutex_unlock(&server->lock);
    return r;
}

// Wait until no connection with a thread is left; false when the time is over. Called with the lock held.
static bool wait_empty(struct http_server *server, int timeout_ms)
{
    struct timespec until = deadline_in(timeout_ms);
    while (server->count > server->detached_count)
        if (pthread_cond_timedwait(&server->changed, &server->lock, &until) != 0)
            return server->count == server->detached_count;
    return true;
}

static void shut(struct http_server *server, bool only_idle)
{
    for (struct connection *c = server->first; c; c = c->next)
        if (c->fd >= 0 && (c->is_idle || !only_idle))
            shutdown(c->fd, SHUT_RDWR);
}

int http_server_run(struct http_server *server, const int *sockets, size_t count, int stop_fd, int grace_ms)
{
    struct pollfd *polls = xcalloc(count + 2, sizeof *polls);
    polls[0] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
    polls[1] = (struct pollfd){ .fd = server->room_fd, .events = POLLIN };
    for (size_t i = 0; i < count; i++)
        polls[i + 2] = (struct pollfd){ .fd = sockets[i], .events = POLLIN };
    for (;;) {
        if (poll(polls, has_room(server) ? count + 2 : 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            break;
        }
        if (polls[0].revents)
            break;
        uint64_t ended;
        if (polls[1].revents)
            (void)!read(server->room_fd, &ended, sizeof ended);
        for (size_t i = 2; i < count + 2; i++)
            if (polls[i].revents & POLLIN && has_room(server))
                accept_one(server, polls[i].fd);
        for (size_t i = 2; i < count + 2; i++)
            polls[i].revents = 0;
    }
    free(polls);

    pthread_mutex_lock(&server->lock);
    server->is_stopping = true;
    pthread_cond_broadcast(&server->given);
    shut(server, true);
    bool is_empty = wait_empty(server, grace_ms);
    if (!is_empty) {
        shut(server, false);
        is_empty = wait_empty(server, SHUT_WAIT_MS);
    }
    pthread_mutex_unlock(&server->lock);
    return is_empty ? 0 : -ETIMEDOUT;
}
