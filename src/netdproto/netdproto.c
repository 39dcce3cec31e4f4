#include "netdproto/netdproto.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum field {
    FIELD_CONTAINER = 1,
    FIELD_NETWORK = 2,
    FIELD_NAME = 3,
    FIELD_NETWORKS = 4,
    FIELD_ADDRESS = 5,
    FIELD_UPSTREAM = 6,
    FIELD_LINK = 7,
    FIELD_FROM = 8,
    FIELD_LISTEN = 9,
    FIELD_TARGET = 10
};
enum { HEADER_BYTES = 4, FIELD_HEADER_BYTES = 3, LINK_BYTES_MAX = 2 * NETD_NAME_BYTES_MAX + 1 };

void netd_message_done(struct netd_message *m)
{
    strv_free(m->names);
    strv_free(m->networks);
    strv_free(m->links);
    for (size_t i = 0; i < m->fd_count; i++)
        fd_close(m->fds[i]);
    *m = NETD_MESSAGE_INIT;
}

// --- encode
struct out {
    uint8_t *bytes;
    size_t n;
    bool has_failed;
};

static void put(struct out *o, enum field tag, const void *value, size_t n)
{
    uint16_t len = (uint16_t)n;
    if (o->has_failed || n > UINT16_MAX || o->n + FIELD_HEADER_BYTES + n > NETD_PACKET_MAX) {
        o->has_failed = true;
        return;
    }
    o->bytes[o->n] = (uint8_t)tag;
    memcpy(o->bytes + o->n + 1, &len, sizeof len);
    if (n > 0)
        memcpy(o->bytes + o->n + FIELD_HEADER_BYTES, value, n);
    o->n += FIELD_HEADER_BYTES + n;
}

static void put_text(struct out *o, enum field tag, const char *text)
{
    if (*text)
        put(o, tag, text, strlen(text));
}

// What decode would refuse is not sent: the sender is told.
static void put_list(struct out *o, enum field tag, char *const *list, size_t bytes_max, size_t count_max)
{
    o->has_failed |= strv_len(list) > count_max;
    for (size_t i = 0; list && list[i]; i++) {
        size_t n = strlen(list[i]);
        o->has_failed |= n == 0 || n > bytes_max;
        put(o, tag, list[i], n);
    }
}

// The address, then the length.
static void put_prefix(struct out *o, enum field tag, const struct ip_prefix *prefix)
{
    uint8_t value[IP_BYTES_MAX + 1];
    size_t n = ip_byte_count(&prefix->ip);
    if (ip_is_none(&prefix->ip))
        return;
    memcpy(value, prefix->ip.bytes, n);
    value[n] = prefix->length;
    put(o, tag, value, n + 1);
}

// The address, then the port.
static void put_socket(struct out *o, enum field tag, const struct netd_socket *s)
{
    uint8_t value[IP_BYTES_MAX + sizeof s->port];
    size_t n = ip_byte_count(&s->ip);
    if (ip_is_none(&s->ip))
        return;
    memcpy(value, s->ip.bytes, n);
    memcpy(value + n, &s->port, sizeof s->port);
    put(o, tag, value, n + sizeof s->port);
}

size_t netd_encode(const struct netd_message *m, uint8_t *buffer)
{
    struct out o = { buffer, HEADER_BYTES, false };
    memcpy(buffer, &m->type, HEADER_BYTES);
    put_text(&o, FIELD_CONTAINER, m->container);
    put_text(&o, FIELD_NETWORK, m->network);
    put_list(&o, FIELD_NAME, m->names, NETD_NAME_BYTES_MAX, NETD_NAMES_MAX);
    put_list(&o, FIELD_NETWORKS, m->networks, NETD_ID_MAX - 1, NETD_NETWORKS_MAX);
    put_list(&o, FIELD_LINK, m->links, LINK_BYTES_MAX, NETD_NAMES_MAX);
    for (size_t i = 0; i < m->address_count; i++)
        put(&o, FIELD_ADDRESS, m->addresses[i].bytes, ip_byte_count(&m->addresses[i]));
    for (size_t i = 0; i < m->upstream_count; i++)
        put(&o, FIELD_UPSTREAM, m->upstreams[i].bytes, ip_byte_count(&m->upstreams[i]));
    put_prefix(&o, FIELD_FROM, &m->from);
    put_socket(&o, FIELD_LISTEN, &m->listen);
    put_socket(&o, FIELD_TARGET, &m->target);
    return o.has_failed ? 0 : o.n;
}

// --- decode
static bool take_text(const uint8_t *value, size_t n, char *to, size_t size)
{
    if (n >= size || memchr(value, 0, n))
        return false;
    memcpy(to, value, n);
    to[n] = '\0';
    return true;
}

