#include "base/clock.h"

#include "../test.h"

#include <time.h>

static void rfc3339_both_ways(void **state)
{
    (void)state;
    char text[TIME_TEXT_MAX];
    int64_t ns;
    time_format_rfc3339(0, text);
    assert_string_equal(text, "0001-01-01T00:00:00Z");
    time_format_rfc3339(1700000000120000000, text);
    assert_string_equal(text, "2023-11-14T22:13:20.12Z");
    assert_true(time_parse_rfc3339(text, &ns));
    assert_int_equal(ns, 1700000000120000000);
    time_format_rfc3339_fixed(1700000000000000001, text);
    assert_string_equal(text, "2023-11-14T22:13:20.000000001Z");
    assert_true(time_parse_rfc3339("2023-11-15T00:13:20+02:00", &ns));
    assert_int_equal(ns, 1700000000000000000);
    assert_false(time_parse_rfc3339("2023-11-15", &ns));
    assert_false(time_parse_rfc3339("2023-11-15T00:13:20Zx", &ns));
}

static void docker_timestamps(void **state)
{
    (void)state;
    int64_t ns, now = 1700000000 * NS_PER_S;
    assert_true(time_parse_docker("1700000000.5", now, &ns));
    assert_int_equal(ns, now + NS_PER_S / 2);
    assert_true(time_parse_docker("1h30m", now, &ns));
    assert_int_equal(ns, now - 5400 * NS_PER_S);
    assert_true(time_parse_docker("2023-11-14T22:13:20", now, &ns));
    assert_int_equal(ns, now);
    assert_false(time_parse_docker("yesterday", now, &ns));
}

static void durations(void **state)
{
    (void)state;
    int64_t ns;
    assert_true(duration_parse("1.5s", &ns));
    assert_int_equal(ns, 1500000000);
    assert_true(duration_parse("-2us", &ns));
    assert_int_equal(ns, -2000);
    assert_true(duration_parse("0", &ns));
    assert_false(duration_parse("5", &ns));
    assert_false(duration_parse("", &ns));
    assert_false(duration_parse("1.2.3s", &ns));
}

// Against the C library, over the whole range of int64 nanoseconds and around every kind of year's end.
static void dates_agree_with_libc(void **state)
{
    (void)state;
    const int64_t step = INT64_C(86399) * 997;
    for (int64_t s = -INT64_C(9223372036); s < INT64_C(9223372036); s += step) {
        char ours[TIME_TEXT_MAX], theirs[64];
        struct tm tm;
        time_t t = (time_t)s;
        gmtime_r(&t, &tm);
        (void)strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%SZ", &tm);
        time_format_rfc3339(s * NS_PER_S, ours);
        if (s != 0)
            assert_string_equal(ours, theirs);
    }
    char text[TIME_TEXT_MAX];
    time_format_rfc3339(INT64_C(951782399) * NS_PER_S, text);
    assert_string_equal(text, "2000-02-28T23:59:59Z");
    time_format_rfc3339(INT64_C(951868799) * NS_PER_S, text);
    assert_string_equal(text, "2000-02-29T23:59:59Z");
    time_format_rfc3339(INT64_C(4107542399) * NS_PER_S, text);
    assert_string_equal(text, "2100-02-28T23:59:59Z");
    time_format_rfc3339(INT64_C(4107542400) * NS_PER_S, text);
    assert_string_equal(text, "2100-03-01T00:00:00Z");
    time_format_rfc3339(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339_both_ways),
        cmocka_unit_test(docker_timestamps),
        cmocka_unit_test(durations),
        cmocka_unit_test(dates_agree_with_libc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
