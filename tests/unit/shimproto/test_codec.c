#include "shimproto/shimproto.h"

#include "../test.h"

#include <errno.h>
#include <string.h>

static uint8_t packet[SHIM_PACKET_MAX];
static struct shim_message in, out;

static void fill(struct shim_message *m)
{
    memset(m, 0, sizeof *m);
    m->type = SHIM_ATTACH;
    memset(m->exec_id, 'e', SHIM_EXEC_ID_MAX - 1);
    m->pid = -7;
    m->signal = 15;
    m->exit_code = 137;
    m->flags = SHIM_ATTACH_STDIN | SHIM_ATTACH_MULTIPLEX;
    m->rows = 65535;
    m->columns = 80;
    m->is_running = m->was_oom_killed = true;
    m->started_ns = INT64_MIN;
    m->finished_ns = INT64_MAX;
    memset(m->detach_keys, 16, SHIM_DETACH_KEYS_MAX);
    m->detach_key_count = SHIM_DETACH_KEYS_MAX;
    memset(m->leading, 0, SHIM_LEADING_MAX);
    m->leading_size = SHIM_LEADING_MAX;
    m->error_kind = ERROR_CONFLICT;
    m->error_errno = -EIO;
    memset(m->error_message, 'm', ERROR_MESSAGE_MAX - 1);
}

static void full_message_round_trips(void **state)
{
    (void)state;
    fill(&in);
    ssize_t n = shimproto_encode(&in, packet);
    assert_in_range(n, 1, SHIM_PACKET_MAX);
    assert_int_equal(shimproto_decode(packet, (size_t)n, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
}

static void zero_members_stay_at_home(void **state)
{
    (void)state;
    in = (struct shim_message){ .type = SHIM_GO };
    assert_int_equal(shimproto_encode(&in, packet), 4);
    assert_int_equal(shimproto_decode(packet, 4, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
}

static void every_cut_is_malformed_or_shorter(void **state)
{
    (void)state;
    fill(&in);
    in.leading_size = 5;
    ssize_t n = shimproto_encode(&in, packet);
    unsigned decoded = 0;
    for (size_t cut = 0; cut < (size_t)n; cut++) {
        int r = shimproto_decode(packet, cut, &out);
        assert_true(r == 0 || r == -EPROTO);
        decoded += r == 0;
    }
    // A cut between two fields is a valid packet: one per field of the sixteen, the empty one included.
    assert_int_equal(decoded, 16);
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    in = (struct shim_message){ .type = SHIM_SIGNAL, .signal = 9 };
    ssize_t n = shimproto_encode(&in, packet);
    const uint8_t unknown[] = { 200, 3, 0, 'x', 'y', 'z' };
    memcpy(packet + n, unknown, sizeof unknown);
    assert_int_equal(shimproto_decode(packet, (size_t)n + sizeof unknown, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
}

static void decode_expect(const uint8_t *bytes, size_t n, int expected)
{
    assert_int_equal(shimproto_decode(bytes, n, &out), expected);
}

static void malformed_packets_are_refused(void **state)
{
    (void)state;
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0 }, 4, 0);
    decode_expect((const uint8_t[]){ 0xA4, 1, 2, 0 }, 4, -EPROTO);                    // magic
    decode_expect((const uint8_t[]){ 0xA5, 0, 2, 0 }, 4, -EPROTO);                    // version
    decode_expect((const uint8_t[]){ 0xA5, 1, 0, 0 }, 4, -EPROTO);                    // type
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 2, 3, 0, 1, 1, 1 }, 10, -EPROTO); // u32 of three bytes
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 2, 4, 0, 1, 1, 1 }, 10, -EPROTO); // past the end
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 8, 1, 0, 2 }, 8, -EPROTO);        // boolean 2
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 1, 2, 0, 'a', 0 }, 9, -EPROTO);   // NUL in a string
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 8, 1, 0, 1, 8, 1, 0, 1 }, 12, -EPROTO); // twice
    memset(packet, 0, sizeof packet);
    packet[0] = 0xA5, packet[1] = 1, packet[2] = 2;
    packet[4] = 1, packet[5] = SHIM_EXEC_ID_MAX; // a string as long as its room
    memset(packet + 7, 'a', SHIM_EXEC_ID_MAX);
    decode_expect(packet, 7 + SHIM_EXEC_ID_MAX, -EPROTO);
    decode_expect((const uint8_t[]){ 0xA5, 1, 2, 0, 14, 4, 0, 255, 255, 255, 255 }, 11, 0);
    assert_int_equal(out.error_kind, ERROR_INTERNAL);
}

static void bounds_hold_when_encoding(void **state)
{
    (void)state;
    fill(&in);
    in.leading_size = SHIM_LEADING_MAX + 1;
    assert_int_equal(shimproto_encode(&in, packet), -EMSGSIZE);
    fill(&in);
    in.detach_key_count = SHIM_DETACH_KEYS_MAX + 1;
    assert_int_equal(shimproto_encode(&in, packet), -EMSGSIZE);
    fill(&in);
    in.exec_id[SHIM_EXEC_ID_MAX - 1] = 'e';
    assert_int_equal(shimproto_encode(&in, packet), -EMSGSIZE);
    fill(&in);
    in.type = 0;
    assert_int_equal(shimproto_encode(&in, packet), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_message_round_trips),          cmocka_unit_test(zero_members_stay_at_home),
        cmocka_unit_test(every_cut_is_malformed_or_shorter), cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(malformed_packets_are_refused),     cmocka_unit_test(bounds_hold_when_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
