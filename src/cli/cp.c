// `skiff cp`: between a container and the local files, either way, over the archive calls. The tar is made and unpacked here.
#include "cli/commands.h"

#include "archive/archive.h"
#include "archive/stream.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cli/cp_path.h"
#include "cli/human.h"
#include "codec/base64.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINKS_MAX = 10 };
// Bits of Go's os.FileMode, which the engine describes files by.
#define GO_MODE_DIRECTORY (1u << 31)
#define GO_MODE_SYMLINK   (1u << 27)
#define GO_MODE_ODD       (1u << 26 | 1u << 25 | 1u << 24 | 1u << 19) // device, fifo, socket, irregular

struct copy {
    char *container, *source, *destination; // paths; the container's is one of them
    bool follows, keeps_owner, is_quiet;
};

static void copy_done(struct copy *copy)
{
    free(copy->container);
    free(copy->source);
    free(copy->destination);
}

// --- what the engine says of a path
struct remote {
    bool exists;
    uint32_t mode;
    int64_t size;
    char *link_target;
};

static void remote_done(struct remote *remote)
{
    free(remote->link_target);
}

static void archive_target(struct target *target, const struct copy *copy, const char *path)
{
    target_path(target, "/containers/");
    target_name(target, copy->container);
    target_path(target, "/archive");
    target_query(target, "path", path);
}

static int read_path_stat(const struct client_stream *stream, struct remote *ret, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *stat CLEANUP(json_cleanup) = NULL;
    const char *header = http_head_get(&stream->connection->head, "X-Docker-Container-Path-Stat");
    if (!header || !base64_decode(&text, header) || json_parse(text.ptr, text.len, &stat, err) < 0)
        return error_set(err, ERROR_INTERNAL, "unable to decode container path stat header");
    *ret = (struct remote){ .exists = true,
                            .mode = (uint32_t)json_get_int(stat, "mode", 0),
                            .size = json_get_int(stat, "size", 0),
                            .link_target = xstrdup(json_get_string(stat, "linkTarget", "")) };
    return 0;
}

// A path that is not there is no error: ret->exists tells.
static int stat_remote(struct cli *cli, const struct copy *copy, const char *path, struct remote *ret,
                       struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    *ret = (struct remote){ 0 };
    archive_target(&target, copy, path);
    if (cli_connect(cli, err) < 0)
        return -1;
    if (client_stream_open(&cli->client, "HEAD", target.text.ptr, NULL, NULL, &stream, err) < 0)
        return cli->client.unreachable ? -1 : 0;
    return read_path_stat(&stream, ret, err);
}

// Where a link in the container leads, seen from the link.
static char *follow_remote(const char *path, const struct remote *link)
{
    if (link->link_target[0] == '/')
        return xstrdup(link->link_target);
    char *directory CLEANUP(cleanup_free) = cp_directory(path);
    char *joined CLEANUP(cleanup_free) = xasprintf("%s/%s", directory, link->link_target);
    return cp_clean(joined);
}

// --- local paths
static int absolute(char **path, struct error *err)
{
    char here[PATH_MAX];
    if ((*path)[0] != '/' && !getcwd(here, sizeof here))
        return error_errno(err, errno, "getwd");
    char *joined CLEANUP(cleanup_free) = (*path)[0] == '/' ? xstrdup(*path) : xasprintf("%s/%s", here, *path);
    free(*path);
    *path = cp_clean_keeping_end(joined);
    return 0;
}

static int check_output(const char *path, struct error *err)
{
    struct stat st;
    char *directory CLEANUP(cleanup_free) = cp_directory(path);
    if (stat(directory, &st) < 0 && errno == ENOENT)
        return error_set(err, ERROR_INVALID, "invalid output path: directory \"%s\" does not exist",
                         directory);
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID,
                         "invalid output path: \"%s\" must be a directory or a regular file", path);
    return 0;
}

// Follow links to where the copy is to be, which need not be there yet. *path is replaced.
static int find_destination(char **path, struct cp_end *ret, struct error *err)
{
    struct stat st;
    char text[PATH_MAX];
    for (int links = 0; lstat(*path, &st) == 0 && S_ISLNK(st.st_mode); links++) {
        ssize_t n = readlink(*path, text, sizeof text - 1);
        if (n < 0 || links == LINKS_MAX)
            return error_set(err, ERROR_INVALID, "too many symlinks in %s", *path);
        text[n] = 0;
        char *directory CLEANUP(cleanup_free) = cp_directory(*path);
        char *next = text[0] == '/' ? xstrdup(text) : xasprintf("%s/%s", directory, text);
        free(*path);
        *path = next;
    }
    bool exists = stat(*path, &st) == 0;
    *ret = (struct cp_end){ *path, exists, exists && S_ISDIR(st.st_mode) };
    return 0;
}

