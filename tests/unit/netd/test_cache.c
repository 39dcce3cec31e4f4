// Replies are kept as long as they say, for whom they are, and within bounds. The clock is the caller's.
#include "../test.h"
#include "messages.h"

#include "base/clock.h"
#include "netd/cache.h"

#include <stdio.h>

static struct cache *cache;

static int setup(void **state)
{
    (void)state;
    cache = cache_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cache_free(cache);
    return 0;
}

static struct dns_question question_of(const struct message *m)
{
    struct dns_question q;
    assert_true(dns_parse_question(m->bytes, m->n, &q));
    return q;
}

static struct message answer_of(const struct message *query, unsigned long ttl)
{
    struct message m = reply_to(query, 0x8180, 1, 0);
    add_record(&m, DNS_A, ttl, "\x0a\0\0\1", 4);
    return m;
}

static void keep(const char *set, const struct message *query, const struct message *reply, int64_t at_s)
{
    struct dns_question q = question_of(query);
    cache_put(cache, set, &q, reply->bytes, reply->n, at_s * NS_PER_S);
}

// Its length; the reply in *ret.
static size_t get(const char *set, const struct message *query, int64_t at_s, struct message *ret)
{
    struct dns_question q = question_of(query);
    bool is_larger;
    ret->n =
        cache_get(cache, set, &q, query->bytes, ret->bytes, sizeof ret->bytes, at_s * NS_PER_S, &is_larger);
    assert_false(is_larger);
    return ret->n;
}

static void test_kept_as_long_as_it_says(void **state)
{
    (void)state;
    struct message query = query_of("example.test", DNS_A), reply = answer_of(&query, 60), got;
    assert_int_equal(get("up", &query, 100, &got), 0);
    keep("up", &query, &reply, 100);
    assert_int_equal(get("up", &query, 100, &got), reply.n);
    assert_memory_equal(got.bytes, reply.bytes, reply.n);
    assert_int_equal(get("up", &query, 159, &got), reply.n);
    assert_int_equal(dns_get32(got.bytes + query.n + 6), 1); // what is left of it
    assert_int_equal(get("up", &query, 160, &got), 0);
    assert_int_equal(get("up", &query, 101, &got), 0); // gone
}

static void test_bounds_of_time(void **state)
{
    (void)state;
    struct message query = query_of("long.test", DNS_A), reply = answer_of(&query, 1000000), got;
    keep("up", &query, &reply, 0);
    assert_int_equal(get("up", &query, 3599, &got), reply.n);
    assert_int_equal(get("up", &query, 3600, &got), 0);
    struct message negative = reply_to(&query, 0x8183, 0, 1);
    uint8_t soa[22] = { 0 };
    dns_put32(soa + 18, 5000);
    add_record(&negative, DNS_SOA, 5000, soa, sizeof soa);
    keep("up", &query, &negative, 0);
    assert_int_equal(get("up", &query, 59, &got), negative.n);
    assert_int_equal(get("up", &query, 60, &got), 0);
    reply = answer_of(&query, 0);
    keep("up", &query, &reply, 0);
    assert_int_equal(get("up", &query, 0, &got), 0);
}

static void test_in_the_askers_own_spelling(void **state)
{
    (void)state;
    struct message query = query_of("example.test", DNS_A), reply = answer_of(&query, 60), got;
    struct message loud = query_of("EXAMPLE.Test", DNS_A);
    keep("up", &query, &reply, 0);
    loud.bytes[0] = 0x77; // its own number too
    assert_int_equal(get("up", &loud, 1, &got), reply.n);
    assert_memory_equal(got.bytes, loud.bytes, 2);
    assert_memory_equal(got.bytes + DNS_HEADER, loud.bytes + DNS_HEADER, loud.n - DNS_HEADER);
}

static void test_for_whom_it_is(void **state)
{
    (void)state;
    struct message query = query_of("example.test", DNS_A), reply = answer_of(&query, 60), got, other;
    keep("up", &query, &reply, 0);
    assert_int_equal(get("other", &query, 1, &got), 0);
    other = query_of("example.test", DNS_AAAA);
    assert_int_equal(get("up", &other, 1, &got), 0);
    other = query;
    other.bytes[3] |= 0x10; // checking disabled
    assert_int_equal(get("up", &other, 1, &got), 0);
    other = query;
    add_edns(&other, 1232, 0x8000, 0);
    assert_int_equal(get("up", &other, 1, &got), 0);
}

// A server's cookie is for one asker (RFC 7873): neither kept nor given.
static void test_options_are_for_one_asker(void **state)
{
    (void)state;
    struct message bare = query_of("example.test", DNS_A), plain = bare, cookie = bare, got;
    struct message answer = answer_of(&bare, 60);
    add_edns(&plain, 1232, 0, 0);
    add_edns(&cookie, 1232, 0, 12);
    struct dns_question q = question_of(&cookie);
    cache_put(cache, "up", &q, answer.bytes, answer.n, 0);
    assert_int_equal(get("up", &plain, 1, &got), 0);
    keep("up", &plain, &answer, 0);
    assert_int_equal(get("up", &plain, 1, &got), answer.n);
    assert_int_equal(get("up", &cookie, 1, &got), 0);
}

static void test_larger_than_the_asker_takes(void **state)
{
    (void)state;
    struct message query = query_of("large.test", DNS_A), reply = reply_to(&query, 0x8180, 40, 0);
    uint8_t to[DNS_UDP_PLAIN];
    bool is_larger = false;
    for (int i = 0; i < 40; i++)
        add_record(&reply, DNS_A, 60, "\x0a\0\0\1", 4);
    keep("up", &query, &reply, 0);
    struct dns_question q = question_of(&query);
    assert_int_equal(cache_get(cache, "up", &q, query.bytes, to, sizeof to, 1, &is_larger), 0);
    assert_true(is_larger);
}

static void test_bounded(void **state)
{
    (void)state;
    enum { ASKED = 10000, KEPT_MAX = 4096 };
    struct message got;
    char name[32];
    unsigned kept = 0;
    for (unsigned i = 0; i < ASKED; i++) {
        (void)snprintf(name, sizeof name, "n%u.test", i);
        struct message query = query_of(name, DNS_A), reply = answer_of(&query, 60);
        keep("up", &query, &reply, 0);
        assert_int_equal(get("up", &query, 1, &got), reply.n); // the newest is always there
    }
    for (unsigned i = 0; i < ASKED; i++) {
        (void)snprintf(name, sizeof name, "n%u.test", i);
        struct message query = query_of(name, DNS_A);
        kept += get("up", &query, 1, &got) > 0;
    }
    assert_int_equal(kept, KEPT_MAX);
}

// 4,096 of the largest would be 16 MiB.
static void test_bounded_in_bytes(void **state)
{
    (void)state;
    struct message got;
    char name[32];
    unsigned kept = 0;
    uint8_t data[3800] = { 0 };
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "n%u.test", i);
        struct message query = query_of(name, DNS_A), reply = reply_to(&query, 0x8180, 1, 0);
        add_record(&reply, DNS_A, 60, data, sizeof data);
        keep("up", &query, &reply, 0);
    }
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "n%u.test", i);
        struct message query = query_of(name, DNS_A);
        kept += get("up", &query, 1, &got) > 0;
    }
    assert_in_range(kept, 1000, (4u << 20) / sizeof data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept_as_long_as_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds_of_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_the_askers_own_spelling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_for_whom_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options_are_for_one_asker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_the_asker_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded_in_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
