// skiff update: limits, restart policy, ports, devices and mounts of containers that exist.
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
    { "device-add", 0, OPTION_LIST, "list", "Add a host device to the container" },
    { "device-rm", 0, OPTION_LIST, "list", "Take a device away, by its path in the container" },
    { "force", 'f', OPTION_BOOL, NULL, "Take mounts off that are in use" },
    { "memory", 'm', OPTION_BYTES, NULL, "Memory limit" },
    { "memory-reservation", 0, OPTION_BYTES, NULL, "Memory soft limit" },
    { "memory-swap", 0, OPTION_BYTES, NULL,
      "Swap limit equal to memory plus swap: '-1' to enable unlimited swap" },
    { "mount-add", 0, OPTION_LIST, "mount", "Attach a filesystem mount to the container" },
    { "mount-rm", 0, OPTION_LIST, "list", "Take a mount off, by its path in the container" },
    { "pids-limit", 0, OPTION_INT, NULL, "Tune container pids limit (set -1 for unlimited)" },
    { "publish-add", 0, OPTION_LIST, "list", "Publish a container's port to the host" },
    { "publish-rm", 0, OPTION_LIST, "list", "Take a published port back ([[IP:]HOST:]CONTAINER[/PROTO])" },
    { "restart", 0, OPTION_STRING, NULL, "Restart policy to apply when a container exits" },
    { "storage-opt", 0, OPTION_LIST, NULL, "New limit of the writable layer: size=10G (0: none)" },
    { "volume-add", 0, OPTION_LIST, "list", "Bind mount a volume in the container" },
    { "volume-rm", 0, OPTION_LIST, "list", "The same as --mount-rm" },
    OPTION_END,
};

static int add_ports(const struct options *options, const char *name, const char *member, json_t *body,
                     struct error *err)
{
    json_t *exposed CLEANUP(json_cleanup) = json_object(), *bindings CLEANUP(json_cleanup) = json_object();
    for (char *const *v = options_list(options, name); *v; v++)
        if (create_publish(*v, exposed, bindings, err) < 0)
            return -1;
    if (json_object_size(bindings))
        json_object_set(body, member, bindings);
    return 0;
}

static int add_mounts(const struct options *options, json_t *body, struct error *err)
{
    json_t *mounts CLEANUP(json_cleanup) = json_array(), *binds CLEANUP(json_cleanup) = json_array();
    json_t *volumes CLEANUP(json_cleanup) = json_object(), *removed CLEANUP(json_cleanup) = json_array(), *v;
    const char *path;
    for (char *const *m = options_list(options, "mount-add"); *m; m++)
        if (create_mount(options, "mount-add", *m, mounts, err) < 0)
            return -1;
    for (char *const *m = options_list(options, "volume-add"); *m; m++)
        if (create_volume(*m, volumes, binds, err) < 0)
            return -1;
    json_object_foreach(volumes, path, v) json_array_append_new(binds, json_string(path));
    for (char *const *m = options_list(options, "mount-rm"); *m; m++)
        json_array_append_new(removed, json_string(*m));
    for (char *const *m = options_list(options, "volume-rm"); *m; m++)
        json_array_append_new(removed, json_string(*m));
    if (json_array_size(mounts))
        json_object_set(body, "MountsAdd", mounts);
    if (json_array_size(binds))
        json_object_set(body, "BindsAdd", binds);
    if (json_array_size(removed))
        json_object_set(body, "MountsRemove", removed);
    return 0;
}

static int add_devices(const struct options *options, json_t *body, struct error *err)
{
    json_t *devices CLEANUP(json_cleanup) = json_array();
    for (char *const *d = options_list(options, "device-add"); *d; d++)
        if (create_device(*d, devices, err) < 0)
            return -1;
    if (json_array_size(devices))
        json_object_set(body, "DevicesAdd", devices);
    if (*options_list(options, "device-rm"))
        json_object_set_new(body, "DevicesRemove", json_from_strv(options_list(options, "device-rm")));
    return 0;
}

// Ports, devices and mounts: members that only this engine knows.
static int add_parts(const struct options *options, json_t *body, struct error *err)
{
    if (add_ports(options, "publish-add", "PortBindingsAdd", body, err) < 0 ||
        add_ports(options, "publish-rm", "PortBindingsRemove", body, err) < 0)
        return -1;
    if (add_devices(options, body, err) < 0 || add_mounts(options, body, err) < 0)
        return -1;
    if (options_bool(options, "force", false))
        json_set_bool(body, "ForceUnmount", true);
    return 0;
}

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
    if (create_add_map(options, "storage-opt", body, "StorageOpt", err) < 0 ||
        add_parts(options, body, err) < 0)
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
