#include "base/mem.h"
#include "codec/json.h"
#include "codec/json_writer.h"

#include "../test.h"

#include <inttypes.h>
#include <string.h>

static void puts_commas(void **state)
{
    CLEANUP(str_done) struct str out = STR_INIT;
    struct json_writer w = { .out = &out };
    (void)state;
    json_write_open(&w, NULL, '{');
    json_write_open(&w, "empty", '{');
    json_write_close(&w, '}');
    json_write_open(&w, "list", '[');
    json_write_uint(&w, NULL, 1);
    json_write_open(&w, NULL, '[');
    json_write_close(&w, ']');
    json_write_open(&w, NULL, '{');
    json_write_null(&w, "none");
    json_write_string(&w, "text", "x");
    json_write_close(&w, '}');
    json_write_null(&w, NULL);
    json_write_close(&w, ']');
    json_write_uint(&w, "last", 0);
    json_write_close(&w, '}');
    assert_string_equal(out.ptr,
                        "{\"empty\":{},\"list\":[1,[],{\"none\":null,\"text\":\"x\"},null],\"last\":0}");
}

static void writes_every_number(void **state)
{
    static const uint64_t numbers[] = { 0, 1, 9, 10, 99, 100, 1234567890, INT64_MAX, UINT64_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        CLEANUP(str_done) struct str out = STR_INIT;
        struct json_writer w = { .out = &out };
        char expected[32];
        json_write_uint(&w, NULL, numbers[i]);
        snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
        assert_string_equal(out.ptr, expected);
    }
}

// What is written is read back as it was, as a value and as a key.
static void strings_come_back(void **state)
{
    static const char *const texts[] = { "",
                                         "plain",
                                         "a \"quoted\" word",
                                         "back\\slash",
                                         "\b\f\n\r\t\x01\x1f\x7f",
                                         "line\nfeed at the end\n",
                                         "\"",
                                         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                                         "</script>" };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CLEANUP(str_done) struct str out = STR_INIT;
        struct json_writer w = { .out = &out };
        json_write_open(&w, NULL, '{');
        json_write_string(&w, texts[i], texts[i]);
        json_write_close(&w, '}');
        CLEANUP(json_cleanup) json_t *back = json_loads(out.ptr, 0, NULL);
        assert_non_null(back);
        assert_string_equal(json_get_string(back, texts[i], "absent"), texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(puts_commas), cmocka_unit_test(writes_every_number),
                                        cmocka_unit_test(strings_come_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
