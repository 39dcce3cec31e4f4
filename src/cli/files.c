// Commands about a container's files as a whole: diff, export, commit. (cp has a file of its own.)
#include "cli/commands.h"
#include "cli/pull.h"

#include "base/fd.h"
#include "base/mem.h"
#include "cli/output.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

static int run_diff(struct cli *cli, const struct options *options, struct error *err)
{
    static const char kinds[] = "CAD";
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *changes CLEANUP(json_cleanup) = NULL;
    if (!*options->arguments[0])
        return error_set(err, ERROR_INVALID, "Container name cannot be empty");
    target_path(&target, "/containers/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/changes");
    if (cli_call(cli, "GET", target.text.ptr, NULL, &changes, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *change = json_array_get(changes, i);
        int64_t kind = json_get_int(change, "Kind", 0);
        cli_print(cli, "%c %s\n", kind >= 0 && kind <= 2 ? kinds[kind] : '?',
                  json_get_string(change, "Path", ""));
    }
    return 0;
}

static int run_export(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    target_path(&target, "/containers/");
    target_name(&target, options->arguments[0]);
    target_path(&target, "/export");
    return output_tar(cli, target.text.ptr, options_string(options, "output", NULL), "export", err);
}

static int run_commit(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *answer CLEANUP(json_cleanup) = NULL;
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    bool is_digest = false;
    if (options->arguments[1])
        pull_split(options->arguments[1], &repository, &tag, &is_digest);
    if (is_digest)
        return error_set(err, ERROR_INVALID, "refusing to create a tag with a digest reference");
    target_path(&target, "/commit");
    target_query(&target, "container", options->arguments[0]);
    target_query(&target, "repo", repository ? repository : "");
    target_query(&target, "tag", tag ? tag : "");
    target_query(&target, "author", options_string(options, "author", ""));
    target_query(&target, "comment", options_string(options, "message", ""));
    for (char *const *v = options_list(options, "change"); *v; v++)
        target_query(&target, "changes", *v);
    if (!options_bool(options, "pause", true))
        target_query(&target, "pause", "0");
    if (options_bool(options, "squash", false))
        target_query(&target, "squash", "1");
    if (cli_call(cli, "POST", target.text.ptr, NULL, &answer, err) < 0)
        return -1;
    cli_print(cli, "%s\n", json_get_string(answer, "Id", ""));
    return 0;
}

static const struct option export_options[] = {
    { "output", 'o', OPTION_STRING, NULL, "Write to a file, instead of STDOUT" },
    OPTION_END,
};
static const struct option commit_options[] = {
    { "author", 'a', OPTION_STRING, NULL, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")" },
    { "change", 'c', OPTION_LIST, NULL, "Apply Dockerfile instruction to the created image" },
    { "message", 'm', OPTION_STRING, NULL, "Commit message" },
    { "pause", 'p', OPTION_BOOL, NULL, "Pause container during commit (default true)" },
    { "squash", 's', OPTION_BOOL, NULL, "Make one layer of all files instead of one more on the image's" },
    OPTION_END,
};
const struct command command_diff = {
    "diff",      "skiff container diff, skiff diff",
    "CONTAINER", "Inspect changes to files or directories on a container's filesystem",
    NULL,        1,
    1,           false,
    run_diff
};
const struct command command_export = { "export",
                                        "skiff container export, skiff export",
                                        "[OPTIONS] CONTAINER",
                                        "Export a container's filesystem as a tar archive",
                                        export_options,
                                        1,
                                        1,
                                        false,
                                        run_export };
const struct command command_commit = { "commit",
                                        "skiff container commit, skiff commit",
                                        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
                                        "Create a new image from a container's changes",
                                        commit_options,
                                        1,
                                        2,
                                        false,
                                        run_commit };
