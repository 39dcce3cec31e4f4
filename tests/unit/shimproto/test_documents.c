#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "shimproto/shimproto.h"

#include "../test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static char text_id[] = "0123", text_socket[] = "/run/x/shim.sock", text_dir[] = "/run/x",
            text_path[] = "/var/x-json.log", text_cgroup[] = "/skiff/0123", text_layers[] = "/l",
            text_upper[] = "/u", text_attrs[] = "{\"a\":\"b\"}";
static char lower_a[] = "a", lower_b[] = "b/c", *lower[] = { lower_a, lower_b, NULL };

static void create_round_trips(void **state)
{
    (void)state;
    struct shim_create in = { .id = text_id,
                              .socket_path = text_socket,
                              .state_dir = text_dir,
                              .cgroup_path = text_cgroup,
                              .layers_dir = text_layers,
                              .lower = lower,
                              .upper_parent = text_upper,
                              .is_volatile = true,
                              .has_stdin = true,
                              .is_stdin_once = true,
                              .oci_config = json_object() };
    in.log = (struct shim_log_options){ .driver = SHIM_LOG_LOCAL,
                                        .path = text_path,
                                        .max_size_bytes = 12345,
                                        .max_files = 3,
                                        .wants_compression = true,
                                        .attributes = text_attrs };
    json_set_string(in.oci_config, "ociVersion", "1.1.0");
    char *first CLEANUP(cleanup_free) = shim_create_emit(&in);
    struct shim_create out;
    struct error err;
    assert_int_equal(shim_create_parse(first, strlen(first), &out, &err), 0);
    char *second CLEANUP(cleanup_free) = shim_create_emit(&out);
    assert_string_equal(first, second);
    assert_string_equal(out.lower[1], "b/c");
    assert_string_equal(out.log.attributes, text_attrs);
    assert_int_equal(out.log.driver, SHIM_LOG_LOCAL);
    assert_true(out.is_stdin_once && out.has_stdin && out.is_volatile && out.log.wants_compression);
    shim_create_done(&out);
    json_decref(in.oci_config);
}

static void a_syslog_over_tls_round_trips(void **state)
{
    (void)state;
    static const char text[] = "{\"id\":\"a\",\"socketPath\":\"/s\",\"stateDir\":\"/d\",\"cgroupPath\":\"/"
                               "c\",\"config\":{},\"log\":{\"driver\":"
                               "\"syslog\",\"address\":\"tls:192.0.2.1:6514\",\"tls\":{\"serverName\":\"log."
                               "example\",\"ca\":\"/ca\",\"cert\":"
                               "\"/cert\",\"key\":\"/key\",\"skipVerify\":true}}}";
    struct shim_create first, second;
    struct error err;
    assert_int_equal(shim_create_parse(text, strlen(text), &first, &err), 0);
    char *emitted CLEANUP(cleanup_free) = shim_create_emit(&first);
    assert_int_equal(shim_create_parse(emitted, strlen(emitted), &second, &err), 0);
    const struct shim_log_tls *tls = &second.log.tls;
    assert_string_equal(second.log.address, "tls:192.0.2.1:6514");
    assert_string_equal(tls->server_name, "log.example");
    assert_string_equal(tls->ca, "/ca");
    assert_string_equal(tls->cert, "/cert");
    assert_string_equal(tls->key, "/key");
    assert_true(tls->skips_verify);
    shim_create_done(&first);
    shim_create_done(&second);
}

static void change_round_trips(void **state)
{
    (void)state;
    struct shim_change in = { .is_forced = true, .from = json_object(), .to = json_pack("{s:[]}", "mounts") },
                       out = { 0 };
    struct error err;
    char *first CLEANUP(cleanup_free) = shim_change_emit(&in);
    assert_int_equal(shim_change_parse(first, strlen(first), &out, &err), 0);
    char *second CLEANUP(cleanup_free) = shim_change_emit(&out);
    assert_string_equal(first, second);
    assert_true(out.is_forced && !out.is_repeated && json_get_array(out.to, "mounts"));
    shim_change_done(&out);
    shim_change_done(&in);
    static const char *const wrong[] = { "{}", "[]", "{\"from\":{}}", "{\"from\":{},\"to\":[]}",
                                         "{\"from\":{},\"to\":{}" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(shim_change_parse(wrong[i], strlen(wrong[i]), &out, &err), -1);
}

static void refuse(const char *text)
{
    struct shim_create out;
    struct error err = { 0 };
    assert_int_equal(shim_create_parse(text, strlen(text), &out, &err), -1);
    assert_int_equal(err.kind, ERROR_INVALID);
}

static void incomplete_documents_are_refused(void **state)
{
    (void)state;
    refuse("");
    refuse("[]");
    refuse("{}");
    refuse("{\"id\":\"a\",\"socketPath\":\"/s\",\"stateDir\":\"/d\"}");
    refuse("{\"id\":7,\"socketPath\":\"/s\",\"stateDir\":\"/d\",\"config\":{}}");
    refuse("{\"id\":\"a\",\"socketPath\":\"/s\",\"stateDir\":\"/"
           "d\",\"config\":{},\"log\":{\"driver\":\"syslog\"}}");
    refuse("{\"id\":\"a\",\"socketPath\":\"/s\",\"stateDir\":\"/"
           "d\",\"config\":{},\"log\":{\"driver\":\"syslog\",\"address\":\"tls:192.0.2.1:6514\"}}");
    refuse("{\"id\":\"a\",\"socketPath\":\"/s\",\"stateDir\":\"/"
           "d\",\"config\":{},\"log\":{\"driver\":\"json-file\"}}");
    struct shim_exec exec;
    struct error err = { 0 };
    assert_int_equal(shim_exec_parse("{\"execId\":\"a\"}", 14, &exec, &err), -1);
    assert_int_equal(shim_exec_parse("[]", 2, &exec, &err), -1);
}

static void exec_round_trips(void **state)
{
    (void)state;
    struct shim_exec in = { .exec_id = text_id, .has_stdin = true, .process = json_object() }, out;
    struct error err;
    char *text CLEANUP(cleanup_free) = shim_exec_emit(&in);
    assert_int_equal(shim_exec_parse(text, strlen(text), &out, &err), 0);
    assert_string_equal(out.exec_id, "0123");
    assert_true(out.has_stdin);
    shim_exec_done(&out);
    json_decref(in.process);
}

static void record_round_trips(void **state)
{
    (void)state;
    char dir[] = "/tmp/skiff-record-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct shim_exit_record in = { .exit_code = 137,
                                   .pid = 42,
                                   .started_ns = 1,
                                   .finished_ns = INT64_C(1700000000123456789),
                                   .was_oom_killed = true },
                            out = { 0 };
    assert_int_equal(shim_exit_record_read(dir, &out), -ENOENT);
    assert_int_equal(shim_exit_record_write(dir, &in), 0);
    assert_int_equal(shim_exit_record_read(dir, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
    char *path CLEANUP(cleanup_free) = xasprintf("%s/exit", dir);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(shim_exit_record_read(dir, &out), -EBADMSG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_round_trips), cmocka_unit_test(a_syslog_over_tls_round_trips),
        cmocka_unit_test(change_round_trips), cmocka_unit_test(incomplete_documents_are_refused),
        cmocka_unit_test(exec_round_trips),   cmocka_unit_test(record_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
