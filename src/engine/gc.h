// Garbage collection of images on a timer.
#pragma once

#include "base/error.h"
#include "image/gc.h"

struct engine_gc;

// Apply the policy a minute from now (or after one interval, when that is shorter) and then at each interval, on a thread of its
// own. Without a policy there is no thread: *ret is NULL. The policy is borrowed until engine_gc_stop.
int engine_gc_start(struct image_service *images, const struct image_gc_policy *policy, int interval_s,
                    struct engine_gc **ret, struct error *err);
// Waits for a collection that is under way. NULL is fine.
void engine_gc_stop(struct engine_gc *gc);
