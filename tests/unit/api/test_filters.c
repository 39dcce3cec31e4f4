#include "api/filters.h"

#include "../test.h"

static const char *const accepted[] = { "label", "name", "id", "dangling", "until", NULL };

static void both_forms_are_read(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "filters=%7B%22name%22%3A%5B%22a%22%2C%22b%22%5D%7D", // {"name":["a","b"]}
        "filters=%7B%22name%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Atrue%2C%22c%22%3Afalse%7D%7D", // {"name":{"a":true,"b":true,"c":false}}
    };
    for (size_t i = 0; i < 2; i++) {
        struct filters f;
        struct error err;
        assert_int_equal(filters_parse(queries[i], accepted, &f, &err), 0);
        assert_int_equal(filters_count(&f, "name"), 2);
        assert_true(filters_pass(&f, "name", "b"));
        assert_false(filters_pass(&f, "name", "c"));
        assert_true(filters_pass(&f, "id", "anything")); // not asked for
        filters_done(&f);
    }
    struct filters none;
    struct error err;
    assert_int_equal(filters_parse("all=1", accepted, &none, &err), 0);
    assert_int_equal(filters_parse("filters=", accepted, &none, &err), 0);
    assert_int_equal(filters_parse("filters=null", accepted, &none, &err), 0);
    assert_true(filters_pass(&none, "name", "x"));
    filters_done(&none);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "filters=x",
        "filters=[]",
        "filters={\"nope\":[\"a\"]}",
        "filters={\"name\":\"a\"}",
        "filters={\"name\":[1]}",
        "filters={\"name\":1}",
    };
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct filters f;
        struct error err;
        assert_int_equal(filters_parse(queries[i], accepted, &f, &err), -1);
        assert_int_equal(err.kind, ERROR_INVALID);
        filters_done(&f);
    }
}

static void matches_are_of_several_kinds(void **state)
{
    (void)state;
    struct filters f;
    struct error err;
    assert_int_equal(filters_parse("filters={\"name\":[\"^we.$\"],\"id\":[\"abc\"],\"label\":[\"a\",\"b=2\"],"
                                   "\"dangling\":[\"true\"],"
                                   "\"until\":[\"1700000000\"]}",
                                   accepted, &f, &err),
                     0);
    assert_true(filters_pass_regex(&f, "name", "web"));
    assert_false(filters_pass_regex(&f, "name", "a-web"));
    assert_true(filters_pass_prefix(&f, "id", "abcdef"));
    assert_false(filters_pass_prefix(&f, "id", "ab"));
    json_t *labels = json_pack("{s:s, s:s}", "a", "", "b", "2");
    assert_true(filters_pass_labels(&f, "label", labels));
    json_object_set_new(labels, "b", json_string("3"));
    assert_false(filters_pass_labels(&f, "label", labels));
    assert_false(filters_pass_labels(&f, "label", NULL));
    json_decref(labels);
    bool is_dangling = false;
    int64_t until = 0;
    assert_int_equal(filters_bool(&f, "dangling", false, &is_dangling, &err), 0);
    assert_true(is_dangling);
    assert_int_equal(filters_time(&f, "until", &until, &err), 0);
    assert_int_equal(until, 1700000000000000000LL);
    assert_int_equal(filters_bool(&f, "id", false, &is_dangling, &err), -1);
    assert_int_equal(filters_time(&f, "name", &until, &err), -1);
    filters_done(&f);
}

// A pattern that would take for ever, or all memory, to compile is compared as text.
static void hostile_patterns_are_text(void **state)
{
    (void)state;
    struct filters f;
    struct error err;
    assert_int_equal(filters_parse("filters={\"name\":[\"((a{1,9999}){1,9999}){1,9999}\",\"(unclosed\"]}",
                                   accepted, &f, &err),
                     0);
    assert_false(filters_pass_regex(&f, "name", "aaaa"));
    assert_true(filters_pass_regex(&f, "name", "x(unclosed"));
    filters_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_are_read),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(matches_are_of_several_kinds),
        cmocka_unit_test(hostile_patterns_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
