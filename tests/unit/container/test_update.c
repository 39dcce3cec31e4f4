// What an update asks of ports, devices and mounts, laid over a HostConfig: values only.
#include "base/mem.h"
#include "codec/json.h"
#include "container/update.h"

#include "../test.h"

#include <string.h>

#define HOST                                                                                          \
    "{\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"},{\"HostIp\":\"\","        \
    "\"HostPort\":\"\"}]},\"Devices\":[{\"PathOnHost\":\"/dev/fuse\",\"PathInContainer\":\"/dev/f\"," \
    "\"CgroupPermissions\":\"rwm\"}],\"Binds\":[\"/src:/a:ro\"],\"Mounts\":[{\"Type\":\"tmpfs\","     \
    "\"Target\":\"/b/\"}],\"Tmpfs\":{\"/c/./d\":\"\"}}"

struct laid {
    int result;
    struct error err;
    json_t *host;
    struct update_wish wish;
};

static struct laid lay(const char *change)
{
    struct laid l = { .result = -1 };
    struct container_config config;
    struct error err;
    char **warnings CLEANUP(strv_freep) = NULL;
    json_t *c CLEANUP(json_cleanup) = NULL, *k CLEANUP(json_cleanup) = json_pack("{s:[s]}", "Cmd", "true");
    struct network_port chosen = { .container_port = 80, .host_ip = "0.0.0.0", .host_port = 33000 };
    struct network_endpoint endpoint = { .ports = &chosen, .port_count = 1 };
    assert_int_equal(json_parse(change, strlen(change), &c, &err), 0);
    assert_int_equal(json_parse(HOST, strlen(HOST), &l.host, &err), 0);
    assert_int_equal(container_config_parse(k, l.host, &config, &warnings, &err), 0);
    l.result = update_wish_parse(c, &config, &endpoint, l.host, &l.wish, &l.err);
    container_config_done(&config);
    return l;
}

static void laid_done(struct laid *l)
{
    update_wish_done(&l->wish);
    json_decref(l->host);
}

static void expect(const char *change, const char *member, const char *text)
{
    struct laid l CLEANUP(laid_done) = lay(change);
    assert_int_equal(l.result, 0);
    assert_true(l.wish.has_any);
    char *got CLEANUP(cleanup_free) = json_text(json_object_get(l.host, member));
    assert_string_equal(got, text);
}

static void refuse(const char *change, enum error_kind kind, const char *words)
{
    struct laid l CLEANUP(laid_done) = lay(change);
    assert_int_equal(l.result, -1);
    assert_int_equal(l.err.kind, kind);
    if (!strstr(l.err.message, words))
        fail_msg("%s: %s", change, l.err.message);
}

static void ports(void **state)
{
    (void)state;
    expect("{\"PortBindingsAdd\":{\"81/udp\":[{\"HostPort\":\"9\"}]},\"PortBindingsRemove\":{\"80\":[]}}",
           "PortBindings", "{\"81/udp\":[{\"HostPort\":\"9\"}]}");
    expect(
        "{\"PortBindingsAdd\":{\"81/tcp\":[]},\"PortBindingsRemove\":{\"80/tcp\":[{\"HostPort\":\"8080\"}]}}",
        "PortBindings",
        "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}],\"81/"
        "tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}");
    // By the port that was chosen, and by the address that stands for all.
    expect("{\"PortBindingsRemove\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"33000\"}]}}",
           "PortBindings", "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}");
    struct laid l CLEANUP(laid_done) =
        lay("{\"PortBindingsRemove\":{\"80/tcp\":[{\"HostPort\":\"33000\"}]}}");
    assert_int_equal(l.wish.gone_count, 1);
    assert_int_equal(l.wish.gone[0].host_port, 33000);
    refuse("{\"PortBindingsRemove\":{\"80/udp\":[]}}", ERROR_INVALID, "port 80/udp is not published");
    refuse("{\"PortBindingsRemove\":{\"80/tcp\":[{\"HostIp\":\"1.2.3.4\",\"HostPort\":\"8080\"}]}}",
           ERROR_INVALID, "port 80/tcp is not published on 1.2.3.4:8080");
    refuse("{\"PortBindingsAdd\":{\"0/tcp\":[]}}", ERROR_INVALID, "invalid port specification");
    refuse("{\"PortBindingsAdd\":[]}", ERROR_INVALID, "PortBindingsAdd: wrong type");
}

static void devices(void **state)
{
    (void)state;
    expect("{\"DevicesRemove\":[\"/dev/f\"],\"DevicesAdd\":[{\"PathOnHost\":\"/dev/f\"}]}", "Devices",
           "[{\"PathOnHost\":\"/dev/f\"}]");
    refuse("{\"DevicesRemove\":[\"/dev/fuse\"]}", ERROR_INVALID, "the container has no device /dev/fuse");
    refuse("{\"DevicesAdd\":[{\"PathOnHost\":\"/dev/f\"}]}", ERROR_CONFLICT, "has a device /dev/f already");
    refuse("{\"DevicesRemove\":[7]}", ERROR_INVALID, "the container has no device ");
}

static void mounts(void **state)
{
    (void)state;
    expect("{\"MountsRemove\":[\"//a/\"],\"BindsAdd\":[\"v:/a\"]}", "Binds", "[\"v:/a\"]");
    expect("{\"MountsRemove\":[\"/b\"]}", "Mounts", "[]");
    expect("{\"MountsRemove\":[\"/c/d\"]}", "Tmpfs", "{}");
    struct laid l CLEANUP(laid_done) =
        lay("{\"BindsAdd\":[\"v:/x\",\"/y\"],\"MountsAdd\":[{\"Type\":\"tmpfs\",\"Target\":\"/z\"}],"
            "\"MountsRemove\":[\"/a\"],\"ForceUnmount\":true}");
    assert_int_equal(l.result, 0);
    assert_int_equal(l.wish.added_count, 2);
    assert_string_equal(l.wish.added[0].volume, "v");
    assert_true(l.wish.added[1].is_anonymous && l.wish.is_forced);
    assert_true(strv_contains(l.wish.removed_targets, "/a"));
    refuse("{\"MountsRemove\":[\"/q\"]}", ERROR_INVALID, "the container has no mount /q");
    refuse("{\"MountsRemove\":[\"/a\",\"/a/.\"]}", ERROR_INVALID, "the container has no mount /a");
    refuse("{\"MountsRemove\":[\"/a/../b\"]}", ERROR_INVALID, "must not contain");
    refuse("{\"BindsAdd\":[\"/x:/c//d\"]}", ERROR_INVALID, "Duplicate mount point: /c/d");
    refuse("{\"BindsAdd\":[\"/x:/e\",\"/y:/e\"]}", ERROR_INVALID, "Duplicate mount point: /e");
    refuse("{\"MountsAdd\":[{\"Type\":\"odd\",\"Target\":\"/e\"}]}", ERROR_INVALID, "mount type unknown");
    refuse("{\"ForceUnmount\":1,\"MountsRemove\":[\"/a\"]}", ERROR_INVALID, "ForceUnmount: wrong type");
}

static void nothing_of_ours(void **state)
{
    (void)state;
    struct laid l CLEANUP(laid_done) = lay("{\"Memory\":5,\"BindsAdd\":[],\"PortBindingsAdd\":null}");
    assert_int_equal(l.result, 0);
    assert_false(l.wish.has_any);
    assert_true(update_wish_is_member("MountsRemove"));
    assert_false(update_wish_is_member("Devices"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(ports), cmocka_unit_test(devices),
                                        cmocka_unit_test(mounts), cmocka_unit_test(nothing_of_ours) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
