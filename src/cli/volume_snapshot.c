// volume snapshot, snapshots, restore, update: of skiff's own.
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/format.h"

#include "base/mem.h"
#include "codec/json.h"

static void volume_path(struct target *target, const char *name, const char *verb)
{
    target_path(target, "/volumes/");
    target_name(target, name);
    target_path(target, verb);
}

static int run_volume_snapshot(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    volume_path(&target, options->arguments[0], "/snapshot");
    if (options->arguments[1])
        target_query(&target, "name", options->arguments[1]);
    if (cli_call(cli, "POST", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", json_get_string(answer, "Name", ""));
    return 0;
}

static int run_volume_snapshots(struct cli *cli, const struct options *options, struct error *err)
{
    static const struct format_column fields[] = {
        { "Name", "SNAPSHOT" }, { "CreatedAt", "CREATED AT" }, { "Mountpoint", "MOUNTPOINT" }, { NULL, NULL }
    };
    static const char *const columns[] = { "Name", "CreatedAt", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array(), *snapshot;
    const char *format = options_string(options, "format", NULL);
    size_t i;
    volume_path(&target, options->arguments[0], "/snapshots");
    if (cli_call(cli, "GET", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    json_array_foreach(json_get_array(answer, "Snapshots"), i, snapshot)
    {
        json_t *row = json_object();
        for (size_t k = 0; fields[k].field; k++)
            json_set_string(row, fields[k].field, json_get_string(snapshot, fields[k].field, ""));
        json_array_append_new(rows, row);
    }
    if (options_bool(options, "quiet", false) && !format)
        format = "{{.Name}}";
    return format_rows(cli, format, rows, fields, columns, err);
}

static int run_volume_restore(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    volume_path(&target, options->arguments[0], "/restore");
    target_query(&target, "snapshot", options->arguments[1]);
    if (options_bool(options, "force", false))
        target_query(&target, "force", "1");
    return cli_call(cli, "POST", target.text.ptr, NULL, NULL, err);
}

static int run_volume_update(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *body CLEANUP(json_cleanup) = json_object(), *answer CLEANUP(json_cleanup) = NULL;
    if (create_add_map(options, "opt", body, "DriverOpts", err) < 0)
        return -1;
    volume_path(&target, options->arguments[0], "/update");
    if (cli_call(cli, "POST", target.text.ptr, body, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", options->arguments[0]);
    return 0;
}

static const struct option list_options[] = {
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'json', or a Go TEMPLATE with .Name .CreatedAt .Mountpoint" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only display names" },
    OPTION_END,
};
static const struct option restore_options[] = {
    { "force", 'f', OPTION_BOOL, NULL,
      "Also while containers run with the volume, which keep the former data until they end; also another "
      "volume's snapshot" },
    OPTION_END,
};
static const struct option update_options[] = {
    { "opt", 'o', OPTION_LIST, "map", "Set driver specific options (size)" }, OPTION_END
};

const struct command command_volume_snapshot = {
    .name = "snapshot",
    .arguments = "VOLUME [SNAPSHOT]",
    .summary = "Take a read-only copy of a volume, of what it holds now",
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run_volume_snapshot,
};
const struct command command_volume_snapshots = {
    .name = "snapshots",
    .arguments = "[OPTIONS] VOLUME",
    .summary = "List the snapshots of a volume",
    .options = list_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_volume_snapshots,
};
const struct command command_volume_restore = {
    .name = "restore",
    .arguments = "[OPTIONS] VOLUME SNAPSHOT",
    .summary = "Make a volume hold again what a snapshot of it does",
    .options = restore_options,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_volume_restore,
};
const struct command command_volume_update = {
    .name = "update",
    .arguments = "[OPTIONS] VOLUME",
    .summary = "Change the size limit of a volume",
    .options = update_options,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_volume_update,
};