// --- said at the end

// Counts what passes.
struct counting {
    struct reader from;
    int64_t bytes;
};

static ssize_t read_counting(void *context, void *buffer, size_t n)
{
    struct counting *counting = context;
    ssize_t k = counting->from.read(counting->from.context, buffer, n);
    counting->bytes += k > 0 ? k : 0;
    return k;
}

static void report(const struct copy *copy, int64_t bytes, const char *container, const char *path)
{
    char size[HUMAN_MAX];
    if (copy->is_quiet)
        return;
    human_size((double)bytes, 3, size);
    cli_complain("Successfully copied %s to %s%s%s", size, container ? container : "", container ? ":" : "",
                 path);
}

// --- out of the container
static const char *entry_name(const char *name)
{
    return streq(name, ".") || streq(name, "/") ? "" : name;
}

static int unpack_here(struct reader from, const char *requested, bool is_directory, const char *name,
                       const char *destination, struct error *err)
{
    struct cp_plan plan CLEANUP(cp_plan_done) = { 0 };
    struct cp_end source = { requested, true, is_directory }, end;
    char *path CLEANUP(cleanup_free) = xstrdup(destination);
    char *called CLEANUP(cleanup_free) = cp_base(requested);
    if (find_destination(&path, &end, err) < 0 || cp_plan(&source, name, &end, &plan, err) < 0)
        return -1;
    int directory CLEANUP(cleanup_close) = open(plan.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return error_errno(err, errno, "open %s", plan.directory);
    struct archive_unpack options = {
        .keeps_kinds = true, .ignores_owner = true, .from = entry_name(called), .to = entry_name(plan.name)
    };
    struct tar_reader *tar CLEANUP(tar_reader_freep) = tar_reader_new(from, (struct writer){ 0 });
    return archive_unpack(directory, tar, &options, err);
}

static int copy_out(struct cli *cli, struct copy *copy, struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    struct remote link CLEANUP(remote_done) = { 0 }, found CLEANUP(remote_done) = { 0 };
    bool to_stdout = streq(copy->destination, "-");
    if (!to_stdout && (absolute(&copy->destination, err) < 0 || check_output(copy->destination, err) < 0))
        return -1;
    char *requested CLEANUP(cleanup_free) = xstrdup(copy->source);
    char *name CLEANUP(cleanup_free) = cp_base(copy->source);
    if (copy->follows && stat_remote(cli, copy, copy->source, &link, err) < 0)
        return -1;
    if (link.exists && link.mode & GO_MODE_SYMLINK) {
        free(requested);
        requested = follow_remote(copy->source, &link);
    }
    archive_target(&target, copy, requested);
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "GET", target.text.ptr, NULL, NULL, &stream, err) < 0 ||
        read_path_stat(&stream, &found, err) < 0)
        return -1;
    if (to_stdout) {
        int out = STDOUT_FILENO;
        ssize_t r = stream_copy(stream.body, writer_to_fd(&out));
        return r < 0 ? error_errno(err, (int)r, "copy") : 0;
    }
    struct counting counting = { .from = stream.body };
    bool is_directory = found.mode & GO_MODE_DIRECTORY;
    if (unpack_here((struct reader){ read_counting, &counting }, requested, is_directory, name,
                    copy->destination, err) < 0)
        return -1;
    report(copy, is_directory ? counting.bytes : found.size, NULL, copy->destination);
    return 0;
}

// --- into the container

// *path becomes what it is after a link at its end.
static int find_remote(struct cli *cli, const struct copy *copy, char **path, struct cp_end *ret,
                       struct error *err)
{
    struct remote found CLEANUP(remote_done) = { 0 };
    if (stat_remote(cli, copy, *path, &found, err) < 0)
        return -1;
    if (found.exists && found.mode & GO_MODE_SYMLINK) {
        char *target = follow_remote(*path, &found);
        free(*path);
        *path = target;
        remote_done(&found);
        if (stat_remote(cli, copy, *path, &found, err) < 0)
            return -1;
    }
    if (found.exists && found.mode & GO_MODE_ODD)
        return error_set(err, ERROR_INVALID, "destination \"%s:%s\" must be a directory or a regular file",
                         copy->container, copy->destination);
    *ret = (struct cp_end){ *path, found.exists, found.mode & GO_MODE_DIRECTORY };
    return 0;
}

