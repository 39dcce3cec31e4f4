// What is said is what is heard; what is malformed or out of bounds is refused on either side, and leaves nothing behind.
#include "../test.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "netdproto/netdproto.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t packet[NETD_PACKET_MAX];

static struct netd_message sample(void)
{
    static char web[] = "web", www[] = "www", n1[] = "n1", db[] = "db=database";
    static char *names[] = { web, www, NULL }, *networks[] = { n1, NULL }, *links[] = { db, NULL };
    struct netd_message m = NETD_MESSAGE_INIT;
    m.type = NETD_RESOLVER;
    memcpy(m.container, "c1", 3);
    memcpy(m.network, "n1", 3);
    m.names = names;
    m.networks = networks;
    m.links = links;
    m.addresses[m.address_count++] = (struct ip_address){ AF_INET, { 10, 0, 0, 2 } };
    m.addresses[m.address_count++] = (struct ip_address){ AF_INET6, { 0xfd, [15] = 2 } };
    m.upstreams[m.upstream_count++] = (struct ip_address){ AF_INET, { 192, 0, 2, 53 } };
    m.listen = (struct netd_socket){ { .family = AF_INET6 }, 8080 };
    m.target = (struct netd_socket){ m.addresses[0], 80 };
    return m;
}

static void test_what_is_said_is_heard(void **state)
{
    (void)state;
    struct netd_message m = sample(), got;
    assert_true(ip_prefix_parse("172.17.0.0/16", &m.from));
    size_t n = netd_encode(&m, packet);
    assert_true(n > 0 && netd_decode(packet, n, &got));
    assert_true(ip_prefix_equals(&got.from, &m.from));
    assert_int_equal(got.type, NETD_RESOLVER);
    assert_string_equal(got.container, "c1");
    assert_string_equal(got.network, "n1");
    assert_int_equal(strv_len(got.names), 2);
    assert_string_equal(got.names[1], "www");
    assert_string_equal(got.networks[0], "n1");
    assert_string_equal(got.links[0], "db=database");
    assert_int_equal(got.address_count, 2);
    assert_true(ip_equals(&got.addresses[0], &m.addresses[0]) &&
                ip_equals(&got.addresses[1], &m.addresses[1]));
    assert_int_equal(got.upstream_count, 1);
    assert_true(ip_equals(&got.upstreams[0], &m.upstreams[0]));
    assert_true(ip_equals(&got.listen.ip, &m.listen.ip) && ip_equals(&got.target.ip, &m.target.ip));
    assert_int_equal(got.listen.port, 8080);
    assert_int_equal(got.target.port, 80);
    netd_message_done(&got);
}

static void test_cut_off_anywhere(void **state)
{
    (void)state;
    struct netd_message m = sample(), got;
    size_t n = netd_encode(&m, packet);
    unsigned whole = 0;
    for (size_t i = 0; i < n; i++)
        if (netd_decode(packet, i, &got)) { // between two fields
            whole++;
            netd_message_done(&got);
        }
    assert_int_equal(whole, 11); // the type alone, and after each field but the last
}

// type, then one field
static bool decodes(uint8_t tag, const void *value, uint16_t n)
{
    struct netd_message got;
    memset(packet, 0, 4);
    packet[4] = tag;
    memcpy(packet + 5, &n, sizeof n);
    memcpy(packet + 7, value, n);
    bool is_sound = netd_decode(packet, 7u + n, &got);
    if (is_sound)
        netd_message_done(&got);
    return is_sound;
}

static void test_malformed_fields(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof text);
    assert_true(decodes(1, text, NETD_ID_MAX - 1));
    assert_false(decodes(1, text, NETD_ID_MAX)); // container
    assert_false(decodes(2, text, NETD_ID_MAX)); // network
    assert_true(decodes(3, text, NETD_NAME_BYTES_MAX));
    assert_false(decodes(3, text, NETD_NAME_BYTES_MAX + 1)); // name
    assert_false(decodes(3, text, 0));
    assert_false(decodes(3, "a\0b", 3));
    assert_false(decodes(4, text, NETD_ID_MAX));                 // network of a resolver
    assert_false(decodes(7, text, 2 * NETD_NAME_BYTES_MAX + 2)); // link
    for (uint16_t n = 0; n < 20; n++) {
        assert_true(decodes(5, text, n) == (n == 4 || n == 16)); // address
        assert_true(decodes(6, text, n) == (n == 4 || n == 16)); // upstream
        assert_true(decodes(9, text, n) == (n == 6 || n == 18)); // where to listen
        assert_true(decodes(10, text, n) == (n == 6 || n == 18));
    }
    assert_false(decodes(8, "", 0)); // who may ask
    assert_false(decodes(8, "\x0a\0\0\0\x21", 5));
    assert_true(decodes(8, "\x0a\0\0\0\x20", 5));
    assert_true(decodes(200, text, 100)); // of a newer skiffd
}

