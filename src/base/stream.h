// Streams of bytes passed between layers without either side knowing what is behind: a socket body, a file, a pipe, a
// decompressor. Plain function tables; the context is borrowed for the time of the call that received the stream.
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct reader {
    // Bytes read (> 0), 0 at the end, or -errno. May return fewer than n. Blocks.
    ssize_t (*read)(void *context, void *buffer, size_t n);
    void *context;
};

struct writer {
    // 0 when all n bytes were taken, else -errno (-EPIPE: the receiver went away). Blocks.
    int (*write)(void *context, const void *bytes, size_t n);
    void *context;
};

// Streams over a descriptor; *fd is borrowed and must outlive the stream.
struct reader reader_from_fd(const int *fd);
struct writer writer_to_fd(const int *fd);

struct str;
// Append what is written to s.
struct writer writer_to_str(struct str *s);
// Read to the end, at most max bytes (-EFBIG). 0 or -errno.
int reader_read_all(struct reader r, size_t max, struct str *out);
// Copy to the end. Bytes copied or -errno.
ssize_t stream_copy(struct reader from, struct writer to);
