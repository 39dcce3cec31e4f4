// skiff update: limits and restart policy of containers that exist.
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "codec/json.h"

#include <string.h>

static const struct option update_options[] = {
    { "blkio-weight", 0, OPTION_INT, "uint16",
      "Block IO (relative weight), between 10 and 1000, or 0 to disable" },
    { "cpu-period", 0, OPTION_INT, NULL,
      "Limit CPU CFS (Completely Fair Scheduler) period, in microseconds" },
    { "cpu-quota", 0, OPTION_INT, NULL, "Limit CPU CFS (Completely Fair Scheduler) quota, in microseconds" },
    { "cpu-rt-period", 0, OPTION_INT, NULL, "Limit CPU real-time period in microseconds" },
    { "cpu-rt-runtime", 0, OPTION_INT, NULL, "Limit CPU real-time runtime in microseconds" },
    { "cpu-shares", 'c', OPTION_INT, NULL, "CPU shares (relative weight)" },
    { "cpus", 0, OPTION_DECIMAL, NULL, "Number of CPUs" },
    { "cpuset-cpus", 0, OPTION_STRING, NULL, "CPUs in which to allow execution (0-3, 0,1)" },
    { "cpuset-mems", 0, OPTION_STRING, NULL, "Memory nodes in which to allow execution (0-3, 0,1)" },
    { "memory", 'm', OPTION_BYTES, NULL, "Memory limit" },
    { "memory-reservation", 0, OPTION_BYTES, NULL, "Memory soft limit" },
    { "memory-swap", 0, OPTION_BYTES, NULL,
      "Swap limit equal to memory plus swap: '-1' to enable unlimited swap" },
    { "pids-limit", 0, OPTION_INT, NULL, "Tune container pids limit (set -1 for unlimited)" },
    { "restart", 0, OPTION_STRING, NULL, "Restart policy to apply when a container exits" },
    { "storage-opt", 0, OPTION_LIST, NULL, "New limit of the writable layer: size=10G (0: none)" },
    OPTION_END,
};

static json_t *update_body(const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object();
    create_add_limits(options, body);
    if (options_has(options, "restart")) {
        json_t *policy = NULL;
        if (create_restart_policy(options_string(options, "restart", ""), &policy, err) < 0)
            return NULL;
        json_object_set_new(body, "RestartPolicy", policy);
    }
    if (create_add_map(options, "storage-opt", body, "StorageOpt", err) < 0)
        return NULL;
    if (json_object_size(body) == 0) {
        error_set(err, ERROR_INVALID, "you must provide one or more flags when using this command");
        return NULL;
    }
    return TAKE_PTR(body);
}

static int update_one(struct cli *cli, const char *name, const json_t *body, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/containers/");
    target_name(&target, name);
    target_path(&target, "/update");
    if (cli_call(cli, "POST", target.text.ptr, body, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", name);
    (void)cli_flush(cli);
    char **warnings CLEANUP(strv_freep) = json_get_strv(answer, "Warnings");
    for (size_t i = 0; warnings && warnings[i]; i++)
        cli_complain("%s", warnings[i]);
    return 0;
}

static int run_update(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = update_body(options, err);
    int code = 0;
    if (!body)
        return -1;
    for (char **name = options->arguments; *name; name++) {
        struct error failure = { 0 };
        if (update_one(cli, *name, body, &failure) == 0)
            continue;
        cli_complain("%s", failure.message);
        code = 1;
    }
    return code;
}

const struct command command_update = { "update",
                                        "skiff container update, skiff update",
                                        "[OPTIONS] CONTAINER [CONTAINER...]",
                                        "Update configuration of one or more containers",
                                        update_options,
                                        1,
                                        -1,
                                        false,
                                        run_update };
