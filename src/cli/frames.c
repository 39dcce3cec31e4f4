#include "cli/frames.h"

#include "base/fd.h"

#include <string.h>
#include <unistd.h>

int frames_write(int stream, const char *bytes, size_t n)
{
    return fd_write_all(stream == 2 ? STDERR_FILENO : STDOUT_FILENO, bytes, n);
}

int frames_show(struct frames *f, const char *bytes, size_t n,
                int (*write)(int stream, const char *bytes, size_t n))
{
    while (n > 0) {
        if (f->left == 0) {
            size_t k = sizeof f->head - f->head_len < n ? sizeof f->head - f->head_len : n;
            memcpy(f->head + f->head_len, bytes, k);
            f->head_len += k;
            bytes += k;
            n -= k;
            if (f->head_len < sizeof f->head)
                return 0;
            f->head_len = 0;
            f->stream = f->head[0];
            f->left = (uint32_t)f->head[4] << 24 | (uint32_t)f->head[5] << 16 | (uint32_t)f->head[6] << 8 |
                      f->head[7];
            continue;
        }
        size_t k = f->left < n ? f->left : n;
        int r = write(f->stream, bytes, k);
        if (r < 0)
            return r;
        f->left -= (uint32_t)k;
        bytes += k;
        n -= k;
    }
    return 0;
}
