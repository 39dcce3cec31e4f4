#include "../test.h"

#include "base/str.h"
#include "codec/json.h"
#include "volume/backing.h"

#include <linux/mount.h>
#include <string.h>

static struct volume_backing parse(const char *text, bool is_fine, const char *part)
{
    static json_t *document; // borrowed by the result
    struct volume_backing backing;
    struct error err = { 0 };
    json_decref(document);
    document = NULL;
    assert_int_equal(json_parse(text, strlen(text), &document, &err), 0);
    int r = volume_backing_parse(document, &backing, &err);
    if (is_fine != (r == 0) || (!is_fine && !strstr(err.message, part)))
        fail_msg("%s: %d \"%s\"", text, r, err.message);
    return backing;
}

static void test_kinds(void **state)
{
    (void)state;
    struct volume_backing b = parse("{}", true, "");
    assert_int_equal(b.kind, VOLUME_PLAIN);
    assert_int_equal(b.size_bytes, 0);
    b = parse("{\"size\":\"10m\"}", true, "");
    assert_int_equal(b.kind, VOLUME_PLAIN);
    assert_int_equal(b.size_bytes, 10 << 20);
    b = parse("{\"type\":\"none\",\"o\":\"bind,ro\",\"device\":\"/srv/x\"}", true, "");
    assert_true(b.kind == VOLUME_BIND && b.is_read_only);
    assert_string_equal(b.device, "/srv/x");
    volume_backing_done(&b);
    b = parse("{\"type\":\"tmpfs\",\"device\":\"tmpfs\",\"o\":\"size=1m,nosuid,uid=7,ro,rw\"}", true, "");
    assert_true(b.kind == VOLUME_MOUNT && !b.is_read_only);
    assert_int_equal(b.attributes, MOUNT_ATTR_NOSUID);
    assert_int_equal(strv_len(b.data), 2);
    assert_string_equal(b.data[0], "size=1m");
    assert_string_equal(b.data[1], "uid=7");
    volume_backing_done(&b);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "{\"foo\":\"1\"}", "invalid option: \"foo\"" },
        { "{\"type\":\"tmpfs\"}", "missing required option: \"device\"" },
        { "{\"device\":\"x\"}", "missing required option: \"type\"" },
        { "{\"o\":\"bind\"}", "missing required option: \"device\"" },
        { "{\"size\":\"ten\"}", "invalid size: 'ten'" },
        { "{\"size\":\"1m\",\"type\":\"tmpfs\",\"device\":\"tmpfs\"}", "goes with neither" },
        { "{\"type\":1,\"device\":\"x\"}", "no string" },
        { "{\"type\":\"none\",\"o\":\"bind\",\"device\":\"rel\"}", "absolute" },
        { "{\"type\":\"none\",\"o\":\"bind,nosuid\",\"device\":\"/x\"}", "only bind" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct volume_backing b = parse(rows[i][0], false, rows[i][1]);
        volume_backing_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_kinds), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
