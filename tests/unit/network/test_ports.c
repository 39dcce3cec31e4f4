// Claims on host ports, against each other and against sockets of this process; no privileges.
#include "network/ports.h"

#include "base/mem.h"
#include "base/str.h"

#include "../test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct ip_address LOOPBACK = { AF_INET, { 127, 0, 0, 1 } },
                               LOOPBACK_2 = { AF_INET, { 127, 0, 0, 2 } },
                               TEST_NET = { AF_INET, { 192, 0, 2, 1 } }, ANY = { AF_INET, { 0 } },
                               ANY6 = { AF_INET6, { 0 } }, LOOPBACK6 = { AF_INET6, { [15] = 1 } };

// A socket of this process bound (and, for TCP, listening) to an ephemeral loopback port; *ret_port is which.
static int listen_somewhere(int type, uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static uint16_t port_nobody_listens_on(void)
{
    uint16_t port;
    close(listen_somewhere(SOCK_STREAM, &port));
    return port;
}

static int claim(struct port_table *t, enum network_protocol protocol, struct ip_address ip, uint16_t first,
                 uint16_t last, uint16_t *ret, struct error *err)
{
    struct network_port want = {
        .protocol = protocol, .container_port = 80, .host_port = first, .last_host_port = last
    };
    return ports_claim(t, &want, &ip, "172.17.0.2", false, NULL, ret, err);
}

static void test_conflicts(void **state)
{
    (void)state;
    struct port_table t;
    struct error err = { 0 };
    uint16_t port = port_nobody_listens_on(), got = 0;
    char expected[200];
    ports_init(&t);
    assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK, port, 0, &got, &err), 0);
    assert_int_equal(got, port);
    snprintf(expected, sizeof expected, "Bind for 127.0.0.1:%u failed: port is already allocated", port);
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK, port, 0, &got, &err) < 0);
    assert_string_equal(err.message, expected);
    assert_int_equal(err.kind, ERROR_INTERNAL);
    snprintf(expected, sizeof expected, "Bind for 0.0.0.0:%u failed: port is already allocated", port);
    assert_true(claim(&t, NETWORK_TCP, ANY, port, 0, &got, &err) < 0); // every address meets one address
    assert_string_equal(err.message, expected);
    assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK_2, port, 0, &got, &err), 0); // another address
    assert_int_equal(claim(&t, NETWORK_UDP, LOOPBACK, port, 0, &got, &err), 0);   // another protocol
    ports_give_back(&t, NETWORK_TCP, &LOOPBACK, port);
    ports_give_back(&t, NETWORK_TCP, &LOOPBACK, port);
    ports_give_back(&t, NETWORK_TCP, &LOOPBACK_2, port);
    assert_int_equal(claim(&t, NETWORK_TCP, ANY, port, 0, &got, &err), 0);
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK, port, 0, &got, &err) < 0); // one address meets every address
    assert_int_equal(t.count, 2);
    ports_done(&t);
}

static int claim_shared(struct port_table *t, struct ip_address ip, uint16_t port, char **sharers)
{
    const struct network_port want = { .protocol = NETWORK_TCP, .container_port = 80, .host_port = port };
    struct error ignored;
    uint16_t got;
    return ports_claim(t, &want, &ip, "172.17.0.2", false, sharers, &got, &ignored);
}

// Who has a name in common with all holders may hold it, too; the claim ends with the last.
static void test_sharers(void **state)
{
    (void)state;
    struct port_table t;
    uint16_t port = port_nobody_listens_on();
    char **first CLEANUP(strv_freep) = strv_split("n/one n/web", " ", false);
    char **second CLEANUP(strv_freep) = strv_split("n/two n/web", " ", false);
    char **third CLEANUP(strv_freep) = strv_split("n/one", " ", false);
    char **fourth CLEANUP(strv_freep) = strv_split("m/web", " ", false);
    ports_init(&t);
    assert_int_equal(claim_shared(&t, ANY, port, first), 0);
    assert_false(ports_is_shared(&t, NETWORK_TCP, &ANY, port));
    assert_int_equal(claim_shared(&t, ANY, port, second), 0);
    assert_true(ports_is_shared(&t, NETWORK_TCP, &ANY, port));
    assert_true(claim_shared(&t, ANY, port, third) < 0);       // the second is not called so
    assert_true(claim_shared(&t, ANY, port, fourth) < 0);      // another network's
    assert_true(claim_shared(&t, ANY, port, NULL) < 0);        // nobody's
    assert_true(claim_shared(&t, LOOPBACK, port, second) < 0); // another address
    ports_give_back(&t, NETWORK_TCP, &ANY, port);
    assert_false(ports_is_shared(&t, NETWORK_TCP, &ANY, port));
    assert_true(claim_shared(&t, ANY, port, NULL) < 0);
    ports_give_back(&t, NETWORK_TCP, &ANY, port);
    assert_int_equal(t.count, 0);
    assert_int_equal(claim_shared(&t, ANY, port, NULL), 0);
    ports_done(&t);
}

