// Theory of operation. Up to WORKERS threads take the layers in order, the bottom one first, which is the largest as a rule. The
// pushing thread itself only waits, and says something now and then, so that a client that went away is noticed even when
// the registry is silent.
#include "image/push_internal.h"

#include "base/thread.h"

#include <errno.h>
#include <time.h>

// Memory: WORKERS times two pieces, and the blocks of the compress pool (push_blob.c, codec/block_encoder.h).
enum { WORKERS = 3, WORKER_STACK = 1 << 20, HEARTBEAT_S = 2 };

static struct push_layer *take_layer(struct push *push)
{
    struct push_layer *layer = NULL;
    pthread_mutex_lock(&push->lock);
    while (!layer && !push->has_failed && push->next_layer < push->count) {
        size_t i = push->next_layer++;
        if (push->layers[i].twin == i)
            layer = &push->layers[i];
    }
    pthread_mutex_unlock(&push->lock);
    return layer;
}

static void note_failure(struct push *push, const struct error *err)
{
    pthread_mutex_lock(&push->lock);
    if (!push->has_failed) {
        push->has_failed = true;
        push->error = *err;
    }
    pthread_mutex_unlock(&push->lock);
    atomic_store(&push->is_stopped, true);
}

static void *work(void *context)
{
    struct push *push = context;
    struct push_layer *layer;
    struct error err;
    while ((layer = take_layer(push)))
        if (push_layer(push, layer, &err) < 0)
            note_failure(push, &err);
    pthread_mutex_lock(&push->lock);
    push->workers--;
    pthread_cond_signal(&push->changed);
    pthread_mutex_unlock(&push->lock);
    return NULL;
}

static void heartbeat(struct push *push)
{
    for (size_t i = 0; i < push->count; i++) {
        struct push_layer *layer = &push->layers[i];
        uint64_t sent = atomic_load(&layer->sent), total = atomic_load(&layer->total);
        if (!atomic_load(&layer->is_pushing))
            continue;
        push_report(push, layer->short_id, "Pushing", sent, total > sent ? total : sent);
        return;
    }
}

static void wait_for_workers(struct push *push)
{
    pthread_mutex_lock(&push->lock);
    while (push->workers > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += HEARTBEAT_S;
        if (pthread_cond_timedwait(&push->changed, &push->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&push->lock);
        heartbeat(push);
        pthread_mutex_lock(&push->lock);
    }
    pthread_mutex_unlock(&push->lock);
}

static void announce(struct push *push)
{
    for (size_t i = push->count; i-- > 0;) // as Docker: the top one first
        push_report(push, push->layers[i].short_id, "Preparing", 0, 0);
    for (size_t i = push->count; i-- > 0;)
        if (i >= WORKERS)
            push_report(push, push->layers[i].short_id, "Waiting", 0, 0);
}

int push_layers(struct push *push, struct error *err)
{
    pthread_t threads[WORKERS];
    size_t wanted = push->count < WORKERS ? push->count : WORKERS, n = 0;
    int r = 0;
    announce(push);
    push->next_layer = 0;
    for (; n < wanted && r == 0; n += r == 0) {
        pthread_mutex_lock(&push->lock);
        r = thread_start(&threads[n], WORKER_STACK, work, push);
        push->workers += r == 0;
        pthread_mutex_unlock(&push->lock);
    }
    if (n == 0 && wanted > 0)
        return error_errno(err, r, "cannot start a thread for the layers");
    wait_for_workers(push);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (push->has_failed)
        *err = push->error;
    return push->has_failed ? -1 : 0;
}
