#include "base/num.h"

#include "../test.h"

static void whole_text_or_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "+1", "-1", " 1", "1 ", "0x10", "1:", "18446744073709551616", "1e3"
    };
    uint64_t v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(parse_u64(bad[i], UINT64_MAX, &v));
    assert_int_equal(v, 7);
    assert_true(parse_u64("18446744073709551615", UINT64_MAX, &v));
    uint32_t w;
    assert_false(parse_u32("4294967296", UINT32_MAX, &w));
    int64_t s;
    assert_true(parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &s));
    assert_true(s == INT64_MIN);
    assert_false(parse_i64("-9223372036854775809", INT64_MIN, INT64_MAX, &s));
    assert_true(parse_octal("0755", 07777, &w));
    assert_int_equal(w, 0755);
    assert_false(parse_octal("8", 07777, &w));
}

static void sizes_as_docker_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = { { "0", 0 },
                 { "32", 32 },
                 { "32b", 32 },
                 { "512m", 512 << 20 },
                 { "1.5g", 1610612736 },
                 { "64MB", 64 << 20 },
                 { "64MiB", 64 << 20 },
                 { "1 k", 1024 },
                 { "6m", 6 << 20 } };
    static const char *const bad[] = { "", "m", "-1", "1x", "1mm", "1.2.3", "1kk", "99999999999p" };
    int64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(parse_size_bytes(good[i].text, &v));
        assert_int_equal(v, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(parse_size_bytes(bad[i], &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_text_or_nothing),
        cmocka_unit_test(sizes_as_docker_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
