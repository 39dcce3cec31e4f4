// What happened, kept and handed out. The last 256 events are remembered, as in Docker.
#pragma once

#include "base/event.h"
#include "base/str.h"

#include <stdint.h>

struct engine_events;

struct engine_events *engine_events_new(void);
// No subscription may be left.
void engine_events_free(struct engine_events *events);
// struct event_sink's function; the context is a struct engine_events. Any thread; never blocks on I/O.
void engine_events_emit(void *events, const struct event *event);

struct engine_event { // owned copy of a struct event
    int64_t time_ns;
    char *type, *action, *actor_id;
    char **attributes; // strv "key=value"
};
struct engine_subscription;
// Past events since since_ns (0: none) first, then live ones. NULL when descriptors have run out.
struct engine_subscription *engine_events_subscribe(struct engine_events *events, int64_t since_ns);
// Next one; blocks until deadline (time_now_ns scale, 0: none) or until cancel_fd (-1: none) hangs up. 1: event, owned copy;
// 0: end (also when the next event is later than the deadline).
int engine_events_next(struct engine_subscription *subscription, int64_t until_ns, int cancel_fd,
                       struct engine_event *ret);
void engine_event_done(struct engine_event *event);
void engine_events_unsubscribe(struct engine_subscription *subscription);
