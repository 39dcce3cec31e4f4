// Theory of operation
//
// create, then attach on a second connection (so that no byte is missed), then start on the first. Until the
// stream ends the first connection is free for resize and kill. The exit code comes from wait:
// - a container that stays can be asked after its stream has ended, on the first connection: one connection
// less;
// - one that removes itself (--rm), or may be restarted, has to be waited for before it starts (condition
// removed or
//   next-exit), on a connection of its own.
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/exit.h"
#include "cli/session.h"

#include "base/mem.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

struct job {
    struct cli *cli;
    const struct options *options;
    const json_t *body;
    char *id;
    struct session session;
    struct client_stream wait; // begun before start when needs_early_wait
    bool is_attached, removes;
};

static char *container_path(const struct job *job, const char *verb)
{
    return xasprintf("/containers/%s%s", job->id, verb);
}

static int attach(struct job *job, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct session *s = &job->session;
    bool in = json_get_bool(job->body, "AttachStdin", false);
    const char *keys = options_string(job->options, "detach-keys", NULL);
    s->is_tty = json_get_bool(job->body, "Tty", false);
    s->sends_stdin = in;
    s->shows_stdout = json_get_bool(job->body, "AttachStdout", false);
    s->shows_stderr = json_get_bool(job->body, "AttachStderr", false);
    s->proxies_signals = !s->is_tty && options_bool(job->options, "sig-proxy", true);
    if (detach_keys_parse(keys, &s->detach, err) < 0)
        return -1;
    target_path(&target, "/containers/");
    target_path(&target, job->id);
    target_path(&target, "/attach?stream=1");
    target_path(&target, in ? "&stdin=1" : "");
    target_path(&target, s->shows_stdout ? "&stdout=1" : "");
    target_path(&target, s->shows_stderr ? "&stderr=1" : "");
    target.has_query = true;
    if (keys)
        target_query(&target, "detachKeys", keys);
    struct http_connection *first =
        TAKE_PTR(job->cli->client.idle); // start goes over it; the stream gets a new one
    int r = client_hijack(&job->cli->client, target.text.ptr, NULL, &s->fd, &s->leading, err);
    http_connection_free(job->cli->client.idle);
    job->cli->client.idle = first;
    if (r < 0)
        return r;
    s->kill_path = container_path(job, "/kill");
    s->resize_path = container_path(job, "/resize");
    job->is_attached = true;
    return 0;
}

// The wait request, its head read, so that it is registered before start.
static int begin_wait(struct job *job, const char *condition, bool keeps_idle, struct error *err)
{
    char *target CLEANUP(cleanup_free) = xasprintf("/containers/%s/wait?condition=%s", job->id, condition);
    struct http_connection *first = keeps_idle ? TAKE_PTR(job->cli->client.idle) : NULL;
    int r = client_stream_open(&job->cli->client, "POST", target, NULL, NULL, &job->wait, err);
    if (first) {
        http_connection_free(job->cli->client.idle);
        job->cli->client.idle = first;
    }
    return r;
}

static int finish_wait(struct job *job, int *ret_code, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    if (!client_stream_is_buffered(&job->wait))
        session_wait_readable(&job->session, job->wait.connection->fd);
    int r = reader_read_all(job->wait.body, 1 << 20, &text);
    if (r < 0)
        return error_errno(err, r, "wait for container %s", job->id);
    if (json_parse(text.ptr, text.len, &answer, err) < 0)
        return -1;
    const char *failure = json_get_string(json_get_object(answer, "Error"), "Message", NULL);
    if (!str_is_empty(failure))
        cli_complain("Error waiting for container: %s", failure);
    *ret_code = (int)json_get_int(answer, "StatusCode", EXIT_ENGINE_ERROR);
    return 0;
}

static int start(struct job *job, struct error *err)
{
    char *path CLEANUP(cleanup_free) = container_path(job, "/start");
    const char *keys = options_string(job->options, "detach-keys", NULL);
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, path);
    if (keys)
        target_query(&target, "detachKeys", keys);
    return cli_call(job->cli, "POST", target.text.ptr, NULL, NULL, err);
}

static int complain(const struct error *err, int code)
{
    cli_complain("skiff: %s\n\nRun 'skiff run --help' for more information", err->message);
    return code;
}

static bool needs_early_wait(const struct job *job)
{
    const json_t *policy = json_get_object(json_get_object(job->body, "HostConfig"), "RestartPolicy");
    return job->removes || !streq(json_get_string(policy, "Name", "no"), "no");
}

static int run_detached(struct job *job, struct error *err)
{
    if (start(job, err) < 0)
        return complain(err, exit_code_of_start_error(err->message));
    cli_print(job->cli, "%s\n", job->id);
    return 0;
}

static int run_attached(struct job *job, struct error *err)
{
    bool waits_early = needs_early_wait(job);
    int code = EXIT_ENGINE_ERROR;
    if (attach(job, err) < 0)
        return complain(err, EXIT_ENGINE_ERROR);
    if (waits_early && begin_wait(job, job->removes ? "removed" : "next-exit", true, err) < 0)
        return complain(err, EXIT_ENGINE_ERROR);
    session_begin(&job->session);
    if (start(job, err) < 0) {
        session_done(&job->session);
        return complain(err, exit_code_of_start_error(err->message));
    }
    if (job->session.is_tty)
        session_resize(&job->session);
    int r = session_run(&job->session, err);
    if (r == 0 && job->session.is_detached) {
        session_done(&job->session);
        (void)cli_flush(job->cli);
        cli_complain("read escape sequence");
        return 0;
    }
    if (r == 0 && !waits_early)
        r = begin_wait(job, "not-running", false, err);
    if (r == 0)
        r = finish_wait(job, &code, err);
    session_done(&job->session);
    return r == 0 ? code : complain(err, EXIT_ENGINE_ERROR);
}

static void job_done(struct job *job)
{
    session_done(&job->session);
    client_stream_done(&job->wait);
    free(job->id);
}

static int run_run(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = create_body(options, err);
    struct job job CLEANUP(job_done) = { .cli = cli, .options = options, .body = body };
    bool detach = options_bool(options, "detach", false);
    session_init(&job.session, cli);
    if (!body)
        return complain(err, EXIT_ENGINE_ERROR);
    if (!detach && json_get_bool(body, "Tty", false) && json_get_bool(body, "AttachStdin", false) &&
        !terminal_is(0))
        return error_set(err, ERROR_INVALID, "the input device is not a TTY");
    job.removes = options_bool(options, "rm", false);
    if (create_container(cli, options, body, &job.id, err) < 0)
        return complain(err, EXIT_ENGINE_ERROR);
    return detach ? run_detached(&job, err) : run_attached(&job, err);
}

const struct command command_run = { "run",
                                     "skiff container run, skiff run",
                                     "[OPTIONS] IMAGE [COMMAND] [ARG...]",
                                     "Create and run a new container from an image",
                                     run_options,
                                     1,
                                     -1,
                                     true,
                                     run_run };
