// skiff artifact: what is attached to images in a registry.
#include "cli/commands.h"
#include "cli/credentials.h"
#include "cli/format.h"
#include "cli/human.h"

#include "archive/stream.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_of(struct target *target, const char *name, const char *verb)
{
    target_path(target, "/artifacts/");
    target_name(target, name);
    target_path(target, verb);
}

// --- ls
static int run_ls(struct cli *cli, const struct options *options, struct error *err)
{
    static const struct format_column fields[] = {
        { "Digest", "DIGEST" },        { "ArtifactType", "ARTIFACT TYPE" },
        { "MediaType", "MEDIA TYPE" }, { "Size", "SIZE" },
        { "Created", "CREATED" },      { NULL, NULL }
    };
    static const char *const columns[] = { "Digest", "ArtifactType", "Created", NULL };
    struct target target CLEANUP(target_done) = TARGET_INIT;
    json_t *list CLEANUP(json_cleanup) = NULL, *rows CLEANUP(json_cleanup) = json_array();
    path_of(&target, options->arguments[0], "/referrers");
    if (options_has(options, "type"))
        target_query(&target, "type", options_string(options, "type", ""));
    if (cli_connect(cli, err) < 0)
        return -1;
    credentials_send(cli, options->arguments[0]);
    if (cli_call(cli, "GET", target.text.ptr, NULL, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *row = json_copy(json_array_get(list, i));
        json_object_set_new(row, "Size", json_sprintf("%lld", (long long)json_get_int(row, "Size", 0)));
        json_set_string(
            row, "Created",
            json_get_string(json_get_object(row, "Annotations"), "org.opencontainers.image.created", ""));
        json_array_append_new(rows, row);
    }
    return format_rows(cli, options_string(options, "format", NULL), rows, fields, columns, err);
}

// --- attach
static int write_file(const char *path, struct writer to, struct error *err)
{
    struct stat st;
    int fd CLEANUP(cleanup_close) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "open %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, "%s is no regular file", path);
    char *name CLEANUP(cleanup_free) = xstrdup(path_last_name(path));
    const struct tar_entry entry = {
        .type = TAR_REGULAR, .path = name, .link = (char[]){ "" }, .mode = 0644, .size = (uint64_t)st.st_size
    };
    int r = tar_write_header(to, &entry);
    ssize_t n = r < 0 ? r : stream_copy(reader_from_fd(&fd), to);
    if (n >= 0 && n != st.st_size)
        return error_set(err, ERROR_IO, "%s changed while it was read", path);
    r = n < 0 ? (int)n : tar_write_padding(to, (uint64_t)st.st_size);
    return r < 0 ? error_errno(err, r, "send %s", path) : 0;
}

static int write_files(void *context, struct writer to, struct error *err)
{
    for (char *const *path = context; *path; path++)
        if (write_file(*path, to, err) < 0)
            return -1;
    return 0;
}

static int take_answer(void *context, json_t *document)
{
    json_t **answer = context;
    *answer = json_incref(document);
    return 1;
}

static int run_attach(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    CLEANUP(archive_stream_freep) struct archive_stream *tar = NULL;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    json_t *answer CLEANUP(json_cleanup) = NULL;
    struct error cause;
    path_of(&target, options->arguments[0], "/attach");
    target_query(&target, "type", options_string(options, "type", "application/vnd.unknown.artifact.v1"));
    if (options_has(options, "media-type"))
        target_query(&target, "mediaType", options_string(options, "media-type", ""));
    for (char *const *a = options_list(options, "annotation"); *a; a++)
        target_query(&target, "annotation", *a);
    if (cli_connect(cli, err) < 0 || archive_stream_start(write_files, options->arguments + 1, &tar, err) < 0)
        return -1;
    struct reader body = archive_stream_reader(tar);
    credentials_send(cli, options->arguments[0]);
    int r =
        client_stream_open(&cli->client, "POST", target.text.ptr, "application/x-tar", &body, &stream, err);
    if (r == 0)
        r = client_each_document(stream.body, take_answer, &answer, err);
    if (archive_stream_end(tar, &cause) < 0) { // what could not be read here comes first
        *err = cause;
        return -1;
    }
    if (r < 0)
        return -1;
    cli_print(cli, "%s\n", json_get_string(answer, "Digest", ""));
    return 0;
}

// --- pull
static int run_pull(struct cli *cli, const struct options *options, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    const struct archive_unpack unpack = { .keeps_kinds = true, .ignores_owner = true };
    const char *folder = options_string(options, "output", ".");
    path_of(&target, options->arguments[0], "/get");
    int directory CLEANUP(cleanup_close) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return error_errno(err, errno, "open %s", folder);
    if (cli_connect(cli, err) < 0)
        return -1;
    credentials_send(cli, options->arguments[0]);
    if (client_stream_open(&cli->client, "GET", target.text.ptr, NULL, NULL, &stream, err) < 0)
        return -1;
    struct tar_reader *tar CLEANUP(tar_reader_freep) = tar_reader_new(stream.body, (struct writer){ 0 });
    return archive_unpack(directory, tar, &unpack, err);
}

static const struct option ls_options[] = {
    { "format", 0, OPTION_STRING, NULL,
      "Format output: 'table' (default), 'table TEMPLATE', 'json', or a Go TEMPLATE with .Digest "
      ".ArtifactType "
      ".MediaType .Size .Created" },
    { "type", 0, OPTION_STRING, NULL, "Only artifacts of this type" },
    OPTION_END,
};
static const struct option attach_options[] = {
    { "annotation", 0, OPTION_LIST, NULL, "Annotation of the artifact (key=value)" },
    { "media-type", 0, OPTION_STRING, NULL, "Media type of the files (default application/octet-stream)" },
    { "type", 0, OPTION_STRING, NULL, "Type of the artifact (a media type)" },
    OPTION_END,
};
static const struct option pull_options[] = {
    { "output", 'o', OPTION_STRING, "directory", "Where to put the files (default: here)" },
    OPTION_END,
};
const struct command command_artifact_ls = {
    "ls",  NULL,  "[OPTIONS] IMAGE", "List what is attached to an image in its registry", ls_options, 1, 1,
    false, run_ls
};
const struct command command_artifact_attach = { "attach",
                                                 NULL,
                                                 "[OPTIONS] IMAGE [FILE...]",
                                                 "Attach files to an image in its registry",
                                                 attach_options,
                                                 1,
                                                 -1,
                                                 false,
                                                 run_attach };
const struct command command_artifact_pull = {
    "pull", NULL,    "[OPTIONS] NAME[:TAG|@DIGEST]", "Download the files of an artifact", pull_options, 1, 1,
    false,  run_pull
};
