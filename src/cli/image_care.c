// skiff image gc, skiff image dedup.
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <string.h>

static json_t *gc_row(const json_t *image)
{
    json_t *row = json_object();
    char **tags CLEANUP(strv_freep) = json_get_strv(image, "RepoTags");
    char *id CLEANUP(cleanup_free) = rows_id(json_get_string(image, "Id", ""), true);
    char *names CLEANUP(cleanup_free) = tags && tags[0] ? strv_join(tags, ", ") : xstrdup("<none>");
    char size[HUMAN_MAX];
    int64_t used_ns = 0;
    human_size((double)json_get_int(image, "Size", 0), 4, size);
    (void)time_parse_rfc3339(json_get_string(image, "LastUsed", ""), &used_ns);
    char *used CLEANUP(cleanup_free) = used_ns > 0 ? rows_since(used_ns / NS_PER_S) : xstrdup("never");
    json_set_string(row, "ID", id);
    json_set_string(row, "Image", names);
    json_set_string(row, "Size", size);
    json_set_string(row, "LastUsed", used);
    json_set_string(row, "Verdict", json_get_bool(image, "Removed", false) ? "goes" : "stays");
    json_set_string(row, "Reason", json_get_string(image, "Reason", ""));
    return row;
}

static int show_gc(struct cli *cli, const struct options *options, const json_t *report, bool is_dry,
                   struct error *err)
{
    static const struct format_column fields[] = { { "ID", "IMAGE ID" },
                                                   { "Image", "IMAGE" },
                                                   { "Size", "UNIQUE SIZE" },
                                                   { "LastUsed", "LAST USED" },
                                                   { "Verdict", "VERDICT" },
                                                   { "Reason", "REASON" },
                                                   { NULL, NULL } };
    static const char *const columns[] = { "ID", "Image", "Size", "LastUsed", "Verdict", "Reason", NULL };
    const json_t *images = json_get_array(report, "Images");
    json_t *rows CLEANUP(json_cleanup) = json_array();
    const char *format = options_string(options, "format", NULL);
    char bytes[HUMAN_MAX];
    for (size_t i = 0; i < json_array_size(images); i++)
        if (is_dry || json_get_bool(json_array_get(images, i), "Removed", false))
            json_array_append_new(rows, gc_row(json_array_get(images, i)));
    if (format_rows(cli, format, rows, fields, columns, err) < 0)
        return -1;
    human_size((double)json_get_int(report, "SpaceReclaimed", 0), 4, bytes);
    if (!format)
        cli_print(cli, "%s: %s\n", is_dry ? "Would reclaim" : "Total reclaimed space", bytes);
    return 0;
}

static int run_gc(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const numbers[] = { "unused-days", "keep-last", "disk-high", "disk-low" };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *report CLEANUP(json_cleanup) = NULL;
    bool is_dry = options_bool(options, "dry-run", false);
    target_path(&target, "/images/gc");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (options_has(options, numbers[i]))
            target_query(&target, numbers[i], options_string(options, numbers[i], ""));
    for (char *const *keep = options_list(options, "keep"); *keep; keep++)
        target_query(&target, "keep", *keep);
    if (is_dry)
        target_query(&target, "dry-run", "1");
    if (cli_call(cli, "POST", target.text.ptr, NULL, &report, err) < 0)
        return -1;
    return show_gc(cli, options, report, is_dry, err);
}

static const struct option gc_options[] = {
    { "disk-high", 0, OPTION_INT, "percent",
      "Start with images used longest ago above so much of the disk in use" },
    { "disk-low", 0, OPTION_INT, "percent", "... and stop below this (default: 5 less)" },
    { "dry-run", 0, OPTION_BOOL, NULL, "Only say what would go, and why" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .ID .Image .Size "
      ".LastUsed "
      ".Verdict .Reason" },
    { "keep", 0, OPTION_LIST, "pattern",
      "Never remove these: a reference pattern, label=key or label=key=value" },
    { "keep-last", 0, OPTION_INT, "number", "Keep the last so many images of each repository" },
    { "unused-days", 0, OPTION_INT, "days", "Remove what no container used for so long" },
    OPTION_END,
};
const struct command command_image_gc = {
    "gc", NULL,  "[OPTIONS]", "Remove images by the engine's policy, or by the one given", gc_options, 0,
    0,    false, run_gc
};

// --- dedup
static int run_dedup(struct cli *cli, const struct options *options, struct error *err)
{
    json_t *answer CLEANUP(json_cleanup) = NULL;
    bool is_dry = options_bool(options, "dry-run", false);
    const char *format = options_string(options, "format", NULL);
    char saved[HUMAN_MAX];
    if (cli_call(cli, "POST", is_dry ? "/images/dedup?dry-run=1" : "/images/dedup", NULL, &answer, err) < 0)
        return -1;
    if (format)
        return format_document(cli, format, answer, err);
    human_size((double)json_get_int(answer, "SpaceSaved", 0), 4, saved);
    int64_t files = json_get_int(answer, "Files", 0);
    cli_print(cli, "%" PRId64 " file%s %s blocks with equal ones%s: %s\n", files, files == 1 ? "" : "s",
              is_dry       ? "could share"
              : files == 1 ? "shares"
                           : "share",
              is_dry ? ", which would save" : ", which saves", saved);
    if (is_dry && !json_get_bool(answer, "CanShare", false))
        cli_print(cli, "But the file system (%s) cannot share blocks between files: xfs and btrfs can\n",
                  json_get_string(answer, "FileSystem", ""));
    return 0;
}

static const struct option dedup_options[] = {
    { "dry-run", 0, OPTION_BOOL, NULL, "Only say what it would save" },
    { "format", 'f', OPTION_STRING, NULL,
      "Format output: 'json', or a Go TEMPLATE with .Files .SpaceSaved .FileSystem .CanShare" },
    OPTION_END,
};
const struct command command_image_dedup = {
    "dedup", NULL,  "[OPTIONS]", "Let equal files of different layers share their blocks", dedup_options, 0,
    0,       false, run_dedup
};