static bool take_item(const uint8_t *value, size_t n, size_t bytes_max, size_t count_max, char ***list)
{
    if (n == 0 || n > bytes_max || memchr(value, 0, n) || strv_len(*list) >= count_max)
        return false;
    strv_take(list, xstrndup((const char *)value, n));
    return true;
}

static bool take_ip(const uint8_t *value, size_t n, struct ip_address *list, size_t count_max, size_t *count)
{
    if ((n != 4 && n != 16) || *count >= count_max)
        return false;
    struct ip_address *ip = &list[(*count)++];
    *ip = (struct ip_address){ .family = n == 4 ? AF_INET : AF_INET6 };
    memcpy(ip->bytes, value, n);
    return true;
}

static bool take_prefix(const uint8_t *value, size_t n, struct ip_prefix *ret)
{
    size_t count = 0;
    if (n == 0 || !take_ip(value, n - 1, &ret->ip, 1, &count) || value[n - 1] > ip_bit_count(&ret->ip))
        return false;
    ret->length = value[n - 1];
    return true;
}

static bool take_socket(const uint8_t *value, size_t n, struct netd_socket *ret)
{
    size_t count = 0;
    if (n < sizeof ret->port || !take_ip(value, n - sizeof ret->port, &ret->ip, 1, &count))
        return false;
    memcpy(&ret->port, value + n - sizeof ret->port, sizeof ret->port);
    return true;
}

static bool take_field(struct netd_message *m, uint8_t tag, const uint8_t *value, size_t n)
{
    switch (tag) {
    case FIELD_CONTAINER:
        return take_text(value, n, m->container, sizeof m->container);
    case FIELD_NETWORK:
        return take_text(value, n, m->network, sizeof m->network);
    case FIELD_NAME:
        return take_item(value, n, NETD_NAME_BYTES_MAX, NETD_NAMES_MAX, &m->names);
    case FIELD_NETWORKS:
        return take_item(value, n, NETD_ID_MAX - 1, NETD_NETWORKS_MAX, &m->networks);
    case FIELD_LINK:
        return take_item(value, n, LINK_BYTES_MAX, NETD_NAMES_MAX, &m->links);
    case FIELD_ADDRESS:
        return take_ip(value, n, m->addresses, 2, &m->address_count);
    case FIELD_UPSTREAM:
        return take_ip(value, n, m->upstreams, NETD_UPSTREAMS_MAX, &m->upstream_count);
    case FIELD_FROM:
        return take_prefix(value, n, &m->from);
    case FIELD_LISTEN:
        return take_socket(value, n, &m->listen);
    case FIELD_TARGET:
        return take_socket(value, n, &m->target);
    default:
        return true; // of a newer skiffd
    }
}

bool netd_decode(const uint8_t *bytes, size_t n, struct netd_message *ret)
{
    struct netd_message m = NETD_MESSAGE_INIT;
    bool is_sound = n >= HEADER_BYTES;
    if (is_sound)
        memcpy(&m.type, bytes, HEADER_BYTES);
    for (size_t at = HEADER_BYTES; is_sound && at < n;) {
        uint16_t len;
        is_sound = n - at >= FIELD_HEADER_BYTES;
        if (!is_sound)
            break;
        memcpy(&len, bytes + at + 1, sizeof len);
        is_sound = n - at - FIELD_HEADER_BYTES >= len &&
                   take_field(&m, bytes[at], bytes + at + FIELD_HEADER_BYTES, len);
        at += (size_t)FIELD_HEADER_BYTES + len;
    }
    if (!is_sound) {
        netd_message_done(&m);
        return false;
    }
    *ret = m;
    return true;
}

// --- transport
int netd_send(int fd, const struct netd_message *m)
{
    uint8_t buffer[NETD_PACKET_MAX];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(NETD_FDS_MAX * sizeof(int))];
    } control = { 0 };
    struct iovec part = { buffer, netd_encode(m, buffer) };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (part.iov_len == 0)
        return -EMSGSIZE;
    if (m->fd_count > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(m->fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), m->fds, m->fd_count * sizeof(int));
    }
    ssize_t r;
    do
        r = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static void take_fds(const struct msghdr *message, struct netd_message *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && m->fd_count < NETD_FDS_MAX; i++)
            memcpy(&m->fds[m->fd_count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
}

int netd_receive(int fd, struct netd_message *ret)
{
    uint8_t buffer[NETD_PACKET_MAX];
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(NETD_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = { buffer, sizeof buffer };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room
    };
    struct netd_message fds = NETD_MESSAGE_INIT;
    ssize_t n;
    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    take_fds(&message, &fds);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !netd_decode(buffer, (size_t)n, ret)) {
        netd_message_done(&fds);
        return -EBADMSG;
    }
    memcpy(ret->fds, fds.fds, sizeof ret->fds);
    ret->fd_count = fds.fd_count;
    return 1;
}