// Each family has claims of its own.
static void test_families(void **state)
{
    (void)state;
    struct port_table t;
    struct error err = { 0 };
    uint16_t port = port_nobody_listens_on(), got = 0;
    char expected[200];
    ports_init(&t);
    assert_int_equal(claim(&t, NETWORK_TCP, ANY, port, 0, &got, &err), 0);
    assert_int_equal(claim(&t, NETWORK_TCP, ANY6, port, 0, &got, &err), 0);
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK6, port, 0, &got, &err) < 0);
    snprintf(expected, sizeof expected, "Bind for [::1]:%u failed: port is already allocated", port);
    assert_string_equal(err.message, expected);
    ports_give_back(&t, NETWORK_TCP, &ANY, port);
    assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK, port, 0, &got, &err), 0);
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK6, port, 0, &got, &err) < 0);
    ports_done(&t);
}

static void test_listeners(void **state)
{
    (void)state;
    struct port_table t;
    struct error err = { 0 };
    uint16_t tcp, udp, got;
    char expected[200];
    int tcp_fd = listen_somewhere(SOCK_STREAM, &tcp), udp_fd = listen_somewhere(SOCK_DGRAM, &udp);
    ports_init(&t);
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK, tcp, 0, &got, &err) < 0);
    snprintf(expected, sizeof expected,
             "failed to bind host port for 127.0.0.1:%u:172.17.0.2:80/tcp: address already in use", tcp);
    assert_string_equal(err.message, expected);
    assert_true(claim(&t, NETWORK_TCP, ANY, tcp, 0, &got, &err) < 0);
    assert_true(claim(&t, NETWORK_UDP, LOOPBACK, udp, 0, &got, &err) < 0);
    assert_non_null(strstr(err.message, "/udp: address already in use"));
    assert_true(claim(&t, NETWORK_TCP, TEST_NET, tcp, 0, &got, &err) < 0); // not an address of this host
    assert_non_null(strstr(err.message, "cannot assign requested address"));
    assert_int_equal(t.count, 0);
    // Our own from before a restart: what listens there is not asked.
    struct network_port mine = { .protocol = NETWORK_TCP, .host_port = tcp };
    assert_int_equal(ports_claim(&t, &mine, &LOOPBACK, "172.17.0.2", true, NULL, &got, &err), 0);
    ports_give_back(&t, NETWORK_TCP, &LOOPBACK, tcp);
    close(tcp_fd);
    close(udp_fd);
    assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK, tcp, 0, &got, &err), 0);
    ports_done(&t);
}

static void test_range_and_random(void **state)
{
    (void)state;
    struct port_table t;
    struct error err = { 0 };
    uint16_t busy, got, before = 0;
    int fd = listen_somewhere(SOCK_STREAM, &busy);
    ports_init(&t);
    if (busy < 65500) { // the busy one is passed over
        assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK, busy, (uint16_t)(busy + 30), &got, &err), 0);
        assert_in_range(got, busy + 1, busy + 30);
    }
    for (int i = 0; i < 200; i++) {
        assert_int_equal(claim(&t, NETWORK_TCP, LOOPBACK, 0, 0, &got, &err), 0);
        assert_in_range(got, t.first_random, t.last_random);
        assert_int_not_equal(got, before);
        before = got;
    }
    t.first_random = t.last_random = t.next_random = before; // one port to choose from, and it is taken
    assert_true(claim(&t, NETWORK_TCP, LOOPBACK, 0, 0, &got, &err) < 0);
    assert_string_equal(err.message, "all ports are allocated");
    close(fd);
    ports_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conflicts),        cmocka_unit_test(test_sharers),
        cmocka_unit_test(test_families),         cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_range_and_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
