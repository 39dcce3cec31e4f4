// Address ranges and addresses: values only, no privileges.
#include "network/ipam.h"

#include "../test.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint32_t ip(const char *text)
{
    uint32_t a = 0;
    assert_true(ip_parse(text, &a));
    return a;
}

static void test_text(void **state)
{
    (void)state;
    static const char *const bad[] = { "",         "1.2.3",    "1.2.3.4.5", "256.1.1.1",
                                       " 1.2.3.4", "1.2.3.4 ", "::1",       "a.b.c.d" };
    static const char *const bad_cidr[] = { "10.1.2.3", "10.1.2.3/", "10.1.2.3/33",         "10.1.2.3/-1",
                                            "/24",      "10.1.2/24", "100.100.100.1000/24", "10.1.2.3/2x" };
    char text[IP_TEXT_MAX];
    uint32_t a;
    unsigned prefix;
    ip_format(ip("172.17.0.2"), text);
    assert_string_equal(text, "172.17.0.2");
    assert_int_equal(ip("255.255.255.255"), UINT32_MAX);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(ip_parse(bad[i], &a));
    assert_true(cidr_parse("10.1.2.3/24", &a, &prefix));
    assert_int_equal(a, ip("10.1.2.3"));
    assert_int_equal(prefix, 24);
    for (size_t i = 0; i < COUNT(bad_cidr); i++)
        assert_false(cidr_parse(bad_cidr[i], &a, &prefix));
}

static void test_next_fit(void **state)
{
    (void)state;
    struct ipam m;
    uint32_t a, b, c;
    ipam_init(&m, ip("172.17.0.0"), 16);
    assert_true(ipam_take_this(&m, ip("172.17.0.1")));
    assert_true(ipam_take(&m, &a));
    assert_int_equal(a, ip("172.17.0.2"));
    assert_true(ipam_take(&m, &b));
    assert_int_equal(b, ip("172.17.0.3"));
    ipam_give_back(&m, a);
    assert_true(ipam_take(&m, &c));
    assert_int_equal(c, ip("172.17.0.4")); // not the one that has just come back
    assert_true(ipam_take_this(&m, a));
    assert_false(ipam_take_this(&m, a));
    assert_false(ipam_take_this(&m, ip("172.18.0.1")));
    assert_false(ipam_take_this(&m, ip("172.16.255.255")));
    ipam_done(&m);
}

// Every address but the edges, each once; then none; one given back is found again.
static void check_exhaustion(unsigned prefix, uint32_t usable)
{
    struct ipam m;
    uint32_t a;
    ipam_init(&m, ip("10.0.0.0"), prefix);
    unsigned char *seen = calloc(usable + 2, 1);
    for (uint32_t i = 0; i < usable; i++) {
        assert_true(ipam_take(&m, &a));
        uint32_t at = a - ip("10.0.0.0");
        assert_in_range(at, 1, usable);
        assert_int_equal(seen[at]++, 0);
    }
    assert_false(ipam_take(&m, &a));
    ipam_give_back(&m, ip("10.0.0.2"));
    ipam_give_back(&m, ip("10.0.0.2"));
    ipam_give_back(&m, ip("10.0.0.0")); // the network is not ours to give
    ipam_give_back(&m, ip("11.0.0.0"));
    assert_true(ipam_take(&m, &a));
    assert_int_equal(a, ip("10.0.0.2"));
    assert_false(ipam_take(&m, &a));
    free(seen);
    ipam_done(&m);
}

static void test_exhaustion(void **state)
{
    (void)state;
    check_exhaustion(30, 2);
    check_exhaustion(24, 254);
    check_exhaustion(20, 4094);
    check_exhaustion(16, 65534);
    check_exhaustion(12, 65535); // the first 65,536 of a wider range, whose broadcast address is far away
}

static void expect_pool(const char *const *routes, size_t n, const char *network, unsigned prefix)
{
    struct route list[8];
    uint32_t got;
    unsigned got_prefix;
    for (size_t i = 0; i < n; i++)
        assert_true(cidr_parse(routes[i], &list[i].network, &list[i].prefix));
    assert_true(ipam_choose_pool(list, n, &got, &got_prefix));
    assert_int_equal(got, ip(network));
    assert_int_equal(got_prefix, prefix);
}

static void test_pools(void **state)
{
    (void)state;
    expect_pool(NULL, 0, "172.17.0.0", 16);
    expect_pool((const char *[]){ "0.0.0.0/0", "192.0.2.0/24" }, 2, "172.17.0.0", 16);
    expect_pool((const char *[]){ "172.17.0.0/16" }, 1, "172.18.0.0", 16);
    expect_pool((const char *[]){ "172.17.5.0/24", "172.18.0.1/32" }, 2, "172.19.0.0", 16);
    expect_pool((const char *[]){ "172.16.0.0/12" }, 1, "192.168.0.0", 20);
    expect_pool((const char *[]){ "172.16.0.0/12", "192.168.0.0/17" }, 2, "192.168.128.0", 20);
    expect_pool((const char *[]){ "172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/10" }, 3, "10.64.0.0", 16);
}

static void test_pools_used_up(void **state)
{
    (void)state;
    const struct route everything[] = { { 0, 1 }, { 0x80000000, 1 } };
    struct route sixteens[258];
    uint32_t network;
    unsigned prefix;
    assert_false(ipam_choose_pool(everything, 2, &network, &prefix));
    for (unsigned i = 0; i < 256; i++) // each 10.x.0.0/16 is touched, its first /24 only
        sixteens[i] = (struct route){ ip("10.0.0.0") + (i << 16), 24 };
    sixteens[256] = (struct route){ ip("172.16.0.0"), 12 };
    sixteens[257] = (struct route){ ip("192.168.0.0"), 16 };
    assert_true(ipam_choose_pool(sixteens, 258, &network, &prefix));
    assert_int_equal(network, ip("10.0.1.0"));
    assert_int_equal(prefix, 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),  cmocka_unit_test(test_next_fit),      cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_pools), cmocka_unit_test(test_pools_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
