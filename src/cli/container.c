// Commands that tell containers to change their state.
#include "cli/commands.h"

#include "base/mem.h"
#include "cli/human.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONTAINERS "CONTAINER [CONTAINER...]"

static void query_signal_timeout(const struct options *options, struct target *query)
{
    if (options_has(options, "signal"))
        target_query(query, "signal", options_string(options, "signal", ""));
    const char *name = options_has(options, "timeout") ? "timeout" : "time";
    if (options_has(options, name)) {
        char number[32];
        snprintf(number, sizeof number, "%" PRId64, options_number(options, name, 0));
        target_query(query, "t", number);
    }
}

static int run_stop(struct cli *cli, const struct options *options, struct error *err)
{
    struct target query CLEANUP(target_done) = TARGET_INIT;
    (void)err;
    query_signal_timeout(options, &query);
    return cli_each_container(cli, options, "POST", "/stop", query.text.ptr);
}

static int run_restart(struct cli *cli, const struct options *options, struct error *err)
{
    struct target query CLEANUP(target_done) = TARGET_INIT;
    (void)err;
    query_signal_timeout(options, &query);
    return cli_each_container(cli, options, "POST", "/restart", query.text.ptr);
}

static int run_kill(struct cli *cli, const struct options *options, struct error *err)
{
    struct target query CLEANUP(target_done) = TARGET_INIT;
    (void)err;
    if (options_has(options, "signal"))
        target_query(&query, "signal", options_string(options, "signal", ""));
    return cli_each_container(cli, options, "POST", "/kill", query.text.ptr);
}

static int run_pause(struct cli *cli, const struct options *options, struct error *err)
{
    (void)err;
    return cli_each_container(cli, options, "POST", "/pause", "");
}

static int run_unpause(struct cli *cli, const struct options *options, struct error *err)
{
    (void)err;
    return cli_each_container(cli, options, "POST", "/unpause", "");
}

static int run_rm(struct cli *cli, const struct options *options, struct error *err)
{
    struct target query CLEANUP(target_done) = TARGET_INIT;
    (void)err;
    if (options_bool(options, "force", false))
        target_query(&query, "force", "1");
    if (options_bool(options, "link", false))
        target_query(&query, "link", "1");
    if (options_bool(options, "volumes", false))
        target_query(&query, "v", "1");
    return cli_each_container(cli, options, "DELETE", "", query.text.ptr);
}

static int run_rename(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/rename");
    target_query(&target, "name", options->arguments[1]);
    return cli_call(cli, "POST", target.text.ptr, NULL, NULL, err);
}

static int run_wait(struct cli *cli, const struct options *options, struct error *err)
{
    int code = 0;
    (void)err;
    for (char **name = options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        json_t *answer CLEANUP(json_cleanup) = NULL;
        struct error failure = { 0 };
        target_path(&target, "/containers/");
        target_name(&target, *name);
        target_path(&target, "/wait");
        if (cli_call(cli, "POST", target.text.ptr, NULL, &answer, &failure) == 0) {
            cli_print(cli, "%" PRId64 "\n", json_get_int(answer, "StatusCode", 0));
            (void)cli_flush(cli);
        } else {
            cli_complain("%s", failure.message);
            code = 1;
        }
    }
    return code;
}

static const struct option stop_options[] = {
    { "signal", 's', OPTION_STRING, NULL,
      "Signal to send to the container (default: its stop signal, SIGTERM)" },
    { "timeout", 't', OPTION_INT, NULL, "Seconds to wait before killing the container (-1: for ever)" },
    { "time", 0, OPTION_INT, NULL, "" }, // Docker's older name
    OPTION_END,
};
static const struct option kill_options[] = {
    { "signal", 's', OPTION_STRING, NULL, "Signal to send to the container (default SIGKILL)" }, OPTION_END
};
static const struct option rm_options[] = {
    { "force", 'f', OPTION_BOOL, NULL, "Force the removal of a running container (uses SIGKILL)" },
    { "link", 'l', OPTION_BOOL, NULL, "Remove the specified link" },
    { "volumes", 'v', OPTION_BOOL, NULL, "Remove anonymous volumes associated with the container" },
    OPTION_END,
};

const struct command command_stop = { "stop",
                                      "skiff container stop, skiff stop",
                                      "[OPTIONS] " CONTAINERS,
                                      "Stop one or more running containers",
                                      stop_options,
                                      1,
                                      -1,
                                      false,
                                      run_stop };
const struct command command_restart = { "restart",
                                         "skiff container restart, skiff restart",
                                         "[OPTIONS] " CONTAINERS,
                                         "Restart one or more containers",
                                         stop_options,
                                         1,
                                         -1,
                                         false,
                                         run_restart };
const struct command command_kill = { "kill",
                                      "skiff container kill, skiff kill",
                                      "[OPTIONS] " CONTAINERS,
                                      "Kill one or more running containers",
                                      kill_options,
                                      1,
                                      -1,
                                      false,
                                      run_kill };
const struct command command_pause = { "pause",    "skiff container pause, skiff pause",
                                       CONTAINERS, "Pause all processes within one or more containers",
                                       NULL,       1,
                                       -1,         false,
                                       run_pause };
const struct command command_unpause = { "unpause",  "skiff container unpause, skiff unpause",
                                         CONTAINERS, "Unpause all processes within one or more containers",
                                         NULL,       1,
                                         -1,         false,
                                         run_unpause };
const struct command command_rm = { "rm",
                                    "skiff container rm, skiff container remove, skiff rm",
                                    "[OPTIONS] " CONTAINERS,
                                    "Remove one or more containers",
                                    rm_options,
                                    1,
                                    -1,
                                    false,
                                    run_rm };
const struct command command_rename = { "rename",
                                        "skiff container rename, skiff rename",
                                        "CONTAINER NEW_NAME",
                                        "Rename a container",
                                        NULL,
                                        2,
                                        2,
                                        false,
                                        run_rename };
const struct command command_wait = {
    "wait",     "skiff container wait, skiff wait",
    CONTAINERS, "Block until one or more containers stop, then print their exit codes",
    NULL,       1,
    -1,         false,
    run_wait
};
