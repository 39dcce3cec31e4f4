#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/log_options.h"

#include <string.h>

static int parse(const char *log_config, struct container_config *c, struct error *err)
{
    CLEANUP(json_cleanup) json_t *host_config = json_object();
    json_t *log = NULL;
    if (json_parse(log_config, strlen(log_config), &log, err) < 0)
        fail_msg("%s", err->message);
    json_object_set_new(host_config, "LogConfig", log);
    return config_parse_log(host_config, c, err);
}

static void refused(const char *log_config, enum error_kind kind, const char *message)
{
    struct container_config c = { 0 };
    struct error err = { 0 };
    if (parse(log_config, &c, &err) == 0 && config_log_check_address(&c, &err) == 0)
        fail_msg("taken: %s", log_config);
    assert_string_equal(err.message, message);
    assert_int_equal(err.kind, kind);
    config_log_done(&c);
}

static void bad_options_are_refused_in_dockers_words(void **state)
{
    (void)state;
    refused("{\"Type\":\"gelf\"}", ERROR_INVALID, "logger: no log driver named 'gelf' is registered");
    refused("{\"Type\":\"json-file\",\"Config\":{\"x\":\"1\"}}", ERROR_INVALID,
            "unknown log opt 'x' for json-file log driver");
    refused("{\"Type\":\"local\",\"Config\":{\"x\":\"1\"}}", ERROR_INVALID,
            "unknown log opt 'x' for log driver local");
    refused("{\"Type\":\"syslog\",\"Config\":{\"max-size\":\"1\"}}", ERROR_INVALID,
            "unknown log opt 'max-size' for syslog log driver");
    refused("{\"Type\":\"journald\",\"Config\":{\"max-size\":\"1\"}}", ERROR_INVALID,
            "unknown log opt 'max-size' for journald log driver");
    refused("{\"Config\":{\"max-size\":\"big\"}}", ERROR_INVALID,
            "invalid value for max-size: big: invalid size: 'big'");
    refused("{\"Config\":{\"max-size\":\"0\"}}", ERROR_INVALID, "max-size must be a positive number");
    refused("{\"Config\":{\"max-file\":\"0\"}}", ERROR_INVALID, "max-file cannot be less than 1");
    refused("{\"Config\":{\"max-file\":\"1\",\"compress\":\"true\"}}", ERROR_INVALID,
            "compress cannot be true when max-file is less than 2 or max-size is not set");
    refused("{\"Config\":{\"mode\":\"fast\"}}", ERROR_INVALID, "logger: logging mode not supported: fast");
    refused("{\"Config\":{\"max-buffer-size\":\"1m\"}}", ERROR_INVALID,
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    refused("{\"Config\":{\"mode\":\"non-blocking\",\"max-buffer-size\":\"x\"}}", ERROR_INVALID,
            "error parsing option max-buffer-size: invalid size: 'x'");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"here\"}}", ERROR_INVALID,
            "syslog-address should be in form proto://address, got here");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"unix:///nowhere/log\"}}", ERROR_INVALID,
            "stat /nowhere/log: no such file or directory");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-facility\":\"24\"}}", ERROR_INVALID,
            "invalid syslog facility");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-format\":\"x\"}}", ERROR_INVALID,
            "Invalid syslog format");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-tls-key\":\"x\"}}", ERROR_INVALID,
            "invalid value for syslog-tls-key: x is not an absolute path");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-tls-skip-verify\":\"maybe\"}}", ERROR_INVALID,
            "invalid value for syslog-tls-skip-verify: maybe");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp+tls://"
            "log.example\",\"syslog-tls-ca-cert\":\"/nowhere/ca\"}}",
            ERROR_INVALID,
            "could not read CA certificate \"/nowhere/ca\": open /nowhere/ca: no such file or directory");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp+tls://"
            "log.example\",\"syslog-tls-cert\":\"/nowhere/cert\",\"syslog-tls-key\":\"/nowhere/key\"}}",
            ERROR_INVALID, "Could not load X509 key pair: open /nowhere/cert: no such file or directory");
    refused("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp+tls://"
            "log.example\",\"syslog-tls-cert\":\"/dev/null\"}}",
            ERROR_INVALID, "Could not load X509 key pair: syslog-tls-cert and syslog-tls-key go together");
    refused("{\"Config\":{\"labels-regex\":\"(\"}}", ERROR_INVALID,
            "invalid value for labels-regex: error parsing regexp: `(`");
    refused("{\"Config\":{\"tag\":\"{{.Nothing}}\"}}", ERROR_INVALID,
            "failed to parse log tag: template: log-tag: \".Nothing\" is not a field of a log tag");
    refused("{\"Config\":{\"tag\":\"{{.ID\"}}", ERROR_INVALID,
            "failed to parse log tag: template: log-tag: unclosed action");
}

static void good_options_are_understood(void **state)
{
    (void)state;
    struct container_config c = { 0 };
    struct error err;
    assert_int_equal(parse("{\"Type\":\"local\",\"Config\":{\"max-size\":\"1.5k\",\"max-file\":\"2\","
                           "\"compress\":\"false\"}}",
                           &c, &err),
                     0);
    assert_int_equal(c.log.driver, SHIM_LOG_LOCAL);
    assert_int_equal(c.log.max_size_bytes, 1500); // powers of 1000
    assert_int_equal(c.log.max_files, 2);
    assert_false(c.log.wants_compression);
    config_log_done(&c);
    assert_int_equal(
        parse("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"udp://"
              "[::1]\",\"syslog-facility\":\"local3\","
              "\"syslog-format\":\"rfc5424\",\"mode\":\"non-blocking\",\"max-buffer-size\":\"4k\"}}",
              &c, &err),
        0);
    assert_string_equal(c.log_choice.address, "udp:[::1]:514");
    assert_int_equal(c.log.facility, 19);
    assert_true(c.log.is_nonblocking);
    assert_int_equal(c.log.max_buffer_bytes, 4096);
    config_log_done(&c);
    assert_int_equal(parse("{\"Type\":\"none\",\"Config\":{\"whatever\":\"1\"}}", &c, &err), 0);
    assert_int_equal(c.log.driver, SHIM_LOG_NONE);
    config_log_done(&c);
}

