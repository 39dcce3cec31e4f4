// What others send is read within its bounds, what we answer is what RFC 1035 and RFC 6891 say.
#include "../test.h"
#include "messages.h"

#include <stdio.h>

static void test_reads_a_question(void **state)
{
    (void)state;
    struct message m = query_of("WeB.Shop", DNS_AAAA);
    struct dns_question q;
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_string_equal(q.name, "web.shop");
    assert_int_equal(q.id, 0x1234);
    assert_int_equal(q.type, DNS_AAAA);
    assert_int_equal(q.end, m.n);
    assert_int_equal(q.udp_size, DNS_UDP_PLAIN);
    assert_true(q.is_supported && !q.has_edns && !q.has_options);
    m = query_of("", DNS_A);
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_string_equal(q.name, "");
}

static void test_bad_questions(void **state)
{
    (void)state;
    struct message good = query_of("web", DNS_A), m;
    struct dns_question q;
    for (size_t n = 0; n < good.n; n++)
        assert_false(dns_parse_question(good.bytes, n, &q));
    m = good;
    m.bytes[2] |= 0x80; // a reply
    assert_false(dns_parse_question(m.bytes, m.n, &q));
    m = good;
    m.bytes[5] = 2; // two questions
    assert_false(dns_parse_question(m.bytes, m.n, &q));
    m = good;
    m.bytes[DNS_HEADER] = 0xc0; // a pointer, to itself even
    m.bytes[DNS_HEADER + 1] = DNS_HEADER;
    assert_false(dns_parse_question(m.bytes, m.n, &q));
    m = good;
    m.bytes[DNS_HEADER] = 64; // longer than a label may be
    assert_false(dns_parse_question(m.bytes, sizeof m.bytes, &q));
}

static void test_what_is_not_supported(void **state)
{
    (void)state;
    struct message m = query_of("web", DNS_A);
    struct dns_question q;
    uint8_t to[DNS_UDP_PLAIN];
    m.bytes[2] = 0x28; // an UPDATE
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_false(q.is_supported);
    assert_int_equal(dns_reply_code(m.bytes, &q, DNS_NOTIMP, to, sizeof to), m.n);
    assert_int_equal(dns_get16(to + 2), 0x8000 | 0x2800 | 0x80 | DNS_NOTIMP);
    m = query_of("web", DNS_A);
    m.bytes[m.n - 1] = 3; // class CHAOS
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_false(q.is_supported);
}

static void test_names_as_long_as_they_may_be(void **state)
{
    (void)state;
    char name[300] = "";
    struct dns_question q;
    for (int i = 0; i < 4; i++) // 63 + 63 + 63 + 61 with their dots: 253
        (void)snprintf(name + strlen(name), sizeof name - strlen(name), "%s%.*s", i ? "." : "",
                       i < 3 ? 63 : 61, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_int_equal(strlen(name), DNS_NAME_TEXT - 1);
    struct message m = query_of(name, DNS_A);
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_string_equal(q.name, name);
    name[DNS_NAME_TEXT - 1] = 'a';
    m = query_of(name, DNS_A);
    assert_false(dns_parse_question(m.bytes, m.n, &q));
}

static void test_a_dot_within_a_label_is_no_dot(void **state)
{
    (void)state;
    struct message m = query_of("web", DNS_A);
    struct dns_question q;
    m.bytes[DNS_HEADER + 2] = '.';
    m.bytes[DNS_HEADER + 3] = '\0';
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_string_equal(q.name, "w\xff\xff");
}

static void test_edns_says_what_the_asker_takes(void **state)
{
    (void)state;
    const struct {
        unsigned size, taken;
    } cases[] = { { 0, 512 }, { 100, 512 }, { 512, 512 }, { 1232, 1232 }, { 4096, 4096 }, { 65535, 4096 } };
    struct dns_question q;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct message m = query_of("web", DNS_A);
        add_edns(&m, cases[i].size, 0x8000, 0);
        assert_true(dns_parse_question(m.bytes, m.n, &q));
        assert_int_equal(q.udp_size, cases[i].taken);
        assert_true(q.has_edns && !q.has_options);
        assert_int_equal(q.edns_flags, 0x8000);
    }
    struct message m = query_of("web", DNS_A);
    add_edns(&m, 1232, 0, 12);
    assert_true(dns_parse_question(m.bytes, m.n, &q) && q.has_options);
    assert_true(dns_parse_question(m.bytes, m.n - 1, &q)); // cut off: a plain question
    assert_false(q.has_edns);
}

