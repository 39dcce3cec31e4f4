#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/config.h"

#include <linux/capability.h>
#include <signal.h>
#include <string.h>

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("test document: %s: %s", text, err.message);
    return j;
}

// Parse {"Image":"x","Cmd":["true"]} extended by `config` with this HostConfig.
static int try_both(const char *config, const char *host, struct container_config *c, struct error *err)
{
    char **warnings = NULL;
    json_t *k = parse("{\"Image\":\"x\",\"Cmd\":[\"true\"]}"), *more = parse(config), *h = parse(host);
    json_object_update(k, more);
    int r = container_config_parse(k, h, c, &warnings, err);
    strv_free(warnings);
    json_decref(k);
    json_decref(more);
    json_decref(h);
    return r;
}

static void refused(const char *config, const char *host, enum error_kind kind, const char *part)
{
    struct container_config c;
    struct error err = { 0 };
    if (try_both(config, host, &c, &err) == 0)
        fail_msg("accepted: %s %s", config, host);
    if (err.kind != kind || !strstr(err.message, part))
        fail_msg("%s %s: got \"%s\" (%s), wanted \"%s\"", config, host, err.message,
                 error_kind_name(err.kind), part);
}

static struct container_config accepted(const char *config, const char *host)
{
    struct container_config c;
    struct error err = { 0 };
    if (try_both(config, host, &c, &err) < 0)
        fail_msg("refused: %s %s: %s", config, host, err.message);
    return c;
}

