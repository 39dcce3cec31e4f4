// Who brings which layer: one pull at a time does, the others wait and find it there, or take over when it failed. And how many
// layers are under way in the whole engine: each costs buffers (about 1.5 MB), which is how the engine's memory stays bounded however
// many images are pulled at once.
#pragma once

#include "base/map.h"

#include <pthread.h>
#include <stdbool.h>

enum { PULL_LAYERS_AT_ONCE = 12 }; // in the whole engine; one pull has three

struct pull_claims {
    pthread_mutex_t lock; // guards the rest
    pthread_cond_t changed;
    struct map claimed; // diff ids
    unsigned under_way;
};

void pull_claims_init(struct pull_claims *claims);
void pull_claims_done(struct pull_claims *claims);

// Wait until nobody else brings this layer and there is room for one more. False: is_stopped(context), which is asked a few times a
// second, became true. Whoever claims a layer looks whether it has come meanwhile, and gives the claim back in the end.
bool pull_claim(struct pull_claims *claims, const char *diff_id, bool (*is_stopped)(void *context),
                void *context);
void pull_claim_release(struct pull_claims *claims, const char *diff_id);
