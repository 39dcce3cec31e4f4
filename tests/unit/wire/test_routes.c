#include "wire/routes.h"

#include "base/mem.h"

#include "../test.h"

#include <string.h>

static void expect(const char *method, const char *path, enum wire_route_id want, const char *parameter)
{
    struct wire_match match;
    assert_true(wire_match(method, path, &match));
    if (!match.route)
        fail_msg("%s %s matches nothing", method, path);
    assert_int_equal(match.route->id, want);
    if (parameter)
        assert_string_equal(match.parameters[0], parameter);
    else
        assert_null(match.parameters[0]);
    wire_match_done(&match);
}

static void paths_find_their_routes(void **state)
{
    (void)state;
    expect("GET", "/_ping", WIRE_PING, NULL);
    expect("HEAD", "/_ping", WIRE_PING, NULL);
    expect("GET", "/containers/json", WIRE_CONTAINER_LIST, NULL);
    expect("GET", "/containers/abc/json", WIRE_CONTAINER_INSPECT, "abc");
    expect("GET", "/containers/json/json", WIRE_CONTAINER_INSPECT, "json");
    expect("POST", "/containers/prune", WIRE_CONTAINER_PRUNE, NULL);
    expect("DELETE", "/containers/a%20b", WIRE_CONTAINER_REMOVE, "a b");
    expect("GET", "/images/json", WIRE_IMAGE_LIST, NULL);
    expect("GET", "/images/localhost:5000/a/b:c/json", WIRE_IMAGE_INSPECT, "localhost:5000/a/b:c");
    expect("GET", "/images/localhost:5000%2Fa%2Fb/history", WIRE_IMAGE_HISTORY, "localhost:5000/a/b");
    expect("GET", "/images/a/json/json", WIRE_IMAGE_INSPECT, "a/json");
    expect("GET", "/images/get", WIRE_IMAGE_SAVE, NULL);
    expect("DELETE", "/images/a/b", WIRE_IMAGE_REMOVE, "a/b");
    expect("POST", "/images/x/push", WIRE_IMAGE_PUSH, "x");
    expect("GET", "/networks/", WIRE_NETWORK_LIST, NULL);
    expect("GET", "/networks/bridge", WIRE_NETWORK_INSPECT, "bridge");
    expect("POST", "/exec/0123/start", WIRE_EXEC_START, "0123");
    expect("POST", "/swarm/init", WIRE_SWARM, "init");
}

static void others_do_not(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        bool is_path_known;
    } cases[] = {
        { "GET", "/", false },
        { "GET", "/nothing", false },
        { "GET", "/containers//json", true }, // DELETE takes any name there: a link is "container/alias"
        { "GET", "/containers/a/b/json", true },
        { "GET", "/containers/json/", true }, // as /containers/json
        { "PUT", "/containers/json", true },
        { "GET", "/containers/create", true },
        { "GET", "", false },
        { "get", "/_ping", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire_match match;
        assert_true(wire_match(cases[i].method, cases[i].path, &match));
        if (!match.is_path_known)
            assert_null(match.route);
        if (match.is_path_known != cases[i].is_path_known)
            fail_msg("%s %s", cases[i].method, cases[i].path);
        wire_match_done(&match);
    }
    struct wire_match match;
    assert_false(wire_match("GET", "/containers/%zz/json", &match));
    assert_false(wire_match("GET", "/containers/%00/json", &match));
    assert_false(wire_match("GET", "/containers/a%2/json", &match));
}

// Every route is reachable by the path that wire_path makes, and no earlier pattern swallows it.
static void every_route_is_reachable(void **state)
{
    (void)state;
    bool is_seen[WIRE_ROUTE_COUNT] = { 0 };
    size_t n;
    const struct wire_route *routes = wire_routes(&n);
    for (size_t i = 0; i < n; i++) {
        is_seen[routes[i].id] = true;
        if (routes[i].id == WIRE_SWARM || routes[i].id == WIRE_NOT_YET ||
            routes[i].id == WIRE_CONTAINER_CHECKPOINT) // several patterns have these ids
            continue;
        char *path = wire_path(routes[i].id, "x y", NULL);
        struct wire_match match;
        assert_true(str_has_prefix(path, "/v1.51/"));
        assert_true(wire_match(routes[i].method, path + 6, &match));
        assert_non_null(match.route);
        assert_int_equal(match.route->id, routes[i].id);
        if (match.parameters[0])
            assert_string_equal(match.parameters[0], "x y");
        wire_match_done(&match);
        free(path);
    }
    for (int i = 0; i < WIRE_ROUTE_COUNT; i++)
        assert_true(is_seen[i]);
}

static void versions_are_strict(void **state)
{
    (void)state;
    assert_int_equal(wire_version_parse("1.41"), 141);
    assert_int_equal(wire_version_parse("1.99"), 199);
    assert_int_equal(wire_version_parse("2.0"), 200);
    static const char *const bad[] = { "",    "1",     "1.",   ".1",    "1.4.1",      "v1.41",
                                       "1.x", "1.41 ", "-1.2", "1.100", "999999999.1" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(wire_version_parse(bad[i]), -1);
    assert_int_equal(wire_version_parse(WIRE_VERSION_MAX_TEXT), WIRE_VERSION_MAX);
    assert_int_equal(wire_version_parse(WIRE_VERSION_MIN_TEXT), WIRE_VERSION_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(others_do_not),
        cmocka_unit_test(every_route_is_reachable),
        cmocka_unit_test(versions_are_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
