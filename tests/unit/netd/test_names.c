// Who is found under which name: replaced, taken back, in turns, and only where it was told.
#include "../test.h"

#include "base/str.h"
#include "netd/names.h"

#include <string.h>

enum { MAX = 8 };
static const struct ip_address four = { AF_INET, { 10, 0, 0, 2 } }, other = { AF_INET, { 10, 0, 0, 3 } },
                               six = { AF_INET6, { 0xfd, [15] = 2 } };

static struct names *names;

static int setup(void **state)
{
    (void)state;
    names = names_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    names_free(names);
    return 0;
}

static void put(const char *network, const char *container, char *name, struct ip_address ip)
{
    names_put(names, network, container, (char *[]){ name, NULL }, &ip, 1);
}

// The last byte of the first address; 0: known without one; -1: unknown.
static int find(const char *network, const char *name, int family)
{
    struct ip_address list[MAX];
    size_t n = 0;
    if (!names_find(names, network, name, family, list, MAX, &n))
        return -1;
    return n == 0 ? 0 : list[0].bytes[family == AF_INET ? 3 : 15];
}

static void test_names_of_a_network(void **state)
{
    (void)state;
    const struct ip_address both[] = { four, six };
    names_put(names, "n1", "c1", (char *[]){ (char[]){ "Web" }, (char[]){ "www" }, (char[]){ "web" }, NULL },
              both, 2);
    assert_int_equal(find("n1", "web", AF_INET), 2);
    assert_int_equal(find("n1", "www", AF_INET6), 2);
    assert_int_equal(find("n1", "nobody", AF_INET), -1);
    assert_int_equal(find("n2", "web", AF_INET), -1);
    assert_string_equal(names_of(names, "n1", &six), "web");
    assert_null(names_of(names, "n1", &other));
    assert_null(names_of(names, "n2", &four));
    struct ip_address list[MAX];
    size_t n = 0;
    assert_true(names_find(names, "n1", "web", AF_INET, list, MAX, &n));
    assert_int_equal(n, 1); // a name told twice is one name
}

static void test_replaced_and_removed(void **state)
{
    (void)state;
    put("n", "c1", (char[]){ "old" }, four);
    put("n", "c1", (char[]){ "new" }, other);
    assert_int_equal(find("n", "old", AF_INET), -1);
    assert_int_equal(find("n", "new", AF_INET), 3);
    assert_null(names_of(names, "n", &four));
    names_remove(names, "n", "nobody");
    names_remove(names, "n", "c1");
    names_remove(names, "n", "c1");
    assert_int_equal(find("n", "new", AF_INET), -1);
    assert_null(names_of(names, "n", &other));
}

static void test_an_address_that_has_a_new_owner(void **state)
{
    (void)state;
    put("n", "c1", (char[]){ "first" }, four);
    put("n", "c2", (char[]){ "second" }, four);
    assert_string_equal(names_of(names, "n", &four), "second");
    names_remove(names, "n", "c1");
    assert_string_equal(names_of(names, "n", &four), "second");
}

static void test_without_names_or_addresses(void **state)
{
    (void)state;
    names_put(names, "n", "c1", NULL, &four, 1);
    names_put(names, "n", "c2", (char *[]){ (char[]){ "bare" }, NULL }, &four, 0);
    assert_int_equal(find("n", "bare", AF_INET), 0);
    assert_null(names_of(names, "n", &four));
}

static void test_replicas_take_turns(void **state)
{
    (void)state;
    put("n", "c1", (char[]){ "web" }, four);
    put("n", "c2", (char[]){ "web" }, other);
    // As a C library asks: both families each time. The turn of one must not be used up by the other.
    for (int i = 0; i < 3; i++) {
        assert_int_equal(find("n", "web", AF_INET), 2 + i % 2);
        assert_int_equal(find("n", "web", AF_INET6), 0);
    }
    names_remove(names, "n", "c2");
    assert_int_equal(find("n", "web", AF_INET), 2);
    put("n", "c2", (char[]){ "web" }, other);
    struct ip_address list[1];
    size_t n = 0;
    assert_true(names_find(names, "n", "web", AF_INET, list, 1, &n));
    assert_int_equal(n, 1); // and no more than there is room for
}

static void test_what_is_not_told_again_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++)
        put("n", (char[]){ 'c', (char)('0' + i), '\0' }, (char[]){ 'w', (char)('0' + i), '\0' }, four);
    names_begin(names);
    put("n", "c0", (char[]){ "w0" }, four);
    put("n", "new", (char[]){ "new" }, other);
    assert_int_equal(find("n", "w1", AF_INET), 2); // not before the end
    names_end(names);
    assert_int_equal(find("n", "w0", AF_INET), 2);
    assert_int_equal(find("n", "new", AF_INET), 3);
    for (int i = 1; i < 50; i++)
        assert_int_equal(find("n", (char[]){ 'w', (char)('0' + i), '\0' }, AF_INET), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_of_a_network, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_address_that_has_a_new_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_names_or_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replicas_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_told_again_is_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
