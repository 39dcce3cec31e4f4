#include "base/fd.h"
#include "base/mem.h"
#include "shimproto/shimproto.h"

#include "../test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void descriptors_travel(void **state)
{
    (void)state;
    int pair[2], fds[SHIM_FDS_MAX];
    size_t count = 0;
    struct shim_message in = { .type = SHIM_EXEC, .exec_id = "abc" }, out;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int memfd = fd_from_bytes("test", "hello", 5);
    assert_true(memfd >= 0);
    assert_int_equal(shimproto_send(pair[0], &in, (int[]){ memfd, memfd }, 2), 0);
    assert_int_equal(shimproto_receive(pair[1], &out, fds, &count), 1);
    assert_int_equal(count, 2);
    assert_string_equal(out.exec_id, "abc");
    char text[5];
    assert_int_equal(pread(fds[1], text, 5, 0), 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    fd_close(fds[0]);
    fd_close(fds[1]);
    fd_close(memfd);
    fd_close(pair[0]);
    assert_int_equal(shimproto_receive(pair[1], &out, fds, &count), 0);
    assert_int_equal(shimproto_send(pair[1], &in, NULL, 0), -EPIPE);
    fd_close(pair[1]);
}

// A peer that ends with packets of ours unread resets the connection; its last words must be heard all the same.
static void last_words_survive_a_reset(void **state)
{
    (void)state;
    int pair[2], fds[SHIM_FDS_MAX];
    size_t count = 0;
    struct shim_message go = { .type = SHIM_GO }, last = { .type = SHIM_EXEC, .exec_id = "last" }, out;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(shimproto_send(pair[0], &go, NULL, 0), 0); // never read
    assert_int_equal(shimproto_send(pair[1], &last, NULL, 0), 0);
    fd_close(pair[1]);
    assert_int_equal(shimproto_receive(pair[0], &out, fds, &count), 1);
    assert_string_equal(out.exec_id, "last");
    assert_int_equal(shimproto_receive(pair[0], &out, fds, &count), 0);
    fd_close(pair[0]);
}

static void malformed_packets_leave_no_descriptor(void **state)
{
    (void)state;
    int pair[2], fds[SHIM_FDS_MAX];
    size_t count = 0;
    struct shim_message out;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int before = dup(0);
    fd_close(before);
    char garbage[SHIM_PACKET_MAX + 100] = "garbage";
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {
        .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS }
    };
    memcpy(CMSG_DATA(&control.header), &pair[0], sizeof(int));
    for (int round = 0; round < 2; round++) {
        struct iovec iov = { .iov_base = garbage, .iov_len = round ? sizeof garbage : 7 };
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
        };
        assert_true(sendmsg(pair[0], &msg, 0) > 0);
        assert_int_equal(shimproto_receive(pair[1], &out, fds, &count), -EPROTO);
    }
    int after = dup(0);
    assert_int_equal(before, after);
    fd_close(after);
    fd_close(pair[0]);
    fd_close(pair[1]);
}

static void long_paths_are_listened_on(void **state)
{
    (void)state;
    char dir[160] = "/tmp/skiff-transport-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *deep CLEANUP(cleanup_free) = xasprintf("%s/%0100d", dir, 7);
    char *path CLEANUP(cleanup_free) = xasprintf("%s/shim.sock", deep);
    assert_int_equal(mkdir(deep, 0700), 0);
    assert_int_equal(shimproto_connect(path), -ENOENT);
    int listener = shimproto_listen(path);
    assert_true(listener >= 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int client = shimproto_connect(path);
    assert_true(client >= 0);
    fd_close(client);
    fd_close(listener);
    assert_int_equal(shimproto_connect(path), -ECONNREFUSED);
    listener = shimproto_listen(path); // over the dead one
    assert_true(listener >= 0);
    fd_close(listener);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(deep), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_travel),
        cmocka_unit_test(last_words_survive_a_reset),
        cmocka_unit_test(malformed_packets_leave_no_descriptor),
        cmocka_unit_test(long_paths_are_listened_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
