// Server and client against each other over a unix socket, and raw bytes against the server.
#include "http/client.h"
#include "http/server.h"

#include "base/fd.h"
#include "base/mem.h"

#include "../test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fixture {
    char directory[32], address[64];
    int listener, stop_fd;
    struct http_server *server;
    pthread_t thread;
    int run_result;
};

static void serve(void *context, struct http_exchange *exchange)
{
    (void)context;
    const char *path = http_exchange_path(exchange);
    if (strcmp(path, "/echo") == 0) {
        struct str body = STR_INIT;
        int r = reader_read_all(http_exchange_body(exchange), 1 << 20, &body);
        if (r < 0)
            http_reply(exchange, 400, "text/plain", "bad", 3);
        else
            http_reply(exchange, 200, "text/plain", body.ptr, body.len);
        str_done(&body);
    } else if (strcmp(path, "/stream") == 0) {
        struct writer out = http_reply_stream(exchange, 200, "text/plain");
        for (int i = 0; i < 3; i++)
            out.write(out.context, "abc", 3);
    } else if (strcmp(path, "/cut") == 0) {
        struct writer out = http_reply_stream(exchange, 200, "text/plain");
        out.write(out.context, "abc", 3);
        http_reply_abort(exchange);
    } else if (strcmp(path, "/hijack") == 0) {
        struct str leading = STR_INIT;
        int fd;
        if (http_hijack(exchange, "application/vnd.docker.raw-stream", &fd, &leading) == 0) {
            char buffer[64];
            ssize_t n;
            fd_write_all(fd, leading.ptr, leading.len);
            while ((n = read(fd, buffer, sizeof buffer)) > 0)
                fd_write_all(fd, buffer, (size_t)n);
            fd_write_all(fd, "bye", 3);
            close(fd);
        }
        str_done(&leading);
    } else if (strcmp(path, "/hang") == 0) {
        struct pollfd p = { .fd = http_exchange_fd(exchange), .events = POLLRDHUP };
        poll(&p, 1, 10000);
        http_reply(exchange, 200, NULL, "", 0);
    } else if (strcmp(path, "/header") == 0) {
        http_exchange_add_header(exchange, "X-Good", "1");
        http_exchange_add_header(exchange, "X-Bad", "1\r\nInjected: 2");
        http_reply(exchange, 204, NULL, "", 0);
    } // else: not answered
}

static void *run(void *argument)
{
    struct fixture *f = argument;
    f->run_result = http_server_run(f->server, &f->listener, 1, f->stop_fd, 100);
    return NULL;
}

static int start(void **state)
{
    struct fixture *f = NEW(struct fixture);
    memcpy(f->directory, "/tmp/skiff-http-XXXXXX", 23);
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->address, sizeof f->address, "%s/s", f->directory);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    memcpy(address.sun_path, f->address, strlen(f->address) + 1);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    f->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(http_server_new((struct http_handler){ serve, NULL }, 4, &f->server), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(write(f->stop_fd, &(uint64_t){ 1 }, 8), 8);
    pthread_join(f->thread, NULL);
    assert_int_equal(f->run_result, 0);
    http_server_free(f->server);
    close(f->listener);
    close(f->stop_fd);
    unlink(f->address);
    rmdir(f->directory);
    free(f);
    return 0;
}

static struct http_connection *dial(struct fixture *f)
{
    struct http_connection *c;
    struct error err;
    assert_int_equal(http_connect(f->address, &c, &err), 0);
    return c;
}

static void ask(struct http_connection *c, const char *method, const char *target, const char *body, int want,
                const char *want_body)
{
    struct error err;
    struct str out = STR_INIT;
    assert_int_equal(http_request(c, method, target, NULL, NULL, body, body ? strlen(body) : 0, NULL, &err),
                     0);
    assert_int_equal(c->head.status, want);
    assert_int_equal(reader_read_all(http_body_reader(&c->body), 1 << 20, &out), 0);
    assert_string_equal(out.ptr, want_body);
    str_done(&out);
}

static void requests_share_a_connection(void **state)
{
    struct http_connection *c = dial(*state);
    ask(c, "POST", "/echo", "hello", 200, "hello");
    ask(c, "POST", "/echo", NULL, 200, "");
    ask(c, "GET", "/stream", NULL, 200, "abcabcabc");
    ask(c, "HEAD", "/echo", NULL, 200, "");
    ask(c, "GET", "/header", NULL, 204, "");
    assert_string_equal(http_head_get(&c->head, "X-Good"), "1");
    assert_null(http_head_get(&c->head, "Injected"));
    ask(c, "GET", "/nowhere", NULL, 500, "{\"message\":\"the request was not answered\"}\n");
    ask(c, "POST", "/header", "unread body", 204, ""); // what the handler leaves is skipped
    ask(c, "POST", "/echo", "again", 200, "again");
    http_connection_free(c);
}

static ssize_t read_counting(void *context, void *buffer, size_t n)
{
    int *left = context;
    if (*left == 0)
        return 0;
    (*left)--;
    memset(buffer, 'x', n < 10 ? n : 10);
    return n < 10 ? (ssize_t)n : 10;
}

