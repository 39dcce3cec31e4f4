// Theory of operation
//
// The engine serves a connection by one thread, request after request. The client so keeps one connection for
// everything that is answered at once, and opens another only where an answer stays open (attach, wait, logs,
// events) while calls go on. A stream takes the idle connection with it and gives it back if its answer ended
// cleanly.
#include "client/client.h"

#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MAX = 256 * 1024 * 1024, ERROR_BODY_MAX = 1024 * 1024, LINE_MAX_BYTES = 16 * 1024 * 1024 };

void client_init(struct client *client, const char *address)
{
    *client = (struct client){ .address = xstrdup(address) };
}

void client_done(struct client *client)
{
    http_connection_free(client->idle);
    free(client->address);
    free(client->next_header);
    *client = (struct client){ 0 };
}

static int dial(struct client *client, struct http_connection **ret, struct error *err)
{
    struct error cause = { 0 };
    client->unreachable = false;
    if (http_connect(client->address, ret, &cause) == 0)
        return 0;
    if (cause.kind == ERROR_INVALID) {
        *err = cause;
        return -1;
    }
    client->unreachable = true;
    if (cause.errnum == EACCES || cause.errnum == EPERM)
        return error_set(err, ERROR_UNAVAILABLE,
                         "permission denied while trying to connect to the skiff daemon socket at %s",
                         client->address);
    return error_set(err, ERROR_UNAVAILABLE, "Cannot connect to the skiff daemon at %s. Is skiffd running?",
                     client->address);
}

int client_connect(struct client *client, struct error *err)
{
    return client->idle ? 0 : dial(client, &client->idle, err);
}

static enum error_kind kind_of_status(int status)
{
    switch (status) {
    case 400:
        return ERROR_INVALID;
    case 401:
        return ERROR_UNAUTHORISED;
    case 403:
        return ERROR_DENIED;
    case 404:
        return ERROR_NOT_FOUND;
    case 409:
        return ERROR_CONFLICT;
    case 501:
        return ERROR_UNSUPPORTED;
    case 503:
        return ERROR_UNAVAILABLE;
    default:
        return ERROR_INTERNAL;
    }
}

