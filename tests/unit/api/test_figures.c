// The documents of figures: stats, disk usage, Prometheus.
#include "../test.h"

#include "api/disk_usage.h"
#include "api/prometheus.h"
#include "api/stats_document.h"
#include "base/mem.h"
#include "codec/json.h"

static json_t *stats_document(int version, const struct container_stats *now,
                              const struct container_stats *previous)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    json_t *j;
    struct error err;
    stats_document_write(&text, "id", "name", version, now, previous);
    assert_int_equal(json_parse(text.ptr, text.len, &j, &err), 0);
    return j;
}

static void test_stats(void **state)
{
    (void)state;
    struct stats_value values[] = { { "cache", 7 } };
    struct container_stats before = {
        .read_ns = 1000000000, .cpu_ns = 5, .system_ns = 100, .online_cpus = 2
    };
    struct container_stats now = { .read_ns = 2000000000,
                                   .cpu_ns = 25,
                                   .system_ns = 200,
                                   .online_cpus = 2,
                                   .memory_bytes = 9,
                                   .memory = { values, 1, NULL },
                                   .pids = 3 };
    CLEANUP(json_cleanup) json_t *j = stats_document(151, &now, &before);
    assert_string_equal(json_get_string(j, "name", ""), "/name");
    assert_string_equal(json_get_string(j, "preread", ""), "1970-01-01T00:00:01Z");
    assert_int_equal(json_get_int(json_get_object(j, "cpu_stats"), "system_cpu_usage", 0), 200);
    assert_int_equal(
        json_get_int(json_get_object(json_get_object(j, "precpu_stats"), "cpu_usage"), "total_usage", 0), 5);
    assert_int_equal(json_get_int(json_get_object(json_get_object(j, "memory_stats"), "stats"), "cache", 0),
                     7);
    assert_int_equal(json_get_int(json_get_object(j, "pids_stats"), "current", 0), 3);
    assert_null(json_object_get(j, "networks"));
    assert_null(json_object_get(j, "os_type"));
    CLEANUP(json_cleanup) json_t *later = stats_document(152, &now, NULL);
    assert_string_equal(json_get_string(later, "os_type", ""), "linux");
    assert_null(json_object_get(json_get_object(later, "precpu_stats"), "system_cpu_usage"));
    const struct container_stats stopped = { 0 };
    CLEANUP(json_cleanup) json_t *zero = stats_document(151, &stopped, NULL);
    assert_string_equal(json_get_string(zero, "read", ""), "0001-01-01T00:00:00Z");
}

static void test_disk_usage(void **state)
{
    (void)state;
    CLEANUP(disk_usage_done)
    struct disk_usage usage = {
        .layers_bytes = 1000,
        .reclaimable_bytes = 300,
        .images = json_pack("[{s:i,s:i,s:i},{s:i,s:i,s:i}]", "Size", 700, "SharedSize", 300, "Containers", 2,
                            "Size", 600, "SharedSize", 300, "Containers", 0),
        .containers = json_pack("[{s:s,s:i},{s:s,s:i}]", "State", "running", "SizeRw", 10, "State", "exited",
                                "SizeRw", 30),
        .volumes = json_pack("[{s:{s:i,s:i}},{s:{s:i,s:i}}]", "UsageData", "Size", 5, "RefCount", 0,
                             "UsageData", "Size", 8, "RefCount", 1),
    };
    CLEANUP(json_cleanup) json_t *old = disk_usage_document(&usage, 151, false);
    assert_int_equal(json_get_int(old, "LayersSize", 0), 1000);
    assert_int_equal(json_get_int(old, "LayersReclaimable", 0), 300);
    assert_int_equal(json_array_size(json_get_array(old, "Images")), 2);
    assert_true(json_is_null(json_object_get(old, "BuildCache"))); // not asked for
    CLEANUP(json_cleanup) json_t *new = disk_usage_document(&usage, 152, false);
    CLEANUP(cleanup_free) char *text = json_text(new);
    assert_string_equal(
        text, "{\"ImageUsage\":{\"ActiveCount\":1,\"TotalCount\":2,\"Reclaimable\":300,\"TotalSize\":1000},"
              "\"ContainerUsage\":{\"ActiveCount\":1,\"TotalCount\":2,\"Reclaimable\":30,\"TotalSize\":40},"
              "\"VolumeUsage\":{\"ActiveCount\":1,\"TotalCount\":2,\"Reclaimable\":5,\"TotalSize\":13}}");
    CLEANUP(json_cleanup) json_t *all = disk_usage_document(&usage, 152, true);
    assert_int_equal(json_array_size(json_get_array(json_get_object(all, "ImageUsage"), "Items")), 2);
}

static void test_prometheus(void **state)
{
    (void)state;
    CLEANUP(str_done) struct str out = STR_INIT;
    const struct prometheus_label labels[] = { { "a", "x\"y\\z\n" }, { "b", NULL }, { NULL, NULL } };
    prometheus_family(&out, "m", "gauge", "A help");
    prometheus_sample(&out, "m", labels, 3);
    prometheus_sample(&out, "m", NULL, 0.5);
    assert_string_equal(out.ptr,
                        "# HELP m A help\n# TYPE m gauge\nm{a=\"x\\\"y\\\\z\\n\",b=\"\"} 3\nm 0.5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_stats), cmocka_unit_test(test_disk_usage),
                                        cmocka_unit_test(test_prometheus) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
