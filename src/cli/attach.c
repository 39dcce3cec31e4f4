// attach and start: joining containers that exist.
#include "cli/commands.h"
#include "cli/session.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>
#include <unistd.h>

static int inspect(struct cli *cli, const char *name, json_t **ret, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/json");
    if (cli_call(cli, "GET", target.text.ptr, NULL, ret, err) < 0)
        return -1;
    return *ret ? 0 : error_set(err, ERROR_INTERNAL, "the daemon did not describe container %s", name);
}

// Hijack a new connection to the container; the idle one stays.
static int open_session(struct session *s, const char *id, const char *keys, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client *client = &s->cli->client;
    if (detach_keys_parse(keys, &s->detach, err) < 0)
        return -1;
    target_path(&target, "/containers/");
    target_name(&target, id);
    target_path(&target, s->sends_stdin ? "/attach?stream=1&stdin=1&stdout=1&stderr=1"
                                        : "/attach?stream=1&stdout=1&stderr=1");
    target.has_query = true;
    if (keys)
        target_query(&target, "detachKeys", keys);
    struct http_connection *first = TAKE_PTR(client->idle);
    int r = client_hijack(client, target.text.ptr, NULL, &s->fd, &s->leading, err);
    http_connection_free(client->idle);
    client->idle = first;
    s->kill_path = xasprintf("/containers/%s/kill", id);
    s->resize_path = xasprintf("/containers/%s/resize", id);
    return r;
}

static int begin_wait(struct cli *cli, const char *id, const char *condition, struct client_stream *ret,
                      struct error *err)
{
    char *target CLEANUP(cleanup_free) = xasprintf("/containers/%s/wait?condition=%s", id, condition);
    struct http_connection *first = TAKE_PTR(cli->client.idle);
    int r = client_stream_open(&cli->client, "POST", target, NULL, NULL, ret, err);
    http_connection_free(cli->client.idle);
    cli->client.idle = first;
    return r;
}

static int finish_wait(struct session *s, struct client_stream *wait, int *ret_code, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    if (!client_stream_is_buffered(wait))
        session_wait_readable(s, wait->connection->fd);
    int r = reader_read_all(wait->body, 1 << 20, &text);
    if (r < 0)
        return error_errno(err, r, "wait for the container");
    if (json_parse(text.ptr, text.len, &answer, err) < 0)
        return -1;
    *ret_code = (int)json_get_int(answer, "StatusCode", 1);
    return 0;
}

static void describe_session(struct session *s, const json_t *container, const struct options *options,
                             bool wants_stdin)
{
    const json_t *config = json_get_object(container, "Config");
    s->is_tty = json_get_bool(config, "Tty", false);
    s->sends_stdin = wants_stdin && json_get_bool(config, "OpenStdin", false);
    s->shows_stdout = s->shows_stderr = true;
    s->proxies_signals = !s->is_tty && options_bool(options, "sig-proxy", true);
}

// Move bytes; then the exit code, or 0 when the user detached.
static int join(struct session *s, struct client_stream *wait, struct error *err)
{
    int code = 1;
    int r = session_run(s, err);
    if (r == 0 && s->is_detached) {
        session_done(s);
        cli_complain("read escape sequence");
        return 0;
    }
    if (r == 0)
        r = finish_wait(s, wait, &code, err);
    session_done(s);
    return r < 0 ? r : code;
}

static int run_attach(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *container CLEANUP(json_cleanup) = NULL;
    struct session s CLEANUP(session_done);
    struct client_stream wait CLEANUP(client_stream_done) = { 0 };
    session_init(&s, cli);
    if (inspect(cli, options->arguments[0], &container, err) < 0)
        return -1;
    const json_t *state = json_get_object(container, "State");
    const char *id = json_get_string(container, "Id", options->arguments[0]);
    if (!json_get_bool(state, "Running", false))
        return error_set(err, ERROR_CONFLICT, "cannot attach to a stopped container, start it first");
    if (json_get_bool(state, "Paused", false))
        return error_set(err, ERROR_CONFLICT, "cannot attach to a paused container, unpause it first");
    if (json_get_bool(state, "Restarting", false))
        return error_set(err, ERROR_CONFLICT,
                         "cannot attach to a restarting container, wait until it is running");
    describe_session(&s, container, options, !options_bool(options, "no-stdin", false));
    if (s.is_tty && s.sends_stdin && !terminal_is(STDIN_FILENO))
        return error_set(err, ERROR_INVALID, "the input device is not a TTY");
    if (begin_wait(cli, id, "not-running", &wait, err) < 0 ||
        open_session(&s, id, options_string(options, "detach-keys", NULL), err) < 0)
        return -1;
    session_begin(&s);
    if (s.is_tty)
        session_resize(&s);
    return join(&s, &wait, err);
}

