#include "http/http.h"

#include "base/fd.h"
#include "base/mem.h"

#include "../test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// Parse `head`, then read the body of `wire` (some of it read ahead, the rest through a pipe). Owned text, or NULL with
// *ret_error; *ret_rest: bytes of wire that were not part of the body.
static char *read_body(const char *head_text, const char *wire, size_t ahead, int *ret_error,
                       size_t *ret_rest)
{
    struct http_head head;
    struct error err;
    size_t used;
    bool is_request = !str_has_prefix(head_text, "HTTP/");
    assert_int_equal(http_head_parse(head_text, strlen(head_text), is_request, &head, &used, &err), 1);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    if (ahead > strlen(wire))
        ahead = strlen(wire);
    assert_int_equal(fd_write_all(pipes[1], wire + ahead, strlen(wire) - ahead), 0);
    close(pipes[1]);
    struct http_input input = { .fd = pipes[0], .buffered = STR_INIT };
    str_append_n(&input.buffered, wire, ahead);
    struct http_body body;
    struct str out = STR_INIT;
    *ret_error = http_body_begin(&body, &input, &head, &err);
    if (*ret_error == 0)
        *ret_error = reader_read_all(http_body_reader(&body), 1 << 20, &out);
    char rest[4096];
    ssize_t left = read(pipes[0], rest, sizeof rest);
    if (ret_rest)
        *ret_rest = input.buffered.len + (size_t)(left > 0 ? left : 0);
    close(pipes[0]);
    http_head_done(&head);
    str_done(&input.buffered);
    char *text = *ret_error ? NULL : str_take(&out);
    str_done(&out);
    return text;
}

static void expect_body(const char *head, const char *wire, const char *want, size_t want_rest)
{
    for (size_t ahead = 0; ahead <= strlen(wire); ahead++) {
        int error;
        size_t rest;
        char *got = read_body(head, wire, ahead, &error, &rest);
        assert_int_equal(error, 0);
        assert_string_equal(got, want);
        assert_int_equal(rest, want_rest);
        free(got);
    }
}

static int body_error(const char *head, const char *wire)
{
    int error;
    char *got = read_body(head, wire, 3, &error, NULL);
    assert_null(got);
    return error;
}

#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void bodies_end_where_they_say(void **state)
{
    (void)state;
    expect_body(POST "Content-Length: 5\r\n\r\n", "helloGET /", "hello", 5);
    expect_body(POST "\r\n", "GET /", "", 5);
    expect_body(POST "Content-Length: 0\r\n\r\n", "xx", "", 2);
    expect_body("HTTP/1.1 200 OK\r\n\r\n", "until the end", "until the end", 0);
    expect_body("HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n", "next", "", 4);
    expect_body("HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n", "next", "", 4);
}

static void chunks_are_joined(void **state)
{
    (void)state;
    // The reader may fetch bytes of the next request along with a chunk line; they must stay in the input.
    expect_body(CHUNKED, "5\r\nhello\r\n6;ext=\"x\"\r\n world\r\n0\r\n\r\nNEXT", "hello world", 4);
    expect_body(CHUNKED, "00a\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n", "0123456789", 0);
    expect_body(CHUNKED, "0\r\n\r\n", "", 0);
}

static void bad_chunks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n",
        "5\r\nhello\r\n0\r\nTrailer: x\r\n",
        "5\r\nhello\r\n",
        "5\r\nhel",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(body_error(CHUNKED, bad[i]) < 0);
    assert_int_equal(body_error(POST "Content-Length: 9\r\n\r\n", "short"), -ECONNRESET);
}

static void smuggling_is_refused(void **state)
{
    (void)state;
    static const char *const heads[] = {
        POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        POST "Content-Length: 5, 5\r\n\r\n",
        POST "Content-Length: +5\r\n\r\n",
        POST "Content-Length: -1\r\n\r\n",
        POST "Content-Length: 0x5\r\n\r\n",
        POST "Content-Length: 5 \x0b\r\n\r\n",
        POST "Content-Length:\r\n\r\n",
        POST "Content-Length: 18446744073709551617\r\n\r\n",
        POST "Content-Length: 9223372036854775808\r\n\r\n",
        POST "Transfer-Encoding: gzip, chunked\r\n\r\n",
        POST "Transfer-Encoding: xchunked\r\n\r\n",
        POST "Transfer-Encoding: identity\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct http_head head;
        struct http_body body;
        struct http_input input = { .fd = -1, .buffered = STR_INIT };
        struct error err;
        size_t used;
        int r = http_head_parse(heads[i], strlen(heads[i]), true, &head, &used, &err);
        if (r == 1) {
            r = http_body_begin(&body, &input, &head, &err);
            http_head_done(&head);
        }
        if (r >= 0)
            fail_msg("accepted: %s", heads[i]);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_end_where_they_say),
        cmocka_unit_test(chunks_are_joined),
        cmocka_unit_test(bad_chunks_are_refused),
        cmocka_unit_test(smuggling_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
