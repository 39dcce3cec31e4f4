// The client's side: one connection, one request after the other. A unix socket in the ordinary case; tcp:// resolves by
// getaddrinfo.
#include "http/client.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_AHEAD = 4096 };

static int connect_unix(const char *path, struct error *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, ERROR_INVALID, "socket path %s is too long", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_errno(err, errno, "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        error_errno(err, errno, "connect to unix://%s", path);
        err->kind = err->errnum == EACCES || err->errnum == EPERM ? ERROR_DENIED : ERROR_UNAVAILABLE;
        fd_close(fd);
        return -1;
    }
    return fd;
}

// "host:port", "[v6]:port", "host" (port 2375)
static int connect_tcp(const char *text, struct error *err)
{
    CLEANUP(cleanup_free) char *host = xstrndup(text, strcspn(text, "/"));
    char *port = strrchr(host, ':');
    char *bracket = strchr(host, ']');
    if (port && bracket && port < bracket)
        port = NULL;
    if (port)
        *port++ = 0;
    const char *name = host;
    if (*host == '[' && bracket) {
        *bracket = 0;
        name = host + 1;
    }
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *list;
    int r = getaddrinfo(*name ? name : "127.0.0.1", port ? port : "2375", &hints, &list);
    if (r != 0)
        return error_set(err, ERROR_UNAVAILABLE, "connect to tcp://%s: %s", text, gai_strerror(r));
    int fd = FD_NONE, last = EHOSTUNREACH;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            last = errno;
            fd = fd_close(fd);
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        error_errno(err, last, "connect to tcp://%s", text);
        err->kind = ERROR_UNAVAILABLE;
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

int http_connect(const char *address, struct http_connection **ret, struct error *err)
{
    int fd;
    if (str_has_prefix(address, "unix://"))
        fd = connect_unix(address + 7, err);
    else if (*address == '/')
        fd = connect_unix(address, err);
    else if (str_has_prefix(address, "tcp://"))
        fd = connect_tcp(address + 6, err);
    else if (str_has_prefix(address, "http://"))
        fd = connect_tcp(address + 7, err);
    else
        return error_set(err, ERROR_INVALID, "unable to parse docker host `%s`", address);
    if (fd < 0)
        return -1;
    struct http_connection *connection = NEW(struct http_connection);
    connection->fd = fd;
    connection->input = (struct http_input){ .fd = fd, .buffered = STR_INIT };
    *ret = connection;
    return 0;
}

void http_connection_free(struct http_connection *connection)
{
    if (!connection)
        return;
    http_head_done(&connection->head);
    str_done(&connection->input.buffered);
    fd_close(connection->fd);
    free(connection);
}

static int send_bytes(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n) {
        ssize_t m = send(fd, at, n, MSG_NOSIGNAL);
        if (m < 0 && errno == EINTR)
            continue;
        if (m < 0)
            return -errno;
        at += m;
        n -= (size_t)m;
    }
    return 0;
}

// 0, -errno of sending, or -EBADMSG when the stream itself failed (*ret_stream says how).
static int send_chunked(int fd, const struct reader *stream, int *ret_stream)
{
    enum { PIECE = 64 * 1024, ROOM = 16 };
    CLEANUP(cleanup_free) char *buffer = xmalloc(ROOM + PIECE + 2);
    for (;;) {
        ssize_t n = stream->read(stream->context, buffer + ROOM, PIECE);
        if (n < 0) {
            *ret_stream = (int)n;
            return -EBADMSG;
        }
        if (n == 0)
            return send_bytes(fd, "0\r\n\r\n", 5);
        char size[ROOM + 1];
        int m = snprintf(size, sizeof size, "%zx\r\n", (size_t)n);
        memcpy(buffer + ROOM - m, size, (size_t)m);
        memcpy(buffer + ROOM + n, "\r\n", 2);
        int r = send_bytes(fd, buffer + ROOM - m, (size_t)(m + n + 2));
        if (r < 0)
            return r;
    }
}

static int read_response(struct http_connection *connection, bool is_head, struct error *err)
{
    for (;;) {
        size_t used;
        http_head_done(&connection->head);
        struct str *buffered = &connection->input.buffered;
        int r = buffered->len
                    ? http_head_parse(buffered->ptr, buffered->len, false, &connection->head, &used, err)
                    : 0;
        if (r < 0)
            return r;
        if (r > 0) {
            str_consume(buffered, used);
            if (connection->head.status < 200 && connection->head.status != 101)
                continue; // 100 Continue and its kind announce the real one
            break;
        }
        ssize_t n = read(connection->fd, str_reserve(buffered, READ_AHEAD), READ_AHEAD);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            error_errno(err, n < 0 ? errno : ECONNRESET, "read response");
            err->kind = ERROR_UNAVAILABLE;
            return -1;
        }
        str_added(buffered, (size_t)n);
    }
    if (http_body_begin(&connection->body, &connection->input, &connection->head, err) < 0)
        return -1;
    if (is_head) {
        connection->body.framing = HTTP_BODY_NONE;
        connection->body.is_done = true;
    }
    return 0;
}

int http_request(struct http_connection *connection, const char *method, const char *target,
                 char *const *extra_headers, const char *content_type, const void *body, size_t n,
                 const struct reader *stream, struct error *err)
{
    struct str head = STR_INIT;
    str_appendf(&head, "%s %s HTTP/1.1\r\nHost: skiff\r\n", method, target);
    for (size_t i = 0; extra_headers && extra_headers[i]; i++)
        str_appendf(&head, "%s\r\n", extra_headers[i]);
    if (content_type)
        str_appendf(&head, "Content-Type: %s\r\n", content_type);
    bool has_body = body || stream || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    if (stream)
        str_append(&head, "Transfer-Encoding: chunked\r\n");
    else if (has_body)
        str_appendf(&head, "Content-Length: %zu\r\n", body ? n : 0);
    str_append(&head, "\r\n");
    if (body)
        str_append_n(&head, body, n); // one packet for the ordinary request
    int stream_error = 0, r = send_bytes(connection->fd, head.ptr, head.len);
    str_done(&head);
    if (r == 0 && stream)
        r = send_chunked(connection->fd, stream, &stream_error);
    if (stream_error)
        return error_errno(err, stream_error, "read request body");
    // A server may answer and close before it has taken the whole body: its answer says why, so look for it first.
    int sent = r;
    r = read_response(connection, strcmp(method, "HEAD") == 0, err);
    if (r < 0 && sent < 0) {
        error_errno(err, sent, "send request");
        err->kind = ERROR_UNAVAILABLE;
    }
    return r;
}