static void test_invalid_values(void **state)
{
    (void)state;
    static const struct {
        const char *config, *host, *part;
    } rows[] = {
        { "{}", "{\"Memory\":1000}", "Minimum memory limit allowed is 6MB" },
        { "{}", "{\"Memory\":-5}", "Minimum memory limit allowed is 6MB" },
        { "{}", "{\"Memory\":8388608,\"MemorySwap\":7340032}",
          "Minimum memoryswap limit should be larger than memory limit" },
        { "{}", "{\"MemorySwap\":7340032}",
          "You should always set the Memory limit when using Memoryswap limit" },
        { "{}", "{\"Memory\":8388608,\"MemoryReservation\":9437184}",
          "can not be less than memory reservation limit" },
        { "{}", "{\"MemorySwappiness\":101}", "valid memory swappiness range is 0-100" },
        { "{}", "{\"NanoCpus\":900000000000000}", "range of CPUs is from 0.01 to" },
        { "{}", "{\"NanoCpus\":1000000000,\"CpuPeriod\":100000}",
          "Conflicting options: Nano CPUs and CPU Period" },
        { "{}", "{\"CpuPeriod\":10}", "CPU cfs period can not be less than 1ms" },
        { "{}", "{\"CpuQuota\":10}", "CPU cfs quota can not be less than 1ms" },
        { "{}", "{\"CpusetCpus\":\"0-1e9\"}", "Invalid value 0-1e9 for cpuset cpus" },
        { "{}", "{\"CpusetCpus\":\"0-4294967297\"}", "Invalid value" },
        { "{}", "{\"CpusetCpus\":\"3-1\"}", "Invalid value" },
        { "{}", "{\"CpusetCpus\":\"8000\"}", "Requested CPUs are not available" },
        { "{}", "{\"BlkioWeight\":5}", "range of blkio weight is from 10 to 1000" },
        { "{}", "{\"Ulimits\":[{\"Name\":\"nofiles\",\"Soft\":1,\"Hard\":1}]}",
          "invalid ulimit type: nofiles" },
        { "{}", "{\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":9,\"Hard\":1}]}",
          "soft limit must be less than or equal to hard limit" },
        { "{}", "{\"PidMode\":\"other\"}", "invalid PidMode" },
        { "{}", "{\"IpcMode\":\"weird\"}", "invalid IpcMode" },
        { "{}", "{\"PidMode\":\"container:\"}", "invalid PidMode" },
        { "{}", "{\"OomScoreAdj\":1001}", "range for oom score adj is [-1000, 1000]" },
        { "{}", "{\"CapAdd\":[\"NET_ADMINN\"]}", "invalid CapAdd: unknown capability: \"CAP_NET_ADMINN\"" },
        { "{}", "{\"SecurityOpt\":[\"nonsense\"]}", "invalid --security-opt 1" },
        { "{}", "{\"SecurityOpt\":[\"seccomp={\"]}", "Decoding seccomp profile failed" },
        { "{}", "{\"PortBindings\":{\"99999/tcp\":[{}]}}", "invalid port specification: \"99999/tcp\"" },
        { "{}", "{\"PortBindings\":{\"80/xyz\":[{}]}}", "invalid port specification" },
        { "{}", "{\"PortBindings\":{\"0/tcp\":[{}]}}", "invalid port specification" },
        { "{}", "{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"+80\"}]}}",
          "invalid port specification: \"+80\"" },
        { "{}", "{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"90-80\"}]}}", "invalid port specification" },
        { "{}", "{\"PortBindings\":{\"80/tcp\":[{\"HostIp\":\"1.2.3\"}]}}", "invalid IP address: 1.2.3" },
        { "{\"ExposedPorts\":{\"70000\":{}}}", "{}", "invalid port specification" },
        { "{}", "{\"Binds\":[\"/a:b\"]}", "mount path must be absolute" },
        { "{}", "{\"Binds\":[\"/a:/b:rx\"]}", "invalid mode: rx" },
        { "{}", "{\"Binds\":[\"/a:/b:ro:z\"]}", "invalid volume specification" },
        { "{}", "{\"Binds\":[\"/a:/\"]}", "destination can't be '/'" },
        { "{}", "{\"Binds\":[\"/a:/b/../../etc\"]}", "must not contain \"..\"" },
        { "{}", "{\"Binds\":[\"/a:/b\",\"/c:/b/\"]}", "Duplicate mount point: /b" },
        { "{}", "{\"Mounts\":[{\"Type\":\"bind\",\"Target\":\"/b\"}]}", "field Source must not be empty" },
        { "{}", "{\"Mounts\":[{\"Type\":\"strange\",\"Target\":\"/b\"}]}", "mount type unknown" },
        { "{}", "{\"Tmpfs\":{\"/t\":\"evil=1\"}}", "invalid tmpfs option" },
        { "{}", "{\"Sysctls\":{\"kernel.core_pattern\":\"|/x\"}}", "is not in a separate kernel namespace" },
        { "{}", "{\"Sysctls\":{\"net/../kernel/x\":\"1\"}}", "is not" },
        { "{}", "{\"NetworkMode\":\"host\",\"Sysctls\":{\"net.core.somaxconn\":\"1\"}}",
          "is not in a separate kernel namespace" },
        { "{}", "{\"ExtraHosts\":[\"name\"]}", "bad format for add-host" },
        { "{}", "{\"Dns\":[\"one\"]}", "one is not an ip address" },
        { "{}", "{\"LogConfig\":{\"Type\":\"nothing\"}}",
          "logger: no log driver named 'nothing' is registered" },
        { "{}", "{\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"x\"}}}",
          "invalid value for max-size" },
        { "{}", "{\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"colour\":\"x\"}}}",
          "unknown log opt 'colour'" },
        { "{}", "{\"RestartPolicy\":{\"Name\":\"often\"}}", "invalid restart policy" },
        { "{}", "{\"AutoRemove\":true,\"RestartPolicy\":{\"Name\":\"always\"}}",
          "can't create 'AutoRemove' container with restart policy" },
        { "{}", "{\"Runtime\":\"kata\"}", "unknown or invalid runtime name: kata" },
        { "{}", "{\"Devices\":[{\"PathOnHost\":\"relative\"}]}", "invalid device specification" },
        { "{}", "{\"DeviceCgroupRules\":[\"c 1:3\"]}", "invalid device cgroup rule format: 'c 1:3'" },
        { "{}", "{\"DeviceCgroupRules\":[\"c 1:3 rr\"]}", "invalid device cgroup rule format" },
        { "{}", "{\"NetworkMode\":\"container:x\",\"PortBindings\":{\"80/tcp\":[{}]}}",
          "port publishing and the container type" },
        { "{\"Hostname\":\"h\"}", "{\"NetworkMode\":\"container:x\"}",
          "conflicting options: hostname and the network mode" },
        { "{\"Hostname\":\"a b\"}", "{}", "invalid hostname format" },
        { "{\"WorkingDir\":\"x\"}", "{}", "it needs to be an absolute path" },
        { "{\"Cmd\":[]}", "{}", "no command specified" },
        { "{\"StopSignal\":\"SIGNONE\"}", "{}", "invalid signal: SIGNONE" },
        { "{\"Env\":[\"=x\"]}", "{}", "invalid environment variable: =x" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].config, rows[i].host, ERROR_INVALID, rows[i].part);
}

