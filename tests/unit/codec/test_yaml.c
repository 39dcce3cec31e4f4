#include "base/mem.h"
#include "codec/json.h"
#include "codec/yaml.h"

#include "../test.h"

#include <string.h>

static void becomes_json(void **state)
{
    static const struct {
        const char *yaml, *json; // json NULL: refused
    } rows[] = {
        { "a: 1\nb: [x, \"2\", true, null, 1.5, 0o17]\n", "{\"a\":1,\"b\":[\"x\",\"2\",true,null,1.5,15]}" },
        { "- a: {}\n- |\n  two\n  lines\n", "[{\"a\":{}},\"two\\nlines\\n\"]" },
        { "just text", "\"just text\"" },
        { "{\"json\": [\"too\"]}", "{\"json\":[\"too\"]}" },
        { "version: 1.2.3", "{\"version\":\"1.2.3\"}" },
        { "", NULL },
        { "a: [1", NULL },
        { "a: 1\na: 2", NULL },       // twice
        { "a: &x [1]\nb: *x", NULL }, // an alias
        { "? [a]\n: b", NULL },       // a key that is no string
        { "a: \"\\xff\xff\"", NULL }, // not UTF-8
        { "\t- a", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *got CLEANUP(json_cleanup) = NULL;
        struct error err = { 0 };
        int r = yaml_parse(rows[i].yaml, strlen(rows[i].yaml), &got, &err);
        if ((r == 0) != (rows[i].json != NULL))
            fail_msg("%s: %s", rows[i].yaml, r == 0 ? "accepted" : err.message);
        if (r < 0) {
            assert_int_equal(err.kind, ERROR_INVALID);
            continue;
        }
        char *text CLEANUP(cleanup_free) = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_string_equal(text, rows[i].json);
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[20001];
    json_t *got = NULL;
    struct error err = { 0 };
    memset(text, '[', 20000);
    text[20000] = 0;
    assert_int_equal(yaml_parse(text, 20000, &got, &err), -1);
    assert_null(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(becomes_json), cmocka_unit_test(depth_is_bounded) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
