// Network documents, records and refused requests: nothing that changes the kernel, no privileges.
#include "network/network.h"

#include "../test.h"
#include "codec/json.h"
#include "memory_store.h"

static struct store *const any_store = (struct store *)(uintptr_t)1; // memory_store.c does not look at it
static const struct network_options plain = {
    .bridge = "skifftest", .bip = "10.99.0.1/24", .has_masquerade = true, .is_inter_container_allowed = true
};

static struct network_service *open_service(const struct network_options *options)
{
    struct network_service *s = NULL;
    struct error err = { 0 };
    if (network_service_open(any_store, options, &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static const char *string_at(const json_t *d, const char *object, const char *key)
{
    return json_get_string(json_get_object(d, object), key, "(none)");
}

static void test_inspect(void **state)
{
    (void)state;
    struct network_service *s = open_service(&plain);
    struct error err = { 0 };
    json_t *d = NULL, *by_id = NULL;
    assert_int_equal(network_inspect(s, "bridge", &d, &err), 0);
    assert_string_equal(json_get_string(d, "Name", ""), "bridge");
    assert_string_equal(json_get_string(d, "Driver", ""), "bridge");
    assert_string_equal(json_get_string(d, "Scope", ""), "local");
    json_t *config = json_array_get(json_get_array(json_get_object(d, "IPAM"), "Config"), 0);
    assert_string_equal(json_get_string(config, "Subnet", ""), "10.99.0.0/24");
    assert_string_equal(json_get_string(config, "Gateway", ""), "10.99.0.1");
    assert_string_equal(string_at(d, "Options", "com.docker.network.bridge.name"), "skifftest");
    assert_string_equal(string_at(d, "Options", "com.docker.network.driver.mtu"), "1500");
    assert_string_equal(string_at(d, "Options", "com.docker.network.bridge.enable_icc"), "true");
    assert_int_equal(json_object_size(json_get_object(d, "Containers")), 0);
    const char *id = json_get_string(d, "Id", "");
    assert_int_equal(strlen(id), 64);
    assert_int_equal(network_inspect(s, id, &by_id, &err), 0);
    assert_true(json_equal(d, by_id));
    json_decref(by_id);
    assert_true(network_inspect(s, "no-such", &by_id, &err) < 0);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    assert_string_equal(err.message, "network no-such not found");
    json_decref(d);
    network_service_close(s);
    memory_store_clear();
}

static void test_list_and_records(void **state)
{
    (void)state;
    static const char *const expected[][2] = { { "bridge", "bridge" },
                                               { "host", "host" },
                                               { "none", "null" } };
    struct network_service *s = open_service(&plain);
    json_t *first = network_list(s);
    assert_int_equal(json_array_size(first), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(json_get_string(json_array_get(first, i), "Name", ""), expected[i][0]);
        assert_string_equal(json_get_string(json_array_get(first, i), "Driver", ""), expected[i][1]);
    }
    network_service_close(s);
    s = open_service(&plain); // ids and times outlive the service
    json_t *again = network_list(s);
    assert_true(json_equal(first, again));
    network_service_close(s);
    struct network_options none = plain;
    none.bridge = "none";
    s = open_service(&none);
    json_t *two = network_list(s);
    assert_int_equal(json_array_size(two), 2);
    network_service_close(s);
    json_decref(first);
    json_decref(again);
    json_decref(two);
    memory_store_clear();
}

static void test_reserve(void **state)
{
    (void)state;
    struct network_service *s = open_service(&plain);
    struct error err = { 0 };
    struct network_endpoint a = { 0 }, b = { 0 };
    struct network_request q = { .container_id = "c1", .container_name = "web", .network = "default" };
    assert_int_equal(network_reserve(s, &q, &a, &err), 0);
    assert_string_equal(a.ip, "10.99.0.2");
    assert_string_equal(a.gateway, "10.99.0.1");
    assert_string_equal(a.mac, "02:42:0a:63:00:02");
    assert_string_equal(a.network_name, "bridge");
    assert_int_equal(a.prefix_length, 24);
    q.container_id = "c2";
    q.mac = "02:00:00:00:00:07";
    assert_int_equal(network_reserve(s, &q, &b, &err), 0);
    assert_string_equal(b.mac, "02:00:00:00:00:07");
    assert_string_not_equal(a.host_interface, b.host_interface);
    json_t *d = NULL;
    assert_int_equal(network_inspect(s, "bridge", &d, &err), 0);
    json_t *c = json_get_object(json_get_object(d, "Containers"), "c1");
    assert_string_equal(json_get_string(c, "Name", ""), "web");
    assert_string_equal(json_get_string(c, "EndpointID", ""), a.endpoint_id);
    assert_string_equal(json_get_string(c, "IPv4Address", ""), "10.99.0.2/24");
    json_decref(d);
    network_release(s, &a);
    network_release(s, &a);
    network_release(s, &b);
    network_endpoint_done(&a);
    network_endpoint_done(&b);
    network_service_close(s);
    memory_store_clear();
}

static void expect_refused(struct network_service *s, const struct network_request *q, enum error_kind kind,
                           const char *message)
{
    struct error err = { 0 };
    struct network_endpoint e = { 0 };
    assert_true(network_reserve(s, q, &e, &err) < 0);
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.message, message);
    assert_null(e.ports);
}

static void test_refused(void **state)
{
    (void)state;
    struct network_options tiny = plain;
    tiny.bip = "10.99.0.1/30"; // one address beside the gateway's
    struct network_service *s = open_service(&tiny);
    struct network_request q = { .container_id = "c1", .container_name = "web", .network = "nowhere" };
    expect_refused(s, &q, ERROR_NOT_FOUND, "network nowhere not found");
    q.network = "bridge";
    q.ip = "10.99.0.2";
    expect_refused(s, &q, ERROR_INVALID,
                   "user specified IP address is supported on user defined networks only");
    q.ip = NULL;
    q.mac = "zz:00:00:00:00:00";
    expect_refused(s, &q, ERROR_INVALID, "invalid MAC address: zz:00:00:00:00:00");
    q.mac = "01:00:00:00:00:00"; // a group address
    expect_refused(s, &q, ERROR_INVALID, "invalid MAC address: 01:00:00:00:00:00");
    q.mac = NULL;
    struct network_port p = { .container_port = 80, .host_port = 8080, .host_ip = "::1" };
    q.ports = &p;
    q.port_count = 1;
    expect_refused(s, &q, ERROR_UNSUPPORTED,
                   "publishing port 80 on the IPv6 address ::1 is not supported yet");
    q.port_count = 0;
    for (int i = 0; i < 3;
         i++) { // what was refused has left the only address free, and it comes back each time
        struct network_endpoint e = { 0 }, none = { 0 };
        struct error err = { 0 };
        assert_int_equal(network_reserve(s, &q, &e, &err), 0);
        assert_string_equal(e.ip, "10.99.0.2");
        assert_true(network_reserve(s, &q, &none, &err) < 0);
        assert_int_equal(err.kind, ERROR_EXHAUSTED);
        network_release(s, &e);
        network_endpoint_done(&e);
    }
    network_service_close(s);
    memory_store_clear();
}

static void test_bad_options(void **state)
{
    (void)state;
    static const char *const bad[] = { "10.0.0.1",    "10.0.0.0/24", "10.0.0.255/24",
                                       "10.0.0.1/31", "10.0.0.1/7",  "x/8" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct network_options o = plain;
        struct network_service *s = NULL;
        struct error err = { 0 };
        o.bip = bad[i];
        assert_true(network_service_open(any_store, &o, &s, &err) < 0);
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_null(s);
    }
    memory_store_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect),     cmocka_unit_test(test_list_and_records),
        cmocka_unit_test(test_reserve),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
