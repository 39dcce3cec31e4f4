#include "api/status.h"
#include "api/version.h"

#include "../test.h"

static void versions_in_range_pass(void **state)
{
    (void)state;
    static const struct {
        const char *path, *rest;
        int version;
    } cases[] = {
        { "/v1.24/info", "/info", 124 },
        { "/v1.41/containers/json", "/containers/json", 141 },
        { "/v1.51/_ping", "/_ping", 151 },
        { "/_ping", "/_ping", 151 },
        { "/version", "/version", 151 },
        { "/volumes", "/volumes", 151 },
        { "/", "/", 151 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err;
        const char *rest;
        int version;
        assert_int_equal(api_version_split(cases[i].path, &version, &rest, &err), 0);
        assert_int_equal(version, cases[i].version);
        assert_string_equal(rest, cases[i].rest);
    }
}

static void others_are_refused_in_dockers_words(void **state)
{
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        { "/v1.99/_ping", "client version 1.99 is too new. Maximum supported API version is 1.51" },
        { "/v1.52/_ping", "client version 1.52 is too new. Maximum supported API version is 1.51" },
        { "/v1.23/_ping", "client version 1.23 is too old. Minimum supported API version is 1.24, please "
                          "upgrade your client to a newer version" },
        { "/v1/_ping", "invalid API version in /v1/_ping" },
        { "/v1.2.3/_ping", "invalid API version in /v1.2.3/_ping" },
        { "/v1.41", "invalid API version in /v1.41" },
        { "/v1.41x/_ping", "invalid API version in /v1.41x/_ping" },
        { "/v11111111111111111111.41/_ping", "invalid API version in /v11111111111111111111.41/_ping" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err;
        const char *rest;
        int version;
        assert_int_equal(api_version_split(cases[i].path, &version, &rest, &err), -1);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void kinds_have_dockers_statuses(void **state)
{
    (void)state;
    assert_int_equal(api_status_of(ERROR_INVALID), 400);
    assert_int_equal(api_status_of(ERROR_NOT_FOUND), 404);
    assert_int_equal(api_status_of(ERROR_CONFLICT), 409);
    assert_int_equal(api_status_of(ERROR_NOT_MODIFIED), 304);
    assert_int_equal(api_status_of(ERROR_UNSUPPORTED), 501);
    for (int kind = 0; kind < ERROR_KIND_COUNT; kind++)
        assert_in_range(api_status_of((enum error_kind)kind), 304, 501);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_in_range_pass),
        cmocka_unit_test(others_are_refused_in_dockers_words),
        cmocka_unit_test(kinds_have_dockers_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
