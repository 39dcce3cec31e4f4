// skiff system df.
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/rows.h"

#include "base/mem.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

// The lists are what both views are made of; from 1.52 on the engine would send sums.
#define DF_TARGET "/v1.51/system/df"

static const struct format_column fields[] = {
    { "Type", "TYPE" }, { "TotalCount", "TOTAL" },        { "Active", "ACTIVE" },
    { "Size", "SIZE" }, { "Reclaimable", "RECLAIMABLE" }, { NULL, NULL },
};

struct usage {
    const char *type;
    int64_t total, active, bytes, reclaimable;
    bool has_percent;
};

static struct usage images_usage(const json_t *document)
{
    const json_t *images = json_get_array(document, "Images");
    struct usage u = { "Images", (int64_t)json_array_size(images),
                       0,        json_get_int(document, "LayersSize", 0),
                       0,        true };
    int64_t used = 0;
    for (size_t i = 0; i < json_array_size(images); i++) {
        const json_t *image = json_array_get(images, i);
        if (json_get_int(image, "Containers", 0) <= 0)
            continue;
        u.active++;
        used += json_get_int(image, "Size", 0) - json_get_int(image, "SharedSize", 0);
    }
    u.reclaimable =
        json_get_int(document, "LayersReclaimable", u.bytes - used); // another engine does not say
    return u;
}

static struct usage containers_usage(const json_t *containers)
{
    struct usage u = { .type = "Containers",
                       .total = (int64_t)json_array_size(containers),
                       .has_percent = true };
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *container = json_array_get(containers, i);
        const char *state = json_get_string(container, "State", "");
        bool is_active = streq(state, "running") || streq(state, "paused") || streq(state, "restarting");
        int64_t bytes = json_get_int(container, "SizeRw", 0);
        u.active += is_active;
        u.bytes += bytes;
        u.reclaimable += is_active ? 0 : bytes;
    }
    return u;
}

static struct usage volumes_usage(const json_t *volumes)
{
    struct usage u = { .type = "Local Volumes",
                       .total = (int64_t)json_array_size(volumes),
                       .has_percent = true };
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *data = json_get_object(json_array_get(volumes, i), "UsageData");
        int64_t bytes = json_get_int(data, "Size", 0), references = json_get_int(data, "RefCount", 0);
        u.active += references > 0;
        u.bytes += bytes > 0 ? bytes : 0;
        u.reclaimable += references == 0 && bytes > 0 ? bytes : 0;
    }
    return u;
}

static struct usage cache_usage(const json_t *records)
{
    struct usage u = { .type = "Build Cache", .total = (int64_t)json_array_size(records) };
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);
        bool is_in_use = json_get_bool(record, "InUse", false),
             is_shared = json_get_bool(record, "Shared", false);
        int64_t bytes = json_get_int(record, "Size", 0);
        u.active += is_in_use;
        u.bytes += is_shared ? 0 : bytes;
        u.reclaimable += is_in_use || is_shared ? 0 : bytes;
    }
    return u;
}

static json_t *row_of(const struct usage *u)
{
    json_t *row = json_object();
    char size[HUMAN_MAX], reclaimable[HUMAN_MAX];
    human_size((double)u->bytes, 4, size);
    human_size((double)u->reclaimable, 4, reclaimable);
    json_set_string(row, "Type", u->type);
    json_object_set_new(row, "TotalCount", json_sprintf("%lld", (long long)u->total));
    json_object_set_new(row, "Active", json_sprintf("%lld", (long long)u->active));
    json_set_string(row, "Size", size);
    if (u->has_percent && u->bytes > 0)
        json_object_set_new(
            row, "Reclaimable",
            json_sprintf("%s (%lld%%)", reclaimable, (long long)(u->reclaimable * 100 / u->bytes)));
    else
        json_set_string(row, "Reclaimable", reclaimable);
    return row;
}

static int show_sums(struct cli *cli, const struct options *options, const json_t *document,
                     struct error *err)
{
    static const char *const columns[] = { "Type", "TotalCount", "Active", "Size", "Reclaimable", NULL };
    const struct usage usages[] = { images_usage(document),
                                    containers_usage(json_get_array(document, "Containers")),
                                    volumes_usage(json_get_array(document, "Volumes")),
                                    cache_usage(json_get_array(document, "BuildCache")) };
    json_t *rows CLEANUP(json_cleanup) = json_array();
    for (size_t i = 0; i < sizeof usages / sizeof *usages; i++)
        json_array_append_new(rows, row_of(&usages[i]));
    return format_rows(cli, options_string(options, "format", NULL), rows, fields, columns, err);
}

// --- everything by name

static void print_table(struct cli *cli, const char *title, struct str *table)
{
    cli_print(cli, "%s\n\n", title);
    format_align(&cli->out, table->ptr, 0);
    str_append_char(&cli->out, '\n');
    str_done(table);
}