static void test_answers_with_addresses(void **state)
{
    (void)state;
    struct message m = query_of("WEB", DNS_A);
    const struct ip_address list[] = { { AF_INET, { 10, 0, 0, 2 } }, { AF_INET6, { 0xfd, [15] = 2 } } };
    struct dns_question q;
    uint8_t to[DNS_UDP_PLAIN];
    add_edns(&m, 1232, 0, 0);
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    size_t n = dns_reply_addresses(m.bytes, &q, list, 2, 5, to, sizeof to);
    assert_int_equal(n, q.end + 16 + 28 + 11);
    assert_memory_equal(to + DNS_HEADER, m.bytes + DNS_HEADER, q.end - DNS_HEADER); // its own spelling
    assert_int_equal(dns_get16(to), 0x1234);
    assert_int_equal(dns_get16(to + 2), 0x8180);
    assert_int_equal(dns_get16(to + 6), 2);
    assert_int_equal(dns_get16(to + 10), 1);
    assert_memory_equal(to + q.end, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x02", 16);
    assert_int_equal(dns_get16(to + q.end + 16 + 2), DNS_AAAA);
    assert_memory_equal(to + q.end + 44, "\0\0\x29\x10\0\0\0\0\0\0\0", 11);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
    (void)state;
    struct message m = query_of("web", DNS_A);
    struct ip_address list[DNS_ANSWERS_MAX];
    struct dns_question q;
    uint8_t to[DNS_UDP_PLAIN + 1];
    for (size_t i = 0; i < DNS_ANSWERS_MAX; i++)
        list[i] = (struct ip_address){ AF_INET, { 10, 0, 0, (uint8_t)i } };
    for (int has_edns = 0; has_edns < 2; has_edns++) {
        if (has_edns)
            add_edns(&m, 512, 0, 0);
        assert_true(dns_parse_question(m.bytes, m.n, &q));
        to[DNS_UDP_PLAIN] = 0x5a;
        size_t n = dns_reply_addresses(m.bytes, &q, list, DNS_ANSWERS_MAX, 5, to, DNS_UDP_PLAIN);
        assert_true(n <= DNS_UDP_PLAIN && n > DNS_UDP_PLAIN - 16);
        assert_int_equal(to[DNS_UDP_PLAIN], 0x5a);
        assert_int_equal(dns_get16(to + 2), 0x8380); // truncated
        assert_int_equal(dns_get16(to + 6), (n - q.end - (has_edns ? 11 : 0)) / 16);
    }
    assert_int_equal(dns_reply_truncated(m.bytes, &q, to, DNS_UDP_PLAIN), q.end + 11);
    assert_int_equal(dns_get16(to + 2), 0x8380);
}

static void test_answers_with_a_name(void **state)
{
    (void)state;
    struct message m = query_of("2.0.0.10.in-addr.arpa", DNS_PTR);
    char long_name[300];
    struct dns_question q;
    uint8_t to[DNS_UDP_PLAIN];
    assert_true(dns_parse_question(m.bytes, m.n, &q));
    assert_int_equal(dns_reply_name(m.bytes, &q, "web.shop", 5, to, sizeof to), q.end + 12 + 10);
    assert_memory_equal(to + q.end + 12, "\3web\4shop\0", 10);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    const char *bad[] = { "a..b", ".a", long_name };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dns_reply_name(m.bytes, &q, bad[i], 5, to, sizeof to), q.end);
        assert_int_equal(to[3] & 15, DNS_SERVFAIL);
    }
}

static void test_reverse_names(void **state)
{
    (void)state;
    struct ip_address ip;
    char text[IP_TEXT_MAX];
    assert_true(dns_reverse_address("2.0.17.172.in-addr.arpa", &ip));
    ip_format(&ip, text);
    assert_string_equal(text, "172.17.0.2");
    assert_true(
        dns_reverse_address("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.0.0.0.0.d.f.ip6.arpa", &ip));
    ip_format(&ip, text);
    assert_string_equal(text, "fd00:88::2");
    const char *bad[] = { "",
                          "in-addr.arpa",
                          "2.0.17.in-addr.arpa",
                          "256.0.17.172.in-addr.arpa",
                          "2.0.17.172.in-addr.arpa.x",
                          "1.2.0.17.172.in-addr.arpa",
                          "+2.0.17.172.in-addr.arpa",
                          " 2.0.17.172.in-addr.arpa",
                          "0002.0.17.172.in-addr.arpa",
                          "2.0.0.ip6.arpa",
                          "g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.0.0.0.0.d.f.ip6.arpa",
                          "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.8.0.0.0.0.d.f.in-addr.arpa" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dns_reverse_address(bad[i], &ip));
}

