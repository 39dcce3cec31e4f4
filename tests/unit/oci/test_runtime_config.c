#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "oci/runtime_config.h"
#include "oci/state.h"

#include "../test.h"

#include <string.h>
#include <sys/resource.h>

static const char full[] = "{\"ociVersion\":\"1.1.0\",\"process\":{\"terminal\":true,\"consoleSize\":{"
                           "\"height\":24,\"width\":80},\"user\":{\"uid\":5,\"gid\":6,"
                           "\"umask\":18,\"additionalGids\":[1,2]},\"args\":[\"a\",\"b\"],\"env\":[\"A=1\"],"
                           "\"cwd\":\"/x\",\"capabilities\":{\"bounding\":[\"CAP_KILL\"],"
                           "\"effective\":[],\"inheritable\":[],\"permitted\":[\"CAP_CHOWN\",\"CAP_KILL\"],"
                           "\"ambient\":[]},\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\","
                           "\"hard\":-1,\"soft\":10}],\"noNewPrivileges\":true,\"oomScoreAdj\":-5,"
                           "\"apparmorProfile\":\"p\",\"selinuxLabel\":\"l\"},"
                           "\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\","
                           "\"domainname\":\"d\",\"mounts\":[{\"destination\":\"/m\",\"type\":\"tmpfs\","
                           "\"source\":\"s\",\"options\":[\"ro\"]}],\"linux\":{\"namespaces\":[{\"type\":"
                           "\"pid\"},{\"type\":\"network\",\"path\":\"/n\"}],"
                           "\"uidMappings\":[{\"containerID\":0,\"hostID\":100,\"size\":10}],\"gidMappings\":"
                           "[{\"containerID\":0,\"hostID\":200,\"size\":10}],"
                           "\"devices\":[{\"path\":\"/dev/"
                           "x\",\"type\":\"c\",\"major\":1,\"minor\":2,\"fileMode\":384,\"uid\":3,\"gid\":4}]"
                           ",\"cgroupsPath\":\"/c\","
                           "\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"b\",\"major\":8,"
                           "\"access\":\"rm\"}],\"memory\":{\"limit\":100,\"reservation\":50,"
                           "\"swap\":-1,\"swappiness\":7,\"disableOOMKiller\":true},\"cpu\":{\"shares\":5,"
                           "\"quota\":6,\"period\":7,\"realtimeRuntime\":8,"
                           "\"realtimePeriod\":9,\"cpus\":\"0-1\",\"mems\":\"0\"},\"pids\":{\"limit\":-1},"
                           "\"blockIO\":{\"weight\":10,\"weightDevice\":[{\"major\":1,"
                           "\"minor\":2,\"weight\":3}],\"throttleReadBpsDevice\":[{\"major\":1,\"minor\":2,"
                           "\"rate\":3}]},\"unified\":{\"memory.high\":\"5=6\"}},"
                           "\"sysctl\":{\"net.x\":\"1\"},\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\"},"
                           "\"rootfsPropagation\":\"slave\",\"maskedPaths\":[\"/a\"],"
                           "\"readonlyPaths\":[\"/b\"]},\"hooks\":{\"poststop\":[{\"path\":\"/"
                           "h\",\"args\":[\"h\"],\"env\":[],\"timeout\":3}]},"
                           "\"annotations\":{\"k\":\"v=w\"}}";

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, &err) < 0)
        fail_msg("%s", err.message);
    return j;
}

