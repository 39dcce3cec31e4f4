// Address ranges and addresses: values only, no privileges.
#include "network/ipam.h"

#include "../test.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct ip_address ip(const char *text)
{
    struct ip_address a = { 0 };
    assert_true(ip_parse(text, &a));
    return a;
}

static struct ip_prefix net(const char *text)
{
    struct ip_prefix p = { 0 };
    assert_true(ip_prefix_parse(text, &p));
    return p;
}

static void expect_next(struct ipam *m, const char *text)
{
    struct ip_address a, wanted = ip(text);
    assert_true(ipam_take(m, &a));
    assert_true(ip_equals(&a, &wanted));
}

static bool take_this(struct ipam *m, const char *text)
{
    struct ip_address a = ip(text);
    return ipam_take_this(m, &a);
}

static void give_back(struct ipam *m, const char *text)
{
    struct ip_address a = ip(text);
    ipam_give_back(m, &a);
}

static void test_next_fit(void **state)
{
    (void)state;
    struct ipam m;
    struct ip_prefix subnet = net("172.17.0.0/16");
    ipam_init(&m, &subnet, NULL);
    assert_true(take_this(&m, "172.17.0.1"));
    expect_next(&m, "172.17.0.2");
    expect_next(&m, "172.17.0.3");
    give_back(&m, "172.17.0.2");
    expect_next(&m, "172.17.0.4"); // not the one that has just come back
    assert_true(take_this(&m, "172.17.0.2"));
    assert_false(take_this(&m, "172.17.0.2"));
    assert_false(take_this(&m, "172.18.0.1"));
    assert_false(take_this(&m, "172.16.255.255"));
    assert_false(take_this(&m, "172.17.0.0"));
    assert_false(take_this(&m, "172.17.255.255"));
    assert_false(take_this(&m, "fd00::1"));
    ipam_done(&m);
}

// Dynamic addresses come from the range, named ones from anywhere in the subnet.
static void test_range(void **state)
{
    (void)state;
    struct ipam m;
    struct ip_prefix subnet = net("10.1.0.0/16"), range = net("10.1.5.0/30");
    ipam_init(&m, &subnet, &range);
    expect_next(&m, "10.1.5.0"); // no edge of the subnet
    expect_next(&m, "10.1.5.1");
    assert_true(take_this(&m, "10.1.5.2"));
    assert_true(take_this(&m, "10.1.200.1"));
    assert_true(take_this(&m, "10.1.200.2"));
    assert_false(take_this(&m, "10.1.200.1"));
    expect_next(&m, "10.1.5.3");
    struct ip_address a;
    assert_false(ipam_take(&m, &a));
    give_back(&m, "10.1.200.1");
    assert_true(take_this(&m, "10.1.200.1"));
    assert_false(take_this(&m, "10.1.200.2"));
    ipam_done(&m);
}

static void test_six(void **state)
{
    (void)state;
    struct ipam m;
    struct ip_prefix subnet = net("fd00:1::/64");
    ipam_init(&m, &subnet, NULL);
    assert_false(take_this(&m, "fd00:1::")); // the routers' anycast address
    expect_next(&m, "fd00:1::1");
    assert_true(take_this(&m, "fd00:1::2"));
    expect_next(&m, "fd00:1::3");
    assert_true(take_this(&m, "fd00:1::ffff:ffff:ffff:ffff"));
    assert_false(take_this(&m, "fd00:1::ffff:ffff:ffff:ffff"));
    assert_false(take_this(&m, "fd00:2::1"));
    ipam_done(&m);
}

// Every address but the edges, each once; then none; one given back is found again.
static void check_exhaustion(const char *text, uint32_t usable)
{
    struct ipam m;
    struct ip_address a;
    struct ip_prefix subnet = net(text);
    ipam_init(&m, &subnet, NULL);
    unsigned char *seen = calloc(usable + 2, 1);
    for (uint32_t i = 0; i < usable; i++) {
        assert_true(ipam_take(&m, &a));
        uint64_t at = ip_prefix_index(&subnet, &a);
        assert_in_range(at, 1, usable);
        assert_int_equal(seen[at]++, 0);
    }
    assert_false(ipam_take(&m, &a));
    give_back(&m, "10.0.0.2");
    give_back(&m, "10.0.0.2");
    give_back(&m, "10.0.0.0"); // the network is not ours to give
    give_back(&m, "11.0.0.0");
    expect_next(&m, "10.0.0.2");
    assert_false(ipam_take(&m, &a));
    free(seen);
    ipam_done(&m);
}

