#include "cli/commands.h"
#include "cli/create.h"
#include "cli/exit.h"
#include "cli/session.h"

#include "base/mem.h"
#include "codec/json.h"

#include <unistd.h>

static json_t *exec_body(const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object();
    bool detach = options_bool(options, "detach", false), tty = options_bool(options, "tty", false);
    unsigned rows, columns;
    json_set_bool(body, "Tty", tty);
    json_set_bool(body, "AttachStdin", !detach && options_bool(options, "interactive", false));
    json_set_bool(body, "AttachStdout", !detach);
    json_set_bool(body, "AttachStderr", !detach);
    json_set_bool(body, "Privileged", options_bool(options, "privileged", false));
    if (options_has(options, "user"))
        json_set_string(body, "User", options_string(options, "user", ""));
    if (options_has(options, "workdir"))
        json_set_string(body, "WorkingDir", options_string(options, "workdir", ""));
    if (options_has(options, "detach-keys"))
        json_set_string(body, "DetachKeys", options_string(options, "detach-keys", ""));
    if (tty && !detach && terminal_size(&rows, &columns))
        json_object_set_new(body, "ConsoleSize", json_pack("[i, i]", (int)rows, (int)columns));
    if (create_add_environment(options, body, err) < 0)
        return NULL;
    json_object_set_new(body, "Cmd", json_from_strv(options->arguments + 1));
    return TAKE_PTR(body);
}

static int start_body(const struct options *options, json_t **ret)
{
    *ret = json_object();
    json_set_bool(*ret, "Detach", options_bool(options, "detach", false));
    json_set_bool(*ret, "Tty", options_bool(options, "tty", false));
    return 0;
}

static int exit_code(struct cli *cli, const char *exec_path, struct error *err)
{
    json_t *document CLEANUP(json_cleanup) = NULL;
    char *target CLEANUP(cleanup_free) = xasprintf("%s/json", exec_path);
    if (cli_call(cli, "GET", target, NULL, &document, err) < 0)
        return -1;
    return (int)json_get_int(document, "ExitCode", 1);
}

static int run_joined(struct cli *cli, const struct options *options, const char *exec_path,
                      struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = NULL;
    char *target CLEANUP(cleanup_free) = xasprintf("%s/start", exec_path);
    struct session s CLEANUP(session_done);
    session_init(&s, cli);
    start_body(options, &body);
    s.is_tty = options_bool(options, "tty", false);
    s.sends_stdin = options_bool(options, "interactive", false);
    s.shows_stdout = s.shows_stderr = true;
    if (detach_keys_parse(options_string(options, "detach-keys", NULL), &s.detach, err) < 0)
        return -1;
    if (client_hijack(&cli->client, target, body, &s.fd, &s.leading, err) < 0) {
        int code = exit_code_of_start_error(err->message);
        if (code == EXIT_ENGINE_ERROR)
            return -1;
        cli_complain("%s", err->message);
        return code;
    }
    s.resize_path = xasprintf("%s/resize", exec_path);
    session_begin(&s);
    if (s.is_tty)
        session_resize(&s);
    if (session_run(&s, err) < 0)
        return -1;
    bool is_detached = s.is_detached;
    session_done(&s);
    if (is_detached) {
        cli_complain("read escape sequence");
        return 0;
    }
    return exit_code(cli, exec_path, err);
}

static int run_exec(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = exec_body(options, err), *answer CLEANUP(json_cleanup) = NULL;
    struct target target CLEANUP(target_done) = TARGET_INIT;
    bool detach = options_bool(options, "detach", false);
    if (!body)
        return -1;
    if (!detach && options_bool(options, "tty", false) && options_bool(options, "interactive", false) &&
        !terminal_is(STDIN_FILENO))
        return error_set(err, ERROR_INVALID, "the input device is not a TTY");
    target_path(&target, "/containers/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/exec");
    if (cli_call(cli, "POST", target.text.ptr, body, &answer, err) < 0)
        return -1;
    const char *id = json_get_string(answer, "Id", NULL);
    if (!id)
        return error_set(err, ERROR_INTERNAL, "exec ID empty");
    char *exec_path CLEANUP(cleanup_free) = xasprintf("/exec/%s", id);
    if (!detach)
        return run_joined(cli, options, exec_path, err);
    json_t *start CLEANUP(json_cleanup) = NULL;
    char *start_target CLEANUP(cleanup_free) = xasprintf("%s/start", exec_path);
    start_body(options, &start);
    return cli_call(cli, "POST", start_target, start, NULL, err);
}

static const struct option exec_options[] = {
    { "detach", 'd', OPTION_BOOL, NULL, "Detached mode: run command in the background" },
    { "detach-keys", 0, OPTION_STRING, NULL, "Override the key sequence for detaching a container" },
    { "env", 'e', OPTION_LIST, NULL, "Set environment variables" },
    { "env-file", 0, OPTION_LIST, NULL, "Read in a file of environment variables" },
    { "interactive", 'i', OPTION_BOOL, NULL, "Keep STDIN open even if not attached" },
    { "privileged", 0, OPTION_BOOL, NULL, "Give extended privileges to the command" },
    { "tty", 't', OPTION_BOOL, NULL, "Allocate a pseudo-TTY" },
    { "user", 'u', OPTION_STRING, NULL, "Username or UID (format: <name|uid>[:<group|gid>])" },
    { "workdir", 'w', OPTION_STRING, NULL, "Working directory inside the container" },
    OPTION_END,
};
const struct command command_exec = { "exec",
                                      "skiff container exec, skiff exec",
                                      "[OPTIONS] CONTAINER COMMAND [ARG...]",
                                      "Execute a command in a running container",
                                      exec_options,
                                      2,
                                      -1,
                                      true,
                                      run_exec };