static int upload(struct cli *cli, const struct copy *copy, const char *directory, struct reader from,
                  struct error *err)
{
    struct target target CLEANUP(target_done) = TARGET_INIT;
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    archive_target(&target, copy, directory);
    target_query(&target, "noOverwriteDirNonDir", "true");
    if (copy->keeps_owner)
        target_query(&target, "copyUIDGID", "true");
    return cli_connect(cli, err) < 0 ? -1
                                     : client_stream_open(&cli->client, "PUT", target.text.ptr,
                                                          "application/x-tar", &from, &stream, err);
}

static int upload_tree(struct cli *cli, const struct copy *copy, const struct cp_end *end, struct error *err)
{
    struct cp_plan plan CLEANUP(cp_plan_done) = { 0 };
    struct archive_stream *tar CLEANUP(archive_stream_freep) = NULL;
    struct stat st;
    struct error cause;
    char *name CLEANUP(cleanup_free) = cp_base(copy->source);
    int fd CLEANUP(cleanup_close) = open(copy->source, O_PATH | O_CLOEXEC | (copy->follows ? 0 : O_NOFOLLOW));
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno, "lstat %s", copy->source);
    const struct cp_end source = { copy->source, true, S_ISDIR(st.st_mode) };
    if (cp_plan(&source, name, end, &plan, err) < 0)
        return -1;
    const struct archive_pack options = { .name = plan.name };
    if (archive_stream_new(fd, &options, &tar, err) < 0)
        return -1;
    struct counting counting = { .from = archive_stream_reader(tar) };
    int r = upload(cli, copy, plan.directory, (struct reader){ read_counting, &counting }, err);
    if (r < 0) {
        if (archive_stream_end(tar, &cause) < 0)
            *err = cause;
        return r;
    }
    report(copy, S_ISREG(st.st_mode) ? st.st_size : counting.bytes, copy->container, copy->destination);
    return 0;
}

static int copy_in(struct cli *cli, struct copy *copy, struct error *err)
{
    bool from_stdin = streq(copy->source, "-");
    struct cp_end end;
    if (!from_stdin && absolute(&copy->source, err) < 0)
        return -1;
    char *path CLEANUP(cleanup_free) = xstrdup(copy->destination);
    if (find_remote(cli, copy, &path, &end, err) < 0)
        return -1;
    if (!from_stdin)
        return upload_tree(cli, copy, &end, err);
    if (!end.is_directory)
        return error_set(err, ERROR_INVALID, "destination \"%s:%s\" must be a directory", copy->container,
                         copy->destination);
    int in = STDIN_FILENO;
    return upload(cli, copy, path, reader_from_fd(&in), err);
}

static int run_cp(struct cli *cli, const struct options *options, struct error *err)
{
    struct copy copy CLEANUP(copy_done) = { 0 };
    char *from CLEANUP(cleanup_free) = NULL, *to CLEANUP(cleanup_free) = NULL;
    if (!*options->arguments[0])
        return error_set(err, ERROR_INVALID, "source can not be empty");
    if (!*options->arguments[1])
        return error_set(err, ERROR_INVALID, "destination can not be empty");
    cp_split(options->arguments[0], &from, &copy.source);
    cp_split(options->arguments[1], &to, &copy.destination);
    if (from && to)
        return error_set(err, ERROR_INVALID, "copying between containers is not supported");
    if (!from && !to)
        return error_set(err, ERROR_INVALID, "must specify at least one container source");
    bool is_out = from != NULL;
    copy.container = is_out ? TAKE_PTR(from) : TAKE_PTR(to);
    copy.follows = options_bool(options, "follow-link", false);
    copy.keeps_owner = options_bool(options, "archive", false);
    copy.is_quiet = options_bool(options, "quiet", !isatty(STDOUT_FILENO));
    return is_out ? copy_out(cli, &copy, err) : copy_in(cli, &copy, err);
}

static const struct option cp_options[] = {
    { "archive", 'a', OPTION_BOOL, NULL, "Archive mode (copy all uid/gid information)" },
    { "follow-link", 'L', OPTION_BOOL, NULL, "Always follow symlinks in SRC_PATH" },
    { "quiet", 'q', OPTION_BOOL, NULL,
      "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is "
      "attached" },
    OPTION_END,
};
const struct command command_cp = {
    "cp",
    "skiff container cp, skiff cp",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tskiff cp [OPTIONS] SRC_PATH|- "
    "CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem",
    cp_options,
    2,
    2,
    false,
    run_cp
};
