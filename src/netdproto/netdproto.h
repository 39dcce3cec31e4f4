// What skiffd and skiff-netd say to each other: the messages, encoded and checked in one place.
//
// Transport: a SOCK_SEQPACKET unix socket that skiff-netd listens at, one message a packet; descriptors by SCM_RIGHTS. A message is
// its type (4 bytes) and fields: tag (1 byte), length (2 bytes), value; numbers are in the host's order. Fields that are not known
// are skipped: skiff-netd outlives skiffd upgrades.
//
// Conversation. skiffd connects, sends BEGIN, everything that is, END (what was not said again is forgotten then),
// and from then on each change. HAS and HAS_PROXY are answered with one packet: YES or NO. Nothing else is answered: a
// name that is told twice, or taken back without having been told, does no harm.
#pragma once

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NETD_PACKET_MAX = 64 * 1024,
    NETD_FDS_MAX = 2,
    NETD_NAMES_MAX = 256,    // of one endpoint
    NETD_NETWORKS_MAX = 256, // of one container
    NETD_UPSTREAMS_MAX = 8,
    NETD_NAME_BYTES_MAX = 253, // RFC 1035 2.3.4, as text
    NETD_ID_MAX = 65
};

enum netd_message_type {
    NETD_BEGIN = 1,
    NETD_END = 2,
    NETD_NAMES =
        3, // on `network`, `container` is found under `names` at `addresses`; replaces what was told of the two
    NETD_UNNAMES = 4, // ... is not found any more
    NETD_RESOLVER =
        5, // `container` asks on `networks`, and beyond them `upstreams` (none: nobody). fds: [0] datagrams, [1] a
           // listening stream socket, both in its network namespace; without fds those that are there stay.
           // With `from`, who asks is a whole network instead, at its gateway's address
    NETD_FORGET = 6, // `container` asks no more
    NETD_HAS = 7,    // are there sockets of `container`?
    NETD_PROXY =
        8, // connections to `listen` go on to `target`. fds: [0] the listening socket; without it the one that is there stays
    NETD_UNPROXY = 9,    // `listen` no more, and its connections end
    NETD_HAS_PROXY = 10, // is there a socket at `listen`?
    NETD_YES = 100,
    NETD_NO = 101,
};

struct netd_socket {
    struct ip_address ip; // none: not told
    uint16_t port;
};

// One struct for all: the type says which members count.
struct netd_message {
    uint32_t type;
    char container[NETD_ID_MAX], network[NETD_ID_MAX];
    char **names;    // strv, owned
    char **networks; // strv, owned
    char **links;    // strv "alias=name", owned: what only this container calls another so
    struct ip_address addresses[2];
    size_t address_count;
    struct ip_address upstreams[NETD_UPSTREAMS_MAX];
    size_t upstream_count;
    struct ip_prefix from; // of a resolver: who asks from elsewhere is not answered; none: all are
    struct netd_socket listen, target;
    int fds[NETD_FDS_MAX]; // owned when received, borrowed when sent
    size_t fd_count;
};
#define NETD_MESSAGE_INIT ((struct netd_message){ .fds = { -1, -1 } })
void netd_message_done(struct netd_message *message); // closes descriptors too: use on received messages

// Bytes for the wire, into buffer[NETD_PACKET_MAX]; 0 when it does not fit.
size_t netd_encode(const struct netd_message *message, uint8_t *buffer);
// False when malformed; then there is nothing to release. fds are not touched.
bool netd_decode(const uint8_t *bytes, size_t n, struct netd_message *ret);

// 0 or -errno.
int netd_send(int fd, const struct netd_message *message);
// 1, 0 at the end, or -errno (-EBADMSG: malformed). Blocks unless the socket does not.
int netd_receive(int fd, struct netd_message *ret);