static void test_volumes(void **state)
{
    (void)state;
    struct container_config c =
        accepted("{\"Volumes\":{\"../../etc/./x\":{},\"/a/../b/\":{}}}",
                 "{\"Binds\":[\"data:/d:ro,nocopy\",\"/anon\",\"/host:/h:z\"],\"VolumesFrom\":[\"other:ro\"],"
                 "\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"v1\",\"Target\":\"/m\",\"ReadOnly\":true,"
                 "\"VolumeOptions\":{\"Subpath\":\"a/b\",\"Labels\":{\"k\":\"v\"}}}]}");
    assert_int_equal(c.bind_count, 4);
    const struct bind_mount *b = c.binds;
    assert_true(b[0].is_volume && !b[0].is_anonymous && b[0].is_read_only && !b[0].copies_up);
    assert_string_equal(b[0].volume, "data");
    assert_string_equal(b[0].mode, "ro,nocopy");
    assert_true(b[1].is_volume && b[1].is_anonymous && b[1].copies_up && !b[1].volume);
    assert_string_equal(b[1].target, "/anon");
    assert_true(!b[2].is_volume && b[2].creates_source && !b[2].copies_up);
    assert_true(b[3].is_volume && b[3].is_read_only && !b[3].copies_up);
    assert_string_equal(b[3].subpath, "a/b");
    assert_string_equal(json_get_string(b[3].labels, "k", ""), "v");
    assert_int_equal(strv_len(c.declared_volumes), 2); // nothing leads out of the container's root
    assert_string_equal(c.declared_volumes[0], "/etc/x");
    assert_string_equal(c.declared_volumes[1], "/b");
    assert_string_equal(c.volumes_from[0], "other:ro");
    container_config_done(&c);
}

static void test_image_mounts(void **state)
{
    (void)state;
    struct container_config c =
        accepted("{}", "{\"Mounts\":[{\"Type\":\"image\",\"Source\":\"tools:1\",\"Target\":\"/x/\","
                       "\"ImageOptions\":{\"Subpath\":\"opt/a\"}},"
                       "{\"Type\":\"image\",\"Source\":\"other\",\"Target\":\"/y\",\"ReadOnly\":false}]}");
    assert_int_equal(c.bind_count, 2);
    const struct bind_mount *b = c.binds;
    assert_string_equal(b[0].image, "tools:1");
    assert_string_equal(b[0].target, "/x");
    assert_string_equal(b[0].subpath, "opt/a");
    assert_true(b[0].is_read_only && !b[0].is_volume && !b[0].source && !b[0].layers);
    assert_true(b[1].is_read_only && !b[1].subpath);
    container_config_done(&c);
}

