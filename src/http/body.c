// Theory of operation
//
// A body is pulled: whoever wants bytes calls the reader, which takes them from what was read ahead or blocks on the
// socket. Framing (RFC 9112 section 6) is decided once, in http_body_begin, and anything two parties could read
// differently is refused there: Content-Length together with Transfer-Encoding, a repeated Content-Length, a transfer
// coding that is not exactly "chunked". Chunk sizes are hexadecimal digits only; extensions and trailers are read,
// bounded, and dropped. After an error `failed` stays set and the connection is not used again.
#include "http/http.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { CHUNK_LINE_MAX = 1024, TRAILERS_MAX = 16 * 1024, READ_AHEAD = 4096 };

static bool parse_length(const char *s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    if (v > INT64_MAX)
        return false;
    *ret = v;
    return true;
}

static size_t count_header(const struct http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->header_count; i++)
        n += strcasecmp(head->headers[i].name, name) == 0;
    return n;
}

static bool has_no_body(const struct http_head *head)
{
    return !head->is_request && (head->status < 200 || head->status == 204 || head->status == 304);
}

int http_body_begin(struct http_body *body, struct http_input *input, const struct http_head *head,
                    struct error *err)
{
    struct http_body b = { .input = input };
    size_t lengths = count_header(head, "Content-Length"), codings = count_header(head, "Transfer-Encoding");
    const char *length = http_head_get(head, "Content-Length");
    if (codings && lengths)
        return error_set(err, ERROR_INVALID, "both Content-Length and Transfer-Encoding given");
    if (lengths > 1)
        return error_set(err, ERROR_INVALID, "Content-Length given more than once");
    if (codings > 1 || (codings && strcasecmp(http_head_get(head, "Transfer-Encoding"), "chunked") != 0))
        return error_set(err, ERROR_INVALID, "unsupported Transfer-Encoding");
    if (codings && head->minor == 0)
        return error_set(err, ERROR_INVALID, "Transfer-Encoding in an HTTP/1.0 message");
    if (length && !parse_length(length, &b.left))
        return error_set(err, ERROR_INVALID, "malformed Content-Length");
    if (has_no_body(head)) {
        b.framing = HTTP_BODY_NONE;
        b.left = 0;
    } else if (codings) {
        b.framing = HTTP_BODY_CHUNKED;
    } else if (length && b.left) {
        b.framing = HTTP_BODY_LENGTH;
    } else {
        b.framing = head->is_request || length ? HTTP_BODY_NONE : HTTP_BODY_UNTIL_CLOSE;
    }
    b.is_done = b.framing == HTTP_BODY_NONE;
    *body = b;
    return 0;
}

static ssize_t socket_read(int fd, void *to, size_t n)
{
    for (;;) {
        ssize_t r = read(fd, to, n);
        if (r >= 0)
            return r;
        if (errno != EINTR)
            return -errno;
    }
}

// Up to n bytes from what was read ahead, else from the socket.
static ssize_t input_read(struct http_input *input, void *to, size_t n)
{
    if (input->buffered.len == 0)
        return socket_read(input->fd, to, n);
    size_t take = n < input->buffered.len ? n : input->buffered.len;
    memcpy(to, input->buffered.ptr, take);
    str_consume(&input->buffered, take);
    return (ssize_t)take;
}

// One line of chunk framing without its CRLF into line[CHUNK_LINE_MAX]. Its length, or -errno.
static ssize_t input_line(struct http_input *input, char *line)
{
    for (;;) {
        const char *end = memchr(input->buffered.ptr, '\n', input->buffered.len);
        if (end) {
            size_t n = (size_t)(end - input->buffered.ptr);
            if (n == 0 || end[-1] != '\r' || n > CHUNK_LINE_MAX)
                return -EPROTO;
            memcpy(line, input->buffered.ptr, n - 1);
            line[n - 1] = 0;
            str_consume(&input->buffered, n + 1);
            return (ssize_t)(n - 1);
        }
        if (input->buffered.len > CHUNK_LINE_MAX)
            return -EPROTO;
        ssize_t r = socket_read(input->fd, str_reserve(&input->buffered, READ_AHEAD), READ_AHEAD);
        if (r <= 0)
            return r < 0 ? r : -EPROTO;
        str_added(&input->buffered, (size_t)r);
    }
}

static bool parse_chunk_size(const char *line, size_t n, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n; i++) {
        char c = line[i];
        unsigned d;
        if (c >= '0' && c <= '9')
            d = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            d = (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            d = (unsigned)(c - 'A' + 10);
        else
            break;
        if (v >> 59)
            return false;
        v = v << 4 | d;
    }
    if (i == 0 || i > 16)
        return false;
    while (i < n && (line[i] == ' ' || line[i] == '\t'))
        i++;
    if (i < n && line[i] != ';')
        return false;
    *ret = v;
    return memchr(line, '\r', n) == NULL && memchr(line, 0, n) == NULL;
}

// Begin the next chunk: sets `left`, or is_done after the last one and its trailers. 0 or -errno.
static int next_chunk(struct http_body *body)
{
    char line[CHUNK_LINE_MAX + 1];
    ssize_t n = input_line(body->input, line);
    if (n < 0)
        return (int)n;
    if (!parse_chunk_size(line, (size_t)n, &body->left))
        return -EPROTO;
    if (body->left)
        return 0;
    size_t total = 0;
    do {
        n = input_line(body->input, line);
        if (n < 0)
            return (int)n;
        total += (size_t)n;
        if (total > TRAILERS_MAX)
            return -EPROTO;
    } while (n > 0);
    body->is_done = true;
    return 0;
}

static int end_of_chunk(struct http_body *body)
{
    char line[CHUNK_LINE_MAX + 1];
    ssize_t n = input_line(body->input, line);
    return n < 0 ? (int)n : n > 0 ? -EPROTO : 0;
}

static ssize_t read_counted(struct http_body *body, void *buffer, size_t n)
{
    if (body->framing == HTTP_BODY_CHUNKED && body->left == 0) {
        int r = next_chunk(body);
        if (r < 0 || body->is_done)
            return r;
    }
    ssize_t r = input_read(body->input, buffer, n < body->left ? n : (size_t)body->left);
    if (r <= 0)
        return r < 0 ? r : -ECONNRESET; // the message was cut
    body->left -= (uint64_t)r;
    if (body->left == 0) {
        if (body->framing == HTTP_BODY_LENGTH) {
            body->is_done = true;
        } else {
            int e = end_of_chunk(body);
            if (e < 0)
                return e;
        }
    }
    return r;
}

static ssize_t body_read(void *context, void *buffer, size_t n)
{
    struct http_body *body = context;
    if (body->failed)
        return body->failed;
    if (body->is_done || n == 0)
        return 0;
    ssize_t r;
    if (body->framing == HTTP_BODY_UNTIL_CLOSE) {
        r = input_read(body->input, buffer, n);
        body->is_done = r == 0;
    } else {
        r = read_counted(body, buffer, n);
    }
    if (r < 0)
        body->failed = (int)r;
    return r;
}

struct reader http_body_reader(struct http_body *body)
{
    return (struct reader){ .read = body_read, .context = body };
}
