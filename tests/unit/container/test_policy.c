#include "../test.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/policy.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("test document: %s: %s", text, err.message);
    return j;
}

// --- restart
static void test_delay_doubles_to_a_minute(void **state)
{
    (void)state;
    int64_t delay = 0,
            expected[] = { 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000 };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        delay = restart_delay_ns(delay, 9 * NS_PER_S);
        assert_int_equal(delay, expected[i] * NS_PER_MS);
    }
    assert_int_equal(restart_delay_ns(delay, 10 * NS_PER_S), 100 * NS_PER_MS);
    assert_int_equal(restart_delay_ns(delay, 10 * NS_PER_S - 1), 60 * NS_PER_S);
}

static struct restart_policy policy(const char *text)
{
    struct error err;
    struct restart_policy p;
    CLEANUP(json_cleanup) json_t *j = parse(text);
    if (restart_policy_parse(j, &p, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return p;
}

static void refuses(const char *text, const char *part)
{
    struct error err;
    struct restart_policy p;
    CLEANUP(json_cleanup) json_t *j = parse(text);
    assert_int_equal(restart_policy_parse(j, &p, &err), -1);
    assert_int_equal(err.kind, ERROR_INVALID);
    if (!strstr(err.message, part))
        fail_msg("%s: %s", text, err.message);
}

static void test_policies_are_parsed(void **state)
{
    (void)state;
    struct error err;
    struct restart_policy p;
    assert_int_equal(restart_policy_parse(NULL, &p, &err), 0);
    assert_int_equal(p.kind, RESTART_NO);
    assert_int_equal(policy("{\"Name\":\"\",\"MaximumRetryCount\":3}").kind, RESTART_NO);
    assert_int_equal(policy("{\"Name\":\"always\"}").kind, RESTART_ALWAYS);
    assert_int_equal(policy("{\"Name\":\"unless-stopped\",\"MaximumRetryCount\":0}").kind,
                     RESTART_UNLESS_STOPPED);
    assert_int_equal(policy("{\"Name\":\"on-failure\",\"MaximumRetryCount\":5}").max_retries, 5);
    refuses("{\"Name\":\"sometimes\"}", "unknown policy 'sometimes'");
    refuses("{\"Name\":\"always\",\"MaximumRetryCount\":1}", "can only be used with 'on-failure'");
    refuses("{\"Name\":\"no\",\"MaximumRetryCount\":-1}", "and cannot be negative");
    refuses("{\"Name\":\"on-failure\",\"MaximumRetryCount\":-1}", "cannot be negative");
}

static void test_who_is_started_again(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        struct run_end end;
        bool after_exit, at_boot;
    } cases[] = {
        { "{\"Name\":\"no\"}", { .exit_code = 1 }, false, false },
        { "{\"Name\":\"always\"}", { .exit_code = 0 }, true, true },
        { "{\"Name\":\"always\"}", { .is_cancelled = true, .was_stopped = true }, false, true },
        // a signal that was not to end it
        { "{\"Name\":\"always\"}", { .was_stopped = true }, true, true },
        { "{\"Name\":\"unless-stopped\"}", { .exit_code = 0 }, true, true },
        { "{\"Name\":\"unless-stopped\"}", { .is_cancelled = true, .was_stopped = true }, false, false },
        { "{\"Name\":\"unless-stopped\"}", { .was_stopped = true }, false, false },
        { "{\"Name\":\"on-failure\"}", { .exit_code = 0 }, false, false },
        { "{\"Name\":\"on-failure\"}", { .exit_code = 1, .restart_count = 1000 }, true, true },
        { "{\"Name\":\"on-failure\",\"MaximumRetryCount\":2}",
          { .exit_code = 1, .restart_count = 1 },
          true,
          true },
        { "{\"Name\":\"on-failure\",\"MaximumRetryCount\":2}",
          { .exit_code = 1, .restart_count = 2 },
          false,
          false },
        { "{\"Name\":\"on-failure\"}", { .exit_code = 137, .is_cancelled = true }, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct restart_policy p = policy(cases[i].policy);
        if (restart_after_exit(&p, &cases[i].end) != cases[i].after_exit ||
            restart_at_boot(&p, &cases[i].end) != cases[i].at_boot)
            fail_msg("case %zu: %s", i, cases[i].policy);
    }
}

// --- health
static int try_check(const char *config, const char *host, struct health_check *ret, struct error *err)
{
    CLEANUP(json_cleanup) json_t *c = parse(config);
    CLEANUP(json_cleanup) json_t *h = parse(host);
    return health_check_parse(c, h, ret, err);
}

static struct health_check check(const char *config, const char *host)
{
    struct health_check k;
    struct error err;
    if (try_check(config, host, &k, &err) < 0)
        fail_msg("%s: %s", config, err.message);
    return k;
}

static void test_checks_are_parsed(void **state)
{
    (void)state;
    struct error err;
    struct health_check k = check("{\"Healthcheck\":{\"Test\":[\"CMD\",\"a\",\"b\"]}}", "{}");
    assert_int_equal(strv_len(k.args), 2);
    assert_int_equal(k.interval_ns, 30 * NS_PER_S);
    assert_int_equal(k.timeout_ns, 30 * NS_PER_S);
    assert_int_equal(k.start_period_ns, 0);
    assert_int_equal(k.start_interval_ns, 5 * NS_PER_S);
    assert_int_equal(k.retries, 3);
    health_check_done(&k);
    k = check("{\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"x\"]},\"Shell\":[\"/bin/bash\",\"-ec\"]}", "{}");
    assert_string_equal(k.args[0], "/bin/bash");
    assert_string_equal(k.args[2], "x");
    health_check_done(&k);
    k = check("{\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"x\"]}}",
              "{\"Annotations\":{\"skiff.on-unhealthy\":\"restart\"}}");
    assert_string_equal(k.args[0], "/bin/sh");
    assert_int_equal(k.on_unhealthy, UNHEALTHY_RESTART);
    health_check_done(&k);
    assert_null(check("{\"Healthcheck\":{\"Test\":[\"NONE\"]}}", "{}").args);
    assert_null(check("{}", "{}").args);
    assert_int_equal(try_check("{\"Healthcheck\":{\"Interval\":999}}", "{}", &k, &err), -1);
    assert_string_equal(err.message, "Interval in Healthcheck cannot be less than 1ms");
    assert_int_equal(try_check("{\"Healthcheck\":{\"Retries\":-1}}", "{}", &k, &err), -1);
    assert_int_equal(try_check("{}", "{\"Annotations\":{\"skiff.on-unhealthy\":\"cry\"}}", &k, &err), -1);
}

static void merges(const char *own, const char *image, const char *expected)
{
    CLEANUP(json_cleanup) json_t *o = own ? parse(own) : NULL;
    CLEANUP(json_cleanup) json_t *i = image ? parse(image) : NULL;
    CLEANUP(json_cleanup) json_t *e = expected ? parse(expected) : NULL;
    CLEANUP(json_cleanup) json_t *merged = health_check_merge(o, i);
    if (merged != e && !json_equal(merged, e))
        fail_msg("%s over %s", own ? own : "nothing", image ? image : "nothing");
}

static void test_the_image_fills_what_is_open(void **state)
{
    (void)state;
    static const char image[] = "{\"Test\":[\"CMD\",\"i\"],\"Interval\":7,\"Retries\":2}";
    merges(NULL, NULL, NULL);
    merges(NULL, image, image);
    merges("{\"Test\":[\"NONE\"]}", NULL, "{\"Test\":[\"NONE\"]}");
    merges("{\"Test\":[\"NONE\"]}", image, "{\"Test\":[\"NONE\"],\"Interval\":7,\"Retries\":2}");
    merges("{\"Interval\":9}", image, "{\"Test\":[\"CMD\",\"i\"],\"Interval\":9,\"Retries\":2}");
    merges("{\"Test\":[],\"Retries\":0}", image, image);
}

static void test_health_changes(void **state)
{
    (void)state;
    const struct health_check k = { .retries = 2, .start_period_ns = 10 * NS_PER_S };
    struct health_state h = { .status = HEALTH_STARTING };
    assert_false(health_take(&h, &k, 1, 5 * NS_PER_S)); // in the start period a failure does not count
    assert_int_equal(h.failing_streak, 0);
    assert_false(health_take(&h, &k, 1, 10 * NS_PER_S));
    assert_int_equal(h.failing_streak, 1);
    assert_true(health_take(&h, &k, -1, 11 * NS_PER_S));
    assert_int_equal(h.status, HEALTH_UNHEALTHY);
    assert_false(health_take(&h, &k, 1, 12 * NS_PER_S));
    assert_int_equal(h.failing_streak, 3);
    assert_true(health_take(&h, &k, 0, 13 * NS_PER_S));
    assert_int_equal(h.status, HEALTH_HEALTHY);
    assert_int_equal(h.failing_streak, 0);
    assert_false(health_take(&h, &k, 0, 14 * NS_PER_S));
    // Once it has been healthy, the start period protects it no longer.
    assert_false(health_take(&h, &k, 1, 1 * NS_PER_S));
    assert_int_equal(h.failing_streak, 1);
}

static void test_pause_between_probes(void **state)
{
    (void)state;
    const struct health_check k = { .interval_ns = 30 * NS_PER_S,
                                    .start_interval_ns = 5 * NS_PER_S,
                                    .start_period_ns = 60 * NS_PER_S };
    const struct health_state starting = { .status = HEALTH_STARTING },
                              healthy = { .status = HEALTH_HEALTHY };
    assert_int_equal(health_pause_ns(&starting, &k, 0), 5 * NS_PER_S);
    assert_int_equal(health_pause_ns(&healthy, &k, 0), 30 * NS_PER_S);
    assert_int_equal(health_pause_ns(&starting, &k, 58 * NS_PER_S), 2 * NS_PER_S);
    assert_int_equal(health_pause_ns(&healthy, &k, 50 * NS_PER_S), 10 * NS_PER_S);
    assert_int_equal(health_pause_ns(&starting, &k, 60 * NS_PER_S), 30 * NS_PER_S);
}

// --- stop
static bool is_lost(const char *ids, const char *blocked, const char *ignored, const char *caught, int signal)
{
    struct signal_disposition d;
    CLEANUP(cleanup_free)
    char *text = xasprintf("Name:\tx\nNSpid:\t%s\nSigBlk:\t%s\nSigIgn:\t%s\nSigCgt:\t%s\nCapInh:\t0\n", ids,
                           blocked, ignored, caught);
    assert_true(signal_disposition_parse(text, signal, &d));
    return signal_is_lost(&d, signal);
}

static void test_signals_without_a_handler(void **state)
{
    (void)state;
    static const char none[] = "0000000000000000", term[] = "0000000000004000";
    struct signal_disposition d;
    assert_true(is_lost("4711\t1", none, none, none, SIGTERM));
    assert_true(is_lost("4711\t12\t1", none, none, none, SIGTERM));
    assert_false(is_lost("4711", none, none, none, SIGTERM)); // no pid namespace of its own
    assert_false(is_lost("1", none, none, none, SIGTERM));    // the machine's
    assert_false(is_lost("4711\t11", none, none, none, SIGTERM));
    assert_false(is_lost("4711\t1", term, none, none, SIGTERM));
    assert_false(is_lost("4711\t1", none, term, none, SIGTERM));
    assert_false(is_lost("4711\t1", none, none, term, SIGTERM));
    assert_true(is_lost("4711\t1", none, none, term, SIGINT));
    assert_true(is_lost("4711\t1", none, none, none, 64));
    assert_false(is_lost("4711\t1", none, none, none, SIGKILL));
    assert_false(signal_disposition_parse("Name:\tx\nNSpid:\t1\t1\n", SIGTERM, &d));
}

static void test_sigwait_is_seen(void **state)
{
    (void)state;
    CLEANUP(cleanup_free) char *waits = xasprintf("%d 0x7ffd 0x0 0x0 0x8\n", SYS_rt_sigtimedwait);
    assert_true(is_in_sigwait(waits, ""));
    assert_true(is_in_sigwait("421 0x1", "do_sigtimedwait.isra.0"));
    assert_false(is_in_sigwait("running\n", "0"));
    assert_false(is_in_sigwait("35 0x7ffd", "hrtimer_nanosleep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_doubles_to_a_minute),
        cmocka_unit_test(test_policies_are_parsed),
        cmocka_unit_test(test_who_is_started_again),
        cmocka_unit_test(test_checks_are_parsed),
        cmocka_unit_test(test_the_image_fills_what_is_open),
        cmocka_unit_test(test_health_changes),
        cmocka_unit_test(test_pause_between_probes),
        cmocka_unit_test(test_signals_without_a_handler),
        cmocka_unit_test(test_sigwait_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
