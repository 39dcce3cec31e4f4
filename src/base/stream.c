#include "base/stream.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

static ssize_t read_fd(void *context, void *buffer, size_t n)
{
    for (;;) {
        ssize_t k = read(*(const int *)context, buffer, n);
        if (k >= 0)
            return k;
        if (errno != EINTR)
            return -errno;
    }
}

struct reader reader_from_fd(const int *fd)
{
    return (struct reader){ read_fd, (void *)(uintptr_t)fd };
}

static int write_fd(void *context, const void *bytes, size_t n)
{
    return fd_write_all(*(const int *)context, bytes, n);
}

struct writer writer_to_fd(const int *fd)
{
    return (struct writer){ write_fd, (void *)(uintptr_t)fd };
}

static int write_str(void *context, const void *bytes, size_t n)
{
    struct str *s = context;
    str_append_n(s, bytes, n);
    return s->failed ? -EFBIG : 0;
}

struct writer writer_to_str(struct str *s)
{
    return (struct writer){ write_str, s };
}

int reader_read_all(struct reader r, size_t max, struct str *out)
{
    char buffer[16384];
    for (size_t total = 0;;) {
        ssize_t n = r.read(r.context, buffer, sizeof buffer);
        if (n <= 0)
            return (int)n;
        total += (size_t)n;
        if (total > max)
            return -EFBIG;
        str_append_n(out, buffer, (size_t)n);
    }
}

enum { COPY_BUFFER = 128 * 1024 };

ssize_t stream_copy(struct reader from, struct writer to)
{
    char *buffer CLEANUP(cleanup_free) = xmalloc(COPY_BUFFER);
    for (ssize_t total = 0;;) {
        ssize_t n = from.read(from.context, buffer, COPY_BUFFER);
        if (n < 0)
            return n;
        if (n == 0)
            return total;
        int r = to.write(to.context, buffer, (size_t)n);
        if (r < 0)
            return r;
        total += n;
    }
}