static void test_exhaustion(void **state)
{
    (void)state;
    check_exhaustion("10.0.0.0/30", 2);
    check_exhaustion("10.0.0.0/24", 254);
    check_exhaustion("10.0.0.0/20", 4094);
    check_exhaustion("10.0.0.0/16", 65534);
    check_exhaustion("10.0.0.0/12",
                     65535); // the first 65,536 of a wider range, whose broadcast address is far away
}

static void expect_pool(const char *const *taken, size_t n, const char *expected)
{
    struct ip_prefix list[8], got, wanted = net(expected);
    for (size_t i = 0; i < n; i++)
        list[i] = net(taken[i]);
    assert_true(ipam_choose(bridge_pools, bridge_pool_count, list, n, &got));
    assert_true(ip_prefix_equals(&got, &wanted));
}

static void test_pools(void **state)
{
    (void)state;
    expect_pool(NULL, 0, "172.17.0.0/16");
    expect_pool((const char *[]){ "192.0.2.0/24", "fd00::/8" }, 2, "172.17.0.0/16");
    expect_pool((const char *[]){ "172.17.0.0/16" }, 1, "172.18.0.0/16");
    expect_pool((const char *[]){ "172.17.5.0/24", "172.18.0.1/32" }, 2, "172.19.0.0/16");
    expect_pool((const char *[]){ "172.16.0.0/13" }, 1, "172.24.0.0/16");
    expect_pool((const char *[]){ "172.16.0.0/12" }, 1, "192.168.0.0/20");
    expect_pool((const char *[]){ "172.16.0.0/12", "192.168.0.0/17" }, 2, "192.168.128.0/20");
    expect_pool((const char *[]){ "172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/10" }, 3, "10.64.0.0/16");
}

static void test_own_pools(void **state)
{
    (void)state;
    const struct address_pool pools[] = { { net("10.9.0.0/29"), 30 }, { net("fd00:5::/48"), 64 } };
    struct ip_prefix taken[3], got;
    for (size_t i = 0; i < 3; i++) {
        static const char *const expected[] = { "10.9.0.0/30", "10.9.0.4/30", "fd00:5::/64" };
        struct ip_prefix wanted = net(expected[i]);
        assert_true(ipam_choose(pools, 2, taken, i, &got));
        assert_true(ip_prefix_equals(&got, &wanted));
        taken[i] = got;
    }
    struct ip_prefix wanted = net("fd00:5:0:1::/64");
    assert_true(ipam_choose(pools, 2, taken, 3, &got));
    assert_true(ip_prefix_equals(&got, &wanted));
}

static void test_pools_used_up(void **state)
{
    (void)state;
    const struct ip_prefix everything = net("0.0.0.0/0");
    struct ip_prefix sixteens[258], got, wanted = net("10.0.1.0/24");
    assert_false(ipam_choose(bridge_pools, bridge_pool_count, &everything, 1, &got));
    for (unsigned i = 0; i < 256; i++) // each 10.x.0.0/16 is touched, its first /24 only
        sixteens[i] = (struct ip_prefix){ { AF_INET, { 10, (uint8_t)i } }, 24 };
    sixteens[256] = net("172.16.0.0/12");
    sixteens[257] = net("192.168.0.0/16");
    assert_true(ipam_choose(bridge_pools, bridge_pool_count, sixteens, 258, &got));
    assert_true(ip_prefix_equals(&got, &wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),         cmocka_unit_test(test_six),
        cmocka_unit_test(test_own_pools),     cmocka_unit_test(test_next_fit),
        cmocka_unit_test(test_exhaustion),    cmocka_unit_test(test_pools),
        cmocka_unit_test(test_pools_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