static void emits_what_it_read(void **state)
{
    (void)state;
    struct oci_runtime_config c;
    struct error err;
    json_t *document = parse(full);
    if (oci_runtime_config_parse(document, &c, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(c.process.capabilities.permitted == 0x21);
    assert_true(c.process.rlimits[0].hard == UINT64_MAX && c.process.rlimits[0].resource == RLIMIT_NOFILE);
    assert_true(c.resources.devices[0].minor == -1 && c.resources.cpu_quota_us == 6);
    assert_string_equal(c.namespaces[OCI_NS_NETWORK].path, "/n");
    assert_string_equal(c.resources.unified[0], "memory.high=5=6");
    json_t *emitted = oci_runtime_config_emit(&c);
    char *a = json_text(document), *b = json_text(emitted);
    assert_string_equal(a, b);
    free(a);
    free(b);
    json_decref(document);
    json_decref(emitted);
    oci_runtime_config_done(&c);
}

static void refuses(const char *text, const char *message)
{
    struct oci_runtime_config c;
    struct error err = { 0 };
    json_t *document = parse(text);
    assert_int_equal(oci_runtime_config_parse(document, &c, &err), -1);
    json_decref(document);
    assert_int_equal(err.kind, ERROR_INVALID);
    if (!strstr(err.message, message))
        fail_msg("%s", err.message);
}

static void refuses_wrong_members(void **state)
{
    (void)state;
    refuses("[]", "must be an object");
    refuses("{\"process\":{\"cwd\":\"/\",\"args\":[]}}", "process.args must not be empty");
    refuses("{\"process\":{\"cwd\":\"x\",\"args\":[\"a\"]}}", "process.cwd must be an absolute path");
    refuses("{\"process\":{\"cwd\":\"/\",\"args\":[\"a\",7]}}", "process.args must hold strings only");
    refuses("{\"process\":{\"cwd\":\"/\",\"args\":[\"a\\u0000b\"]}}", "process.args must hold strings only");
    refuses("{\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":-1}}}",
            "process.user.uid is out of range");
    refuses("{\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}", "is given twice");
    refuses("{\"linux\":{\"namespaces\":[{\"type\":\"moon\"}]}}", "is not a namespace");
    refuses("{\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":4294967295,\"size\":5}]}}",
            "size is out of range");
    refuses("{\"mounts\":[{\"destination\":\"rel\"}]}", "mounts.destination must be an absolute path");
    refuses("{\"linux\":{\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rx\"}]}}}",
            "must be of r, w, m");
    refuses("{\"linux\":{\"sysctl\":{\"../x\":\"1\"}}}", "linux.sysctl");
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int n = 0; oci_capability_name(n); n++)
        assert_int_equal(oci_capability_number(oci_capability_name(n)), n);
    assert_int_equal(oci_capability_number("sys_admin"), 21);
    assert_int_equal(oci_capability_number("CAP_MOON"), -1);
    assert_int_equal(oci_rlimit_number("RLIMIT_CORE"), RLIMIT_CORE);
    assert_int_equal(oci_rlimit_number("NOFILE"), -1);
    for (int point = 0; point < OCI_HOOK_COUNT; point++)
        assert_int_equal(oci_hook_number(oci_hook_name((enum oci_hook_point)point)), point);
    assert_int_equal(oci_hook_number("whenever"), -1);
}

static void says_the_state(void **state)
{
    (void)state;
    char *const annotations[] = { (char[]){ "a=b=c" }, (char[]){ "empty=" }, NULL };
    struct oci_state s = {
        .oci_version = "1.1.0", .id = "x\"", .status = "creating", .pid = 5, .bundle = "/b"
    };
    char *text CLEANUP(cleanup_free) = oci_state_text(&s);
    assert_string_equal(text, "{\"ociVersion\":\"1.1.0\",\"id\":\"x\\\"\",\"status\":\"creating\",\"pid\":5,"
                              "\"bundle\":\"/b\",\"annotations\":{}}");
    s.pid = 0;
    s.annotations = annotations;
    char *later CLEANUP(cleanup_free) = oci_state_text(&s);
    assert_null(strstr(later, "pid"));
    assert_non_null(strstr(later, "\"annotations\":{\"a\":\"b=c\",\"empty\":\"\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emits_what_it_read),
        cmocka_unit_test(refuses_wrong_members),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(says_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
