// A child of its own: deflate wants a quarter of a megabyte and tens of milliseconds, and the monitor has
// neither to spare.
#include "shim/compress.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { COMPRESS_EXTRA_SIZE = 12 };

// The gzip header's extra field carries the inode number of what was compressed: a reader that holds that file
// knows by it where it is in the set (RFC 1952, 2.3.1.1; subfield "SK", eight bytes, little-endian).
static void identify(int from, gz_header *header, unsigned char extra[static COMPRESS_EXTRA_SIZE])
{
    struct stat st = { 0 };
    (void)fstat(from, &st);
    memcpy(extra, "SK\x08\0", 4);
    for (int i = 0; i < 8; i++)
        extra[4 + i] = (unsigned char)((uint64_t)st.st_ino >> (8 * i));
    *header = (gz_header){ .extra = extra, .extra_len = COMPRESS_EXTRA_SIZE, .os = 3 };
}

static int deflate_file(int from, int to)
{
    static unsigned char in[32 * 1024], out[32 * 1024];
    unsigned char extra[COMPRESS_EXTRA_SIZE];
    gz_header header;
    z_stream z = { 0 };
    // 15 bits of window; 16 more ask for the gzip container (zlib.h, deflateInit2).
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    identify(from, &header, extra);
    int r = deflateSetHeader(&z, &header) == Z_OK ? 0 : -EIO;
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

static int compress_file(int from, const char *to)
{
    int out CLEANUP(cleanup_close) = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    return out < 0 ? -errno : deflate_file(from, out);
}

pid_t compress_in_background(int from, const char *to)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        // Nothing of the monitor's may stay open here: clients wait for their sockets to close.
        int in = dup2(from, 0);
        (void)close_range(1, ~0U, 0);
        (void)!nice(10);
        _exit(in >= 0 && compress_file(in, to) == 0 ? 0 : 1);
    }
    return pid;
}
