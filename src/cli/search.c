// search: what a registry's index knows.
#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/format.h"

#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>

enum { DESCRIPTION_MAX = 45 };

static const struct format_column fields[] = {
    { "Name", "NAME" },           { "Description", "DESCRIPTION" }, { "StarCount", "STARS" },
    { "IsOfficial", "OFFICIAL" }, { "IsAutomated", "AUTOMATED" },   { NULL, NULL },
};

// One line of at most DESCRIPTION_MAX characters, the last one an ellipsis when it was cut. Owned.
static char *description_of(const char *text, bool truncates)
{
    struct str out = STR_INIT;
    size_t characters = 0, cut = 0;
    for (const char *c = text; *c; c++) {
        bool is_start = ((unsigned char)*c & 0xc0) != 0x80;
        characters += is_start;
        if (truncates && characters == DESCRIPTION_MAX && is_start)
            cut = out.len;
        str_append_char(&out, *c == '\n' || *c == '\r' ? ' ' : *c);
    }
    if (!truncates || characters <= DESCRIPTION_MAX)
        return str_take(&out);
    char *text_out = xasprintf("%.*s…", (int)cut, out.ptr);
    str_done(&out);
    return text_out;
}

static json_t *row_of(const json_t *result, bool truncates)
{
    json_t *row = json_object();
    char *description CLEANUP(cleanup_free) =
        description_of(json_get_string(result, "description", ""), truncates);
    char *stars CLEANUP(cleanup_free) = xasprintf("%" PRId64, json_get_int(result, "star_count", 0));
    json_set_string(row, "Name", json_get_string(result, "name", ""));
    json_set_string(row, "Description", description);
    json_set_string(row, "StarCount", stars);
    json_set_string(row, "IsOfficial", json_get_bool(result, "is_official", false) ? "[OK]" : "");
    json_set_string(row, "IsAutomated", json_get_bool(result, "is_automated", false) ? "[OK]" : "");
    return row;
}

static int run_search(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const columns[] = { "Name", "Description", "StarCount", "IsOfficial", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    const char *term = options->arguments[0];
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    json_t *found CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    size_t i;
    json_t *result;
    if (!filters)
        return -1;
    target_path(&target, "/images/search");
    target_query(&target, "term", term);
    if (options_has(options, "limit"))
        target_query(&target, "limit", options_string(options, "limit", ""));
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    credentials_send(cli, term);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &found, err) < 0)
        return -1;
    json_array_foreach(found, i, result)
    {
        json_array_append_new(rows, row_of(result, !options_bool(options, "no-trunc", false)));
    }
    return format_rows(cli, options_string(options, "format", NULL), rows, fields, columns, err);
}

static const struct option search_options[] = {
    { "filter", 'f', OPTION_LIST, "filter", "Filter output based on conditions provided" },
    { "format", 0, OPTION_STRING, NULL, "Pretty-print search using a Go template" },
    { "limit", 0, OPTION_INT, NULL, "Max number of search results" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Don't truncate output" },
    OPTION_END,
};
const struct command command_search = {
    "search", NULL, "[OPTIONS] TERM", "Search Docker Hub for images", search_options, 1, 1, false, run_search
};
