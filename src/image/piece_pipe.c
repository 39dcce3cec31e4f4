#include "image/piece_pipe.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct piece {
    char *bytes;
    size_t n;
};

struct piece_pipe {
    size_t piece_bytes;
    pthread_mutex_t lock; // guards the rest, but not the bytes of a piece, which belong to one side at a time
    pthread_cond_t changed;
    struct piece pieces[2];
    unsigned filling; // the maker's piece; the other one is the sender's when is_full or is_out
    bool is_full;     // handed over, not yet taken
    bool is_out;      // taken, not yet given back
    bool is_ended, is_abandoned, has_failed;
    struct error error;
    size_t read_at; // of the stream's current piece
    const char *read_bytes;
    size_t read_n;
    bool read_is_last;
};

struct piece_pipe *piece_pipe_new(size_t piece_bytes)
{
    struct piece_pipe *pipe = NEW(struct piece_pipe);
    pipe->piece_bytes = piece_bytes;
    pthread_mutex_init(&pipe->lock, NULL);
    pthread_cond_init(&pipe->changed, NULL);
    return pipe;
}

void piece_pipe_free(struct piece_pipe *pipe)
{
    if (!pipe)
        return;
    free(pipe->pieces[0].bytes);
    free(pipe->pieces[1].bytes);
    pthread_cond_destroy(&pipe->changed);
    pthread_mutex_destroy(&pipe->lock);
    free(pipe);
}

// Hand the filled piece over, when the sender has given the one before back.
static int hand_over(struct piece_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    while ((pipe->is_full || pipe->is_out) && !pipe->is_abandoned)
        pthread_cond_wait(&pipe->changed, &pipe->lock);
    bool is_abandoned = pipe->is_abandoned;
    if (!is_abandoned) {
        pipe->filling ^= 1;
        pipe->pieces[pipe->filling].n = 0;
        pipe->is_full = true;
        pthread_cond_broadcast(&pipe->changed);
    }
    pthread_mutex_unlock(&pipe->lock);
    return is_abandoned ? -EPIPE : 0;
}

static bool is_abandoned(struct piece_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    bool is = pipe->is_abandoned;
    pthread_mutex_unlock(&pipe->lock);
    return is;
}

static int write_pipe(void *context, const void *bytes, size_t n)
{
    struct piece_pipe *pipe = context;
    const char *from = bytes;
    if (is_abandoned(pipe))
        return -EPIPE;
    while (n > 0) {
        struct piece *piece = &pipe->pieces[pipe->filling];
        if (!piece->bytes)
            piece->bytes = xmalloc(pipe->piece_bytes);
        size_t room = pipe->piece_bytes - piece->n, k = n < room ? n : room;
        memcpy(piece->bytes + piece->n, from, k);
        piece->n += k;
        from += k;
        n -= k;
        int r = piece->n == pipe->piece_bytes ? hand_over(pipe) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

struct writer piece_pipe_writer(struct piece_pipe *pipe)
{
    return (struct writer){ write_pipe, pipe };
}

void piece_pipe_end(struct piece_pipe *pipe, const struct error *err)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->is_ended = true;
    pipe->has_failed = err != NULL;
    if (err)
        pipe->error = *err;
    pthread_cond_broadcast(&pipe->changed);
    pthread_mutex_unlock(&pipe->lock);
}

int piece_pipe_take(struct piece_pipe *pipe, const void **ret_bytes, size_t *ret_n, bool *ret_is_last,
                    struct error *err)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->is_out = false;
    pthread_cond_broadcast(&pipe->changed);
    while (!pipe->is_full && !pipe->is_ended)
        pthread_cond_wait(&pipe->changed, &pipe->lock);
    bool has_failed = pipe->has_failed;
    // A piece handed over comes before the end; the end's own bytes are those in the maker's hand.
    const struct piece *piece = &pipe->pieces[pipe->is_full ? pipe->filling ^ 1 : pipe->filling];
    *ret_is_last = !pipe->is_full;
    *ret_bytes = piece->bytes;
    *ret_n = piece->n;
    pipe->is_out = true;
    pipe->is_full = false;
    pthread_mutex_unlock(&pipe->lock);
    if (has_failed)
        *err = pipe->error;
    return has_failed ? -1 : 0;
}

void piece_pipe_abandon(struct piece_pipe *pipe)
{
    pthread_mutex_lock(&pipe->lock);
    pipe->is_abandoned = true;
    pthread_cond_broadcast(&pipe->changed);
    pthread_mutex_unlock(&pipe->lock);
}

static ssize_t read_pipe(void *context, void *bytes, size_t n)
{
    struct piece_pipe *pipe = context;
    struct error ignored;
    while (pipe->read_at == pipe->read_n) {
        const void *piece;
        if (pipe->read_is_last)
            return 0;
        if (piece_pipe_take(pipe, &piece, &pipe->read_n, &pipe->read_is_last, &ignored) < 0)
            return -EIO;
        pipe->read_bytes = piece;
        pipe->read_at = 0;
    }
    size_t left = pipe->read_n - pipe->read_at, k = n < left ? n : left;
    memcpy(bytes, pipe->read_bytes + pipe->read_at, k);
    pipe->read_at += k;
    return (ssize_t)k;
}

struct reader piece_pipe_reader(struct piece_pipe *pipe)
{
    return (struct reader){ .read = read_pipe, .context = pipe };
}

const struct error *piece_pipe_error(const struct piece_pipe *pipe)
{
    return pipe->has_failed ? &pipe->error : NULL;
}