static void bodies_stream_both_ways(void **state)
{
    struct http_connection *c = dial(*state);
    int left = 3;
    struct reader stream = { read_counting, &left };
    struct error err;
    struct str out = STR_INIT;
    assert_int_equal(http_request(c, "POST", "/echo", NULL, "application/x-tar", NULL, 0, &stream, &err), 0);
    assert_int_equal(reader_read_all(http_body_reader(&c->body), 1 << 20, &out), 0);
    assert_int_equal(out.len, 30);
    str_done(&out);
    http_connection_free(c);
}

static void a_cut_stream_is_seen(void **state)
{
    struct http_connection *c = dial(*state);
    struct error err;
    struct str out = STR_INIT;
    assert_int_equal(http_request(c, "GET", "/cut", NULL, NULL, NULL, 0, NULL, &err), 0);
    assert_true(reader_read_all(http_body_reader(&c->body), 1 << 20, &out) < 0);
    str_done(&out);
    http_connection_free(c);
}

static void hijack(struct fixture *f, bool upgrades, int want_status)
{
    struct http_connection *c = dial(f);
    struct error err;
    char *const headers[] = { (char[]){ "Connection: Upgrade" }, (char[]){ "Upgrade: tcp" }, NULL };
    assert_int_equal(http_request(c, "POST", "/hijack", upgrades ? headers : NULL, NULL, NULL, 0, NULL, &err),
                     0);
    assert_int_equal(c->head.status, want_status);
    assert_int_equal(fd_write_all(c->fd, "ping", 4), 0);
    shutdown(c->fd, SHUT_WR); // half-close: the answer must still come
    struct str out = STR_INIT;
    str_append_n(&out, c->input.buffered.ptr, c->input.buffered.len);
    assert_int_equal(reader_read_all(reader_from_fd(&c->fd), 1000, &out), 0);
    assert_string_equal(out.ptr, "pingbye");
    str_done(&out);
    http_connection_free(c);
}

static void a_connection_can_leave_http(void **state)
{
    hijack(*state, true, 101);
    hijack(*state, false, 200);
}

static char *raw(struct fixture *f, const char *text)
{
    struct http_connection *c = dial(f);
    assert_int_equal(fd_write_all(c->fd, text, strlen(text)), 0);
    shutdown(c->fd, SHUT_WR);
    struct str out = STR_INIT;
    reader_read_all(reader_from_fd(&c->fd), 1 << 20, &out);
    http_connection_free(c);
    return str_take(&out);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    return n;
}

static void raw_bytes(void **state)
{
    static const struct {
        const char *send;
        unsigned answers;
        const char *first;
    } cases[] = {
        { "GET /header HTTP/1.1\r\nHost: a\r\n\r\nGET /header HTTP/1.1\r\nHost: a\r\n\r\n", 2,
          "HTTP/1.1 204" }, // pipelined
        { "GET /header HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /header HTTP/1.1\r\nHost: "
          "a\r\n\r\n",
          1, "HTTP/1.1 204" },
        { "GET /header HTTP/1.1\r\n\r\n", 1, "HTTP/1.1 400" },                       // no Host
        { "GET /header HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 1, "HTTP/1.1 400" }, // two
        { "GET /header HTTP/1.0\r\n\r\nGET /header HTTP/1.0\r\n\r\n", 1, "HTTP/1.1 204" },
        { "GET /stream HTTP/1.0\r\n\r\n", 1, "HTTP/1.1 200" },
        { "GET http://docker/header?a=1 HTTP/1.1\r\nHost: a\r\n\r\n", 1, "HTTP/1.1 204" },
        { "GET /header?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 1, "HTTP/1.1 400" },
        { "nonsense\r\n\r\n", 1, "HTTP/1.1 400" },
        // A smuggled request must never be answered.
        { "POST /header HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
          "0\r\n\r\nGET /header HTTP/1.1\r\nHost: a\r\n\r\n",
          1, "HTTP/1.1 400" },
        { "POST /header HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
          "GET /header HTTP/1.1\r\nHost: a\r\n\r\n",
          1, "HTTP/1.1 204" },
        { "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", 2,
          "HTTP/1.1 100" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = raw(*state, cases[i].send);
        if (count(got, "HTTP/1.1 ") != cases[i].answers || !str_has_prefix(got, cases[i].first))
            fail_msg("case %zu: got %s", i, got);
        free(got);
    }
}

// More clients than connections allowed: all are served in the end. And a hanging request does not hold up the end.
static void many_and_hanging(void **state)
{
    for (int round = 0; round < 20; round++) {
        struct http_connection *c = dial(*state);
        ask(c, "POST", "/echo", "x", 200, "x");
        http_connection_free(c);
    }
    struct http_connection *c = dial(*state);
    assert_int_equal(fd_write_all(c->fd, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n", 31), 0);
    stop(state);
    http_connection_free(c);
    *state = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_share_a_connection, start, stop),
        cmocka_unit_test_setup_teardown(bodies_stream_both_ways, start, stop),
        cmocka_unit_test_setup_teardown(a_cut_stream_is_seen, start, stop),
        cmocka_unit_test_setup_teardown(a_connection_can_leave_http, start, stop),
        cmocka_unit_test_setup_teardown(raw_bytes, start, stop),
        cmocka_unit_test_setup(many_and_hanging, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