static void test_lifetimes(void **state)
{
    (void)state;
    struct message query = query_of("example.test", DNS_A), m = reply_to(&query, 0x8180, 2, 0);
    struct dns_lifetime life;
    add_record(&m, DNS_A, 300, "\x0a\0\0\1", 4);
    size_t second = m.n;
    add_record(&m, DNS_A, 60, "\x0a\0\0\2", 4);
    add_edns(&m, 1232, 0x8000, 0);
    assert_true(dns_lifetime(m.bytes, m.n, &life));
    assert_int_equal(life.ttl_s, 60);
    assert_int_equal(life.ttl_count, 2); // EDNS' flags are no time
    assert_int_equal(life.ttl_at[1], second + 6);
    for (size_t n = 0; n < m.n; n++)
        assert_false(dns_lifetime(m.bytes, n, &life));
    dns_put32(m.bytes + second + 6, 0x80000001); // RFC 2181 8
    assert_false(dns_lifetime(m.bytes, m.n, &life));
    dns_put32(m.bytes + second + 6, 60);
    m.bytes[2] |= 2; // truncated
    assert_false(dns_lifetime(m.bytes, m.n, &life));
    m.bytes[2] &= (uint8_t)~2;
    m.bytes[3] |= DNS_SERVFAIL;
    assert_false(dns_lifetime(m.bytes, m.n, &life));
}

static void test_lifetimes_of_what_does_not_exist(void **state)
{
    (void)state;
    struct message query = query_of("nosuch.test", DNS_A), m = reply_to(&query, 0x8183, 0, 1);
    struct dns_lifetime life;
    uint8_t soa[22] = { 0, 0 };
    dns_put32(soa + 18, 30);
    add_record(&m, DNS_SOA, 900, soa, sizeof soa);
    assert_true(dns_lifetime(m.bytes, m.n, &life));
    assert_int_equal(life.code, DNS_NXDOMAIN);
    assert_int_equal(life.ttl_s, 30);
    m = reply_to(&query, 0x8183, 0, 0); // nobody's word: RFC 2308 5
    assert_false(dns_lifetime(m.bytes, m.n, &life));
    m = reply_to(&query, 0x8183, 0, 1);
    add_record(&m, DNS_SOA, 900, soa, 4);
    assert_false(dns_lifetime(m.bytes, m.n, &life));
}

static void test_more_records_than_can_be_kept(void **state)
{
    (void)state;
    struct message query = query_of("many.test", DNS_A), m = reply_to(&query, 0x8180, DNS_ANSWERS_MAX, 0);
    struct dns_lifetime life;
    for (int i = 0; i < DNS_ANSWERS_MAX; i++)
        add_record(&m, DNS_A, 60, "\x0a\0\0\1", 4);
    assert_true(dns_lifetime(m.bytes, m.n, &life));
    assert_int_equal(life.ttl_count, DNS_ANSWERS_MAX);
    dns_put16(m.bytes + 6, DNS_ANSWERS_MAX + 1);
    add_record(&m, DNS_A, 60, "\x0a\0\0\1", 4);
    assert_false(dns_lifetime(m.bytes, m.n, &life));
    for (size_t at = 6; at <= 10; at += 2)
        dns_put16(m.bytes + at, 0xffff);
    assert_false(dns_lifetime(m.bytes, m.n, &life));
}

static void test_pointers_are_not_followed(void **state)
{
    (void)state;
    struct message query = query_of("loop.test", DNS_A), m = reply_to(&query, 0x8180, 1, 0);
    struct dns_lifetime life;
    uint8_t self[2] = { (uint8_t)(0xc0 | m.n >> 8), (uint8_t)m.n };
    size_t at = m.n;
    add_record(&m, DNS_A, 60, "\x0a\0\0\1", 4);
    memcpy(m.bytes + at, self, 2); // the name points to itself
    assert_true(dns_lifetime(m.bytes, m.n, &life));
    m.bytes[at] = 0x80; // neither label nor pointer
    assert_false(dns_lifetime(m.bytes, m.n, &life));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_a_question),
        cmocka_unit_test(test_bad_questions),
        cmocka_unit_test(test_what_is_not_supported),
        cmocka_unit_test(test_names_as_long_as_they_may_be),
        cmocka_unit_test(test_a_dot_within_a_label_is_no_dot),
        cmocka_unit_test(test_edns_says_what_the_asker_takes),
        cmocka_unit_test(test_answers_with_addresses),
        cmocka_unit_test(test_what_does_not_fit_is_left_out),
        cmocka_unit_test(test_answers_with_a_name),
        cmocka_unit_test(test_reverse_names),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_lifetimes_of_what_does_not_exist),
        cmocka_unit_test(test_more_records_than_can_be_kept),
        cmocka_unit_test(test_pointers_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
