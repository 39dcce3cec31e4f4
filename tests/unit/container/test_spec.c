#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/hostfiles.h"
#include "container/seccomp.h"
#include "container/spec.h"

#include <linux/capability.h>
#include <string.h>

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return j;
}

static struct container_config config_of(const char *config, const char *host)
{
    struct container_config c;
    struct error err;
    char **warnings = NULL;
    json_t *k = parse(config), *h = parse(host);
    if (container_config_parse(k, h, &c, &warnings, &err) < 0)
        fail_msg("%s", err.message);
    strv_free(warnings);
    json_decref(k);
    json_decref(h);
    return c;
}

static json_t *spec_of(const char *config, const char *host, uint32_t uid, uint32_t first_id)
{
    struct container_config c = config_of(config, host);
    uint32_t gids[] = { 5, 6 };
    const struct user_identity user = {
        .uid = uid, .gid = 5, .additional_gids = gids, .additional_gid_count = 2, .home = (char[]){ "/h" }
    };
    const struct spec_inputs in = { .config = &c,
                                    .user = &user,
                                    .id = "id",
                                    .hostname = "box",
                                    .hosts_path = "/d/hosts",
                                    .hostname_path = "/d/hostname",
                                    .resolv_conf_path = "/d/resolv.conf",
                                    .cgroup_path = "/skiff/id",
                                    .userns_first_id = first_id };
    struct oci_runtime_config spec;
    struct error err;
    if (spec_build(&in, &spec, &err) < 0)
        fail_msg("%s", err.message);
    json_t *j = oci_runtime_config_emit(&spec);
    oci_runtime_config_done(&spec);
    container_config_done(&c);
    return j;
}

// A value by path "linux.resources.memory.limit" as text ("null" when it is not there).
static char *at(const json_t *j, const char *path)
{
    char **words = strv_split(path, ".", false);
    for (size_t i = 0; words[i] && j; i++)
        j = json_object_get(j, words[i]);
    strv_free(words);
    return json_text(j);
}

static void check(const json_t *j, const char *path, const char *wanted)
{
    CLEANUP(cleanup_free) char *got = at(j, path);
    if (!streq(got, wanted))
        fail_msg("%s: got %s, wanted %s", path, got, wanted);
}

static const json_t *mount_at(const json_t *spec, const char *destination)
{
    size_t i;
    json_t *m;
    json_array_foreach(json_get_array(spec, "mounts"), i,
                       m) if (streq(json_get_string(m, "destination", ""), destination)) return m;
    return NULL;
}

static void test_default(void **state)
{
    (void)state;
    json_t *s = spec_of("{\"Cmd\":[\"/bin/true\",\"a b\"],\"Env\":[\"A=1\",\"PATH=/x\"]}", "{}", 0, 1 << 20);
    check(s, "process.args", "[\"/bin/true\",\"a b\"]");
    check(s, "process.env", "[\"PATH=/x\",\"HOSTNAME=box\",\"A=1\",\"HOME=/h\"]");
    check(s, "process.cwd", "\"/\"");
    check(s, "hostname", "\"box\"");
    check(s, "linux.uidMappings", "[{\"containerID\":0,\"hostID\":1048576,\"size\":65536}]");
    check(s, "linux.cgroupsPath", "\"/skiff/id\"");
    check(s, "linux.readonlyPaths",
          "[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\",\"/proc/sysrq-trigger\"]");
    assert_int_equal(json_array_size(json_get_array(
                         json_get_object(json_get_object(s, "process"), "capabilities"), "bounding")),
                     14);
    assert_int_equal(json_array_size(json_get_array(
                         json_get_object(json_get_object(s, "process"), "capabilities"), "effective")),
                     14);
    assert_int_equal(json_array_size(json_get_array(
                         json_get_object(json_get_object(s, "process"), "capabilities"), "inheritable")),
                     0);
    assert_int_equal(json_array_size(json_get_array(json_get_object(s, "linux"), "namespaces")), 7);
    static const char *const targets[] = { "/proc",          "/dev",        "/dev/pts", "/sys",
                                           "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm", "/etc/resolv.conf",
                                           "/etc/hostname",  "/etc/hosts" };
    for (size_t i = 0; i < 10; i++)
        assert_string_equal(
            json_get_string(json_array_get(json_get_array(s, "mounts"), i), "destination", ""), targets[i]);
    CLEANUP(cleanup_free)
    char *first_rule = json_text(json_array_get(
        json_get_array(json_get_object(json_get_object(s, "linux"), "resources"), "devices"), 0));
    assert_non_null(strstr(first_rule, "\"allow\":false"));
    json_decref(s);
}

