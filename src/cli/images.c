// images and history: lists of what there is.
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/human.h"
#include "cli/pull.h"
#include "cli/rows.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NONE "<none>"

static const struct format_column fields[] = {
    { "ID", "IMAGE ID" },
    { "Repository", "REPOSITORY" },
    { "Tag", "TAG" },
    { "Digest", "DIGEST" },
    { "CreatedSince", "CREATED" },
    { "CreatedAt", "CREATED AT" },
    { "Size", "SIZE" },
    { "Containers", "CONTAINERS" },
    { "VirtualSize", "SIZE" },
    { "SharedSize", "SHARED SIZE" },
    { "UniqueSize", "UNIQUE SIZE" },
    { NULL, NULL },
};

struct list_style {
    bool truncates, has_digests;
    json_t *rows;
};

static void set_owned(json_t *row, const char *key, char *text)
{
    json_set_string(row, key, text);
    free(text);
}

static void add_row(struct list_style *style, const json_t *image, const char *repository, const char *tag,
                    const char *digest)
{
    json_t *row = json_object();
    char created[HUMAN_MAX], size[HUMAN_MAX], full_size[HUMAN_MAX];
    int64_t seconds = json_get_int(image, "Created", 0), containers = json_get_int(image, "Containers", -1);
    human_time(seconds, created);
    human_size((double)json_get_int(image, "Size", 0), 3, size);
    human_size((double)json_get_int(image, "Size", 0), 4, full_size);
    set_owned(row, "ID", rows_id(json_get_string(image, "Id", ""), style->truncates));
    json_set_string(row, "Repository", repository);
    json_set_string(row, "Tag", tag);
    json_set_string(row, "Digest", digest);
    set_owned(row, "CreatedSince", seconds > 0 ? rows_since(seconds) : xstrdup("N/A"));
    json_set_string(row, "CreatedAt", seconds > 0 ? created : "N/A");
    json_set_string(row, "Size", size);
    json_set_string(row, "VirtualSize", full_size);
    set_owned(row, "Containers", containers < 0 ? xstrdup("N/A") : xasprintf("%" PRId64, containers));
    json_set_string(row, "SharedSize", "N/A");
    json_set_string(row, "UniqueSize", "N/A");
    json_array_append_new(style->rows, row);
}

// The digests of a repository, or <none>.
static const char *digest_of(char *const *digests, const char *repository)
{
    size_t n = strlen(repository);
    for (; digests && *digests; digests++)
        if (strncmp(*digests, repository, n) == 0 && (*digests)[n] == '@')
            return *digests + n + 1;
    return NONE;
}

static void add_image(struct list_style *style, const json_t *image)
{
    char **tags CLEANUP(strv_freep) = json_get_strv(image, "RepoTags");
    char **digests CLEANUP(strv_freep) = json_get_strv(image, "RepoDigests");
    size_t shown = 0;
    for (size_t i = 0; tags && tags[i]; i++) {
        char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
        bool is_digest;
        if (str_has_prefix(tags[i], NONE))
            continue;
        pull_split(tags[i], &repository, &tag, &is_digest);
        add_row(style, image, repository, tag ? tag : NONE,
                style->has_digests ? digest_of(digests, repository) : NONE);
        shown++;
    }
    for (size_t i = 0; shown == 0 && digests && digests[i]; i++) { // pulled by digest
        char *repository CLEANUP(cleanup_free) = NULL, *digest CLEANUP(cleanup_free) = NULL;
        bool is_digest;
        pull_split(digests[i], &repository, &digest, &is_digest);
        if (!str_has_prefix(repository, NONE)) {
            add_row(style, image, repository, NONE, style->has_digests && digest ? digest : NONE);
            shown++;
            if (!style->has_digests)
                break;
        }
    }
    if (shown == 0)
        add_row(style, image, NONE, NONE, NONE);
}

