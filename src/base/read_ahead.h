// A stream read ahead by a thread of its own, into a bounded ring of buffers: whoever reads works on what has come while more is
// coming.
#pragma once

#include "base/stream.h"

struct read_ahead;

enum { READ_AHEAD_BUFFERS = 4, READ_AHEAD_BYTES = 256 * 1024 }; // 1 MiB a stream

// `from` is read by that thread only, one read at a time, until its end, its failure or read_ahead_stop. 0 or -errno.
int read_ahead_start(struct reader from, struct read_ahead **ret);
// The same bytes, and then what `from` said last (0 or its -errno). One thread at a time.
struct reader read_ahead_reader(struct read_ahead *ahead);
// Waits for a read under way, and frees. NULL is fine.
void read_ahead_stop(struct read_ahead *ahead);