static void test_refused_volumes(void **state)
{
    (void)state;
    static const struct {
        const char *config, *host, *part;
    } rows[] = {
        { "{}", "{\"Binds\":[\"v1:rel\"]}", "mount path must be absolute" },
        { "{}", "{\"Binds\":[\"v1:/x:shared\"]}", "field BindOptions must not be specified" },
        { "{}", "{\"Binds\":[\"v1:/x:no\"]}", "invalid mode: no" },
        { "{}", "{\"Binds\":[\"v1:/x\",\"v2:/x\"]}", "Duplicate mount point: /x" },
        { "{}", "{\"Binds\":[\"v1:/\"]}", "destination can't be '/'" },
        { "{\"Volumes\":{\"/..\":{}}}", "{}", "destination can't be '/'" },
        { "{\"Volumes\":{\"\":{}}}", "{}", "destination can't be '/'" },
        { "{}",
          "{\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"v1\",\"Target\":\"/"
          "x\",\"VolumeOptions\":{\"Subpath\":\"../x\"}}]}",
          "subpath must be a relative path within the volume" },
        { "{}",
          "{\"Mounts\":[{\"Type\":\"volume\",\"Target\":\"/x\",\"VolumeOptions\":{\"Subpath\":\"x\"}}]}",
          "must not set Subpath when using anonymous volumes" },
        { "{}",
          "{\"Mounts\":[{\"Type\":\"image\",\"Source\":\"a\",\"Target\":\"/"
          "x\",\"ImageOptions\":{\"Subpath\":\"/x\"}}]}",
          "subpath must be a relative path" },
        { "{}", "{\"Mounts\":[{\"Type\":\"image\",\"Target\":\"/x\"}]}", "field Source must not be empty" },
        { "{}",
          "{\"Mounts\":[{\"Type\":\"image\",\"Source\":\"a\",\"Target\":\"/"
          "x\",\"BindOptions\":{\"Propagation\":\"shared\"}}]}",
          "field BindOptions must not be specified" },
        { "{}",
          "{\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/a\",\"Target\":\"/"
          "x\",\"BindOptions\":{\"ReadOnlyNonRecursive\":true}}]}",
          "requires ReadOnly" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].config, rows[i].host, ERROR_INVALID, rows[i].part);
}

static void test_storage(void **state)
{
    (void)state;
    struct container_config c = accepted("{}", "{\"StorageOpt\":{\"size\":\"1.5G\"}}");
    assert_int_equal(c.storage_size_bytes, 3LL << 29);
    container_config_done(&c);
    c = accepted("{}", "{\"StorageOpt\":null}");
    assert_int_equal(c.storage_size_bytes, 0);
    container_config_done(&c);
    refused("{}", "{\"StorageOpt\":{\"size\":\"big\"}}", ERROR_INVALID, "invalid size: 'big'");
    refused("{}", "{\"StorageOpt\":{\"inodes\":\"1\"}}", ERROR_INVALID, "unknown option inodes");
}

