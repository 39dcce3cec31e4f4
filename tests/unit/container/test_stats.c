#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "container/stats_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static void test_host(void **state)
{
    (void)state;
    struct stats_host host;
    stats_parse_host_cpu(
        "cpu  10 20 30 40 50 60 70 999 999 999\ncpu0 1 1 1 1 1 1 1 0 0 0\ncpu1 1 1 1 1 1 1 1 0 0 0\n"
        "intr 5 5\ncpus 9\n",
        &host);
    assert_int_equal(host.online_cpus, 2);
    assert_true(host.system_ns == 280ULL * (1000000000ULL / (unsigned long)sysconf(_SC_CLK_TCK)));
    assert_int_equal(stats_parse_memory_total("MemTotal:       16 kB\nMemFree: 1 kB\n"), 16384);
    assert_int_equal(stats_parse_memory_total("nothing"), 0);
}

static void test_values(void **state)
{
    (void)state;
    struct stats_values v;
    stats_parse_values("cache 4096\nrss 1\nhierarchical_memory_limit 9223372036854771712\nbad -1\nalone\n",
                       &v);
    assert_int_equal(v.count, 3);
    assert_int_equal(stats_value(&v, "cache"), 4096);
    assert_true(stats_value(&v, "hierarchical_memory_limit") == 9223372036854771712ULL);
    assert_int_equal(stats_value(&v, "bad"), 0);
    stats_values_done(&v);
}

static void test_blkio(void **state)
{
    (void)state;
    struct container_stats s = { 0 };
    stats_parse_blkio("8:0 Read 100\n8:0 Write 200\n8:16 Sync 3\nTotal 303\n", &s.io_bytes);
    assert_int_equal(s.io_bytes.count, 3);
    assert_string_equal(s.io_bytes.items[1].op, "Write");
    assert_int_equal(s.io_bytes.items[1].value, 200);
    assert_int_equal(s.io_bytes.items[2].minor, 16);
    container_stats_done(&s);
    stats_parse_io("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n253:1 rbytes=7\nnonsense rbytes=9\n",
                   &s.io_bytes, &s.io_operations);
    assert_int_equal(s.io_bytes.count, 3);
    assert_int_equal(s.io_operations.count, 2);
    assert_string_equal(s.io_bytes.items[0].op, "read");
    assert_int_equal(s.io_bytes.items[2].major, 253);
    assert_int_equal(s.io_operations.items[1].value, 4);
    container_stats_done(&s);
}

static void test_network(void **state)
{
    (void)state;
    struct container_stats s = { 0 };
    stats_parse_network("Inter-|   Receive   |  Transmit\n face |bytes packets\n"
                        "    lo: 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5\n"
                        "  eth0:   1  2  3  4  0  0  0  0  11 12 13 14 0 0 0 0\n"
                        " tunl0: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\neth1:21 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                        &s);
    assert_int_equal(s.interface_count, 2);
    assert_string_equal(s.interfaces[0].name, "eth0");
    assert_int_equal(s.interfaces[0].rx_errors, 3);
    assert_int_equal(s.interfaces[0].tx_bytes, 11);
    assert_int_equal(s.interfaces[0].tx_dropped, 14);
    assert_int_equal(s.interfaces[1].rx_bytes, 21);
    container_stats_done(&s);
}

static char folder[] = "/tmp/skiff-test-stats-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false), 0);
}

// A v2 group as the kernel shows it: microseconds become nanoseconds, "max" is the host's memory.
static void test_v2(void **state)
{
    (void)state;
    put("cpu.stat", "usage_usec 3000\nuser_usec 1000\nsystem_usec 2000\nnr_periods 7\nnr_throttled "
                    "2\nthrottled_usec 5\n");
    put("memory.current", "4096\n");
    put("memory.max", "max\n");
    put("memory.stat", "anon 1\ninactive_file 2\n");
    put("memory.events", "low 0\noom 3\noom_kill 1\n");
    put("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n");
    put("pids.current", "6\n");
    put("pids.max", "max\n");
    struct stats_place place = {
        .is_v2 = true, .cpuacct = folder, .cpu = folder, .memory = folder, .blkio = folder, .pids = folder
    };
    const struct stats_host host = {
        .system_ns = 9, .online_cpus = 4, .memory_bytes = 1 << 20, .links.fd = -1
    };
    struct container_stats s;
    stats_read(&place, &host, &s);
    assert_int_equal(s.cpu_ns, 3000000);
    assert_int_equal(s.cpu_kernel_ns, 2000000);
    assert_int_equal(s.throttled_periods, 2);
    assert_int_equal(s.throttled_ns, 5000);
    assert_int_equal(s.memory_bytes, 4096);
    assert_int_equal(s.memory_limit_bytes, 1 << 20);
    assert_int_equal(s.memory_failures, 3);
    assert_int_equal(stats_value(&s.memory, "inactive_file"), 2);
    assert_int_equal(s.io_operations.count, 2);
    assert_int_equal(s.pids, 6);
    assert_int_equal(s.pids_limit, 0);
    assert_int_equal(s.online_cpus, 4);
    container_stats_done(&s);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return dir_remove_all_at(AT_FDCWD, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host),    cmocka_unit_test(test_values), cmocka_unit_test(test_blkio),
        cmocka_unit_test(test_network), cmocka_unit_test(test_v2),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
