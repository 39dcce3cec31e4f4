// Commands that bring images in, out and away.
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/pull.h"

#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// The archive to read: a file, or standard input for NULL and "-".
static int open_input(const char *path, int *ret_fd, struct error *err)
{
    bool is_stdin = !path || streq(path, "-");
    if (is_stdin && isatty(STDIN_FILENO))
        return error_set(err, ERROR_INVALID, "requested load from stdin, but stdin is empty");
    *ret_fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd >= 0 ? 0 : error_errno(err, errno, "open %s", is_stdin ? "standard input" : path);
}

// POST a tar and show what comes back.
static int upload(struct cli *cli, const char *target, int fd, bool is_quiet, struct error *err)
{
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    struct reader tar = reader_from_fd(&fd);
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "POST", target, "application/x-tar", &tar, &stream, err) < 0)
        return -1;
    return progress_show(&stream, STDOUT_FILENO, is_quiet, err);
}

static int run_load(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    int fd CLEANUP(cleanup_close) = FD_NONE;
    bool is_quiet = options_bool(options, "quiet", false) || !isatty(STDOUT_FILENO);
    target_path(&target, "/images/load");
    target_query(&target, "quiet", is_quiet ? "1" : "0");
    if (options_has(options, "platform"))
        target_query(&target, "platform", options_string(options, "platform", ""));
    if (open_input(options_string(options, "input", NULL), &fd, err) < 0)
        return -1;
    return upload(cli, target.text.ptr, fd, false, err);
}

static int run_import(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    int fd CLEANUP(cleanup_close) = FD_NONE;
    const char *source = options->arguments[0];
    bool is_url = str_has_prefix(source, "http://") || str_has_prefix(source, "https://");
    target_path(&target, "/images/create");
    target_query(&target, "fromSrc", is_url ? source : "-");
    if (options->arguments[1])
        target_query(&target, "repo", options->arguments[1]);
    if (options_has(options, "message"))
        target_query(&target, "message", options_string(options, "message", ""));
    for (char *const *v = options_list(options, "change"); *v; v++)
        target_query(&target, "changes", *v);
    if (options_has(options, "platform"))
        target_query(&target, "platform", options_string(options, "platform", ""));
    if (is_url)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else if (open_input(source, &fd, err) < 0)
        return -1;
    return upload(cli, target.text.ptr, fd, false, err);
}

static int run_save(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/images/get");
    for (char **name = options->arguments; *name; name++)
        target_query(&target, "names", *name);
    if (options_has(options, "platform"))
        target_query(&target, "platform", options_string(options, "platform", ""));
    return output_tar(cli, target.text.ptr, options_string(options, "output", NULL), "save", err);
}

static int run_tag(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    bool is_digest;
    pull_split(options->arguments[1], &repository, &tag, &is_digest);
    if (is_digest)
        return error_set(err, ERROR_INVALID, "refusing to create a tag with a digest reference");
    target_path(&target, "/images/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/tag");
    target_query(&target, "repo", repository);
    target_query(&target, "tag", tag ? tag : "latest");
    return cli_call(cli, "POST", target.text.ptr, NULL, NULL, err);
}

static void print_removed(struct cli *cli, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *deleted = json_get_string(item, "Deleted", NULL);
        if (deleted)
            cli_print(cli, "Deleted: %s\n", deleted);
        else
            cli_print(cli, "Untagged: %s\n", json_get_string(item, "Untagged", ""));
    }
}

static int run_rmi(struct cli *cli, const struct options *options, struct error *err)
{
    bool forces = options_bool(options, "force", false);
    int code = 0;
    for (char **name = options->arguments; *name; name++) {
        struct target target CLEANUP(target_done) = TARGET_INIT;
        json_t *answer CLEANUP(json_cleanup) = NULL;
        target_path(&target, "/images/");
        target_name(&target, *name);
        if (forces)
            target_query(&target, "force", "1");
        if (options_bool(options, "no-prune", false))
            target_query(&target, "noprune", "1");
        if (cli_call(cli, "DELETE", target.text.ptr, NULL, &answer, err) == 0) {
            print_removed(cli, answer);
            (void)cli_flush(cli);
            continue;
        }
        cli_complain("%s", err->message);
        if (!(forces && err->kind == ERROR_NOT_FOUND)) // -f is content when there is nothing to remove
            code = 1;
    }
    return code;
}

static const struct option load_options[] = {
    { "input", 'i', OPTION_STRING, NULL, "Read from tar archive file, instead of STDIN" },
    { "platform", 0, OPTION_STRING, NULL, "Load only the given platform variant: os[/arch[/variant]]" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Suppress the load output" },
    OPTION_END,
};
static const struct option import_options[] = {
    { "change", 'c', OPTION_LIST, NULL, "Apply Dockerfile instruction to the created image" },
    { "message", 'm', OPTION_STRING, NULL, "Set commit message for imported image" },
    { "platform", 0, OPTION_STRING, NULL, "Set platform if server is multi-platform capable" },
    OPTION_END,
};
static const struct option save_options[] = {
    { "output", 'o', OPTION_STRING, NULL, "Write to a file, instead of STDOUT" },
    { "platform", 0, OPTION_STRING, NULL, "Save only the given platform variant: os[/arch[/variant]]" },
    OPTION_END,
};
static const struct option rmi_options[] = {
    { "force", 'f', OPTION_BOOL, NULL, "Force removal of the image" },
    { "no-prune", 0, OPTION_BOOL, NULL, "Do not delete untagged parents" },
    OPTION_END,
};
const struct command command_load = { "load",
                                      "skiff image load, skiff load",
                                      "[OPTIONS]",
                                      "Load an image from a tar archive or STDIN",
                                      load_options,
                                      0,
                                      0,
                                      false,
                                      run_load };
const struct command command_import = { "import",
                                        "skiff image import, skiff import",
                                        "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
                                        "Import the contents from a tarball to create a filesystem image",
                                        import_options,
                                        1,
                                        2,
                                        false,
                                        run_import };
const struct command command_save = {
    "save",
    "skiff image save, skiff save",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    save_options,
    1,
    -1,
    false,
    run_save
};
const struct command command_tag = { "tag",
                                     "skiff image tag, skiff tag",
                                     "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
                                     "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
                                     NULL,
                                     2,
                                     2,
                                     false,
                                     run_tag };
const struct command command_rmi = { "rmi",
                                     "skiff image rm, skiff image remove, skiff rmi",
                                     "[OPTIONS] IMAGE [IMAGE...]",
                                     "Remove one or more images",
                                     rmi_options,
                                     1,
                                     -1,
                                     false,
                                     run_rmi };
