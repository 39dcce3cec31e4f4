#include "registry/client/auth.h"

#include "base/mem.h"
#include "registry/client/client.h"

#include "../test.h"

#include <string.h>

static void challenges_are_read(void **state)
{
    (void)state;
    struct auth_challenge c = { 0 };
    auth_challenge_read(
        "Bearer realm=\"https://auth.example/token\",service=\"a, \\\"b\\\"\" , scope=repository:x:pull", &c);
    assert_true(c.has_bearer);
    assert_false(c.has_basic);
    assert_string_equal(c.realm, "https://auth.example/token");
    assert_string_equal(c.service, "a, \"b\"");
    assert_string_equal(c.scope, "repository:x:pull");
    auth_challenge_read("bASIC realm=\"other\", charset=\"UTF-8\"", &c);
    assert_true(c.has_basic);
    assert_string_equal(c.realm, "https://auth.example/token"); // Basic's realm is no address
    auth_challenge_done(&c);

    auth_challenge_read("Basic realm=x, Bearer realm=\"https://b/\", error=insufficient_scope, Negotiate",
                        &c);
    assert_true(c.has_basic && c.has_bearer);
    assert_string_equal(c.realm, "https://b/");
    assert_string_equal(c.error, "insufficient_scope");
    auth_challenge_done(&c);
}

static void bad_challenges_do_no_harm(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",   ",,,",          "=",          "Bearer realm=\"open", "Bearer realm=",
        "\"", "Bearer \"x\"", "Digest a=b", "Bearer realm=\"a\\"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct auth_challenge c = { 0 };
        auth_challenge_read(bad[i], &c);
        assert_false(c.has_basic);
        assert_null(c.realm);
        auth_challenge_done(&c);
    }
}

static void credentials_become_headers(void **state)
{
    (void)state;
    static const char *const cases[][3] = { { "Aladdin", "open sesame",
                                              "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" },
                                            { "a", "b", "Basic YTpi" },
                                            { "ab", "c", "Basic YWI6Yw==" },
                                            { "a", "bc", "Basic YTpiYw==" },
                                            { "x", NULL, "Basic eDo=" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP(cleanup_free) char *got = auth_basic(cases[i][0], cases[i][1]);
        assert_string_equal(got, cases[i][2]);
    }
    CLEANUP(cleanup_free) char *bearer = auth_bearer("a.b-c_d=");
    assert_string_equal(bearer, "Bearer a.b-c_d=");
    assert_null(auth_bearer("a\r\nX-Evil: 1"));
    assert_null(auth_bearer("a b"));
}

static int token(const char *text, char **ret)
{
    struct error err;
    return auth_token_parse(text, strlen(text), ret, NULL, &err);
}

static void tokens_are_found(void **state)
{
    (void)state;
    CLEANUP(cleanup_free) char *a = NULL, *b = NULL;
    char *none = NULL;
    assert_int_equal(token("{\"token\":\"x\",\"access_token\":\"y\"}", &a), 0);
    assert_string_equal(a, "x");
    assert_int_equal(token("{\"access_token\":\"y\",\"expires_in\":60}", &b), 0);
    assert_string_equal(b, "y");
    assert_int_equal(token("{\"token\":\"\"}", &none), -1);
    assert_int_equal(token("{\"token\":7}", &none), -1);
    assert_int_equal(token("oops", &none), -1);
}

static void errors_are_readable(void **state)
{
    (void)state;
    static const char text[] =
        "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest\\u001b unknown\"},{}]}";
    CLEANUP(cleanup_free) char *code = NULL, *got = auth_error_text(text, strlen(text), &code);
    assert_string_equal(got, "manifest unknown: manifest  unknown");
    assert_string_equal(code, "MANIFEST_UNKNOWN");
    assert_null(auth_error_text("{\"errors\":[]}", 13, NULL));
    assert_null(auth_error_text("<html>", 6, NULL));
}

static void insecure_is_loopback_or_listed(void **state)
{
    (void)state;
    char *list[] = { (char[]){ "registry.test:5000" }, (char[]){ "plain.test" }, (char[]){ "10.1.0.0/16" },
                     (char[]){ "fd00::/8" }, NULL };
    static const char *const yes[] = { "localhost",     "localhost:5000",     "127.0.0.1:1", "127.9.9.9",
                                       "[::1]:5000",    "registry.test:5000", "plain.test",  "plain.test:81",
                                       "10.1.2.3:5000", "[fd00::1]:5000" };
    static const char *const no[] = { "registry.test",       "registry.test:5001", "10.2.0.1",
                                      "127.0.0.1.evil.test", "128.0.0.1",          "localhost.evil",
                                      "docker.io",           "[fe00::1]:1" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(registry_is_insecure(yes[i], list));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(registry_is_insecure(no[i], list));
    assert_false(registry_is_insecure("10.1.2.3", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(challenges_are_read),        cmocka_unit_test(bad_challenges_do_no_harm),
        cmocka_unit_test(credentials_become_headers), cmocka_unit_test(tokens_are_found),
        cmocka_unit_test(errors_are_readable),        cmocka_unit_test(insecure_is_loopback_or_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
