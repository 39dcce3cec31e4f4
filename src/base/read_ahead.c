// Theory of operation. The thread owns the buffers [head, tail + READ_AHEAD_BUFFERS), the reader those of [tail, head): only the
// counters change under the lock, never bytes. A buffer is handed over as soon as one read has put something in it, full or not, so
// that a slow source is not made slower.
#include "base/read_ahead.h"

#include "base/mem.h"
#include "base/thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { STACK_BYTES = 512 * 1024 };

struct read_ahead {
    struct reader from;
    pthread_t thread;
    char *bytes;          // READ_AHEAD_BUFFERS of them in one piece
    pthread_mutex_t lock; // guards the rest, but for `at`
    pthread_cond_t changed;
    unsigned head, tail; // buffers filled and emptied so far
    size_t lengths[READ_AHEAD_BUFFERS];
    bool is_ended, is_stopping;
    ssize_t end; // what the source said last
    size_t at;   // of the buffer at the tail; the reader's
};

static char *buffer_at(struct read_ahead *ahead, unsigned index)
{
    return ahead->bytes + (size_t)(index % READ_AHEAD_BUFFERS) * READ_AHEAD_BYTES;
}

// False: nobody wants more.
static bool wait_for_room(struct read_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->is_stopping && ahead->head - ahead->tail == READ_AHEAD_BUFFERS)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    bool is_stopping = ahead->is_stopping;
    pthread_mutex_unlock(&ahead->lock);
    return !is_stopping;
}

static void *run(void *context)
{
    struct read_ahead *ahead = context;
    ssize_t n = 1;
    while (n > 0 && wait_for_room(ahead)) {
        n = ahead->from.read(ahead->from.context, buffer_at(ahead, ahead->head), READ_AHEAD_BYTES);
        pthread_mutex_lock(&ahead->lock);
        if (n > 0)
            ahead->lengths[ahead->head++ % READ_AHEAD_BUFFERS] = (size_t)n;
        ahead->is_ended = n <= 0;
        ahead->end = n;
        pthread_cond_broadcast(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
    }
    return NULL;
}

static void release(struct read_ahead *ahead)
{
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead->bytes);
    free(ahead);
}

int read_ahead_start(struct reader from, struct read_ahead **ret)
{
    struct read_ahead *ahead = NEW(struct read_ahead);
    ahead->from = from;
    ahead->bytes = xmalloc((size_t)READ_AHEAD_BUFFERS * READ_AHEAD_BYTES);
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    int r = thread_start(&ahead->thread, STACK_BYTES, run, ahead);
    if (r < 0) {
        release(ahead);
        return r;
    }
    *ret = ahead;
    return 0;
}

static void give_back(struct read_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    ahead->tail++;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    ahead->at = 0;
}

static ssize_t read_buffered(void *context, void *bytes, size_t n)
{
    struct read_ahead *ahead = context;
    pthread_mutex_lock(&ahead->lock);
    while (ahead->head == ahead->tail && !ahead->is_ended)
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    bool is_over = ahead->head == ahead->tail;
    size_t length = is_over ? 0 : ahead->lengths[ahead->tail % READ_AHEAD_BUFFERS];
    pthread_mutex_unlock(&ahead->lock);
    if (is_over)
        return ahead->end;
    size_t k = length - ahead->at < n ? length - ahead->at : n;
    memcpy(bytes, buffer_at(ahead, ahead->tail) + ahead->at, k);
    ahead->at += k;
    if (ahead->at == length)
        give_back(ahead);
    return (ssize_t)k;
}

struct reader read_ahead_reader(struct read_ahead *ahead)
{
    return (struct reader){ read_buffered, ahead };
}

void read_ahead_stop(struct read_ahead *ahead)
{
    if (!ahead)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->is_stopping = true;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->lock);
    pthread_join(ahead->thread, NULL);
    release(ahead);
}
