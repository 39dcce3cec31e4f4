#include "base/read_ahead.h"

#include "../test.h"

#include <errno.h>
#include <string.h>

enum { TOTAL = 5 * 1024 * 1024 + 77 };

struct source {
    size_t at, step;
    ssize_t end; // said after the last byte
};

static char byte_at(size_t at)
{
    return (char)(at * 31 + (at >> 9));
}

static ssize_t read_source(void *context, void *bytes, size_t n)
{
    struct source *source = context;
    size_t left = TOTAL - source->at, k = left < n ? left : n;
    k = k < source->step ? k : source->step;
    for (size_t i = 0; i < k; i++)
        ((char *)bytes)[i] = byte_at(source->at + i);
    source->at += k;
    return k > 0 ? (ssize_t)k : source->end;
}

static void check(size_t step, size_t piece, ssize_t end)
{
    struct source source = { .step = step, .end = end };
    struct read_ahead *ahead;
    static char bytes[300000];
    size_t at = 0;
    ssize_t n;
    assert_int_equal(read_ahead_start((struct reader){ read_source, &source }, &ahead), 0);
    struct reader reader = read_ahead_reader(ahead);
    while ((n = reader.read(reader.context, bytes, piece)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] != byte_at(at++))
                fail_msg("wrong byte at %zu", at - 1);
    assert_int_equal(n, end);
    assert_int_equal(at, TOTAL);
    assert_int_equal(reader.read(reader.context, bytes, piece), end);
    read_ahead_stop(ahead);
}

static void gives_the_same_bytes(void **state)
{
    (void)state;
    check(TOTAL, 300000, 0);
    check(1000, 300000, 0);
    check(TOTAL, 999, 0);
}

static void passes_a_failure_on_after_the_bytes(void **state)
{
    (void)state;
    check(70000, 70001, -EIO);
}

static void stops_in_the_middle(void **state)
{
    (void)state;
    for (size_t taken = 0; taken < 3; taken++) {
        struct source source = { .step = 4096 };
        struct read_ahead *ahead;
        char bytes[100];
        assert_int_equal(read_ahead_start((struct reader){ read_source, &source }, &ahead), 0);
        struct reader reader = read_ahead_reader(ahead);
        for (size_t i = 0; i < taken; i++)
            assert_true(reader.read(reader.context, bytes, sizeof bytes) > 0);
        read_ahead_stop(ahead);
        assert_true(source.at <= (READ_AHEAD_BUFFERS + 1) * 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_same_bytes),
        cmocka_unit_test(passes_a_failure_on_after_the_bytes),
        cmocka_unit_test(stops_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
