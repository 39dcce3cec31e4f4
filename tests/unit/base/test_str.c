#include "base/mem.h"
#include "base/str.h"

#include "../test.h"

#include <string.h>

static void appends_grow_and_terminate(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    for (int i = 0; i < 1000; i++)
        str_appendf(&s, "%d,", i);
    assert_int_equal(strlen(s.ptr), s.len);
    assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
    str_consume(&s, 2);
    assert_true(str_has_prefix(s.ptr, "1,2,"));
    str_done(&s);
    assert_string_equal(s.ptr, "");
}

static void ceiling_is_sticky(void **state)
{
    (void)state;
    struct str s;
    str_init(&s, 5);
    str_append(&s, "1234");
    str_append(&s, "56");
    str_append(&s, "7");
    assert_true(s.failed);
    assert_string_equal(s.ptr, "1234");
    str_done(&s);
}

static void split_and_join(void **state)
{
    (void)state;
    char **v CLEANUP(strv_freep) = strv_split("a,,b", ",", true);
    assert_int_equal(strv_len(v), 3);
    char *joined CLEANUP(cleanup_free) = strv_join(v, "/");
    assert_string_equal(joined, "a//b");
    char **w CLEANUP(strv_freep) = strv_split(" x  y ", " ", false);
    assert_int_equal(strv_len(w), 2);
    assert_true(strv_contains(w, "y"));
}

static void entries_can_be_removed(void **state)
{
    (void)state;
    char **v CLEANUP(strv_freep) = strv_split("a b c", " ", false);
    strv_remove(v, "b");
    char *joined CLEANUP(cleanup_free) = strv_join(v, " ");
    assert_string_equal(joined, "a c");
    strv_remove(v, "absent");
    assert_int_equal(strv_len(v), 2);
    strv_remove(v, "c");
    strv_remove(v, "a");
    assert_int_equal(strv_len(v), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_grow_and_terminate),
        cmocka_unit_test(ceiling_is_sticky),
        cmocka_unit_test(split_and_join),
        cmocka_unit_test(entries_can_be_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
