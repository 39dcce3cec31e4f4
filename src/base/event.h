// What happened, told upwards: lower layers get a sink at construction and never look one up.
// Shape: Docker API `GET /events` (Type, Action, Actor.ID, Actor.Attributes).
#pragma once

#include <stdint.h>

struct event_attribute {
    const char *key, *value;
};

struct event {
    const char *type;     // "container", "image", "network", "volume", "daemon", "builder"
    const char *action;   // "create", "start", "die", ...
    const char *actor_id; // container id, image reference or id, ...
    const struct event_attribute *attributes;
    unsigned attribute_count;
    int64_t time_ns; // 0: now
};

struct event_sink {
    void (*emit)(void *context, const struct event *event); // any thread; must not block
    void *context;
};
