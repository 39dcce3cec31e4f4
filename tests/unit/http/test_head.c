#include "http/http.h"

#include "base/mem.h"

#include "../test.h"

#include <string.h>

static int parse(const char *text, size_t n, bool is_request, struct http_head *head, size_t *used)
{
    struct error err;
    return http_head_parse(text, n, is_request, head, used, &err);
}

static void a_request_is_taken_apart(void **state)
{
    (void)state;
    static const char text[] =
        "POST /v1.41/containers/create?name=a HTTP/1.1\r\nHost: docker\r\nX-Thing: \t a b \t\r\n"
        "Empty:\r\n\r\nBODY";
    struct http_head head;
    size_t used;
    assert_int_equal(parse(text, sizeof text - 1, true, &head, &used), 1);
    assert_int_equal(used, sizeof text - 1 - 4);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.target, "/v1.41/containers/create?name=a");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.header_count, 3);
    assert_string_equal(http_head_get(&head, "x-thing"), "a b");
    assert_string_equal(http_head_get(&head, "EMPTY"), "");
    assert_null(http_head_get(&head, "absent"));
    // Every shorter prefix asks for more, none is an error.
    http_head_done(&head);
    for (size_t n = 0; n < used; n++)
        assert_int_equal(parse(text, n, true, &head, &used), 0);
}

static void a_response_is_taken_apart(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n",
                      bare[] = "HTTP/1.0 200\r\n\r\n";
    struct http_head head;
    size_t used;
    assert_int_equal(parse(text, sizeof text - 1, false, &head, &used), 1);
    assert_int_equal(head.status, 404);
    http_head_done(&head);
    assert_int_equal(parse(bare, sizeof bare - 1, false, &head, &used), 1);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.minor, 0);
    http_head_done(&head);
}

// What two parsers on one connection could read differently is refused.
static void ambiguity_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET / HTTP/1.1\nHost: a\n\n",                  // bare LF
        "GET / HTTP/1.1\r\nHost: a\n\r\n",              // one bare LF
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",      // bare CR
        "GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n",      // folding
        "GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\n", // space before the colon
        "GET / HTTP/1.1\r\n: x\r\n\r\n",                // no name
        "GET / HTTP/1.1\r\nnothing\r\n\r\n",            // no colon
        "GET / HTTP/1.1\r\nA: b\x01\r\n\r\n",           // control character
        "GET  / HTTP/1.1\r\n\r\n",                      // two spaces
        "GET / HTTP/1.1 \r\n\r\n",                      // trailing space
        "GET / HTTP/2.0\r\n\r\n",                       // version
        "GET / http/1.1\r\n\r\n",                       // case
        "GET /\r\n\r\n",                                // HTTP/0.9
        "G@T / HTTP/1.1\r\n\r\n",                       // method is not a token
        "GET x HTTP/1.1\r\n\r\n",                       // neither path nor URL
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",             // HTTP/2 preface
        "\r\n\r\n\r\n",                                 // nothing
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_head head;
        size_t used;
        if (parse(bad[i], strlen(bad[i]), true, &head, &used) != -1)
            fail_msg("accepted: %s", bad[i]);
    }
    static const char with_nul[] = "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
    struct http_head head;
    size_t used;
    assert_int_equal(parse(with_nul, sizeof with_nul - 1, true, &head, &used), -1);
    static const char *const bad_status[] = { "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n",
                                              "HTTP/1.1 099 x\r\n\r\n", "HTTP/3 200 OK\r\n\r\n" };
    for (size_t i = 0; i < sizeof bad_status / sizeof *bad_status; i++)
        assert_int_equal(parse(bad_status[i], strlen(bad_status[i]), false, &head, &used), -1);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    struct str text = STR_INIT;
    struct http_head head;
    size_t used;
    str_append(&text, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        str_appendf(&text, "A%d: b\r\n", i);
    size_t n = text.len;
    str_append(&text, "\r\n");
    assert_int_equal(parse(text.ptr, text.len, true, &head, &used), 1);
    http_head_done(&head);
    text.len = n;
    str_append(&text, "One-Too-Many: b\r\n\r\n");
    assert_int_equal(parse(text.ptr, text.len, true, &head, &used), -1);
    str_clear(&text);
    str_append(&text, "GET / HTTP/1.1\r\nA: ");
    while (text.len < HTTP_HEAD_MAX)
        str_append_char(&text, 'x');
    assert_int_equal(parse(text.ptr, text.len, true, &head, &used), -1); // before its end is even seen
    str_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(a_response_is_taken_apart),
        cmocka_unit_test(ambiguity_is_refused),
        cmocka_unit_test(sizes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