static void tls_options_are_understood(void **state)
{
    (void)state;
    struct container_config c = { 0 };
    struct error err;
    assert_int_equal(parse("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp+tls://"
                           "log.example\",\"syslog-tls-ca-cert\":\"/dev/null\",\"syslog-tls-cert\":\"/dev/"
                           "zero\",\"syslog-tls-key\":\"/dev/null\"}}",
                           &c, &err),
                     0);
    assert_int_equal(config_log_check_address(&c, &err), 0);
    assert_string_equal(c.log_choice.address, "tls:log.example:514");
    assert_string_equal(c.log.tls.ca, "/dev/null");
    assert_string_equal(c.log.tls.cert, "/dev/zero");
    assert_string_equal(c.log.tls.key, "/dev/null");
    assert_false(c.log.tls.skips_verify);
    config_log_done(&c);
    // Nothing is read of an authority that nobody asks.
    assert_int_equal(
        parse("{\"Type\":\"syslog\",\"Config\":{\"syslog-address\":\"tcp+tls://"
              "[::1]:6514\",\"syslog-tls-ca-cert\":\"/nowhere\",\"syslog-tls-skip-verify\":\"true\"}}",
              &c, &err),
        0);
    assert_int_equal(config_log_check_address(&c, &err), 0);
    assert_string_equal(c.log_choice.address, "tls:[::1]:6514");
    assert_true(c.log.tls.skips_verify);
    config_log_done(&c);
    assert_int_equal(
        parse("{\"Type\":\"syslog\",\"Config\":{\"syslog-tls-skip-verify\":\"false\"}}", &c, &err), 0);
    assert_false(c.log.tls.skips_verify);
    config_log_done(&c);
}

static void tags_name_the_container(void **state)
{
    (void)state;
    const struct log_tag_names names = { "0123456789abcdef", "web", "sha256:fedcba9876543210", "nginx:1",
                                         (char *[]){ (char[]){ "a" }, (char[]){ "b" }, NULL } };
    struct error err;
    CLEANUP(cleanup_free) char *tag = NULL;
    assert_int_equal(
        log_tag_expand("{{.ImageName}}/{{ .Name }}/{{.ID}} {{.ImageID}} {{.Command}} {{.FullID}}", &names,
                       &tag, &err),
        0);
    assert_string_equal(tag, "nginx:1/web/0123456789ab fedcba987654 a b 0123456789abcdef");
}

static void attributes_are_those_asked_for(void **state)
{
    (void)state;
    struct log_choice choice = { .labels = (char *[]){ (char[]){ "a" }, (char[]){ "missing" }, NULL },
                                 .labels_regex = (char[]){ "^com\\." },
                                 .env = (char *[]){ (char[]){ "PATH" }, NULL },
                                 .env_regex = (char[]){ "^OS_" } };
    CLEANUP(json_cleanup) json_t *labels = json_pack("{s:s,s:s,s:s}", "a", "1", "b", "2", "com.x", "3");
    char *env[] = { (char[]){ "PATH=/bin" }, (char[]){ "HOME=/" }, (char[]){ "OS_NAME=y=z" }, NULL };
    CLEANUP(json_cleanup) json_t *attributes = log_attributes(&choice, labels, env);
    CLEANUP(cleanup_free) char *text = json_text(attributes);
    assert_string_equal(text, "{\"a\":\"1\",\"com.x\":\"3\",\"PATH\":\"/bin\",\"OS_NAME\":\"y=z\"}");
}

static void defaults_are_the_engines(void **state)
{
    (void)state;
    char *options[] = { (char[]){ "max-size=1k" }, (char[]){ "max-file=9" }, NULL };
    CLEANUP(json_cleanup)
    json_t *host =
        json_pack("{s:{s:s,s:{s:s}}}", "LogConfig", "Type", "json-file", "Config", "max-file", "3");
    config_log_default(host, NULL, "local", options);
    const json_t *log = json_get_object(host, "LogConfig");
    assert_string_equal(json_get_string(log, "Type", ""), "local");
    assert_string_equal(json_get_string(json_get_object(log, "Config"), "max-size", ""), "1k");
    assert_string_equal(json_get_string(json_get_object(log, "Config"), "max-file", ""),
                        "3"); // what is given stays
    CLEANUP(json_cleanup)
    json_t *other = json_pack("{s:{s:s,s:{}}}", "LogConfig", "Type", "json-file", "Config");
    config_log_default(other, other, "local", options);
    assert_int_equal(json_object_size(json_get_object(json_get_object(other, "LogConfig"), "Config")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options_are_refused_in_dockers_words),
        cmocka_unit_test(good_options_are_understood),
        cmocka_unit_test(tls_options_are_understood),
        cmocka_unit_test(tags_name_the_container),
        cmocka_unit_test(attributes_are_those_asked_for),
        cmocka_unit_test(defaults_are_the_engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
