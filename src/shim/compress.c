// A child of its own: deflate wants a quarter of a megabyte and tens of milliseconds, and the monitor has
// neither to spare.
#include "shim/compress.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static int deflate_file(int from, int to)
{
    static unsigned char in[32 * 1024], out[32 * 1024];
    z_stream z = { 0 };
    // 15 bits of window; 16 more ask for the gzip container (zlib.h, deflateInit2).
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    int r = 0;
    for (bool is_end = false; r == 0 && !is_end;) {
        ssize_t n = fd_read_full(from, in, sizeof in);
        if (n < 0)
            r = (int)n;
        is_end = n < (ssize_t)sizeof in;
        z.next_in = in;
        z.avail_in = n > 0 ? (unsigned)n : 0;
        do {
            z.next_out = out;
            z.avail_out = sizeof out;
            (void)deflate(&z, is_end ? Z_FINISH : Z_NO_FLUSH);
            if (r == 0)
                r = fd_write_all(to, out, sizeof out - z.avail_out);
        } while (z.avail_out == 0 && r == 0);
    }
    (void)deflateEnd(&z);
    return r;
}

static int compress_file(const char *from, const char *to)
{
    char *temporary CLEANUP(cleanup_free) = xasprintf("%s.tmp", to);
    int in CLEANUP(cleanup_close) = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out CLEANUP(cleanup_close) =
        open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (in < 0 || out < 0 || deflate_file(in, out) < 0 || rename(temporary, to) < 0) {
        (void)unlink(temporary);
        return -1;
    }
    return unlink(from);
}

pid_t compress_in_background(const char *from, const char *to)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        // Nothing of the monitor's may stay open here: clients wait for their sockets to close.
        (void)close_range(0, ~0U, 0);
        (void)!nice(10);
        _exit(compress_file(from, to) == 0 ? 0 : 1);
    }
    return pid;
}
