#include "cmd/daemon_options.h"

#include "base/fd.h"
#include "base/mem.h"

#include "../test.h"

#include <string.h>
#include <unistd.h>

static char config_path[64];

static int parse(struct daemon_options *o, struct error *err, const char *config, const char *arguments)
{
    char **argv = strv_split(arguments, " ", false), **full = NULL;
    strv_push(&full, "skiffd");
    if (config) {
        memcpy(config_path, "/tmp/skiff-config-XXXXXX", 25);
        int fd = mkstemp(config_path);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, config, strlen(config)), 0);
        close(fd);
        strv_push(&full, "--config-file");
        strv_push(&full, config_path);
    }
    for (size_t i = 0; argv[i]; i++)
        strv_push(&full, argv[i]);
    int r = daemon_options_parse((int)strv_len(full), full, o, err);
    strv_free(argv);
    strv_free(full);
    if (config)
        unlink(config_path);
    return r;
}

static void defaults_are_in_place(void **state)
{
    (void)state;
    struct daemon_options o;
    struct error err;
    assert_int_equal(parse(&o, &err, "", ""), 0);
    assert_string_equal(o.data_root, "/var/lib/skiff");
    assert_string_equal(o.exec_root, "/run/skiff");
    assert_string_equal(o.hosts[0], "unix:///run/skiff/skiff.sock");
    assert_null(o.hosts[1]);
    assert_true(o.has_icc && o.has_ip_forward && o.has_ip_masq && o.has_bridge_names);
    assert_int_equal(o.stop_timeout_s, 10);
    assert_int_equal(o.log_level, LOG_LEVEL_INFO);
    assert_null(o.bip);
    assert_true(o.layer_max_bytes == 64ull << 30 && o.layer_max_entries == 1500 * 1000);
    daemon_options_done(&o);
}

static void all_spellings_work(void **state)
{
    (void)state;
    struct daemon_options o;
    struct error err;
    assert_int_equal(
        parse(&o, &err, "",
              "-H unix:///a -Htcp://127.0.0.1:1 --host=unix:///b -D --icc=false --ip-masq=0 --mtu 9000 "
              "-l warn --label a=b --label c= --data-root=/d -p/x -b=br9 --insecure-registry r:5000 "
              "--image-layer-max-size 1.5g --image-layer-max-entries=0"),
        0);
    assert_int_equal(strv_len(o.hosts), 3);
    assert_string_equal(o.hosts[1], "tcp://127.0.0.1:1");
    assert_string_equal(o.hosts[2], "unix:///b");
    assert_true(o.is_debug && !o.has_icc && !o.has_ip_masq && o.has_ip_forward);
    assert_int_equal(o.log_level, LOG_LEVEL_DEBUG); // -D wins
    assert_int_equal(o.mtu, 9000);
    assert_true(o.layer_max_bytes == 3ull << 29 && o.layer_max_entries == 0);
    assert_string_equal(o.pidfile, "/x");
    assert_string_equal(o.bridge, "br9");
    assert_string_equal(o.data_root, "/d");
    assert_int_equal(strv_len(o.labels), 2);
    daemon_options_done(&o);
}

