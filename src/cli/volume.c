// volume create, ls, rm, clone, rename.
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/rows.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

// "k=v" repeated, as an object; NULL when there are none. Owned.
static json_t *pairs(const struct options *options, const char *name)
{
    json_t *object = NULL;
    for (char *const *v = options_list(options, name); *v; v++) {
        const char *equals = strchr(*v, '=');
        char *key CLEANUP(cleanup_free) = xstrndup(*v, equals ? (size_t)(equals - *v) : strlen(*v));
        if (!object)
            object = json_object();
        json_set_string(object, key, equals ? equals + 1 : "");
    }
    return object;
}

static int run_volume_create(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *body CLEANUP(json_cleanup) = json_object(), *answer CLEANUP(json_cleanup) = NULL;
    json_t *labels = pairs(options, "label"), *driver_options = pairs(options, "opt");
    const char *name = options->arguments ? options->arguments[0] : NULL;
    if (name)
        json_set_string(body, "Name", name);
    json_set_string(body, "Driver", options_string(options, "driver", "local"));
    if (labels)
        json_object_set_new(body, "Labels", labels);
    if (driver_options)
        json_object_set_new(body, "DriverOpts", driver_options);
    if (cli_call(cli, "POST", "/volumes/create", body, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", json_get_string(answer, "Name", ""));
    return 0;
}

// --- ls

static const struct format_column fields[] = {
    { "Driver", "DRIVER" }, { "Name", "VOLUME NAME" }, { "Mountpoint", "MOUNTPOINT" },
    { "Scope", "SCOPE" },   { "Labels", "LABELS" },    { "Label", "LABEL" },
    { "Links", "LINKS" },   { "Size", "SIZE" },        { "Availability", "AVAILABILITY" },
    { "Group", "GROUP" },   { "Status", "STATUS" },    { NULL, NULL },
};

static json_t *row_of(const json_t *volume)
{
    // Known from `system df` and cluster volumes only.
    static const char *const unknown[] = { "Availability", "Group", "Links", "Size", "Status" };
    static const char *const texts[] = { "Driver", "Mountpoint", "Name", "Scope" };
    json_t *row = json_object(), *labels = json_get_object(volume, "Labels");
    char *text CLEANUP(cleanup_free) = rows_labels(labels);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        json_set_string(row, unknown[i], "N/A");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        json_set_string(row, texts[i], json_get_string(volume, texts[i], ""));
    json_set_string(row, "Labels", text);
    if (labels)
        json_object_set(row, FORMAT_LABELS, labels);
    return row;
}

static int run_volume_ls(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const columns[] = { "Driver", "Name", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    json_t *answer CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array(), *volume;
    const char *format = options_string(options, "format", NULL);
    size_t i;
    if (!filters)
        return -1;
    target_path(&target, "/volumes");
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    json_array_foreach(json_get_array(answer, "Volumes"), i, volume)
        json_array_append_new(rows, row_of(volume));
    if (options_bool(options, "quiet", false) && !format)
        format = "{{.Name}}";
    return format_rows(cli, format, rows, fields, columns, err);
}

// --- rm, clone, rename

static int run_volume_rm(struct cli *cli, const struct options *options, struct error *err)
{
    int code = 0;
    (void)err;
    for (char **name = options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        struct error failure = { 0 };
        target_path(&target, "/volumes/");
        target_name(&target, *name);
        if (options_bool(options, "force", false))
            target_query(&target, "force", "1");
        if (cli_call(cli, "DELETE", target.text.ptr, NULL, NULL, &failure) == 0) {
            cli_print(cli, "%s\n", *name);
            (void)cli_flush(cli);
            continue;
        }
        cli_complain("%s", failure.message);
        code = 1;
        if (cli->client.unreachable)
            break;
    }
    return code;
}

static int run_volume_clone(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/volumes/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/clone");
    target_query(&target, "name", options->arguments[1]);
    if (cli_call(cli, "POST", target.text.ptr, NULL, NULL, err) < 0)
        return -1;
    cli_print(cli, "%s\n", options->arguments[1]);
    return 0;
}

static int run_volume_rename(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/volumes/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/rename");
    target_query(&target, "name", options->arguments[1]);
    return cli_call(cli, "POST", target.text.ptr, NULL, NULL, err);
}

static const struct option create_options[] = {
    { "driver", 'd', OPTION_STRING, NULL, "Specify volume driver name (default \"local\")" },
    { "label", 0, OPTION_LIST, NULL, "Set metadata for a volume" },
    { "opt", 'o', OPTION_LIST, "map", "Set driver specific options (type, device, o)" },
    OPTION_END,
};
static const struct option ls_options[] = {
    { "filter", 'f', OPTION_LIST, "filter", "Provide filter values (e.g. \"dangling=true\")" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .Name .Driver "
      ".Mountpoint "
      ".Scope .Labels .Label" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only display volume names" },
    OPTION_END,
};
static const struct option rm_options[] = {
    { "force", 'f', OPTION_BOOL, NULL, "Be silent about volumes that are not there" }, OPTION_END
};

const struct command command_volume_create = {
    "create", NULL, "[OPTIONS] [VOLUME]", "Create a volume", create_options, 0, 1, false, run_volume_create
};
const struct command command_volume_ls = {
    "ls",         "skiff volume ls, skiff volume list", "[OPTIONS]", "List volumes", ls_options, 0, 0, false,
    run_volume_ls
};
const struct command command_volume_rm = { "rm",
                                           "skiff volume rm, skiff volume remove",
                                           "[OPTIONS] VOLUME [VOLUME...]",
                                           "Remove one or more volumes",
                                           rm_options,
                                           1,
                                           -1,
                                           false,
                                           run_volume_rm };
const struct command command_volume_clone = {
    "clone", NULL, "VOLUME NEW_VOLUME", "Copy a volume under a new name", NULL, 2, 2, false, run_volume_clone
};
const struct command command_volume_rename = {
    "rename", NULL,  "VOLUME NEW_NAME", "Rename a volume that no container uses", NULL, 2,
    2,        false, run_volume_rename
};
