#include "cli/output.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int output_tar(struct cli *cli, const char *target, const char *path, const char *verb, struct error *err)
{
    struct client_stream stream CLEANUP(client_stream_done) = { 0 };
    int fd CLEANUP(cleanup_close) = FD_NONE, out = STDOUT_FILENO;
    if (!path && isatty(STDOUT_FILENO))
        return error_set(err, ERROR_INVALID,
                         "cowardly refusing to %s to a terminal. Use the -o flag or redirect", verb);
    if (cli_connect(cli, err) < 0 ||
        client_stream_open(&cli->client, "GET", target, NULL, NULL, &stream, err) < 0)
        return -1;
    char *partial CLEANUP(cleanup_free) = path ? xasprintf("%s.skiff-%d", path, (int)getpid()) : NULL;
    if (path) {
        out = fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_errno(err, errno, "failed to %s: open %s", verb, path);
    }
    ssize_t r = stream_copy(stream.body, writer_to_fd(&out));
    if (r >= 0 && path && rename(partial, path) < 0)
        r = -errno;
    if (r < 0 && path)
        (void)unlink(partial);
    return r < 0 ? error_errno(err, (int)r, "%s", verb) : 0;
}
