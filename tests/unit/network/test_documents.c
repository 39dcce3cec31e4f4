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
                   "publishing port 80 on the IPv6 address ::1: the container has none on network bridge");
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

static json_t *request_of(const char *text)
{
    struct error err;
    json_t *request = NULL;
    if (json_parse(text, strlen(text), &request, &err) < 0)
        fail_msg("%s", err.message);
    return request;
}

static int create(struct network_service *s, const char *text, char id[static 65], struct error *err)
{
    json_t *request = request_of(text);
    char *warning = NULL;
    int r = network_create(s, request, id, &warning, err);
    json_decref(request);
    free(warning);
    return r;
}

static const char *subnet_of(const json_t *network, size_t i, const char *key)
{
    return json_get_string(json_array_get(json_get_array(json_get_object(network, "IPAM"), "Config"), i), key,
                           "(none)");
}

static void test_create(void **state)
{
    (void)state;
    struct network_service *s = open_service(&plain);
    struct error err = { 0 };
    char id[65], other[65];
    json_t *d = NULL, *again = NULL;
    assert_int_equal(
        create(s,
               "{\"Name\":\"net\",\"EnableIPv6\":true,\"Internal\":true,\"Labels\":{\"a\":\"b\"},"
               "\"IPAM\":{\"Config\":[{\"Subnet\":\"10.98.0.0/16\",\"IPRange\":\"10.98.7.0/24\","
               "\"Gateway\":\"10.98.0.9\",\"AuxiliaryAddresses\":{\"router\":\"10.98.7.0\"}}]},"
               "\"Options\":{\"com.docker.network.driver.mtu\":\"1400\"}}",
               id, &err),
        0);
    assert_int_equal(network_inspect(s, "net", &d, &err), 0);
    assert_string_equal(subnet_of(d, 0, "Subnet"), "10.98.0.0/16");
    assert_string_equal(subnet_of(d, 0, "Gateway"), "10.98.0.9");
    assert_non_null(strstr(subnet_of(d, 1, "Subnet"), "fd")); // a local one was chosen
    assert_true(json_get_bool(d, "Internal", false));
    network_service_close(s);
    s = open_service(&plain); // everything outlives the service
    assert_int_equal(network_inspect(s, id, &again, &err), 0);
    assert_true(json_equal(d, again));
    json_decref(d);
    json_decref(again);
    struct network_request q = { .container_id = "c1", .container_name = "web", .network = "net" };
    struct network_endpoint e = { 0 }, f = { 0 };
    assert_int_equal(network_reserve(s, &q, &e, &err), 0);
    assert_string_equal(e.ip, "10.98.7.1"); // the range's first is the router's
    assert_string_equal(e.gateway, "10.98.0.9");
    assert_int_equal(e.prefix_length, 16);
    assert_int_equal(e.prefix6_length, 64);
    assert_string_not_equal(e.ip6, "");
    q.ip = "10.98.200.1"; // outside the range, in the subnet
    assert_int_equal(network_reserve(s, &q, &f, &err), 0);
    assert_string_equal(f.ip, "10.98.200.1");
    expect_refused(s, &q, ERROR_DENIED, "Address already in use");
    q.ip = "10.97.0.1";
    expect_refused(s, &q, ERROR_INVALID,
                   "invalid config for network net: invalid endpoint settings:\nno configured subnet or "
                   "ip-range contain the IP "
                   "address 10.97.0.1");
    assert_true(network_remove(s, "net", &err) < 0);
    assert_int_equal(err.kind, ERROR_DENIED);
    network_release(s, &e);
    network_release(s, &f);
    assert_int_equal(create(s, "{\"Name\":\"two\"}", other, &err), 0);
    assert_int_equal(network_inspect(s, "two", &d, &err), 0);
    assert_string_not_equal(subnet_of(d, 0, "Subnet"), "(none)");
    json_decref(d);
    assert_int_equal(network_remove(s, other, &err), 0);
    assert_true(network_inspect(s, "two", &d, &err) < 0);
    network_service_close(s);
    memory_store_clear();
}

static void test_create_refused(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        enum error_kind kind;
        const char *part;
    } rows[] = {
        { "{}", ERROR_INVALID, "name is empty" },
        { "{\"Name\":\"a/b\"}", ERROR_INVALID, "invalid name" },
        { "{\"Name\":\"bridge\"}", ERROR_DENIED, "operation is not permitted on predefined bridge network" },
        { "{\"Name\":\"x\",\"Driver\":\"host\"}", ERROR_DENIED,
          "only one instance of \"host\" network is allowed" },
        { "{\"Name\":\"x\",\"Driver\":\"weave\"}", ERROR_NOT_FOUND, "plugin \"weave\" not found" },
        { "{\"Name\":\"taken\"}", ERROR_CONFLICT, "network with name taken already exists" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.99.0.0/25\"}]}}", ERROR_DENIED,
          "Pool overlaps" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.96.0.1/24\"}]}}", ERROR_INVALID,
          "it should be 10.96.0.0/24" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.96.0.0\"}]}}", ERROR_INVALID,
          "invalid CIDR block notation" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.96.0.0/31\"}]}}", ERROR_INVALID,
          "length must be" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.96.0.0/24\",\"Gateway\":\"10.95.0.1\"}]}}",
          ERROR_INVALID, "doesn't contain this address" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.96.0.0/24\",\"IPRange\":\"10.96.0.0/"
          "16\"}]}}",
          ERROR_INVALID, "doesn't contain ip-range" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Subnet\":\"fd00:9::/64\"}]}}", ERROR_INVALID,
          "IPv6 has not been enabled" },
        { "{\"Name\":\"x\",\"IPAM\":{\"Config\":[{\"Gateway\":\"10.96.0.1\"}]}}", ERROR_INVALID,
          "a subnet is needed" },
        { "{\"Name\":\"x\",\"Options\":{\"com.docker.network.driver.mtu\":\"9\"}}", ERROR_INVALID,
          "68 to 65535" },
        { "{\"Name\":\"x\",\"Options\":{\"com.docker.network.bridge.name\":\"sixteen-letters-\"}}",
          ERROR_INVALID, "1 to 15" },
        { "{\"Name\":\"x\",\"Options\":{\"com.docker.network.bridge.enable_icc\":\"maybe\"}}", ERROR_INVALID,
          "not true or false" },
        { "{\"Name\":\"x\",\"Driver\":\"macvlan\",\"Options\":{\"macvlan_mode\":\"odd\"}}", ERROR_INVALID,
          "requested odd is not valid" },
        { "{\"Name\":\"x\",\"ConfigOnly\":true}", ERROR_UNSUPPORTED, "configuration-only" },
        { "{\"Name\":\"x\",\"Labels\":{\"a\":1}}", ERROR_INVALID, "not a string" },
    };
    struct network_service *s = open_service(&plain);
    char id[65];
    struct error err = { 0 };
    assert_int_equal(create(s, "{\"Name\":\"taken\"}", id, &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(create(s, rows[i].request, id, &err) < 0);
        if (!strstr(err.message, rows[i].part) || err.kind != rows[i].kind)
            fail_msg("%s: %s (%s)", rows[i].request, err.message, error_kind_name(err.kind));
    }
    json_t *all = network_list(s);
    assert_int_equal(json_array_size(all), 4);
    json_decref(all);
    network_service_close(s);
    memory_store_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect),        cmocka_unit_test(test_list_and_records),
        cmocka_unit_test(test_reserve),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_options),    cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
