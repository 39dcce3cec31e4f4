// skiff image diff, skiff image flatten.
#include "cli/commands.h"
#include "cli/format.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

// --- diff
enum { EXIT_SAME, EXIT_DIFFERENT, EXIT_TROUBLE }; // as diff(1)

struct diff_view {
    struct cli *cli;
    const char *format;
    bool is_quiet, has_found;
    json_t *rows; // for a template
    struct error *err;
};

static const struct format_column fields[] = { { "Type", "TYPE" },   { "Kind", "KIND" },
                                               { "Path", "PATH" },   { "Reasons", "REASONS" },
                                               { "Field", "FIELD" }, { "Key", "KEY" },
                                               { "From", "FROM" },   { "To", "TO" },
                                               { NULL, NULL } };

static char *value_text(const json_t *value)
{
    return json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
}

static void show_config(struct cli *cli, const json_t *document, char letter)
{
    const char *key = json_get_string(document, "Key", "");
    const json_t *from = json_object_get(document, "From"), *to = json_object_get(document, "To");
    char *old CLEANUP(cleanup_free) = value_text(from), *new CLEANUP(cleanup_free) = value_text(to);
    cli_print(cli, "%c config %s%s%s: ", letter, json_get_string(document, "Field", ""), *key ? " " : "",
              key);
    if (letter == 'C')
        cli_print(cli, "%s -> %s\n", old, new);
    else
        cli_print(cli, "%s\n", letter == 'A' ? new : old);
}

static void show_line(struct cli *cli, const json_t *document)
{
    const char *kind = json_get_string(document, "Kind", "");
    char letter = streq(kind, "added") ? 'A' : streq(kind, "deleted") ? 'D' : 'C';
    if (streq(json_get_string(document, "Type", ""), "config")) {
        show_config(cli, document, letter);
        return;
    }
    char **reasons CLEANUP(strv_freep) = json_get_strv(document, "Reasons");
    char *why CLEANUP(cleanup_free) = reasons && reasons[0] ? strv_join(reasons, ", ") : NULL;
    cli_print(cli, "%c %s%s%s%s\n", letter, json_get_string(document, "Path", ""), why ? " (" : "",
              why ? why : "", why ? ")" : "");
}

static int show_difference(void *context, json_t *document)
{
    struct diff_view *v = context;
    const char *error = json_get_string(document, "error", NULL);
    if (error)
        return error_set(v->err, ERROR_INTERNAL, "%s", error);
    v->has_found = true;
    if (v->is_quiet)
        return 0;
    if (v->rows) {
        json_t *row = json_object(); // a template may name what this kind of line has not
        for (size_t i = 0; fields[i].field; i++)
            json_set_string(row, fields[i].field, "");
        json_object_update(row, document);
        json_array_append_new(v->rows, row);
    } else if (v->format) {
        char *text CLEANUP(cleanup_free) = json_text(document);
        cli_print(v->cli, "%s\n", text);
    } else {
        show_line(v->cli, document);
    }
    return 0;
}

static int ask_for_diff(struct cli *cli, const struct options *options, struct diff_view *view,
                        struct error *err)
{
    static const char *const columns[] = { "Kind", "Path", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    target_path(&target, "/images/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/diff");
    target_query(&target, "with", options->arguments[1]);
    if (options_bool(options, "times", false))
        target_query(&target, "times", "1");
    if (view->is_quiet)
        target_query(&target, "brief", "1");
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "GET", target.text.ptr, NULL, NULL, &stream, err) < 0 ||
        client_each_document(stream.body, show_difference, view, err) < 0)
        return -1;
    return view->rows ? format_rows(cli, view->format, view->rows, fields, columns, err) : 0;
}

static int run_diff(struct cli *cli, const struct options *options, struct error *err)
{
    const char *format = options_string(options, "format", NULL);
    bool is_template = format && !streq(format, "json");
    json_t *rows CLEANUP(json_cleanup) = is_template ? json_array() : NULL;
    struct diff_view view = { .cli = cli,
                              .format = format,
                              .is_quiet = options_bool(options, "quiet", false),
                              .rows = rows,
                              .err = err };
    if (ask_for_diff(cli, options, &view, err) == 0)
        return view.has_found ? EXIT_DIFFERENT : EXIT_SAME;
    (void)cli_flush(cli);
    cli_complain("%s", err->message);
    return EXIT_TROUBLE;
}

static const struct option diff_options[] = {
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'json' (a document a line), or a Go TEMPLATE with .Type .Kind .Path .Reasons .Field "
      ".Key .From "
      ".To" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Print nothing: the exit code says whether there are differences" },
    { "times", 0, OPTION_BOOL, NULL, "Count files that differ in their time of modification only, too" },
    OPTION_END,
};
const struct command command_image_diff = {
    "diff",
    NULL,
    "[OPTIONS] IMAGE IMAGE|CONTAINER",
    "Compare two images, or an image and a container (exit code 0: equal, 1: "
    "different, 2: trouble)",
    diff_options,
    2,
    2,
    false,
    run_diff
};

// --- flatten
static int run_flatten(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    target_path(&target, "/images/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/flatten");
    if (options_has(options, "from"))
        target_query(&target, "from", options_string(options, "from", ""));
    if (options_has(options, "to"))
        target_query(&target, "to", options_string(options, "to", ""));
    if (options->arguments[1])
        target_query(&target, "tag", options->arguments[1]);
    if (cli_call(cli, "POST", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", json_get_string(answer, "Id", ""));
    return 0;
}

static const struct option flatten_options[] = {
    { "from", 0, OPTION_STRING, "layer",
      "Lowest layer to merge: a number from 1 (the bottom), or a diff id" },
    { "to", 0, OPTION_STRING, "layer", "Topmost layer to merge (default: the last)" },
    OPTION_END,
};
const struct command command_image_flatten = { "flatten",
                                               NULL,
                                               "[OPTIONS] IMAGE|IMAGE..IMAGE [NEW_NAME[:TAG]]",
                                               "Make an image whose layers are merged into one",
                                               flatten_options,
                                               1,
                                               2,
                                               false,
                                               run_flatten };
