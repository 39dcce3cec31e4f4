// push: an image, or all tags of a repository, to a registry.
#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/progress.h"
#include "cli/pull.h"

#include "base/mem.h"

#include <stdio.h>
#include <unistd.h>

static int push(struct cli *cli, const char *repository, const char *tag, const struct options *options,
                struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    const char *compression = options_string(options, "compression", NULL);
    target_path(&target, "/images/");
    target_name(&target, repository);
    target_path(&target, "/push");
    if (tag)
        target_query(&target, "tag", tag);
    if (compression)
        target_query(&target, "compression", compression);
    if (options_has(options, "compression-level"))
        target_query(&target, "compressionLevel", options_string(options, "compression-level", ""));
    if (cli_connect(cli, err) < 0)
        return -1;
    credentials_send(cli, repository);
    if (client_stream_open(&cli->client, "POST", target.text.ptr, NULL, NULL, &stream, err) < 0)
        return -1;
    return progress_show(&stream, STDOUT_FILENO, options_bool(options, "quiet", false), err);
}

static int run_push(struct cli *cli, const struct options *options, struct error *err)
{
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    bool is_digest, all = options_bool(options, "all-tags", false),
                    is_quiet = options_bool(options, "quiet", false);
    pull_split(options->arguments[0], &repository, &tag, &is_digest);
    if (is_digest)
        return error_set(err, ERROR_INVALID, "cannot push a digest reference");
    if (all && tag)
        return error_set(err, ERROR_INVALID, "tag can't be used with --all-tags/-a");
    if (!all && !tag) {
        tag = xstrdup("latest");
        if (!is_quiet)
            cli_print(cli, "Using default tag: latest\n");
        (void)cli_flush(cli);
    }
    if (push(cli, repository, tag, options, err) < 0)
        return -1;
    if (is_quiet) {
        char *canonical CLEANUP(cleanup_free) = pull_canonical_name(repository);
        cli_print(cli, "%s%s%s\n", canonical, tag ? ":" : "", tag ? tag : "");
    }
    return 0;
}

static const struct option push_options[] = {
    { "all-tags", 'a', OPTION_BOOL, NULL, "Push all tags of an image to the repository" },
    { "compression", 0, OPTION_STRING, NULL, "Compress layers as gzip or zstd (default: gzip)" },
    { "compression-level", 0, OPTION_INT, NULL, "How hard: gzip 1 to 3, zstd 1 to 19" },
    { "disable-content-trust", 0, OPTION_BOOL, NULL, "" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Suppress verbose output" },
    OPTION_END,
};
const struct command command_push = { "push",
                                      "skiff image push, skiff push",
                                      "[OPTIONS] NAME[:TAG]",
                                      "Upload an image to a registry",
                                      push_options,
                                      1,
                                      1,
                                      false,
                                      run_push };
