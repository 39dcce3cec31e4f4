#include "api/request.h"

#include "api/text.h"
#include "base/mem.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

int respond_json_text(struct request *request, int status, struct str *text)
{
    str_append_char(text, '\n');
    http_reply(request->http, status, "application/json", text->ptr, text->len);
    return 0;
}

int respond_json(struct request *request, int status, json_t *document)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    json_append(&text, document);
    json_decref(document);
    return respond_json_text(request, status, &text);
}

int respond_empty(struct request *request, int status)
{
    http_reply(request->http, status, NULL, "", 0);
    return 0;
}

int request_json(struct request *request, bool is_needed, json_t **ret, struct error *err)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    int r = reader_read_all(http_exchange_body(request->http), REQUEST_BODY_MAX, &text);
    if (r == -EFBIG)
        return error_set(err, ERROR_INVALID, "request body is larger than %d bytes", REQUEST_BODY_MAX);
    if (r < 0)
        return error_set(err, ERROR_INVALID, "read request body: %s",
                         r == -EPROTO ? "malformed chunk" : strerror(-r));
    if (text.len == 0 && is_needed)
        return error_set(err, ERROR_INVALID, "invalid JSON: got EOF while reading request body");
    if (text.len == 0)
        return 0;
    const char *type = http_exchange_header(request->http, "Content-Type");
    if (!type || strncasecmp(type, "application/json", 16) != 0 || (type[16] && !strchr("; \t", type[16])))
        return error_set(err, ERROR_INVALID,
                         "unsupported Content-Type header (%s): must be 'application/json'",
                         type ? type : "");
    return json_parse(text.ptr, text.len, ret, err);
}

char *request_get(const struct request *request, const char *name)
{
    return http_query_get(request->query, name);
}

bool request_flag(const struct request *request, const char *name, bool otherwise)
{
    return http_query_bool(request->query, name, otherwise);
}

int request_int(const struct request *request, const char *name, int64_t min, int64_t max, int64_t *ret,
                struct error *err)
{
    CLEANUP(cleanup_free) char *text = request_get(request, name);
    if (str_is_empty(text) || parse_i64(text, min, max, ret))
        return 0;
    return error_set(err, ERROR_INVALID, "invalid value for %s: %s", name, text);
}

int request_signal(const struct request *request, const char *name, int *ret, struct error *err)
{
    CLEANUP(cleanup_free) char *text = request_get(request, name);
    if (str_is_empty(text))
        return 0;
    int number = api_signal_parse(text);
    if (number < 0)
        return error_set(err, ERROR_INVALID, "Invalid signal: %s", text);
    *ret = number;
    return 0;
}

int request_timeout(const struct request *request, int *ret, struct error *err)
{
    int64_t seconds = INT64_MIN;
    if (request_int(request, "t", INT32_MIN, INT32_MAX, &seconds, err) < 0)
        return -1;
    if (seconds != INT64_MIN)
        *ret = seconds < 0 ? INT32_MAX : (int)seconds; // below zero: wait for ever, here 68 years
    return 0;
}

void request_attach(const struct request *request, struct container_attach *ret, char **ret_detach_keys)
{
    char *keys = *ret_detach_keys = request_get(request, "detachKeys");
    *ret = (struct container_attach){
        .wants_stdin = request_flag(request, "stdin", false),
        .wants_stdout = request_flag(request, "stdout", false),
        .wants_stderr = request_flag(request, "stderr", false),
        .wants_logs = request_flag(request, "logs", false),
        .wants_stream = request_flag(request, "stream", false),
        .detach_keys = str_is_empty(keys) ? NULL : keys,
    };
}

int line_stream_put(struct line_stream *stream, json_t *document)
{
    if (!stream->is_begun) {
        stream->out =
            http_reply_stream(stream->request->http, 200, stream->type ? stream->type : "application/json");
        stream->is_begun = true;
    }
    char *text = json_text(document);
    size_t n = strlen(text);
    text = xrealloc(text, n + 3);
    memcpy(text + n, "\r\n", 3);
    json_decref(document);
    int r = stream->out.write(stream->out.context, text, n + 2);
    free(text);
    return r;
}

int line_stream_fail(struct line_stream *stream, const struct error *err)
{
    if (!stream->is_begun)
        return -1;
    json_t *document = json_object(), *detail = json_object();
    json_set_string(detail, "message", err->message);
    json_object_set_new(document, "errorDetail", detail);
    json_set_string(document, "error", err->message);
    line_stream_put(stream, document);
    return 0;
}

static int lazy_write(void *context, const void *bytes, size_t n)
{
    struct lazy_stream *stream = context;
    if (!stream->is_begun) {
        stream->out = http_reply_stream(stream->request->http, 200, "application/x-tar");
        stream->is_begun = true;
    }
    return stream->out.write(stream->out.context, bytes, n);
}

struct writer lazy_stream_writer(struct lazy_stream *stream)
{
    return (struct writer){ lazy_write, stream };
}