static void test_unsupported_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *host, *part;
    } rows[] = {
        { "{\"SomethingNew\":1}", "HostConfig.SomethingNew" },
        { "{\"KernelMemory\":1}", "HostConfig.KernelMemory" },
        { "{\"Mounts\":[{\"Type\":\"cluster\",\"Source\":\"a\",\"Target\":\"/x\"}]}",
          "mounts of type \"cluster\"" },
        { "{\"SecurityOpt\":[\"writable-cgroups=true\"]}", "writable-cgroups=true" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused("{}", rows[i].host, ERROR_UNSUPPORTED, rows[i].part);
    // What clients send without being asked to.
    struct container_config c = accepted(
        "{}", "{\"VolumesFrom\":null,\"Links\":[],\"Init\":null,\"SomethingNew\":0,\"StorageOpt\":{},"
              "\"DeviceRequests\":null,\"RestartPolicy\":{\"Name\":\"no\",\"MaximumRetryCount\":0},"
              "\"ContainerIDFile\":\"/x\",\"ConsoleSize\":[24,80],\"Isolation\":\"\"}");
    assert_int_equal(c.console_rows, 24);
    assert_int_equal(c.console_columns, 80);
    container_config_done(&c);
}

static void test_values(void **state)
{
    (void)state;
    struct container_config c = accepted(
        "{\"Entrypoint\":[\"/bin/sh\",\"-c\"],\"Tty\":true,\"StopSignal\":\"INT\",\"StopTimeout\":3}",
        "{\"Memory\":6291456,\"NanoCpus\":500000000,\"PidsLimit\":-1,\"CapDrop\":[\"all\"],\"CapAdd\":[\"NET_"
        "ADMIN\",\"CAP_KILL\"],"
        "\"Binds\":[\"/src:/dst/./x//:ro,rslave\"],\"PortBindings\":{\"80/"
        "tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"8000-8010\"}],"
        "\"53/"
        "udp\":[{\"HostPort\":\"\"}]},\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1m\","
        "\"max-file\":\"3\"}},"
        "\"ShmSize\":1048576,\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":10,\"Hard\":20},{\"Name\":\"core\","
        "\"Soft\":-1,\"Hard\":-1}]}");
    assert_string_equal(c.args[0], "/bin/sh");
    assert_string_equal(c.args[2], "true");
    assert_int_equal(c.stop_signal, SIGINT);
    assert_int_equal(c.stop_timeout_s, 3);
    assert_int_equal(c.memory_bytes, 6291456);
    assert_int_equal(c.pids_limit, 0);
    assert_true(c.capabilities == ((1ULL << CAP_NET_ADMIN) | (1ULL << CAP_KILL)));
    assert_int_equal(c.bind_count, 1);
    assert_string_equal(c.binds[0].target, "/dst/x");
    assert_true(c.binds[0].is_read_only && c.binds[0].creates_source && c.binds[0].is_recursive);
    assert_string_equal(c.binds[0].propagation, "rslave");
    assert_int_equal(c.port_count, 2);
    assert_int_equal(c.ports[0].host_port, 8000);
    assert_int_equal(c.ports[0].last_host_port, 8010);
    assert_string_equal(c.ports[0].host_ip, "127.0.0.1");
    assert_int_equal(c.ports[1].protocol, NETWORK_UDP);
    assert_int_equal(c.ports[1].host_port, 0);
    assert_int_equal(c.log.max_size_bytes, 1000000);
    assert_int_equal(c.log.max_files, 3);
    assert_int_equal(c.rlimit_count, 2);
    assert_true(c.rlimits[1].hard == UINT64_MAX);
    container_config_done(&c);
}

static void test_signals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int number;
    } rows[] = { { "SIGTERM", 15 },    { "term", 15 }, { "9", 9 },        { "RTMIN+3", 37 },
                 { "SIGRTMAX-1", 63 }, { "0", 0 },     { "65", 0 },       { "-9", 0 },
                 { "SIGFOO", 0 },      { "", 0 },      { "RTMIN+99", 0 }, { "+9", 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (signal_parse(rows[i].text) != rows[i].number)
            fail_msg("signal %s: %d", rows[i].text, signal_parse(rows[i].text));
}

static char *merged(const char *config, const char *image, const char *key)
{
    struct error err;
    json_t *k = parse(config), *i = parse(image), *m = NULL;
    char *text = NULL;
    if (config_merge_image(k, i, &m, &err) < 0)
        text = xstrdup(err.message);
    else
        text = json_text(json_object_get(m, key));
    json_decref(k);
    json_decref(i);
    json_decref(m);
    return text;
}

static void test_merge(void **state)
{
    (void)state;
    static const char image[] = "{\"config\":{\"Env\":[\"PATH=/"
                                "bin\",\"A=1\",\"B=2\"],\"Cmd\":[\"serve\"],\"Entrypoint\":[\"/entry\"],"
                                "\"User\":\"web\",\"Labels\":{\"a\":\"image\",\"b\":\"image\"}}}";
    static const struct {
        const char *config, *key, *wanted;
    } rows[] = {
        { "{}", "Cmd", "[\"serve\"]" },
        { "{\"Cmd\":[\"x\"]}", "Entrypoint", "[\"/entry\"]" },
        { "{\"Cmd\":[\"x\"]}", "Cmd", "[\"x\"]" },
        { "{\"Entrypoint\":[\"/mine\"]}", "Cmd", "null" },
        { "{\"Entrypoint\":[\"\"],\"Cmd\":[\"x\"]}", "Entrypoint", "null" },
        { "{\"Entrypoint\":[\"\"]}", "Cmd", "no command specified" },
        { "{\"Env\":[\"A=9\",\"B\",\"C=3\"]}", "Env", "[\"PATH=/bin\",\"A=9\",\"C=3\"]" },
        { "{}", "User", "\"web\"" },
        { "{\"User\":\"me\"}", "User", "\"me\"" },
        { "{\"Labels\":{\"a\":\"own\"}}", "Labels", "{\"a\":\"own\",\"b\":\"image\"}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CLEANUP(cleanup_free) char *got = merged(rows[i].config, image, rows[i].key);
        if (!streq(got, rows[i].wanted))
            fail_msg("%s %s: got %s, wanted %s", rows[i].config, rows[i].key, got, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invalid_values),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_unsupported_is_named),
        cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_image_mounts),
        cmocka_unit_test(test_refused_volumes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
