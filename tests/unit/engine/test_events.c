#include "engine/events.h"

#include "base/clock.h"

#include "../test.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void emit(struct engine_events *events, int64_t time_ns, const char *action)
{
    const struct event_attribute attributes[] = { { "name", "x" }, { "exitCode", "0" } };
    engine_events_emit(events, &(struct event){ "container", action, "id", attributes, 2, time_ns });
}

static void past_then_live(void **state)
{
    (void)state;
    struct engine_events *events = engine_events_new();
    emit(events, 1, "create");
    emit(events, 2, "start");
    struct engine_subscription *live = engine_events_subscribe(events, 0),
                               *past = engine_events_subscribe(events, 2);
    emit(events, 3, "die");
    struct engine_event e;
    assert_int_equal(engine_events_next(past, 0, -1, &e), 1);
    assert_string_equal(e.action, "start");
    assert_string_equal(e.attributes[1], "exitCode=0");
    assert_null(e.attributes[2]);
    engine_event_done(&e);
    assert_int_equal(engine_events_next(past, 0, -1, &e), 1);
    assert_string_equal(e.action, "die");
    engine_event_done(&e);
    assert_int_equal(engine_events_next(live, 0, -1, &e), 1);
    assert_string_equal(e.action, "die");
    engine_event_done(&e);
    assert_int_equal(engine_events_next(live, time_now_ns() + 1000000, -1, &e), 0); // the deadline ends it
    emit(events, 0, "destroy");
    assert_int_equal(engine_events_next(live, 5, -1, &e), 0); // later than wanted
    engine_events_unsubscribe(live);
    engine_events_unsubscribe(past);
    engine_events_free(events);
}

static void the_last_256_are_kept(void **state)
{
    (void)state;
    struct engine_events *events = engine_events_new();
    for (int i = 1; i <= 1000; i++)
        emit(events, i, "x");
    struct engine_subscription *s = engine_events_subscribe(events, 1);
    struct engine_event e;
    for (int i = 745; i <= 1000; i++) {
        assert_int_equal(engine_events_next(s, 0, -1, &e), 1);
        assert_int_equal(e.time_ns, i);
        engine_event_done(&e);
    }
    assert_int_equal(engine_events_next(s, time_now_ns() + 1, -1, &e), 0);
    engine_events_unsubscribe(s);
    engine_events_free(events);
}

// Who does not read loses the oldest and keeps memory bounded.
static void slow_readers_lose_the_oldest(void **state)
{
    (void)state;
    struct engine_events *events = engine_events_new();
    struct engine_subscription *s = engine_events_subscribe(events, 0);
    for (int i = 1; i <= 5000; i++)
        emit(events, i, "x");
    struct engine_event e;
    assert_int_equal(engine_events_next(s, 0, -1, &e), 1);
    assert_int_equal(e.time_ns, 5000 - 4096 + 1);
    engine_event_done(&e);
    engine_events_unsubscribe(s);
    engine_events_free(events);
}

static void *emit_later(void *events)
{
    for (int i = 1; i <= 1000; i++)
        emit(events, i, "x");
    return NULL;
}

static void readers_wait_and_can_be_cancelled(void **state)
{
    (void)state;
    struct engine_events *events = engine_events_new();
    struct engine_subscription *s = engine_events_subscribe(events, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, emit_later, events);
    struct engine_event e;
    for (int i = 1; i <= 1000; i++) {
        assert_int_equal(engine_events_next(s, 0, -1, &e), 1);
        assert_int_equal(e.time_ns, i);
        engine_event_done(&e);
    }
    pthread_join(thread, NULL);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1); // bytes alone cancel nothing
    assert_int_equal(engine_events_next(s, time_now_ns() + 20000000, pair[0], &e), 0);
    emit(events, 7, "x");
    assert_int_equal(engine_events_next(s, 0, pair[0], &e), 1);
    engine_event_done(&e);
    close(pair[1]);
    assert_int_equal(engine_events_next(s, 0, pair[0], &e), 0);
    close(pair[0]);
    engine_events_unsubscribe(s);
    engine_events_free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_then_live),
        cmocka_unit_test(the_last_256_are_kept),
        cmocka_unit_test(slow_readers_lose_the_oldest),
        cmocka_unit_test(readers_wait_and_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
