#include "base/ip.h"

#include "../test.h"

#include <arpa/inet.h>
#include <string.h>

static struct ip_address ip(const char *text)
{
    struct ip_address a = { 0 };
    assert_true(ip_parse(text, &a));
    return a;
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p = { 0 };
    assert_true(ip_prefix_parse(text, &p));
    return p;
}

static void texts_come_back(void **state)
{
    (void)state;
    static const char *const good[] = { "0.0.0.0", "172.17.0.2", "255.255.255.255", "::",
                                        "::1",     "fd00:1::2",  "2001:db8::1" };
    static const char *const bad[] = { "",         "1.2.3",    "1.2.3.4.5", "256.1.1.1",
                                       "01.2.3.4", " 1.2.3.4", "1.2.3.4 ",  "fe80::1%1",
                                       ":::",      "a.b.c.d",  "1::2::3" };
    static const char *const bad_prefixes[] = { "10.1.2.3", "10.1.2.3/", "10.1.2.3/33", "10.1.2.3/-1",  "/24",
                                                "::/129",   "10.1.2/24", "10.1.2.3/2x", "10.1.2.3/24/1" };
    char text[IP_TEXT_MAX], prefix_text[IP_PREFIX_TEXT_MAX];
    struct ip_address a = { .family = 77 };
    struct ip_prefix p = { .length = 77 };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        a = ip(good[i]);
        ip_format(&a, text);
        assert_string_equal(text, good[i]);
    }
    a.family = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ip_parse(bad[i], &a));
    assert_int_equal(a.family, 77);
    for (size_t i = 0; i < sizeof bad_prefixes / sizeof *bad_prefixes; i++)
        assert_false(ip_prefix_parse(bad_prefixes[i], &p));
    assert_int_equal(p.length, 77);
    p = prefix("fd00::1/64");
    ip_prefix_format(&p, prefix_text);
    assert_string_equal(prefix_text, "fd00::1/64");
    ip_format(&(struct ip_address){ 0 }, text);
    assert_string_equal(text, "");
}

static void kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_any, is_loopback, is_multicast, is_link_local;
    } rows[] = {
        { "0.0.0.0", true, false, false, false },     { "::", true, false, false, false },
        { "127.0.0.1", false, true, false, false },   { "127.255.0.9", false, true, false, false },
        { "::1", false, true, false, false },         { "::2", false, false, false, false },
        { "224.0.0.1", false, false, true, false },   { "ff02::1", false, false, true, false },
        { "169.254.1.1", false, false, false, true }, { "fe80::1", false, false, false, true },
        { "febf::1", false, false, false, true },     { "fec0::1", false, false, false, false },
        { "192.0.2.1", false, false, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_address a = ip(rows[i].text);
        assert_int_equal(ip_is_any(&a), rows[i].is_any);
        assert_int_equal(ip_is_loopback(&a), rows[i].is_loopback);
        assert_int_equal(ip_is_multicast(&a), rows[i].is_multicast);
        assert_int_equal(ip_is_link_local(&a), rows[i].is_link_local);
    }
    struct ip_address none = { 0 };
    assert_false(ip_is_any(&none));
    assert_false(ip_is_loopback(&none));
    assert_true(ip_is_none(&none));
}

static void networks_contain_and_overlap(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_overlap;
    } rows[] = {
        { "10.0.0.0/8", "10.255.0.0/16", true }, { "10.0.0.0/9", "10.128.0.0/9", false },
        { "10.0.0.0/31", "10.0.0.2/31", false }, { "0.0.0.0/0", "192.0.2.0/24", true },
        { "0.0.0.0/0", "::/0", false },          { "fd00::/7", "fe00::/8", false },
        { "fd00::/8", "fd12:3456::/64", true },  { "fd00:0:0:1::/64", "fd00:0:0:2::/64", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_prefix a = prefix(rows[i].a), b = prefix(rows[i].b);
        assert_int_equal(ip_prefix_overlaps(&a, &b), rows[i].is_overlap);
        assert_int_equal(ip_prefix_overlaps(&b, &a), rows[i].is_overlap);
    }
    struct ip_prefix wide = prefix("172.17.5.9/16"), narrow = ip_network(&wide),
                     wanted = prefix("172.17.0.0/16");
    assert_true(ip_prefix_equals(&narrow, &wanted));
    struct ip_address inside = ip("172.17.255.255"), outside = ip("172.18.0.0"), last = ip_prefix_last(&wide);
    assert_true(ip_prefix_contains(&wide, &inside));
    assert_false(ip_prefix_contains(&wide, &outside));
    assert_true(ip_equals(&last, &inside));
}

static void addresses_are_counted_from_the_network(void **state)
{
    (void)state;
    struct ip_prefix v4 = prefix("172.17.0.9/16"), v6 = prefix("fd00::/64"), all = prefix("::/0"),
                     one = prefix("10.0.0.7/32");
    struct ip_address a, wanted = ip("172.17.1.0");
    assert_true(ip_prefix_count(&v4) == 65536);
    assert_true(ip_prefix_count(&v6) == UINT64_MAX);
    assert_true(ip_prefix_count(&one) == 1);
    assert_true(ip_prefix_at(&v4, 256, &a));
    assert_true(ip_equals(&a, &wanted));
    assert_true(ip_prefix_index(&v4, &a) == 256);
    assert_false(ip_prefix_at(&v4, 65536, &a));
    assert_true(ip_prefix_at(&one, 0, &a));
    assert_false(ip_prefix_at(&one, 1, &a));
    wanted = ip("fd00::1:2");
    assert_true(ip_prefix_at(&v6, 0x10002, &a));
    assert_true(ip_equals(&a, &wanted));
    assert_true(ip_prefix_index(&v6, &a) == 0x10002);
    a = ip("fd01::1");
    assert_true(ip_prefix_index(&v6, &a) == UINT64_MAX);
    assert_true(ip_prefix_index(&all, &a) == UINT64_MAX);
}

static void sockets_addresses_come_back(void **state)
{
    (void)state;
    static const char *const texts[] = { "192.0.2.7", "2001:db8::7" };
    struct sockaddr_storage storage;
    struct ip_address a, back;
    uint16_t port = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        a = ip(texts[i]);
        ip_to_sockaddr(&a, 8080, &storage);
        assert_true(ip_from_sockaddr((struct sockaddr *)&storage, &back, &port));
        assert_true(ip_equals(&a, &back));
        assert_int_equal(port, 8080);
    }
    a = ip("::ffff:192.0.2.7");
    ip_to_sockaddr(&a, 1, &storage);
    assert_true(ip_from_sockaddr((struct sockaddr *)&storage, &back, &port));
    a = ip("192.0.2.7");
    assert_true(ip_equals(&a, &back));
    storage.ss_family = AF_UNIX;
    assert_false(ip_from_sockaddr((struct sockaddr *)&storage, &back, &port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(kinds),
        cmocka_unit_test(networks_contain_and_overlap),
        cmocka_unit_test(addresses_are_counted_from_the_network),
        cmocka_unit_test(sockets_addresses_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