// The engine's own words out of an answer of status >= 400.
static int fail_with_answer(struct http_connection *connection, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *doc CLEANUP(json_cleanup) = NULL;
    struct error ignored;
    int status = connection->head.status;
    (void)reader_read_all(http_body_reader(&connection->body), ERROR_BODY_MAX, &text);
    if (json_parse(text.ptr, text.len, &doc, &ignored) == 0) {
        const char *message = json_get_string(doc, "message", NULL);
        if (message)
            return error_set(err, kind_of_status(status), "Error response from daemon: %s", message);
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.ptr[--text.len] = '\0';
    return error_set(err, kind_of_status(status), "Error response from daemon: %s",
                     text.len ? text.ptr : "request returned an error without a message");
}

static void give_back(struct client *client, struct http_connection *connection)
{
    const char *close = http_head_get(&connection->head, "Connection");
    bool reusable = connection->body.is_done && !connection->body.failed && connection->head.minor > 0 &&
                    connection->head.status != 101 && connection->body.framing != HTTP_BODY_UNTIL_CLOSE &&
                    !(close && strcasecmp(close, "close") == 0);
    if (reusable && !client->idle)
        client->idle = connection;
    else
        http_connection_free(connection);
}

static int send_request(struct client *client, const char *method, const char *target, char *const *headers,
                        const char *type, const void *bytes, size_t n, const struct reader *upload,
                        struct http_connection **ret, struct error *err)
{
    client->status = 0;
    if (client_connect(client, err) < 0)
        return -1;
    struct http_connection *connection = TAKE_PTR(client->idle);
    char *extra CLEANUP(cleanup_free) = TAKE_PTR(client->next_header);
    char *const extra_headers[] = { extra, NULL };
    if (extra && !headers)
        headers = extra_headers;
    if (http_request(connection, method, target, headers, type, bytes, n, upload, err) < 0) {
        http_connection_free(connection);
        return error_wrap(err, "error during connect: %s %s", method, client->address);
    }
    client->status = connection->head.status;
    if (client->status >= 400) {
        int r = fail_with_answer(connection, err);
        give_back(client, connection);
        return r;
    }
    *ret = connection;
    return 0;
}

int client_call(struct client *client, const char *method, const char *target, const json_t *body,
                json_t **ret, struct error *err)
{
    char *bytes CLEANUP(cleanup_free) = body ? json_text(body) : NULL;
    struct str text CLEANUP(str_done) = STR_INIT;
    struct http_connection *connection = NULL;
    if (ret)
        *ret = NULL;
    if (send_request(client, method, target, NULL, bytes ? "application/json" : NULL, bytes,
                     bytes ? strlen(bytes) : 0, NULL, &connection, err) < 0)
        return -1;
    int r = reader_read_all(http_body_reader(&connection->body), ANSWER_MAX, &text);
    give_back(client, connection);
    if (r < 0)
        return error_errno(err, r, "read the answer to %s %s", method, target);
    if (!ret || text.len == 0 || strspn(text.ptr, " \r\n") == text.len)
        return 0;
    return json_parse(text.ptr, text.len, ret, err);
}

int client_stream_open(struct client *client, const char *method, const char *target,
                       const char *content_type, const struct reader *upload, struct client_stream *ret,
                       struct error *err)
{
    struct http_connection *connection = NULL;
    if (send_request(client, method, target, NULL, content_type, NULL, 0, upload, &connection, err) < 0)
        return -1;
    const char *type = http_head_get(&connection->head, "Content-Type");
    *ret = (struct client_stream){ .client = client,
                                   .connection = connection,
                                   .body = http_body_reader(&connection->body),
                                   .content_type = type ? type : "" };
    return 0;
}

void client_stream_done(struct client_stream *stream)
{
    if (stream->connection)
        give_back(stream->client, TAKE_PTR(stream->connection));
    *stream = (struct client_stream){ 0 };
}

bool client_stream_is_buffered(const struct client_stream *stream)
{
    return stream->connection->input.buffered.len > 0;
}

int client_hijack(struct client *client, const char *target, const json_t *body, int *ret_fd,
                  struct str *ret_leading, struct error *err)
{
    static char upgrade[] = "Upgrade: tcp", connection_header[] = "Connection: Upgrade";
    char *headers[] = { upgrade, connection_header, NULL };
    char *bytes CLEANUP(cleanup_free) = body ? json_text(body) : NULL;
    struct http_connection *connection = NULL;
    if (send_request(client, "POST", target, headers, bytes ? "application/json" : NULL, bytes,
                     bytes ? strlen(bytes) : 0, NULL, &connection, err) < 0)
        return -1;
    if (connection->head.status != 101) {
        int status = connection->head.status;
        http_connection_free(connection);
        return error_set(err, ERROR_INTERNAL, "unable to upgrade to tcp, received %d", status);
    }
    str_append_n(ret_leading, connection->input.buffered.ptr, connection->input.buffered.len);
    *ret_fd = TAKE_FD(connection->fd);
    http_connection_free(connection);
    return 0;
}

static int one_document(const char *line, size_t n, int (*each)(void *, json_t *), void *context,
                        struct error *err)
{
    json_t *document CLEANUP(json_cleanup) = NULL;
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
        n--;
    if (n > 0 && line[0] == '\x1e') // application/json-seq
        line++, n--;
    if (n == 0)
        return 0;
    if (json_parse(line, n, &document, err) < 0)
        return -1;
    return each(context, document);
}

int client_each_document(struct reader body, int (*each)(void *context, json_t *document), void *context,
                         struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    char buffer[16384];
    for (;;) {
        ssize_t n = body.read(body.context, buffer, sizeof buffer);
        if (n < 0)
            return error_errno(err, (int)n, "read from the daemon");
        if (n == 0)
            return one_document(text.ptr, text.len, each, context, err);
        str_append_n(&text, buffer, (size_t)n);
        char *from = text.ptr, *end;
        while ((end = memchr(from, '\n', text.len - (size_t)(from - text.ptr)))) {
            int r = one_document(from, (size_t)(end - from), each, context, err);
            if (r != 0)
                return r;
            from = end + 1;
        }
        str_consume(&text, (size_t)(from - text.ptr));
        if (text.len > LINE_MAX_BYTES)
            return error_set(err, ERROR_INVALID, "the daemon sent a line of more than %d bytes",
                             LINE_MAX_BYTES);
    }
}
