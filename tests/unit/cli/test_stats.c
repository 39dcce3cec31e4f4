#include "../test.h"

#include "cli/stats.h"
#include "codec/json.h"

#include <string.h>

static json_t *document(const char *text)
{
    struct error err;
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return j;
}

static void check_cpu(const char *now, const char *before, int wanted_percent)
{
    json_t *a = document(now), *b = before ? document(before) : NULL;
    double percent = stats_cpu_percent(a, b);
    if (percent < wanted_percent - 0.001 || percent > wanted_percent + 0.001)
        fail_msg("%s after %s: %f", now, before ? before : "nothing", percent);
    json_decref(a);
    json_decref(b);
}

static void test_cpu(void **state)
{
    (void)state;
    static const char before[] =
        "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":100},\"system_cpu_usage\":1000,\"online_cpus\":4}}";
    check_cpu(
        "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":300},\"system_cpu_usage\":1400,\"online_cpus\":4}}",
        before, 200);
    check_cpu(
        "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":100},\"system_cpu_usage\":1400,\"online_cpus\":4}}",
        before, 0);
    // Started anew in between: its counter began again.
    check_cpu(
        "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":50},\"system_cpu_usage\":1400,\"online_cpus\":4}}",
        before, 0);
    check_cpu("{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":0}}}", before, 0); // stopped
}

static void test_memory(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int wanted;
    } rows[] = {
        { "{\"memory_stats\":{\"usage\":100,\"stats\":{\"total_inactive_file\":30,\"inactive_file\":10}}}",
          70 },                                                                        // v1
        { "{\"memory_stats\":{\"usage\":100,\"stats\":{\"inactive_file\":10}}}", 90 }, // v2
        { "{\"memory_stats\":{\"usage\":100,\"stats\":{\"inactive_file\":200}}}", 100 },
        { "{\"memory_stats\":{}}", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *j = document(rows[i].text);
        assert_int_equal((int)stats_memory_used(j), rows[i].wanted);
        json_decref(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cpu), cmocka_unit_test(test_memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
