// Rules about registries: what is read, what is refused, which rule a repository gets.
#include "oci/registries.h"

#include "../test.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

static int add(struct registry_rules *rules, const char *text, struct error *err)
{
    CLEANUP(json_cleanup) json_t *document = NULL;
    assert_int_equal(json_parse(text, strlen(text), &document, err), 0);
    return registry_rules_add(rules, document, err);
}

static void reads_everything(void **state)
{
    (void)state;
    CLEANUP(registry_rules_done) struct registry_rules rules = { 0 };
    struct error err;
    assert_int_equal(add(&rules,
                         "{\"quay.io\": {\"mirrors\": [\"https://one.example/\", {\"url\": "
                         "\"http://two.example:5000/cache//\","
                         "\"username\": \"me\", \"password-file\": \"/etc/secret\"}], \"insecure\": true},"
                         "\"bad.example\": {\"blocked\": true}}",
                         &err),
                     0);
    const struct registry_rule *rule = registry_rules_find(&rules, "quay.io", "team/app");
    assert_non_null(rule);
    assert_true(rule->is_insecure);
    assert_false(rule->is_blocked);
    assert_int_equal(rule->mirror_count, 2);
    assert_string_equal(rule->mirrors[0].url, "https://one.example");
    assert_string_equal(rule->mirrors[0].host, "one.example");
    assert_null(rule->mirrors[0].username);
    assert_string_equal(rule->mirrors[1].url, "http://two.example:5000/cache");
    assert_string_equal(rule->mirrors[1].host, "two.example:5000");
    assert_string_equal(rule->mirrors[1].username, "me");
    assert_string_equal(rule->mirrors[1].password_file, "/etc/secret");
    assert_true(registry_rules_forbid(&rules, "bad.example", "x"));
    assert_false(registry_rules_forbid(&rules, "quay.io", "x"));
    assert_null(registry_rules_find(&rules, "docker.io", "library/x"));
}

static void mirrors_of_docker_hub(void **state)
{
    (void)state;
    CLEANUP(registry_rules_done) struct registry_rules rules = { 0 };
    struct error err;
    assert_int_equal(add(&rules, "{\"docker.io\": {\"mirrors\": [\"https://a\"]}}", &err), 0);
    assert_int_equal(registry_rules_add_mirror(&rules, "https://b/", &err), 0);
    const struct registry_rule *rule = registry_rules_find(&rules, "docker.io", "library/busybox");
    assert_int_equal(rule->mirror_count, 2);
    assert_string_equal(rule->mirrors[1].url, "https://b");
    assert_int_equal(registry_rules_add_mirror(&rules, "ftp://b/", &err), -1);
    assert_string_equal(err.message, "invalid mirror: unsupported scheme in \"ftp://b/\"");
    assert_int_equal(registry_rules_add_mirror(&rules, "https://me:secret@b/", &err), -1);
    assert_null(strstr(err.message, "secret"));
}

static void the_most_specific_rule(void **state)
{
    (void)state;
    CLEANUP(registry_rules_done) struct registry_rules rules = { 0 };
    struct error err;
    assert_int_equal(add(&rules,
                         "{\"*.corp.example\": {}, \"hub.corp.example\": {}, \"hub.corp.example/team\": {},"
                         "\"*.hub.corp.example\": {\"blocked\": true}}",
                         &err),
                     0);
    const struct {
        const char *domain, *repository, *rule;
    } cases[] = {
        { "hub.corp.example", "team/app", "hub.corp.example/team" },
        { "hub.corp.example", "team", "hub.corp.example/team" },
        { "hub.corp.example", "teamwork/app", "hub.corp.example" },
        { "other.corp.example", "team/app", "*.corp.example" },
        { "x.hub.corp.example", "a", "*.hub.corp.example" },
        { "corp.example", "a", NULL },
        { "hub.corp.example:5000", "a", NULL },
        { "evilcorp.example", "a", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct registry_rule *rule = registry_rules_find(&rules, cases[i].domain, cases[i].repository);
        assert_true(streq(rule ? rule->name : NULL, cases[i].rule));
    }
    assert_true(registry_rules_forbid(&rules, "x.hub.corp.example", "a"));
    assert_false(registry_rules_forbid(&rules, "hub.corp.example", "a"));
}

static void refuses(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "[]",
        "{\"a b\": {}}",
        "{\"host/\": {}}",
        "{\"*\": {}}",
        "{\"host\": []}",
        "{\"host\": {\"mirror\": []}}",
        "{\"host\": {\"mirrors\": \"https://x\"}}",
        "{\"host\": {\"mirrors\": [1]}}",
        "{\"host\": {\"mirrors\": [\"x.example\"]}}",
        "{\"host\": {\"mirrors\": [\"https:///x\"]}}",
        "{\"host\": {\"mirrors\": [\"https://x?y\"]}}",
        "{\"host\": {\"mirrors\": [{\"url\": \"https://x\", \"username\": \"u\"}]}}",
        ("{\"host\": {\"mirrors\": [{\"url\": \"https://x\", \"username\": \"u\", \"password-file\": "
         "\"a\"}]}}"),
        "{\"host\": {\"mirrors\": [{\"url\": \"https://x\", \"token\": \"t\"}]}}",
        "{\"host\": {\"blocked\": \"yes\"}}",
        "{\"*.host\": {\"insecure\": true}}",
        "{\"host/team\": {\"insecure\": true}}",
        "{\"docker.io\": {}, \"index.docker.io\": {}, \"docker.io/\": {}}",
    };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        CLEANUP(registry_rules_done) struct registry_rules rules = { 0 };
        struct error err;
        assert_int_equal(add(&rules, documents[i], &err), -1);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),
        cmocka_unit_test(mirrors_of_docker_hub),
        cmocka_unit_test(the_most_specific_rule),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
