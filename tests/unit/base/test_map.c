#include "base/map.h"

#include "../test.h"

#include <stdio.h>

static void many_keys_come_and_go(void **state)
{
    (void)state;
    struct map m = MAP_INIT;
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_null(map_put(&m, key, (void *)(intptr_t)(i + 1)));
    }
    for (int i = 0; i < 5000; i += 2) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal((intptr_t)map_remove(&m, key), i + 1);
    }
    assert_int_equal(m.len, 2500);
    size_t at = 0, n = 0;
    while (map_next(&m, &at))
        n++;
    assert_int_equal(n, 2500);
    assert_null(map_get(&m, "k0"));
    assert_int_equal((intptr_t)map_get(&m, "k1"), 2);
    map_done(&m);
}

// A slot that is used and freed for ever must not grow the table.
static void churn_stays_small(void **state)
{
    (void)state;
    struct map m = MAP_INIT;
    char key[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "churn%d", i);
        map_put(&m, key, &m);
        map_remove(&m, key);
    }
    assert_in_range(m.cap, 1, 64);
    map_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys_come_and_go),
        cmocka_unit_test(churn_stays_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
