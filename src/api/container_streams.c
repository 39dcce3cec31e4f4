// What keeps a connection: wait, logs, attach, exec.
//
// Attach and exec leave HTTP: once everything that can be checked has been, the 101 goes out and the socket goes to the
// shim, which copies bytes from then on without the engine. An error after that can only be told in the stream itself.
#include "api/request.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <string.h>

static const char raw_type[] = "application/vnd.docker.raw-stream",
                  multiplexed_type[] = "application/vnd.docker.multiplexed-stream";

// Before 1.42 the type was the same for both forms.
static const char *stream_type(const struct request *request, bool has_tty)
{
    return has_tty || request->version < 142 ? raw_type : multiplexed_type;
}

int api_container_wait(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *text = request_get(request, "condition");
    enum container_wait condition = CONTAINER_WAIT_NOT_RUNNING;
    if (str_is_empty(text) || streq(text, "not-running"))
        condition = CONTAINER_WAIT_NOT_RUNNING;
    else if (streq(text, "next-exit"))
        condition = CONTAINER_WAIT_NEXT_EXIT;
    else if (streq(text, "removed"))
        condition = CONTAINER_WAIT_REMOVED;
    else
        return error_set(err, ERROR_INVALID, "invalid condition: \"%s\"", text);
    struct container_waiter *waiter;
    if (container_wait_begin(request->engine->containers, request->name, condition, &waiter, err) < 0)
        return -1;
    // `docker run` starts the container only after it has seen this head.
    struct writer out = http_reply_stream(request->http, 200, "application/json");
    int exit_code = -1;
    int r = container_wait_end(waiter, http_exchange_fd(request->http), &exit_code, err);
    if (r < 0 && err->kind == ERROR_CANCELLED)
        return -1;
    json_t *document = json_object();
    json_set_int(document, "StatusCode", r < 0 ? 125 : exit_code);
    if (r < 0)
        json_object_set_new(document, "Error", json_pack("{s:s}", "Message", err->message));
    char *answer = json_text(document);
    out.write(out.context, answer, strlen(answer));
    free(answer);
    json_decref(document);
    return 0;
}

// --- logs

static int log_time(const struct request *request, const char *name, int64_t *ret_ns, struct error *err)
{
    CLEANUP(cleanup_free) char *text = request_get(request, name);
    if (str_is_empty(text) || streq(text, "0") || time_parse_docker(text, time_now_ns(), ret_ns))
        return 0;
    return error_set(err, ERROR_INVALID, "invalid value for \"%s\": %s", name, text);
}