static void test_limits_and_user(void **state)
{
    (void)state;
    json_t *s =
        spec_of("{\"Cmd\":[\"x\"],\"Tty\":true,\"WorkingDir\":\"/w\"}",
                "{\"Memory\":8388608,\"NanoCpus\":1500000000,\"PidsLimit\":9,\"CpusetCpus\":\"0\","
                "\"ReadonlyRootfs\":true,"
                "\"SecurityOpt\":[\"no-new-privileges\"],\"Tmpfs\":{\"/t\":\"size=1m\"},\"ShmSize\":65536,"
                "\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":10,\"Hard\":20}]}",
                7, 0);
    check(s, "linux.resources.memory.limit", "8388608");
    check(s, "linux.resources.memory.swap", "16777216");
    check(s, "linux.resources.cpu.quota", "150000");
    check(s, "linux.resources.cpu.period", "100000");
    check(s, "linux.resources.cpu.cpus", "\"0\"");
    check(s, "linux.resources.pids.limit", "9");
    check(s, "process.noNewPrivileges", "true");
    check(s, "process.terminal", "true");
    check(s, "process.cwd", "\"/w\"");
    check(s, "root.readonly", "true");
    check(s, "process.rlimits", "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":20,\"soft\":10}]");
    check(s, "linux.uidMappings", "null");
    // Root's capabilities are for root only; the bounding set stays.
    const json_t *caps = json_get_object(json_get_object(s, "process"), "capabilities");
    assert_int_equal(json_array_size(json_get_array(caps, "bounding")), 14);
    assert_int_equal(json_array_size(json_get_array(caps, "effective")), 0);
    assert_int_equal(json_array_size(json_get_array(caps, "permitted")), 0);
    check(mount_at(s, "/t"), "options", "[\"noexec\",\"nosuid\",\"nodev\",\"size=1m\"]");
    CLEANUP(cleanup_free) char *shm = at(mount_at(s, "/dev/shm"), "options");
    assert_non_null(strstr(shm, "size=65536"));
    json_decref(s);
}

static void test_privileged_and_modes(void **state)
{
    (void)state;
    json_t *s =
        spec_of("{\"Cmd\":[\"x\"]}",
                "{\"Privileged\":true,\"NetworkMode\":\"host\",\"PidMode\":\"host\",\"IpcMode\":\"host\","
                "\"UTSMode\":\"host\"}",
                0, 0);
    check(s, "linux.maskedPaths", "null");
    check(s, "linux.readonlyPaths", "null");
    check(s, "hostname", "null");
    assert_int_equal(json_array_size(json_get_array(json_get_object(s, "linux"), "namespaces")), 1); // mount
    check(mount_at(s, "/sys"), "options", "[\"nosuid\",\"noexec\",\"nodev\"]");
    check(mount_at(s, "/dev/shm"), "source", "\"/dev/shm\"");
    CLEANUP(cleanup_free) char *rules = at(s, "linux.resources.devices");
    assert_non_null(strstr(rules, "\"allow\":true"));
    assert_null(strstr(rules, "\"allow\":false"));
    json_decref(s);
}

static void test_binds(void **state)
{
    (void)state;
    json_t *s =
        spec_of("{\"Cmd\":[\"x\"]}",
                "{\"Binds\":[\"/tmp:/a/b/c:ro\",\"/tmp:/a\",\"/tmp:/etc/hosts\",\"/tmp:/dev/shm\"]}", 0, 0);
    const json_t *mounts = json_get_array(s, "mounts");
    size_t n = json_array_size(mounts);
    assert_string_equal(json_get_string(json_array_get(mounts, n - 1), "destination", ""),
                        "/a/b/c"); // the deepest comes last
    check(mount_at(s, "/a/b/c"), "options", "[\"rbind\",\"rprivate\",\"rro\"]");
    check(mount_at(s, "/etc/hosts"), "source", "\"/tmp\""); // the user's replaces the engine's
    check(mount_at(s, "/dev/shm"), "type", "\"bind\"");
    unsigned shm = 0;
    for (size_t i = 0; i < n; i++)
        shm += streq(json_get_string(json_array_get(mounts, i), "destination", ""), "/dev/shm");
    assert_int_equal(shm, 1);
    json_decref(s);

    struct container_config c = config_of(
        "{\"Cmd\":[\"x\"]}", "{\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/no/such\",\"Target\":\"/x\"}]}");
    const struct user_identity user = { .home = (char[]){ "/" } };
    const struct spec_inputs in = { .config = &c,
                                    .user = &user,
                                    .id = "id",
                                    .hostname = "h",
                                    .hosts_path = "/d/h",
                                    .hostname_path = "/d/n",
                                    .resolv_conf_path = "/d/r",
                                    .cgroup_path = "/c" };
    struct oci_runtime_config spec;
    struct error err;
    assert_int_equal(spec_build(&in, &spec, &err), -1);
    assert_string_equal(err.message,
                        "invalid mount config for type \"bind\": bind source path does not exist: /no/such");
    container_config_done(&c);
}

