#include "http/http.h"

#include "base/mem.h"

#include "../test.h"

#include <string.h>

static void expect(const char *query, const char *name, const char *want)
{
    char *got = http_query_get(query, name);
    if (want)
        assert_string_equal(got, want);
    else
        assert_null(got);
    free(got);
}

static void values_are_found(void **state)
{
    (void)state;
    expect("a=b&c=%20d+e", "a", "b");
    expect("a=b&c=%20d+e", "c", " d e");
    expect("a=b&c", "c", "");
    expect("a=1&a=2", "a", "1");
    expect("%61=1", "a", "1");
    expect("aa=1", "a", NULL);
    expect("", "a", NULL);
    expect("a=x=y", "a", "x=y");
    expect("&&a=1", "a", "1");
    char **all = http_query_get_all("names=a&x=1&names=b%2Fc", "names");
    assert_int_equal(strv_len(all), 2);
    assert_string_equal(all[1], "b/c");
    strv_free(all);
}

static void bad_escapes_are_seen(void **state)
{
    (void)state;
    static const char *const bad[] = { "a=%", "a=%2", "a=%zz", "%", "a=%00", "a=b&%0" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(http_query_is_valid(bad[i]));
    assert_true(http_query_is_valid("a=%25&b=%c3%a4"));
    expect("a=%zz", "a", NULL);
    struct str out = STR_INIT;
    assert_true(http_url_decode(&out, "a%2fb%41", 8, false));
    assert_string_equal(out.ptr, "a/bA");
    assert_false(http_url_decode(&out, "a%2", 3, false));
    str_clear(&out);
    http_url_encode(&out, "a/b c~\xc3");
    assert_string_equal(out.ptr, "a%2Fb%20c~%C3");
    str_done(&out);
}

static void booleans_are_dockers(void **state)
{
    (void)state;
    assert_true(http_query_bool("all=1", "all", false));
    assert_true(http_query_bool("all=yes", "all", false));
    assert_false(http_query_bool("all=False", "all", true));
    assert_false(http_query_bool("all=0", "all", true));
    assert_false(http_query_bool("all=", "all", true));
    assert_true(http_query_bool("", "all", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(bad_escapes_are_seen),
        cmocka_unit_test(booleans_are_dockers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
