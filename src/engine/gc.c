#include "engine/gc.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "codec/json.h"

#include <errno.h>
#include <pthread.h>

enum { FIRST_AFTER_S = 60, STACK_BYTES = 256 * 1024 };

struct engine_gc {
    struct image_service *images;
    const struct image_gc_policy *policy;
    int interval_s;
    pthread_t thread;
    pthread_mutex_t lock; // guards is_closing
    pthread_cond_t changed;
    bool is_closing;
};

static void collect(const struct engine_gc *gc)
{
    CLEANUP(json_cleanup) json_t *report = NULL;
    struct error err;
    if (image_gc(gc->images, gc->policy, false, &report, &err) < 0)
        log_warn("image garbage collection: %s", err.message);
    else if (json_get_int(report, "SpaceReclaimed", 0) > 0)
        log_info("image garbage collection freed %lld bytes",
                 (long long)json_get_int(report, "SpaceReclaimed", 0));
}

static void *run(void *context)
{
    struct engine_gc *gc = context;
    int wait_s = gc->interval_s < FIRST_AFTER_S ? gc->interval_s : FIRST_AFTER_S;
    pthread_mutex_lock(&gc->lock);
    while (!gc->is_closing) {
        struct timespec until = time_to_timespec(time_monotonic_ns() + wait_s * NS_PER_S);
        int r = 0;
        while (!gc->is_closing && r != ETIMEDOUT)
            r = pthread_cond_clockwait(&gc->changed, &gc->lock, CLOCK_MONOTONIC, &until);
        if (gc->is_closing)
            break;
        pthread_mutex_unlock(&gc->lock);
        collect(gc);
        pthread_mutex_lock(&gc->lock);
        wait_s = gc->interval_s;
    }
    pthread_mutex_unlock(&gc->lock);
    return NULL;
}

int engine_gc_start(struct image_service *images, const struct image_gc_policy *policy, int interval_s,
                    struct engine_gc **ret, struct error *err)
{
    *ret = NULL;
    if (image_gc_policy_check(policy, err) < 0)
        return -1;
    if (!image_gc_policy_is_set(policy))
        return 0;
    struct engine_gc *gc = NEW(struct engine_gc);
    *gc = (struct engine_gc){ .images = images, .policy = policy, .interval_s = interval_s };
    pthread_mutex_init(&gc->lock, NULL);
    pthread_cond_init(&gc->changed, NULL);
    int r = thread_start(&gc->thread, STACK_BYTES, run, gc);
    if (r < 0) {
        free(gc);
        return error_errno(err, r, "start the image garbage collection");
    }
    *ret = gc;
    return 0;
}

void engine_gc_stop(struct engine_gc *gc)
{
    if (!gc)
        return;
    pthread_mutex_lock(&gc->lock);
    gc->is_closing = true;
    pthread_cond_signal(&gc->changed);
    pthread_mutex_unlock(&gc->lock);
    pthread_join(gc->thread, NULL);
    pthread_cond_destroy(&gc->changed);
    pthread_mutex_destroy(&gc->lock);
    free(gc);
}
