#include "netns_world.h"

#include "../test.h"
#include "base/fd.h"
#include "kernel/netlink/netlink.h"
#include "kernel/netlink/route.h"
#include "network/ipam.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int home_fd = FD_NONE;

static int this_netns(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void set_lo_up(void)
{
    int fd = netlink_open(NETLINK_ROUTE);
    assert_true(fd >= 0);
    assert_int_equal(link_set_up(fd, 1), 0);
    close(fd);
}

bool world_enter(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
        return false;
    set_lo_up();
    home_fd = this_netns();
    return true;
}

int world_new_netns(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    set_lo_up();
    int fd = this_netns();
    netns_leave(home_fd);
    return fd;
}

static void visit(int netns_fd)
{
    if (netns_fd >= 0)
        assert_int_equal(netns_enter(netns_fd), 0);
}

static struct ip_prefix network24(const char *text)
{
    struct ip_prefix p = { .length = 24 };
    assert_true(ip_parse(text, &p.ip));
    return p;
}

void world_connect(int netns_fd, const char *name, const char *host_ip, const char *netns_ip)
{
    static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
    struct link_veth veth = {
        .host_name = name, .mtu = 1500, .peer_name = "uplink", .peer_mac = mac, .peer_netns_fd = netns_fd
    };
    int fd = netlink_open(NETLINK_ROUTE);
    assert_int_equal(link_add_veth(fd, &veth), 0);
    struct ip_prefix host = network24(host_ip);
    struct link_setup inside = { .addresses[0] = network24(netns_ip), .address_count = 1 };
    assert_int_equal(address_add(fd, (unsigned)link_index(fd, name), &host), 0);
    close(fd);
    visit(netns_fd);
    fd = netlink_open(NETLINK_ROUTE);
    assert_int_equal(link_configure(fd, (unsigned)link_index(fd, "uplink"), &inside), 0);
    close(fd);
    netns_leave(home_fd);
}

static int new_socket(int netns_fd, int type)
{
    visit(netns_fd);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    netns_leave(home_fd);
    assert_true(fd >= 0);
    return fd;
}

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    assert_int_equal(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return address;
}

int world_listen(int netns_fd, int type, const char *text, uint16_t port)
{
    struct sockaddr_in a = address_of(text, port);
    int fd = new_socket(netns_fd, type), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    return poll(&p, 1, timeout_ms) == 1;
}

int world_connect_tcp(int netns_fd, const char *text, uint16_t port, int timeout_ms)
{
    struct sockaddr_in a = address_of(text, port);
    int fd = new_socket(netns_fd, SOCK_STREAM), error = 0;
    socklen_t n = sizeof error;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS)
        error = errno;
    else if (!wait_for(fd, POLLOUT, timeout_ms))
        error = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error == 0)
        return fd;
    close(fd);
    return -error;
}

bool world_reaches(int from, const char *text, uint16_t port, int listener, char *ret_peer)
{
    int fd = world_connect_tcp(from, text, port, 500);
    if (fd < 0) {
        errno = -fd;
        return false;
    }
    struct sockaddr_in peer = { 0 };
    socklen_t n = sizeof peer;
    int other =
        wait_for(listener, POLLIN, 500) ? accept4(listener, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC) : -1;
    char byte = 0;
    bool is_through = other >= 0 && write(other, "!", 1) == 1 && wait_for(fd, POLLIN, 500) &&
                      read(fd, &byte, 1) == 1 && byte == '!';
    if (ret_peer != NULL)
        inet_ntop(AF_INET, &peer.sin_addr, ret_peer, INET_ADDRSTRLEN);
    close(fd);
    if (other >= 0)
        close(other);
    return is_through;
}

bool world_echoes(int from, const char *text, uint16_t port, int responder, char *ret_peer)
{
    struct sockaddr_in a = address_of(text, port), peer = { 0 };
    socklen_t n = sizeof peer;
    char got[8] = { 0 };
    int fd = new_socket(from, SOCK_DGRAM);
    bool is_through = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && write(fd, "echo", 4) == 4 &&
                      wait_for(responder, POLLIN, 500) &&
                      recvfrom(responder, got, sizeof got, 0, (struct sockaddr *)&peer, &n) == 4 &&
                      sendto(responder, got, 4, 0, (struct sockaddr *)&peer, n) == 4 &&
                      wait_for(fd, POLLIN, 500) && read(fd, got, sizeof got) == 4 &&
                      memcmp(got, "echo", 4) == 0;
    if (ret_peer != NULL)
        inet_ntop(AF_INET, &peer.sin_addr, ret_peer, INET_ADDRSTRLEN);
    close(fd);
    return is_through;
}

static int count_link(const struct link_info *link, void *context)
{
    *(int *)context += strcmp(link->name, "lo") != 0;
    return 0;
}

int world_count_links(void)
{
    int count = 0, fd = netlink_open(NETLINK_ROUTE);
    assert_true(fd >= 0);
    assert_int_equal(link_each(fd, count_link, &count), 0);
    close(fd);
    return count;
}