static void show_images(struct cli *cli, const json_t *images)
{
    struct str table = STR_INIT;
    str_append(&table, "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS\n");
    for (size_t i = 0; i < json_array_size(images); i++) {
        const json_t *image = json_array_get(images, i);
        const char *name = json_string_value(json_array_get(json_get_array(image, "RepoTags"), 0));
        const char *colon = name ? strrchr(name, ':') : NULL;
        char *id CLEANUP(cleanup_free) = rows_id(json_get_string(image, "Id", ""), true);
        char *since CLEANUP(cleanup_free) = rows_since(json_get_int(image, "Created", 0));
        char size[HUMAN_MAX], shared[HUMAN_MAX], own[HUMAN_MAX];
        int64_t bytes = json_get_int(image, "Size", 0), shared_bytes = json_get_int(image, "SharedSize", 0);
        human_size((double)bytes, 4, size);
        human_size((double)shared_bytes, 4, shared);
        human_size((double)(bytes - shared_bytes), 4, own);
        str_appendf(&table, "%.*s\t%s\t%s\t%s\t%s\t%s\t%s\t%lld\n", colon ? (int)(colon - name) : 6,
                    colon ? name : "<none>", colon ? colon + 1 : "<none>", id, since, size, shared, own,
                    (long long)json_get_int(image, "Containers", 0));
    }
    print_table(cli, "Images space usage:", &table);
}

static void show_containers(struct cli *cli, const json_t *containers)
{
    struct str table = STR_INIT;
    str_append(&table, "CONTAINER ID\tIMAGE\tCOMMAND\tLOCAL VOLUMES\tSIZE\tCREATED\tSTATUS\tNAMES\n");
    for (size_t i = 0; i < json_array_size(containers); i++) {
        const json_t *c = json_array_get(containers, i), *mounts = json_get_array(c, "Mounts");
        const char *name = json_string_value(json_array_get(json_get_array(c, "Names"), 0));
        char *id CLEANUP(cleanup_free) = rows_id(json_get_string(c, "Id", ""), true);
        char *command CLEANUP(cleanup_free) = human_cut(json_get_string(c, "Command", ""), 20);
        char *since CLEANUP(cleanup_free) = rows_since(json_get_int(c, "Created", 0));
        char size[HUMAN_MAX];
        int volumes = 0;
        for (size_t k = 0; k < json_array_size(mounts); k++)
            volumes += streq(json_get_string(json_array_get(mounts, k), "Driver", ""), "local");
        human_size((double)json_get_int(c, "SizeRw", 0), 3, size);
        str_appendf(&table, "%s\t%s\t\"%s\"\t%d\t%s\t%s\t%s\t%s\n", id, json_get_string(c, "Image", ""),
                    command, volumes, size, since, json_get_string(c, "Status", ""),
                    name ? name + (*name == '/') : "");
    }
    print_table(cli, "Containers space usage:", &table);
}

static void show_volumes(struct cli *cli, const json_t *volumes)
{
    struct str table = STR_INIT;
    str_append(&table, "VOLUME NAME\tLINKS\tSIZE\n");
    for (size_t i = 0; i < json_array_size(volumes); i++) {
        const json_t *volume = json_array_get(volumes, i), *data = json_get_object(volume, "UsageData");
        char size[HUMAN_MAX];
        human_size((double)json_get_int(data, "Size", 0), 4, size);
        str_appendf(&table, "%s\t%lld\t%s\n", json_get_string(volume, "Name", ""),
                    (long long)json_get_int(data, "RefCount", 0), size);
    }
    print_table(cli, "Local Volumes space usage:", &table);
}

static int run_df(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *document CLEANUP(json_cleanup) = NULL;
    bool is_verbose = options_bool(options, "verbose", false);
    if (is_verbose && options_has(options, "format"))
        return error_set(err, ERROR_INVALID,
                         "--verbose has a form of its own: --format cannot be given with it");
    if (cli_call(cli, "GET", DF_TARGET, NULL, &document, err) < 0)
        return -1;
    if (!is_verbose)
        return show_sums(cli, options, document, err);
    char cache[HUMAN_MAX];
    human_size((double)cache_usage(json_get_array(document, "BuildCache")).bytes, 4, cache);
    show_images(cli, json_get_array(document, "Images"));
    show_containers(cli, json_get_array(document, "Containers"));
    show_volumes(cli, json_get_array(document, "Volumes"));
    cli_print(cli, "Build cache usage: %s\n", cache);
    return 0;
}

static const struct option df_options[] = {
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .Type .TotalCount "
      ".Active .Size "
      ".Reclaimable" },
    { "verbose", 'v', OPTION_BOOL, NULL, "Show detailed information on space usage" },
    OPTION_END,
};
const struct command command_system_df = { "df", NULL,  "[OPTIONS]", "Show disk usage", df_options, 0,
                                           0,    false, run_df };
