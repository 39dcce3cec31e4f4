#include "cli/commands.h"
#include "cli/exposure.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/rows.h"

#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct format_column fields[] = {
    { "ID", "CONTAINER ID" },
    { "Image", "IMAGE" },
    { "Command", "COMMAND" },
    { "RunningFor", "CREATED" },
    { "CreatedAt", "CREATED AT" },
    { "Status", "STATUS" },
    { "State", "STATE" },
    { "Ports", "PORTS" },
    { "Names", "NAMES" },
    { "Size", "SIZE" },
    { "Labels", "LABELS" },
    { "Mounts", "MOUNTS" },
    { "LocalVolumes", "LOCAL VOLUMES" },
    { "Networks", "NETWORKS" },
    { "Label", "LABEL" },
    { "Platform", "PLATFORM" },
    { "Exposure", "EXPOSURE" },
    { NULL, NULL },
};

static void set_owned(json_t *row, const char *key, char *text)
{
    json_set_string(row, key, text);
    free(text);
}

// Names without their slash; aliases through links ("/other/name") only when nothing is cut.
static char *names_of(const json_t *container, bool truncates)
{
    char **names CLEANUP(strv_freep) = json_get_strv(container, "Names");
    struct str text = STR_INIT;
    for (size_t i = 0; names && names[i]; i++) {
        const char *name = names[i][0] == '/' ? names[i] + 1 : names[i];
        if (truncates && strchr(name, '/'))
            continue;
        str_appendf(&text, "%s%s", text.len ? "," : "", name);
    }
    return str_take(&text);
}

static char *mounts_of(const json_t *container, bool truncates)
{
    const json_t *mounts = json_get_array(container, "Mounts");
    struct str text = STR_INIT;
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        const char *name = json_get_string(mount, "Name", "");
        char *shown CLEANUP(cleanup_free) =
            human_cut(*name ? name : json_get_string(mount, "Source", ""), truncates ? 15 : SIZE_MAX);
        str_appendf(&text, "%s%s", i ? "," : "", shown);
    }
    return str_take(&text);
}

static char *networks_of(const json_t *container)
{
    struct str text = STR_INIT;
    const char *name;
    json_t *ignored, *networks = json_get_object(json_get_object(container, "NetworkSettings"), "Networks");
    json_object_foreach(networks, name, ignored) str_appendf(&text, "%s%s", text.len ? "," : "", name);
    return str_take(&text);
}

static char *size_of(const json_t *container)
{
    char own[HUMAN_MAX], all[HUMAN_MAX];
    int64_t total = json_get_int(container, "SizeRootFs", 0);
    human_size((double)json_get_int(container, "SizeRw", 0), 3, own);
    human_size((double)total, 3, all);
    return total > 0 ? xasprintf("%s (virtual %s)", own, all) : xstrdup(own);
}

static int count_local_volumes(const json_t *container)
{
    const json_t *mounts = json_get_array(container, "Mounts");
    int count = 0;
    for (size_t i = 0; i < json_array_size(mounts); i++)
        count += streq(json_get_string(json_array_get(mounts, i), "Driver", ""), "local");
    return count;
}

static json_t *row_of(const json_t *container, bool truncates)
{
    json_t *row = json_object(), *labels = json_get_object(container, "Labels");
    char created[HUMAN_MAX], volumes[16];
    int64_t seconds = json_get_int(container, "Created", 0);
    const char *image = json_get_string(container, "Image", "");
    char *command CLEANUP(cleanup_free) =
        human_cut(json_get_string(container, "Command", ""), truncates ? 20 : SIZE_MAX);
    human_time(seconds, created);
    snprintf(volumes, sizeof volumes, "%d", count_local_volumes(container));
    set_owned(row, "ID", rows_id(json_get_string(container, "Id", ""), truncates));
    json_set_string(row, "Image", *image ? image : "<no image>");
    set_owned(row, "Command", xasprintf("\"%s\"", command));
    json_set_string(row, "CreatedAt", created);
    set_owned(row, "RunningFor", rows_since(seconds));
    set_owned(row, "Ports", rows_ports(json_get_array(container, "Ports")));
    json_set_string(row, "State", json_get_string(container, "State", ""));
    json_set_string(row, "Status", json_get_string(container, "Status", ""));
    set_owned(row, "Size", size_of(container));
    set_owned(row, "Names", names_of(container, truncates));
    set_owned(row, "Labels", rows_labels(labels));
    set_owned(row, "Mounts", mounts_of(container, truncates));
    json_set_string(row, "LocalVolumes", volumes);
    set_owned(row, "Networks", networks_of(container));
    if (labels)
        json_object_set(row, FORMAT_LABELS, labels);
    return row;
}

static int list(struct cli *cli, const struct options *options, bool wants_size, json_t **ret,
                struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    int64_t limit = options_bool(options, "latest", false) ? 1 : options_number(options, "last", -1);
    char number[24];
    if (!filters)
        return -1;
    target_path(&target, "/containers/json");
    if (options_bool(options, "all", false) || limit >= 0)
        target_query(&target, "all", "1");
    if (limit >= 0) {
        snprintf(number, sizeof number, "%" PRId64, limit);
        target_query(&target, "limit", number);
    }
    if (wants_size)
        target_query(&target, "size", "1");
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    return cli_call(cli, "GET", target.text.ptr, NULL, ret, err);
}

static int run_ps(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const plain[] = { "ID",     "Image", "Command", "RunningFor",
                                         "Status", "Ports", "Names",   NULL };
    static const char *const sized[] = { "ID",    "Image", "Command", "RunningFor", "Status",
                                         "Ports", "Names", "Size",    NULL };
    json_t *containers CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    const char *format = options_string(options, "format", NULL);
    bool shows_size = options_bool(options, "size", false);
    bool truncates = !options_bool(options, "no-trunc", false),
         is_quiet = options_bool(options, "quiet", false);
    bool wants_size = shows_size || (format && !is_quiet && strstr(format, ".Size"));
    if (list(cli, options, wants_size, &containers, err) < 0)
        return -1;
    json_t *chains CLEANUP(json_cleanup) = NULL;
    bool wants_exposure = format && !is_quiet && strstr(format, ".Exposure");
    if (wants_exposure && exposure_chains(cli, &chains, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *container = json_array_get(containers, i);
        json_t *row = row_of(container, truncates);
        if (wants_exposure)
            set_owned(row, "Exposure", exposure_of_ports(json_get_array(container, "Ports"), chains));
        json_array_append_new(rows, row);
    }
    if (is_quiet && (!format || streq(format, "table")))
        format = "{{.ID}}";
    return format_rows(cli, format, rows, fields, shows_size ? sized : plain, err);
}

static const struct option ps_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Show all containers (default shows just running)" },
    { "filter", 'f', OPTION_LIST, "filter", "Filter output based on conditions provided (key=value)" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .ID .Image .Command "
      ".CreatedAt "
      ".RunningFor .Ports .State .Status .Size .Names .Labels .Label .Mounts .LocalVolumes .Networks "
      ".Exposure" },
    { "last", 'n', OPTION_INT, NULL, "Show n last created containers (includes all states) (default -1)" },
    { "latest", 'l', OPTION_BOOL, NULL, "Show the latest created container (includes all states)" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Don't truncate output" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only display container IDs" },
    { "size", 's', OPTION_BOOL, NULL, "Display total file sizes" },
    OPTION_END,
};
const struct command command_ps = {
    "ps",        "skiff container ls, skiff container list, skiff container ps, skiff ps",
    "[OPTIONS]", "List containers",
    ps_options,  0,
    0,           false,
    run_ps
};
