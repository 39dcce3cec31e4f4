// A tree as a tar stream to read from, made by a thread while it is read.
#pragma once

#include "archive/archive.h"

struct archive_stream;

// fd and what options point to are borrowed until the stream is freed.
int archive_stream_new(int fd, const struct archive_pack *options, struct archive_stream **ret,
                       struct error *err);
// The same of whatever produce() writes, on a thread of its own: an archive without end mark. `context` is borrowed likewise.
int archive_stream_start(int (*produce)(void *context, struct writer to, struct error *err), void *context,
                         struct archive_stream **ret, struct error *err);
// The archive with its end mark. Where the tree cannot be read on, reading fails with -EIO: never is a part taken for all.
struct reader archive_stream_reader(struct archive_stream *stream);
// Read no more. -1 and *err when the tree could not be read; 0 otherwise, also when the reader left before the end.
int archive_stream_end(struct archive_stream *stream, struct error *err);
void archive_stream_freep(struct archive_stream **stream); // NULL is fine
