#include "cli/commands.h"
#include "cli/format.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

// Kinds in the order they are tried for a name without --type.
static const struct kind {
    const char *name, *before, *after, *missing;
} kinds[] = {
    { "container", "/containers/", "/json", "No such container: " },
    { "image", "/images/", "/json", "No such image: " },
    { "network", "/networks/", "", "No such network: " },
    { "volume", "/volumes/", "", "No such volume: " },
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static int inspect_one(struct cli *cli, const struct kind *kind, const char *name, bool sizes, json_t **ret,
                       struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, kind->before);
    target_name(&target, name);
    target_path(&target, kind->after);
    if (sizes && kind == &kinds[0])
        target_query(&target, "size", "1");
    return cli_call(cli, "GET", target.text.ptr, NULL, ret, err);
}

static int inspect_any(struct cli *cli, const char *name, bool sizes, json_t **ret, struct error *err)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (inspect_one(cli, &kinds[i], name, sizes, ret, err) == 0)
            return 0;
        if (err->kind != ERROR_NOT_FOUND && err->kind != ERROR_INVALID)
            return -1;
    }
    return error_set(err, ERROR_NOT_FOUND, "Error: No such object: %s", name);
}

static int print_documents(struct cli *cli, const char *format, const json_t *documents, struct error *err)
{
    if (!format || streq(format, "")) {
        if (json_array_size(documents))
            return format_document(cli, NULL, documents, err);
        cli_print(cli, "[]\n");
        return 0;
    }
    for (size_t i = 0; i < json_array_size(documents); i++)
        if (format_document(cli, format, json_array_get(documents, i), err) < 0)
            return -1;
    return 0;
}

// only: the kind asked for, or NULL for any. What was found is shown even when something was not.
static int inspect_all(struct cli *cli, const struct options *options, const struct kind *only,
                       struct error *err)
{
    json_t *documents CLEANUP(json_cleanup) = json_array();
    struct str complaints CLEANUP(str_done) = STR_INIT;
    bool sizes = options_bool(options, "size", false);
    for (char **name = options->arguments; *name; name++) {
        json_t *document = NULL;
        int r = only ? inspect_one(cli, only, *name, sizes, &document, err)
                     : inspect_any(cli, *name, sizes, &document, err);
        if (r == 0 && document)
            json_array_append_new(documents, document);
        else if (r < 0)
            str_appendf(&complaints, "%s%s", complaints.len ? "\n" : "", err->message);
        if (cli->client.unreachable)
            break;
    }
    if (print_documents(cli, options_string(options, "format", NULL), documents, err) < 0)
        return -1;
    if (!complaints.len)
        return 0;
    (void)cli_flush(cli);
    cli_complain("%s", complaints.ptr);
    return 1;
}

static int run_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    const char *type = options_string(options, "type", "");
    if (!*type)
        return inspect_all(cli, options, NULL, err);
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (streq(kinds[i].name, type))
            return inspect_all(cli, options, &kinds[i], err);
    return error_set(err, ERROR_INVALID, "\"%s\" is not a valid value for --type", type);
}

static int run_container_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    return inspect_all(cli, options, &kinds[0], err);
}

static int run_image_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    return inspect_all(cli, options, &kinds[1], err);
}

static int run_network_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    return inspect_all(cli, options, &kinds[2], err);
}

static int run_volume_inspect(struct cli *cli, const struct options *options, struct error *err)
{
    return inspect_all(cli, options, &kinds[3], err);
}

#define FORMAT_OPTION                                                                                   \
    {                                                                                                   \
        "format", 'f', OPTION_STRING, NULL, "Format output: 'json', or a Go TEMPLATE over the document" \
    }
#define SIZE_OPTION                                                                         \
    {                                                                                       \
        "size", 's', OPTION_BOOL, NULL, "Display total file sizes if the type is container" \
    }
static const struct option inspect_options[] = {
    FORMAT_OPTION,
    SIZE_OPTION,
    { "type", 0, OPTION_STRING, NULL,
      "Only inspect objects of the given type: container, image, network or volume" },
    OPTION_END,
};
static const struct option container_options[] = { FORMAT_OPTION, SIZE_OPTION, OPTION_END };
static const struct option image_options[] = { FORMAT_OPTION, OPTION_END };
static const struct option network_options[] = {
    FORMAT_OPTION, { "verbose", 'v', OPTION_BOOL, NULL, "Verbose output for diagnostics" }, OPTION_END
};

const struct command command_inspect = {
    "inspect",
    NULL,
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on containers, images, networks and volumes",
    inspect_options,
    1,
    -1,
    false,
    run_inspect
};
const struct command command_container_inspect = { "inspect",
                                                   NULL,
                                                   "[OPTIONS] CONTAINER [CONTAINER...]",
                                                   "Display detailed information on one or more containers",
                                                   container_options,
                                                   1,
                                                   -1,
                                                   false,
                                                   run_container_inspect };
const struct command command_image_inspect = { "inspect",
                                               NULL,
                                               "[OPTIONS] IMAGE [IMAGE...]",
                                               "Display detailed information on one or more images",
                                               image_options,
                                               1,
                                               -1,
                                               false,
                                               run_image_inspect };
const struct command command_network_inspect = { "inspect",
                                                 NULL,
                                                 "[OPTIONS] NETWORK [NETWORK...]",
                                                 "Display detailed information on one or more networks",
                                                 network_options,
                                                 1,
                                                 -1,
                                                 false,
                                                 run_network_inspect };
const struct command command_volume_inspect = { "inspect",
                                                NULL,
                                                "[OPTIONS] VOLUME [VOLUME...]",
                                                "Display detailed information on one or more volumes",
                                                image_options,
                                                1,
                                                -1,
                                                false,
                                                run_volume_inspect };