static int run_images(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const plain[] = { "Repository", "Tag", "ID", "CreatedSince", "Size", NULL };
    static const char *const with_digests[] = { "Repository",   "Tag",  "Digest", "ID",
                                                "CreatedSince", "Size", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *filters CLEANUP(json_cleanup) = cli_filters(options, "filter", err);
    json_t *images CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    const char *format = options_string(options, "format", NULL);
    struct list_style style = { !options_bool(options, "no-trunc", false),
                                options_bool(options, "digests", false), rows };
    if (!filters)
        return -1;
    if (options->arguments)
        json_object_set_new(filters, "reference", json_pack("[s]", options->arguments[0]));
    target_path(&target, "/images/json");
    if (options_bool(options, "all", false))
        target_query(&target, "all", "1");
    if (json_object_size(filters))
        target_query_json(&target, "filters", filters);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &images, err) < 0)
        return -1;
    if (format && strstr(format, ".Digest"))
        style.has_digests = true;
    for (size_t i = 0; i < json_array_size(images); i++)
        add_image(&style, json_array_get(images, i));
    if (options_bool(options, "quiet", false) && !format)
        format = "{{.ID}}";
    return format_rows(cli, format, rows, fields,
                       options_bool(options, "digests", false) ? with_digests : plain, err);
}

static const struct format_column history_fields[] = {
    { "ID", "IMAGE" },
    { "CreatedSince", "CREATED" },
    { "CreatedAt", "CREATED AT" },
    { "CreatedBy", "CREATED BY" },
    { "Size", "SIZE" },
    { "Comment", "COMMENT" },
    { NULL, NULL },
};

static json_t *history_row(const json_t *step, bool truncates, bool is_human)
{
    json_t *row = json_object();
    char created[TIME_TEXT_MAX], size[HUMAN_MAX];
    int64_t seconds = json_get_int(step, "Created", 0), bytes = json_get_int(step, "Size", 0);
    const char *id = json_get_string(step, "Id", "<missing>");
    char *by CLEANUP(cleanup_free) = xstrdup(json_get_string(step, "CreatedBy", ""));
    for (char *p = by; *p; p++)
        *p = *p == '\t' ? ' ' : *p;
    time_format_rfc3339(seconds * NS_PER_S, created);
    if (is_human)
        human_size((double)bytes, 3, size);
    else
        snprintf(size, sizeof size, "%" PRId64, bytes);
    set_owned(row, "ID", str_has_prefix(id, "<") ? xstrdup(id) : rows_id(id, truncates));
    set_owned(row, "CreatedSince",
              !is_human     ? xstrdup(created)
              : seconds > 0 ? rows_since(seconds)
                            : xstrdup("N/A"));
    json_set_string(row, "CreatedAt", seconds > 0 ? created : "");
    set_owned(row, "CreatedBy", human_cut(by, truncates ? 45 : SIZE_MAX));
    json_set_string(row, "Size", size);
    json_set_string(row, "Comment", json_get_string(step, "Comment", ""));
    return row;
}

static int run_history(struct cli *cli, const struct options *options, struct error *err)
{
    static const char *const columns[] = { "ID", "CreatedSince", "CreatedBy", "Size", "Comment", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *steps CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    const char *format = options_string(options, "format", NULL);
    target_path(&target, "/images/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/history");
    if (cli_call(cli, "GET", target.text.ptr, NULL, &steps, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(steps); i++)
        json_array_append_new(rows,
                              history_row(json_array_get(steps, i), !options_bool(options, "no-trunc", false),
                                          options_bool(options, "human", true)));
    if (options_bool(options, "quiet", false) && !format)
        format = "{{.ID}}";
    return format_rows(cli, format, rows, history_fields, columns, err);
}

static const struct option images_options[] = {
    { "all", 'a', OPTION_BOOL, NULL, "Show all images (default hides intermediate images)" },
    { "digests", 0, OPTION_BOOL, NULL, "Show digests" },
    { "filter", 'f', OPTION_LIST, "filter", "Filter output based on conditions provided (key=value)" },
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .ID .Repository "
      ".Tag .Digest "
      ".CreatedSince .CreatedAt .Size" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Don't truncate output" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only show image IDs" },
    OPTION_END,
};
static const struct option history_options[] = {
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .ID .CreatedSince "
      ".CreatedAt "
      ".CreatedBy .Size .Comment" },
    { "human", 'H', OPTION_BOOL, NULL, "Print sizes and dates in human readable format (default true)" },
    { "no-trunc", 0, OPTION_BOOL, NULL, "Don't truncate output" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Only show image IDs" },
    OPTION_END,
};
const struct command command_images = { "images",
                                        "skiff image ls, skiff image list, skiff images",
                                        "[OPTIONS] [REPOSITORY[:TAG]]",
                                        "List images",
                                        images_options,
                                        0,
                                        1,
                                        false,
                                        run_images };
const struct command command_history = { "history",
                                         "skiff image history, skiff history",
                                         "[OPTIONS] IMAGE",
                                         "Show the history of an image",
                                         history_options,
                                         1,
                                         1,
                                         false,
                                         run_history };
