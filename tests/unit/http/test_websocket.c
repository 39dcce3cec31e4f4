#include "../test.h"

#include "http/websocket.h"

#include <errno.h>
#include <string.h>

static int parse(const char *bytes, size_t n, struct websocket_head *head)
{
    return websocket_head_parse((const uint8_t *)bytes, n, head);
}

// RFC 6455, 5.7.
static void the_rfcs_examples(void **state)
{
    (void)state;
    struct websocket_head head;
    static const char masked[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_int_equal(parse(masked, sizeof masked - 1, &head), 6);
    assert_true(head.is_final && head.is_masked);
    assert_int_equal(head.opcode, WEBSOCKET_TEXT);
    assert_int_equal(head.size, 5);
    uint8_t payload[5];
    memcpy(payload, masked + 6, 5);
    websocket_mask(payload, 2, head.mask, 0); // in two parts, as it may arrive
    websocket_mask(payload + 2, 3, head.mask, 2);
    assert_memory_equal(payload, "Hello", 5);
    assert_int_equal(parse("\x01\x03Hel", 5, &head), 2);
    assert_false(head.is_final);
    assert_int_equal(parse("\x82\x7e\x01\x00", 4, &head), 4);
    assert_int_equal(head.size, 256);
    assert_int_equal(parse("\x82\x7f\0\0\0\0\0\1\0\0", 10, &head), 10);
    assert_int_equal(head.size, 65536);
}

static void what_is_not_whole_waits(void **state)
{
    (void)state;
    struct websocket_head head;
    static const char bytes[] = "\x82\xff\0\0\0\0\0\1\0\0\1\2\3\4";
    for (size_t n = 0; n < 14; n++)
        assert_int_equal(parse(bytes, n, &head), 0);
    assert_int_equal(parse(bytes, 14, &head), 14);
    assert_memory_equal(head.mask, "\1\2\3\4", 4);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        { "\xc2\x00", 2 },                      // a reserved bit
        { "\x83\x00", 2 },                      // an unknown opcode
        { "\x8b\x00", 2 },                      //
        { "\x09\x00", 2 },                      // a ping in pieces
        { "\x88\x7e\x00\x80", 4 },              // a long close
        { "\x82\x7e\x00\x7d", 4 },              // a length that fits into one byte
        { "\x82\x7f\0\0\0\0\0\0\xff\xff", 10 }, // that fits into two
        { "\x82\x7f\xff\0\0\0\0\0\0\0", 10 },   // with the sign bit
    };
    struct websocket_head head;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (parse(rows[i].bytes, rows[i].n, &head) != -EPROTO)
            fail_msg("row %zu was taken", i);
}

static void heads_are_written_in_their_shortest_form(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        size_t head;
    } rows[] = { { 0, 2 }, { 125, 2 }, { 126, 4 }, { 65535, 4 }, { 65536, 10 }, { 1ULL << 40, 10 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t bytes[WEBSOCKET_HEAD_MAX];
        struct websocket_head head;
        assert_int_equal(websocket_head_write(WEBSOCKET_BINARY, rows[i].size, bytes), rows[i].head);
        assert_int_equal(websocket_head_parse(bytes, rows[i].head, &head), rows[i].head);
        assert_true(head.size == rows[i].size && head.opcode == WEBSOCKET_BINARY && !head.is_masked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfcs_examples),
        cmocka_unit_test(what_is_not_whole_waits),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(heads_are_written_in_their_shortest_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
