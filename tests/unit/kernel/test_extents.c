#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "kernel/extents.h"

#include <stdio.h>

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

// "length:owners;" of every stretch.
static void write_down(void *context, uint64_t length, const uint32_t *owners, size_t count)
{
    uint32_t sorted[8];
    assert_true(count <= 8);
    memcpy(sorted, owners, count * sizeof *owners);
    qsort(sorted, count, sizeof *sorted, compare);
    str_appendf(context, "%llu:", (unsigned long long)length);
    for (size_t i = 0; i < count; i++)
        str_appendf(context, "%u", sorted[i]);
    str_append_char(context, ';');
}

static void expect(const struct extent *list, size_t count, const char *wanted)
{
    CLEANUP(str_done) struct str out = STR_INIT;
    struct extents extents = { (struct extent *)(uintptr_t)list, count, count };
    extents_each(&extents, write_down, &out);
    assert_string_equal(out.ptr, wanted);
}

static void stretches_are_counted_once(void **state)
{
    (void)state;
    expect(NULL, 0, "");
    expect((const struct extent[]){ { 100, 10, 0 } }, 1, "10:0;");
    // apart; one beginning where another ends; the same; overlapping; one within another
    expect((const struct extent[]){ { 0, 10, 0 }, { 50, 5, 1 } }, 2, "10:0;5:1;");
    expect((const struct extent[]){ { 10, 10, 1 }, { 0, 10, 0 } }, 2, "10:0;10:1;");
    expect((const struct extent[]){ { 0, 10, 0 }, { 0, 10, 1 } }, 2, "10:01;");
    expect((const struct extent[]){ { 0, 10, 0 }, { 5, 10, 1 } }, 2, "5:0;5:01;5:1;");
    expect((const struct extent[]){ { 0, 30, 0 }, { 10, 10, 1 } }, 2, "10:0;10:01;10:0;");
}

static void an_owner_counts_once(void **state)
{
    (void)state;
    expect((const struct extent[]){ { 0, 10, 3 }, { 0, 10, 3 } }, 2, "10:3;");
    expect((const struct extent[]){ { 0, 10, 3 }, { 10, 10, 3 } }, 2, "10:3;10:3;");
    expect((const struct extent[]){ { 0, 10, 3 }, { 5, 10, 3 }, { 5, 5, 4 } }, 3, "5:3;5:34;5:3;");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(stretches_are_counted_once),
                                        cmocka_unit_test(an_owner_counts_once) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
