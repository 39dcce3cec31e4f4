#include "engine/dedup.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "image/dedup.h"

#include <pthread.h>

enum { STACK_BYTES = 512 * 1024 };

struct engine_dedup {
    struct image_service *images;
    pthread_mutex_t lock; // guards the rest
    pthread_cond_t changed;
    bool is_running, is_wanted, is_closing;
};

static void dedup(struct engine_dedup *d)
{
    struct dedup_result result;
    struct error err;
    if (image_dedup(d->images, false, &result, &err) < 0)
        log_warn("image deduplication: %s", err.message);
    else if (result.files)
        log_info("image deduplication: %llu files share blocks, which saves %llu bytes",
                 (unsigned long long)result.files, (unsigned long long)result.saved_bytes);
}

static void *run(void *context)
{
    struct engine_dedup *d = context;
    pthread_mutex_lock(&d->lock);
    while (d->is_wanted && !d->is_closing) {
        d->is_wanted = false;
        pthread_mutex_unlock(&d->lock);
        dedup(d);
        pthread_mutex_lock(&d->lock);
    }
    d->is_running = false;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

struct engine_dedup *engine_dedup_new(struct image_service *images)
{
    struct engine_dedup *d = NEW(struct engine_dedup);
    d->images = images;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    return d;
}

void engine_dedup_soon(struct engine_dedup *d)
{
    pthread_mutex_lock(&d->lock);
    d->is_wanted = true;
    if (!d->is_running)
        d->is_running = thread_start(NULL, STACK_BYTES, run, d) == 0;
    pthread_mutex_unlock(&d->lock);
}

void engine_dedup_free(struct engine_dedup *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->is_closing = true;
    while (d->is_running)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
    pthread_cond_destroy(&d->changed);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
