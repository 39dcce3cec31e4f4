// A bounded pipe between a thread that makes bytes and one that sends them piece by piece: two buffers, one being filled while
// the other is out. Internal to image/.
#pragma once

#include "base/error.h"
#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>

struct piece_pipe;

struct piece_pipe *piece_pipe_new(size_t piece_bytes);
// When neither side uses it any more. NULL is fine.
void piece_pipe_free(struct piece_pipe *pipe);

// --- the maker's side
// -EPIPE once the sender has gone.
struct writer piece_pipe_writer(struct piece_pipe *pipe);
// No more bytes; err: why not, NULL when these were all. Exactly once.
void piece_pipe_end(struct piece_pipe *pipe, const struct error *err);

// --- the sender's side
// The next piece, borrowed until the next call; the one before is given back. All but the last are full; the last may be empty.
// -1 with the maker's error when it ended with one.
int piece_pipe_take(struct piece_pipe *pipe, const void **ret_bytes, size_t *ret_n, bool *ret_is_last,
                    struct error *err);
// Nothing more will be taken. May be called more than once.
void piece_pipe_abandon(struct piece_pipe *pipe);
// The same as a stream, instead of piece_pipe_take; -EIO when the maker failed.
struct reader piece_pipe_reader(struct piece_pipe *pipe);
// The maker's error, borrowed; NULL when it had none (yet).
const struct error *piece_pipe_error(const struct piece_pipe *pipe);
