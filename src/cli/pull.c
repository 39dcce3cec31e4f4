#include "cli/pull.h"

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/progress.h"

#include <string.h>
#include <unistd.h>

void pull_split(const char *reference, char **ret_repository, char **ret_tag, bool *ret_is_digest)
{
    const char *at = strchr(reference, '@'), *slash = strrchr(reference, '/');
    const char *colon = strchr(slash ? slash : reference, ':');
    const char *cut = at ? at : colon;
    *ret_is_digest = at != NULL;
    *ret_repository = cut ? xstrndup(reference, (size_t)(cut - reference)) : xstrdup(reference);
    *ret_tag = cut ? xstrdup(cut + 1) : NULL;
}

char *pull_familiar_name(const char *reference)
{
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    bool is_digest;
    pull_split(reference, &repository, &tag, &is_digest);
    return tag ? xstrdup(reference) : xasprintf("%s:latest", reference);
}

char *pull_canonical_name(const char *reference)
{
    size_t n = strcspn(reference, "/");
    bool has_host = reference[n] == '/' && (memchr(reference, '.', n) || memchr(reference, ':', n) ||
                                            (n == 9 && strncmp(reference, "localhost", 9) == 0));
    if (has_host)
        return xstrdup(reference);
    return xasprintf("docker.io/%s%s", reference[n] == '/' ? "" : "library/", reference);
}

static int pull(struct cli *cli, const char *repository, const char *tag, const char *platform, bool is_quiet,
                int fd, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    target_path(&target, "/images/create");
    target_query(&target, "fromImage", repository);
    if (tag)
        target_query(&target, "tag", tag);
    if (!str_is_empty(platform))
        target_query(&target, "platform", platform);
    if (cli_connect(cli, err) < 0)
        return -1;
    credentials_send(cli, repository);
    if (client_stream_open(&cli->client, "POST", target.text.ptr, NULL, NULL, &stream, err) < 0)
        return -1;
    return progress_show(&stream, fd, is_quiet, err);
}

int pull_image(struct cli *cli, const char *reference, const char *platform, bool is_quiet, int fd,
               struct error *err)
{
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    bool is_digest;
    pull_split(reference, &repository, &tag, &is_digest);
    return pull(cli, repository, tag ? tag : "latest", platform, is_quiet, fd, err);
}

static int run_pull(struct cli *cli, const struct options *options, struct error *err)
{
    char *repository CLEANUP(cleanup_free) = NULL, *tag CLEANUP(cleanup_free) = NULL;
    const char *reference = options->arguments[0], *platform = options_string(options, "platform", NULL);
    bool is_digest, all = options_bool(options, "all-tags", false),
                    is_quiet = options_bool(options, "quiet", false);
    pull_split(reference, &repository, &tag, &is_digest);
    if (all && tag)
        return error_set(err, ERROR_INVALID, "tag can't be used with --all-tags/-a");
    if (!all && !tag) {
        tag = xstrdup("latest");
        if (!is_quiet)
            cli_print(cli, "Using default tag: latest\n");
        (void)cli_flush(cli);
    }
    if (pull(cli, repository, tag, platform, is_quiet, STDOUT_FILENO, err) < 0)
        return -1;
    char *canonical CLEANUP(cleanup_free) = pull_canonical_name(repository);
    cli_print(cli, "%s%s%s\n", canonical, tag ? (is_digest ? "@" : ":") : "", tag ? tag : "");
    return 0;
}

static const struct option pull_options[] = {
    { "all-tags", 'a', OPTION_BOOL, NULL, "Download all tagged images in the repository" },
    { "disable-content-trust", 0, OPTION_BOOL, NULL, "" },
    { "platform", 0, OPTION_STRING, NULL, "Set platform if server is multi-platform capable" },
    { "quiet", 'q', OPTION_BOOL, NULL, "Suppress verbose output" },
    OPTION_END,
};
const struct command command_pull = { "pull",
                                      "skiff image pull, skiff pull",
                                      "[OPTIONS] NAME[:TAG|@DIGEST]",
                                      "Download an image from a registry",
                                      pull_options,
                                      1,
                                      1,
                                      false,
                                      run_pull };