int api_container_logs(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    CLEANUP(cleanup_free) char *tail = request_get(request, "tail");
    struct container_log_query query = {
        .wants_stdout = request_flag(request, "stdout", false),
        .wants_stderr = request_flag(request, "stderr", false),
        .wants_follow = request_flag(request, "follow", false),
        .wants_timestamps = request_flag(request, "timestamps", false),
        .wants_details = request_flag(request, "details", false),
        .tail = -1,
    };
    if (!query.wants_stdout && !query.wants_stderr)
        return error_set(err, ERROR_INVALID, "Bad parameters: you must choose at least one stream");
    if (log_time(request, "since", &query.since_ns, err) < 0 ||
        log_time(request, "until", &query.until_ns, err) < 0)
        return -1;
    int64_t lines;
    if (!str_is_empty(tail) &&
        parse_i64(tail, 0, INT64_MAX, &lines)) // "all" and what else is no number: everything
        query.tail = lines;
    if (container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    if (!info->has_readable_log)
        return error_set(err, ERROR_UNSUPPORTED, "configured logging driver does not support reading");
    struct writer out = http_reply_stream(request->http, 200, stream_type(request, info->has_tty));
    return container_logs(request->engine->containers, info->id, &query, http_exchange_fd(request->http), out,
                          err);
}

int api_container_logs_clear(struct request *request, struct error *err)
{
    int r = container_logs_clear(request->engine->containers, request->name, err);
    return r < 0 ? r : respond_empty(request, 204);
}

// --- attach and exec

// Tell an error on a hijacked stream: as standard error's frame, or plain on a terminal.
static void tell(int fd, bool has_tty, const char *message)
{
    CLEANUP(cleanup_free) char *text = xasprintf("%s\r\n", message);
    uint32_t size = htonl((uint32_t)strlen(text));
    unsigned char head[8] = { 2 };
    memcpy(head + 4, &size, 4);
    if (!has_tty && fd_write_all(fd, head, sizeof head) < 0)
        return;
    (void)fd_write_all(fd, text, strlen(text));
}

static int drain_body(struct request *request, struct error *err)
{
    CLEANUP(str_done) struct str body = STR_INIT;
    if (reader_read_all(http_exchange_body(request->http), REQUEST_BODY_MAX, &body) < 0)
        return error_set(err, ERROR_INVALID, "malformed request body");
    return 0;
}

struct attach_answer {
    struct request *request;
    const struct container_info *info;
    int fd;
    struct str leading;
};

static int answer_attach(void *context, struct container_attach *attach, int *ret_socket, struct error *err)
{
    struct attach_answer *answer = context;
    struct request *request = answer->request;
    bool is_upgrade = http_exchange_wants_upgrade(request->http);
    if (http_hijack(request->http, is_upgrade ? stream_type(request, answer->info->has_tty) : raw_type,
                    &answer->fd, &answer->leading) < 0)
        return error_set(err, ERROR_CANCELLED, "the client is gone");
    attach->leading = answer->leading.ptr;
    attach->leading_size = answer->leading.len;
    *ret_socket = answer->fd;
    return 0;
}

int api_container_attach(struct request *request, struct error *err)
{
    CLEANUP(container_info_freep) struct container_info *info = NULL;
    CLEANUP(cleanup_free) char *detach_keys = NULL;
    struct container_attach attach;
    request_attach(request, &attach, &detach_keys);
    if (drain_body(request, err) < 0 ||
        container_get(request->engine->containers, request->name, &info, err) < 0)
        return -1;
    struct attach_answer answer = { request, info, FD_NONE, STR_INIT };
    int r = container_attach(request->engine->containers, info->id, &attach, answer_attach, &answer, err);
    if (r < 0 && answer.fd >= 0) {
        tell(answer.fd, info->has_tty, err->message);
        r = 0;
    }
    fd_close(answer.fd);
    str_done(&answer.leading);
    return r;
}

int api_exec_create(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *options = NULL;
    char id[65];
    if (request_json(request, true, &options, err) < 0)
        return -1;
    if (!json_is_object(options) || json_array_size(json_get_array(options, "Cmd")) == 0)
        return error_set(err, ERROR_INVALID, "no exec command specified");
    if (container_exec_create(request->engine->containers, request->name, options, id, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Id", id);
    return respond_json(request, 201, document);
}

static int console_size(const json_t *options, unsigned *ret_rows, unsigned *ret_columns, struct error *err)
{
    const json_t *size = json_get_array(options, "ConsoleSize");
    if (!size)
        return 0;
    json_int_t rows = json_integer_value(json_array_get(size, 0)),
               columns = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || rows < 0 || rows > UINT16_MAX || columns < 0 || columns > UINT16_MAX)
        return error_set(err, ERROR_INVALID, "ConsoleSize must be two numbers, rows and columns");
    *ret_rows = (unsigned)rows;
    *ret_columns = (unsigned)columns;
    return 0;
}

int api_exec_start(struct request *request, struct error *err)
{
    struct container_service *containers = request->engine->containers;
    CLEANUP(json_cleanup) json_t *options = NULL, *exec = NULL;
    CLEANUP(str_done) struct str leading = STR_INIT;
    CLEANUP(cleanup_close) int fd = FD_NONE;
    unsigned rows = 0, columns = 0;
    if (request_json(request, false, &options, err) < 0 || console_size(options, &rows, &columns, err) < 0 ||
        container_exec_inspect(containers, request->name, &exec, err) < 0)
        return -1;
    if (json_get_bool(exec, "Running", false) || json_is_integer(json_object_get(exec, "ExitCode")))
        return error_set(err, ERROR_CONFLICT, "exec %s is already %s", request->name,
                         json_get_bool(exec, "Running", false) ? "running" : "finished");
    struct container_attach attach = { .wants_stream = true };
    if (json_get_bool(options, "Detach", false)) {
        int r = container_exec_start(containers, request->name, true, FD_NONE, &attach, rows, columns, err);
        return r < 0 ? r : respond_empty(request, 200);
    }
    bool has_tty = container_exec_has_tty(containers, request->name);
    const char *detach_keys = json_get_string(exec, "DetachKeys", "");
    attach.wants_stdin = json_get_bool(exec, "OpenStdin", false);
    attach.wants_stdout = json_get_bool(exec, "OpenStdout", true);
    attach.wants_stderr = json_get_bool(exec, "OpenStderr", true);
    attach.detach_keys = *detach_keys ? detach_keys : NULL;
    if (http_hijack(request->http,
                    http_exchange_wants_upgrade(request->http) ? stream_type(request, has_tty) : raw_type,
                    &fd, &leading) < 0)
        return error_set(err, ERROR_CANCELLED, "the client is gone");
    attach.leading = leading.ptr;
    attach.leading_size = leading.len;
    if (container_exec_start(containers, request->name, false, fd, &attach, rows, columns, err) < 0)
        tell(fd, has_tty, err->message);
    return 0;
}

int api_exec_inspect(struct request *request, struct error *err)
{
    json_t *document = NULL;
    if (container_exec_inspect(request->engine->containers, request->name, &document, err) < 0)
        return -1;
    return respond_json(request, 200, document);
}

int api_exec_resize(struct request *request, struct error *err)
{
    int64_t rows = -1, columns = -1;
    if (request_int(request, "h", 0, UINT16_MAX, &rows, err) < 0 ||
        request_int(request, "w", 0, UINT16_MAX, &columns, err) < 0)
        return -1;
    if (rows < 0 || columns < 0)
        return error_set(err, ERROR_INVALID, "h and w are needed");
    if (container_exec_resize(request->engine->containers, request->name, (unsigned)rows, (unsigned)columns,
                              err) < 0)
        return -1;
    return respond_empty(request, 200);
}
