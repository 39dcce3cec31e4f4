#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "container/names.h"
#include "container/userns.h"

#include <string.h>

static void test_generated(void **state)
{
    (void)state;
    struct error err;
    for (unsigned i = 0; i < 2000; i++) {
        CLEANUP(cleanup_free) char *name = name_generate(i % 8);
        assert_int_equal(name_check(name, &err), 0);
        assert_non_null(strchr(name, '_'));
    }
}

static void test_rule(void **state)
{
    (void)state;
    static const char *const good[] = { "ab", "a_b.c-d", "0a", "A9", NULL };
    static const char *const bad[] = { "", "a", "_a", ".a", "-a", "a b", "a/b", "a\n", "caf\xc3\xa9", NULL };
    struct error err;
    for (size_t i = 0; good[i]; i++)
        assert_int_equal(name_check(good[i], &err), 0);
    for (size_t i = 0; bad[i]; i++)
        if (name_check(bad[i], &err) == 0)
            fail_msg("accepted \"%s\"", bad[i]);
    assert_int_equal(name_check("_x", &err), -1);
    assert_string_equal(err.message,
                        "Invalid container name (_x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
}

static void test_userns(void **state)
{
    (void)state;
    static struct userns_allocator a;
    userns_allocator_init(&a);
    assert_true(userns_claim(&a, USERNS_FIRST_ID));
    assert_false(userns_claim(&a, USERNS_FIRST_ID));
    assert_false(userns_claim(&a, USERNS_FIRST_ID + 1));
    assert_false(userns_claim(&a, 0));
    assert_false(userns_claim(&a, USERNS_FIRST_ID + USERNS_RANGE_COUNT * USERNS_RANGE_SIZE));
    uint32_t first = userns_allocate(&a), last = first;
    assert_int_equal(first, USERNS_FIRST_ID + USERNS_RANGE_SIZE);
    for (unsigned i = 2; i < USERNS_RANGE_COUNT; i++) {
        uint32_t id = userns_allocate(&a);
        assert_int_equal(id, last + USERNS_RANGE_SIZE);
        last = id;
    }
    assert_int_equal(userns_allocate(&a), 0); // used up
    userns_release(&a, first);
    userns_release(&a, 0);
    userns_release(&a, 12345);
    assert_int_equal(userns_allocate(&a), first);
    assert_true((uint64_t)last + USERNS_RANGE_SIZE <= 1ULL << 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_generated), cmocka_unit_test(test_rule),
                                        cmocka_unit_test(test_userns) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
