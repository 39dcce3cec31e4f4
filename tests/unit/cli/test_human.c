#include "cli/human.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/format.h"
#include "cli/frames.h"
#include "cli/pull.h"
#include "cli/rows.h"
#include "cli/session.h"
#include "codec/json.h"

#include "../test.h"

#include <string.h>

static void durations(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = { { 0, "Less than a second" }, { 1, "1 second" },         { 59, "59 seconds" },
                  { 60, "About a minute" },    { 119, "About a minute" }, { 120, "2 minutes" },
                  { 3599, "59 minutes" },      { 3600, "About an hour" }, { 5399, "About an hour" },
                  { 5400, "2 hours" },         { 86400, "24 hours" },     { 172799, "2 days" },
                  { 1209599, "2 weeks" },      { 1209600, "2 weeks" },    { 5184000, "2 months" },
                  { 63072000, "2 years" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[HUMAN_MAX];
        human_duration(cases[i].seconds * NS_PER_S, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void sizes(void **state)
{
    (void)state;
    char text[HUMAN_MAX];
    human_size(0, 3, text);
    assert_string_equal(text, "0B");
    human_size(1234, 3, text);
    assert_string_equal(text, "1.23kB");
    human_size(4567890, 3, text);
    assert_string_equal(text, "4.57MB");
    human_size(12345678, 4, text);
    assert_string_equal(text, "12.35MB");
    human_size_1024(8e9, text);
    assert_string_equal(text, "7.451GiB");
}

static void cutting_keeps_characters_whole(void **state)
{
    (void)state;
    char *a CLEANUP(cleanup_free) = human_cut("short", 20);
    char *b CLEANUP(cleanup_free) = human_cut("sleep 1000000000000000000000000", 20);
    char *c CLEANUP(cleanup_free) = human_cut("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", 3);
    assert_string_equal(a, "short");
    assert_string_equal(b, "sleep 1000000000000\xe2\x80\xa6");
    assert_string_equal(c, "\xc3\xa4\xc3\xb6\xe2\x80\xa6");
}

static void ports_are_gathered(void **state)
{
    (void)state;
    static const struct {
        const char *list, *text;
    } cases[] = {
        { "[]", "" },
        { "[{\"IP\":\"0.0.0.0\",\"PrivatePort\":80,\"PublicPort\":8080,\"Type\":\"tcp\"},{\"IP\":\"::\","
          "\"PrivatePort\":80,"
          "\"PublicPort\":8080,\"Type\":\"tcp\"},{\"PrivatePort\":443,\"Type\":\"tcp\"},{\"PrivatePort\":444,"
          "\"Type\":\"tcp\"},"
          "{\"PrivatePort\":53,\"Type\":\"udp\"}]",
          "53/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp" },
        { "[{\"IP\":\"127.0.0.1\",\"PrivatePort\":9000,\"PublicPort\":8000,\"Type\":\"tcp\"},{\"IP\":\"127.0."
          "0.1\","
          "\"PrivatePort\":9001,\"PublicPort\":8001,\"Type\":\"tcp\"},{\"IP\":\"127.0.0.1\",\"PrivatePort\":"
          "9002,"
          "\"PublicPort\":9999,\"Type\":\"tcp\"}]",
          "127.0.0.1:8000-8001->9000-9001/tcp, 127.0.0.1:9999->9002/tcp" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        json_t *list CLEANUP(json_cleanup) = NULL;
        assert_int_equal(json_parse(cases[i].list, strlen(cases[i].list), &list, &err), 0);
        char *text CLEANUP(cleanup_free) = rows_ports(list);
        assert_string_equal(text, cases[i].text);
    }
}

static void columns_align(void **state)
{
    (void)state;
    struct str out CLEANUP(str_done) = STR_INIT;
    format_align(&out, "ID\tNAME\nlong-long-long\tx\n\xe2\x80\xa6\ty\n", 10);
    assert_string_equal(out.ptr,
                        "ID               NAME\nlong-long-long   x\n\xe2\x80\xa6                y\n");
}

static struct str seen[3];

static int collect(int stream, const char *bytes, size_t n)
{
    str_append_n(&seen[stream], bytes, n);
    return 0;
}

// Whatever the reads cut the stream into, the payload comes out whole.
static void frames_survive_any_cut(void **state)
{
    (void)state;
    static const char stream[] = "\1\0\0\0\0\0\0\3abc\2\0\0\0\0\0\0\2ef\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1d";
    for (size_t step = 1; step < sizeof stream; step++) {
        struct frames f = { 0 };
        seen[1] = seen[2] = STR_INIT;
        for (size_t at = 0; at < sizeof stream - 1; at += step) {
            size_t n = sizeof stream - 1 - at < step ? sizeof stream - 1 - at : step;
            assert_int_equal(frames_show(&f, stream + at, n, collect), 0);
        }
        assert_string_equal(seen[1].ptr, "abcd");
        assert_string_equal(seen[2].ptr, "ef");
        str_done(&seen[1]);
        str_done(&seen[2]);
    }
}

static void detach_keys(void **state)
{
    (void)state;
    struct error err = { 0 };
    struct detach_keys keys;
    struct str out CLEANUP(str_done) = STR_INIT;
    assert_int_equal(detach_keys_parse(NULL, &keys, &err), 0);
    assert_false(detach_keys_filter(&keys, (const unsigned char *)"a\x10", 2, &out));
    assert_string_equal(out.ptr, "a"); // held back
    assert_false(detach_keys_filter(&keys, (const unsigned char *)"b\x10\x10", 3, &out));
    assert_string_equal(out.ptr, "a\x10"
                                 "b\x10");
    assert_true(detach_keys_filter(&keys, (const unsigned char *)"\x11zzz", 4, &out));
    assert_int_equal(detach_keys_parse("ctrl-@,a", &keys, &err), 0);
    assert_int_equal(keys.keys[0], 0);
    assert_int_equal(keys.count, 2);
    assert_int_equal(detach_keys_parse("ctrl-1", &keys, &err), -1);
    assert_int_equal(detach_keys_parse("ab", &keys, &err), -1);
}

static void image_names(void **state)
{
    (void)state;
    static const struct {
        const char *given, *familiar, *canonical;
    } cases[] = { { "busybox", "busybox:latest", "docker.io/library/busybox" },
                  { "a/b:1", "a/b:1", "docker.io/a/b:1" },
                  { "localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x" },
                  { "localhost/x:2", "localhost/x:2", "localhost/x:2" },
                  { "r.example/x@sha256:ab", "r.example/x@sha256:ab", "r.example/x@sha256:ab" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *familiar CLEANUP(cleanup_free) = pull_familiar_name(cases[i].given);
        char *canonical CLEANUP(cleanup_free) = pull_canonical_name(cases[i].given);
        assert_string_equal(familiar, cases[i].familiar);
        assert_string_equal(canonical, cases[i].canonical);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(cutting_keeps_characters_whole),
        cmocka_unit_test(ports_are_gathered),
        cmocka_unit_test(columns_align),
        cmocka_unit_test(frames_survive_any_cut),
        cmocka_unit_test(detach_keys),
        cmocka_unit_test(image_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