static size_t repeat(uint8_t tag, const void *value, uint16_t n, size_t count)
{
    size_t at = 4;
    memset(packet, 0, at);
    for (size_t i = 0; i < count; i++, at += 3u + n) {
        packet[at] = tag;
        memcpy(packet + at + 1, &n, sizeof n);
        memcpy(packet + at + 3, value, n);
    }
    return at;
}

static void test_no_more_than_there_is_room_for(void **state)
{
    (void)state;
    const struct {
        uint8_t tag;
        size_t most;
    } cases[] = { { 3, NETD_NAMES_MAX },
                  { 4, NETD_NETWORKS_MAX },
                  { 5, 2 },
                  { 6, NETD_UPSTREAMS_MAX },
                  { 7, NETD_NAMES_MAX } };
    struct netd_message got;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(netd_decode(packet, repeat(cases[i].tag, "aaaa", 4, cases[i].most), &got));
        netd_message_done(&got);
        assert_false(netd_decode(packet, repeat(cases[i].tag, "aaaa", 4, cases[i].most + 1), &got));
    }
}

// The sender learns what the other side would refuse.
static void test_what_would_be_refused_is_not_sent(void **state)
{
    (void)state;
    static char name[] = "n";
    char *many[NETD_NAMES_MAX + 2] = { NULL }, long_name[NETD_NAME_BYTES_MAX + 2];
    struct netd_message m = NETD_MESSAGE_INIT;
    for (size_t i = 0; i <= NETD_NAMES_MAX; i++)
        many[i] = name;
    m.names = many;
    assert_int_equal(netd_encode(&m, packet), 0);
    many[NETD_NAMES_MAX] = NULL;
    assert_true(netd_encode(&m, packet) > 0);
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    many[0] = long_name;
    assert_int_equal(netd_encode(&m, packet), 0);
    assert_int_equal(netd_send(FD_NONE, &m), -EMSGSIZE);
    many[0] = (char[]){ "" };
    assert_int_equal(netd_encode(&m, packet), 0);
}

static unsigned open_count(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_descriptors(void **state)
{
    (void)state;
    int pair[2], pipes[2];
    struct netd_message m = sample(), got;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    unsigned before = open_count();
    memcpy(m.fds, pipes, sizeof pipes);
    m.fd_count = 2;
    assert_int_equal(netd_send(pair[0], &m), 0);
    assert_int_equal(netd_receive(pair[1], &got), 1);
    assert_int_equal(got.fd_count, 2);
    assert_int_equal(write(got.fds[1], "x", 1), 1);
    assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
    netd_message_done(&got);
    // A malformed packet's descriptors are closed.
    struct iovec part = { (char[]){ "\1\0\0\0\5" }, 5 };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = { 0 };
    struct msghdr raw = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&raw);
    *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof pipes),
                           .cmsg_level = SOL_SOCKET,
                           .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(c), pipes, sizeof pipes);
    assert_int_equal(sendmsg(pair[0], &raw, 0), 5);
    assert_int_equal(netd_receive(pair[1], &got), -EBADMSG);
    assert_int_equal(open_count(), before);
    fd_close(pair[0]);
    assert_int_equal(netd_receive(pair[1], &got), 0);
    fd_close(pair[1]);
    fd_close(pipes[0]);
    fd_close(pipes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_is_heard),
        cmocka_unit_test(test_cut_off_anywhere),
        cmocka_unit_test(test_malformed_fields),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
        cmocka_unit_test(test_what_would_be_refused_is_not_sent),
        cmocka_unit_test(test_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