static int start(struct cli *cli, const char *id, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, id);
    target_path(&target, "/start");
    if (options_has(options, "detach-keys"))
        target_query(&target, "detachKeys", options_string(options, "detach-keys", ""));
    return cli_call(cli, "POST", target.text.ptr, NULL, NULL, err);
}

static int start_attached(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *container CLEANUP(json_cleanup) = NULL;
    struct session s CLEANUP(session_done);
    struct client_stream wait CLEANUP(client_stream_done) = { 0 };
    session_init(&s, cli);
    if (options->arguments[1])
        return error_set(err, ERROR_INVALID, "you cannot start and attach multiple containers at once");
    if (inspect(cli, options->arguments[0], &container, err) < 0)
        return -1;
    const char *id = json_get_string(container, "Id", options->arguments[0]);
    bool removes = json_get_bool(json_get_object(container, "HostConfig"), "AutoRemove", false);
    bool is_running = json_get_bool(json_get_object(container, "State"), "Running", false);
    describe_session(&s, container, options, options_bool(options, "interactive", false));
    if (s.is_tty && s.sends_stdin && !terminal_is(STDIN_FILENO))
        return error_set(err, ERROR_INVALID, "the input device is not a TTY");
    if (open_session(&s, id, options_string(options, "detach-keys", NULL), err) < 0)
        return -1;
    if (begin_wait(cli, id, removes ? "removed" : is_running ? "not-running" : "next-exit", &wait, err) < 0)
        return -1;
    session_begin(&s);
    if (start(cli, id, options, err) < 0)
        return -1;
    if (s.is_tty)
        session_resize(&s);
    return join(&s, &wait, err);
}

static int run_start(struct cli *cli, const struct options *options, struct error *err)
{
    struct str failed CLEANUP(str_done) = STR_INIT;
    if (options_has(options, "checkpoint") || options_has(options, "checkpoint-dir"))
        return error_set(err, ERROR_UNSUPPORTED, "checkpoints are not supported");
    if (options_bool(options, "attach", false) || options_bool(options, "interactive", false))
        return start_attached(cli, options, err);
    for (char **name = options->arguments; *name; name++) {
        if (start(cli, *name, options, err) == 0) {
            cli_print(cli, "%s\n", *name);
            (void)cli_flush(cli);
            continue;
        }
        cli_complain("%s", err->message);
        str_appendf(&failed, "%s%s", failed.len ? ", " : "", *name);
    }
    return failed.len ? error_set(err, ERROR_INTERNAL, "Error: failed to start containers: %s", failed.ptr)
                      : 0;
}

static const struct option attach_options[] = {
    { "detach-keys", 0, OPTION_STRING, NULL, "Override the key sequence for detaching a container" },
    { "no-stdin", 0, OPTION_BOOL, NULL, "Do not attach STDIN" },
    { "sig-proxy", 0, OPTION_BOOL, NULL, "Proxy all received signals to the process (default true)" },
    OPTION_END,
};
static const struct option start_options[] = {
    { "attach", 'a', OPTION_BOOL, NULL, "Attach STDOUT/STDERR and forward signals" },
    { "checkpoint", 0, OPTION_STRING, NULL, "" },
    { "checkpoint-dir", 0, OPTION_STRING, NULL, "" },
    { "detach-keys", 0, OPTION_STRING, NULL, "Override the key sequence for detaching a container" },
    { "interactive", 'i', OPTION_BOOL, NULL, "Attach container's STDIN" },
    OPTION_END,
};
const struct command command_attach = {
    "attach",
    "skiff container attach, skiff attach",
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    attach_options,
    1,
    1,
    false,
    run_attach
};
const struct command command_start = { "start",
                                       "skiff container start, skiff start",
                                       "[OPTIONS] CONTAINER [CONTAINER...]",
                                       "Start one or more stopped containers",
                                       start_options,
                                       1,
                                       -1,
                                       false,
                                       run_start };
