#include "image/pull_claims.h"

#include "base/clock.h"

#include <time.h>

enum { LOOK_EVERY_MS = 200 };

void pull_claims_init(struct pull_claims *claims)
{
    *claims = (struct pull_claims){ .claimed = MAP_INIT };
    pthread_mutex_init(&claims->lock, NULL);
    pthread_cond_init(&claims->changed, NULL);
}

void pull_claims_done(struct pull_claims *claims)
{
    map_done(&claims->claimed);
    pthread_cond_destroy(&claims->changed);
    pthread_mutex_destroy(&claims->lock);
}

bool pull_claim(struct pull_claims *claims, const char *diff_id, bool (*is_stopped)(void *context),
                void *context)
{
    bool stopped = false;
    pthread_mutex_lock(&claims->lock);
    while (!(stopped = is_stopped(context)) &&
           (claims->under_way >= PULL_LAYERS_AT_ONCE || map_get(&claims->claimed, diff_id))) {
        struct timespec until = time_to_timespec(time_now_ns() + LOOK_EVERY_MS * NS_PER_MS);
        pthread_cond_timedwait(&claims->changed, &claims->lock, &until);
    }
    if (!stopped) {
        map_put(&claims->claimed, diff_id, claims);
        claims->under_way++;
    }
    pthread_mutex_unlock(&claims->lock);
    return !stopped;
}

void pull_claim_release(struct pull_claims *claims, const char *diff_id)
{
    pthread_mutex_lock(&claims->lock);
    map_remove(&claims->claimed, diff_id);
    claims->under_way--;
    pthread_cond_broadcast(&claims->changed);
    pthread_mutex_unlock(&claims->lock);
}
