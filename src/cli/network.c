#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

static const struct format_column fields[] = {
    { "ID", "NETWORK ID" },     { "Name", "NAME" },     { "Driver", "DRIVER" },
    { "Scope", "SCOPE" },       { "IPv4", "IPV4" },     { "IPv6", "IPV6" },
    { "Internal", "INTERNAL" }, { "Labels", "LABELS" }, { "CreatedAt", "CREATED AT" },
    { "Label", "LABEL" },       { NULL, NULL },
};

static json_t *row_of(const json_t *network, bool truncates)
{
    static const struct {
        const char *key, *field;
    } switches[] = { { "IPv4", "EnableIPv4" }, { "IPv6", "EnableIPv6" }, { "Internal", "Internal" } };
    json_t *row = json_object(), *labels = json_get_object(network, "Labels");
    char *id CLEANUP(cleanup_free) = rows_id(json_get_string(network, "Id", ""), truncates);
    char *text CLEANUP(cleanup_free) = rows_labels(labels);
    char created[HUMAN_MAX] = "";
    int64_t ns;
    if (time_parse_rfc3339(json_get_string(network, "Created", ""), &ns))
        human_time(ns / NS_PER_S, created);
    json_set_string(row, "ID", id);
    json_set_string(row, "Name", json_get_string(network, "Name", ""));
    json_set_string(row, "Driver", json_get_string(network, "Driver", ""));
    json_set_string(row, "Scope", json_get_string(network, "Scope", ""));
    json_set_string(row, "Labels", text);
    json_set_string(row, "CreatedAt", created);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        json_set_string(row, switches[i].key,
                        json_get_bool(network, switches[i].field, false) ? "true" : "false");
    if (labels)
        json_object_set(row, FORMAT_LABELS, labels);
    return row;
}

static int run_network_ls(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const columns[] = { "ID", "Name", "Driver", "Scope", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    json_t *networks CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    const char *format = options_string(options, "format", NULL);
    if (!filters)
        return -1;
    target_path(&target, "/networks");
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &networks, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(networks); i++)
        json_array_append_new(rows,
                              row_of(json_array_get(networks, i), !options_bool(options, "no-trunc", false)));
    if (options_bool(options, "quiet", false) && !format)
        format = "{{.ID}}";
    return format_rows(cli, format, rows, fields, columns, err);
}

static const struct option ls_options[] = {
    { "filter", 'f', OPTION_LIST, "filter", "Provide filter values (e.g. \"driver=bridge\")" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .ID .Name .Driver "
      ".Scope .IPv6 "
      ".Internal .Labels .Label .CreatedAt" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Do not truncate the output" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only display network IDs" },
    OPTION_END,
};
const struct command command_network_ls = { "ls",
                                            "skiff network ls, skiff network list",
                                            "[OPTIONS]",
                                            "List networks",
                                            ls_options,
                                            0,
                                            0,
                                            false,
                                            run_network_ls };