static void the_file_counts_and_conflicts_are_errors(void **state)
{
    (void)state;
    struct daemon_options o;
    struct error err;
    assert_int_equal(parse(&o, &err,
                           "{\"data-root\":\"/f\",\"hosts\":[\"unix:///s\"],\"debug\":true,\"mtu\":1400,"
                           "\"insecure-registries\":[\"a\",\"b\"],\"log-level\":\"error\",\"icc\":false,"
                           "\"image-layer-max-size\":4096}",
                           "--bip 10.1.0.1/24"),
                     0);
    assert_string_equal(o.data_root, "/f");
    assert_string_equal(o.hosts[0], "unix:///s");
    assert_int_equal(o.mtu, 1400);
    assert_true(o.layer_max_bytes == 4096);
    assert_int_equal(strv_len(o.insecure_registries), 2);
    assert_string_equal(o.bip, "10.1.0.1/24");
    assert_false(o.has_icc);
    daemon_options_done(&o);
    assert_int_equal(parse(&o, &err, "{\"data-root\":\"/f\"}", "--data-root /g"), -1);
    assert_non_null(strstr(err.message, "specified both as a flag and in the configuration file: data-root"));
    daemon_options_done(&o);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *arguments, *message;
    } cases[] = {
        { "", "--nonsense", "unknown flag: --nonsense" },
        { "", "-Z", "unknown shorthand flag: 'Z'" },
        { "", "--mtu", "flag needs an argument: --mtu" },
        { "", "--mtu x", "invalid argument \"x\"" },
        { "", "--mtu 12", "invalid --mtu" },
        { "", "--image-layer-max-size big", "not a size" },
        { "{\"image-layer-max-size\":-1}", "", "out of range" },
        { "", "--debug=maybe", "not a boolean" },
        { "", "--log-level loud", "invalid logging level: loud" },
        { "", "start", "accepts no arguments" },
        { "", "-H fd://", "invalid -H value" },
        { "", "-H unix://relative", "invalid -H value" },
        { "", "--label novalue", "bad attribute format" },
        { "", "--userns-mode odd", "invalid --userns-mode" },
        { "", "--data-root relative", "absolute" },
        { "{\"nonsense\":1}", "", "don't match any configuration option: nonsense" },
        { "{\"mtu\":\"1\"}", "", "wrong type" },
        { "{\"mtu\":-1}", "", "out of range" },
        { "{\"hosts\":\"x\"}", "", "wrong type" },
        { "{\"hosts\":[1]}", "", "wrong type" },
        { "[]", "", "not a JSON object" },
        { "{", "", "invalid JSON" },
        { NULL, "--config-file /nonexistent/x", "no such file" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct daemon_options o;
        struct error err = { 0 };
        int r = parse(&o, &err, cases[i].config, cases[i].arguments);
        if (r != -1 || !strstr(err.message, cases[i].message))
            fail_msg("case %zu: %d %s", i, r, err.message);
        daemon_options_done(&o);
    }
}

static void help_names_every_option(void **state)
{
    (void)state;
    char *help = daemon_options_help();
    assert_non_null(strstr(help, "--data-root dir"));
    assert_non_null(strstr(help, "-H, --host url"));
    assert_non_null(strstr(help, "--validate"));
    free(help);
}

static void registries(void **state)
{
    (void)state;
    struct daemon_options o;
    struct error err;
    assert_int_equal(parse(&o, &err,
                           "{\"registries\": {\"quay.io\": {\"mirrors\": [\"https://m.example\"]},"
                           "\"plain.example:5000\": {\"insecure\": true}}, \"registry-mirrors\": "
                           "[\"https://hub.example/\"]}",
                           ""),
                     0);
    assert_int_equal(o.registries.count, 3);
    assert_string_equal(registry_rules_find(&o.registries, "quay.io", "x")->mirrors[0].url,
                        "https://m.example");
    assert_true(strv_contains(o.insecure_registries, "plain.example:5000"));
    assert_int_equal(strv_len(o.hub_mirrors), 1);
    assert_string_equal(o.hub_mirrors[0], "https://hub.example/");
    daemon_options_done(&o);

    assert_int_equal(parse(&o, &err, "{\"registries\": {\"quay.io\": {\"mirror\": []}}}", ""), -1);
    assert_non_null(strstr(err.message, "registries: quay.io: unknown member \"mirror\""));
    daemon_options_done(&o);
    assert_int_equal(parse(&o, &err, NULL, "--registries /nonexistent"), -1);
    daemon_options_done(&o);
    assert_int_equal(parse(&o, &err, NULL, "--registry-mirror hub.example"), -1);
    assert_string_equal(err.message, "invalid mirror: unsupported scheme in \"hub.example\"");
    daemon_options_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_in_place),
        cmocka_unit_test(all_spellings_work),
        cmocka_unit_test(the_file_counts_and_conflicts_are_errors),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(help_names_every_option),
        cmocka_unit_test(registries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