static bool allows(const json_t *seccomp, const char *call)
{
    size_t i, k;
    json_t *rule, *name;
    json_array_foreach(json_get_array(seccomp, "syscalls"), i, rule)
        json_array_foreach(json_get_array(rule, "names"), k,
                           name) if (streq(json_string_value(name), call) &&
                                     streq(json_get_string(rule, "action", ""), "SCMP_ACT_ALLOW") &&
                                     !json_array_size(json_get_array(rule, "args"))) return true;
    return false;
}

static void test_seccomp(void **state)
{
    (void)state;
    struct error err;
    json_t *profile = seccomp_default_profile(), *plain = NULL, *admin = NULL, *none = NULL;
    assert_int_equal(seccomp_resolve(profile, 0, &plain, &err), 0);
    assert_int_equal(seccomp_resolve(profile, 1ULL << CAP_SYS_ADMIN, &admin, &err), 0);
    static const char *const never[] = { "io_uring_setup", "kexec_load", "add_key", "userfaultfd", NULL };
    static const char *const for_admin[] = { "mount", "unshare", "bpf", "setns", "clone3", NULL };
    static const char *const always[] = { "read",   "execve", "openat2", "landlock_create_ruleset",
                                          "ptrace", NULL };
    for (size_t i = 0; never[i]; i++)
        assert_false(allows(plain, never[i]) || allows(admin, never[i]));
    for (size_t i = 0; for_admin[i]; i++)
        assert_true(!allows(plain, for_admin[i]) && allows(admin, for_admin[i]));
    for (size_t i = 0; always[i]; i++)
        assert_true(allows(plain, always[i]));
    assert_false(allows(plain, "socket")); // only with a test of the family
    assert_string_equal(json_get_string(plain, "defaultAction", ""), "SCMP_ACT_ERRNO");
    json_t *empty = json_object();
    assert_int_equal(seccomp_resolve(empty, 0, &none, &err), -1);
    json_decref(empty);
    struct seccomp_cache *cache = seccomp_cache_new();
    int first = -1, second = -1, other = -1;
    assert_int_equal(seccomp_cache_get(cache, NULL, 5, &first, &err), 0);
    assert_int_equal(seccomp_cache_get(cache, NULL, 5, &second, &err), 0);
    assert_int_equal(seccomp_cache_get(cache, NULL, 1ULL << CAP_SYS_ADMIN, &other, &err), 0);
    assert_int_equal(first, second);
    assert_int_not_equal(first, other);
    seccomp_cache_free(cache);
    json_decref(profile);
    json_decref(plain);
    json_decref(admin);
}

static void test_host_files(void **state)
{
    (void)state;
    struct container_config c =
        config_of("{\"Cmd\":[\"x\"]}", "{\"ExtraHosts\":[\"db:10.0.0.9\",\"gw:host-gateway\",\"six:::1\"]}");
    CLEANUP(str_done) struct str text = STR_INIT;
    char *addresses[] = { (char *)(uintptr_t) "172.17.0.2", NULL };
    hostfile_hosts(&c, "box", addresses, "172.17.0.1", &text);
    assert_non_null(strstr(text.ptr, "127.0.0.1\tlocalhost\n"));
    assert_non_null(strstr(text.ptr, "10.0.0.9\tdb\n172.17.0.1\tgw\n::1\tsix\n172.17.0.2\tbox\n"));
    str_clear(&text);
    hostfile_resolv_conf(
        &c, "# c\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch a.b c\noptions ndots:2\n", false, &text);
    assert_string_equal(text.ptr, "nameserver 10.1.1.1\nsearch a.b c\noptions ndots:2\n");
    str_clear(&text);
    hostfile_resolv_conf(&c, "nameserver 127.0.0.1\n", false, &text);
    assert_string_equal(text.ptr, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    str_clear(&text);
    hostfile_resolv_conf(&c, "nameserver 127.0.0.1\n", true, &text);
    assert_string_equal(text.ptr, "nameserver 127.0.0.1\n");
    container_config_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_limits_and_user),
        cmocka_unit_test(test_privileged_and_modes),
        cmocka_unit_test(test_binds),
        cmocka_unit_test(test_seccomp),
        cmocka_unit_test(test_host_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
