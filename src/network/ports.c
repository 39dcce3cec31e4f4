// Theory of operation: a claim is made in the table first, so that no two containers race for it, and then
// tried against the host: a socket is bound to the very address and closed again. Nothing is held open: the
// traffic never reaches a socket (nftables sends it on), and a thousand published ports must not cost a
// thousand descriptors. What that gives up: a process that starts to listen on a published port later is not
// refused, it just hears nothing from outside.
#include "network/ports.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

static const struct {
    const char *name;
    uint8_t number;
    int socket_type;
} protocols[] = {
    [NETWORK_TCP] = { "tcp", IPPROTO_TCP, SOCK_STREAM },
    [NETWORK_UDP] = { "udp", IPPROTO_UDP, SOCK_DGRAM },
    [NETWORK_SCTP] = { "sctp", IPPROTO_SCTP, SOCK_STREAM },
};
_Static_assert(sizeof protocols / sizeof *protocols == PROTOCOL_COUNT, "one row per protocol");

const char *network_protocol_name(enum network_protocol protocol)
{
    return protocols[protocol].name;
}

uint8_t network_protocol_number(enum network_protocol protocol)
{
    return protocols[protocol].number;
}

// --- table
static void read_random_range(uint16_t *ret_first, uint16_t *ret_last)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    unsigned first, last;
    *ret_first = 32768;
    *ret_last = 60999;
    if (file_read_at(AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", 64, &text) < 0)
        return;
    if (sscanf(text.ptr, "%u %u", &first, &last) != 2 || first == 0 || last > 65535 || first > last)
        return;
    *ret_first = (uint16_t)first;
    *ret_last = (uint16_t)last;
}

void ports_init(struct port_table *t)
{
    uint16_t seed = 0;
    *t = (struct port_table){ 0 };
    pthread_mutex_init(&t->lock, NULL);
    read_random_range(&t->first_random, &t->last_random);
    (void)!getrandom(&seed, sizeof seed, 0); // any beginning will do
    t->next_random = (uint16_t)(t->first_random + seed % (t->last_random - t->first_random + 1));
}

void ports_done(struct port_table *t)
{
    for (size_t i = 0; i < PORT_BUCKETS; i++)
        for (struct port_claim *c = t->buckets[i], *next; c != NULL; c = next) {
            next = c->next;
            strv_free(c->sharers);
            free(c);
        }
    pthread_mutex_destroy(&t->lock);
}

static struct port_claim **bucket_of(struct port_table *t, uint16_t port)
{
    return &t->buckets[port % PORT_BUCKETS];
}

// A claim on every address meets each claim on the port.
static bool meets(const struct ip_address *a, const struct ip_address *b)
{
    return a->family == b->family && (ip_equals(a, b) || ip_is_any(a) || ip_is_any(b));
}

enum claim_result { CLAIM_REFUSED, CLAIM_NEW, CLAIM_JOINED };

static char **common(char *const *a, char *const *b)
{
    char **both = NULL;
    for (size_t i = 0; a && a[i]; i++)
        if (strv_contains(b, a[i]))
            strv_push(&both, a[i]);
    return both;
}

// What all holders are known by is what the next one must have.
static bool join_claim(struct port_claim *c, const struct ip_address *host_ip, char *const *sharers)
{
    char **both = ip_equals(&c->host_ip, host_ip) ? common(c->sharers, sharers) : NULL;
    if (!both)
        return false;
    strv_free(c->sharers);
    c->sharers = both;
    c->holders++;
    return true;
}

static enum claim_result try_claim(struct port_table *t, enum network_protocol protocol,
                                   const struct ip_address *host_ip, uint16_t port, char *const *sharers)
{
    enum claim_result result = CLAIM_NEW;
    pthread_mutex_lock(&t->lock);
    struct port_claim **bucket = bucket_of(t, port), *c = *bucket;
    while (c != NULL && !(c->port == port && c->protocol == protocol && meets(&c->host_ip, host_ip)))
        c = c->next;
    if (c != NULL) {
        result = join_claim(c, host_ip, sharers) ? CLAIM_JOINED : CLAIM_REFUSED;
    } else {
        c = NEW(struct port_claim);
        *c = (struct port_claim){ .next = *bucket,
                                  .host_ip = *host_ip,
                                  .port = port,
                                  .protocol = protocol,
                                  .holders = 1,
                                  .sharers = strv_copy(sharers) };
        *bucket = c;
        t->count++;
    }
    pthread_mutex_unlock(&t->lock);
    return result;
}

// Lock held.
static struct port_claim **find_claim(struct port_table *t, enum network_protocol protocol,
                                      const struct ip_address *host_ip, uint16_t port)
{
    struct port_claim **at = bucket_of(t, port);
    while (*at != NULL &&
           !((*at)->port == port && (*at)->protocol == protocol && ip_equals(&(*at)->host_ip, host_ip)))
        at = &(*at)->next;
    return at;
}

bool ports_is_shared(struct port_table *t, enum network_protocol protocol, const struct ip_address *host_ip,
                     uint16_t port)
{
    pthread_mutex_lock(&t->lock);
    const struct port_claim *c = *find_claim(t, protocol, host_ip, port);
    bool is_shared = c && c->holders > 1;
    pthread_mutex_unlock(&t->lock);
    return is_shared;
}

static void free_claim(struct port_claim *c)
{
    if (c)
        strv_free(c->sharers);
    free(c);
}

void ports_give_back(struct port_table *t, enum network_protocol protocol, const struct ip_address *host_ip,
                     uint16_t port)
{
    pthread_mutex_lock(&t->lock);
    struct port_claim **at = find_claim(t, protocol, host_ip, port), *c = *at;
    if (c && --c->holders > 0) {
        c = NULL;
    } else if (c) {
        *at = c->next;
        t->count--;
    }
    pthread_mutex_unlock(&t->lock);
    free_claim(c);
}

// --- the host's own listeners

// 0, or the -errno
// that bind(2) gives there.
static int try_bind(enum network_protocol protocol, const struct ip_address *host_ip, uint16_t port)
{
    int fd CLEANUP(cleanup_close) =
        socket(host_ip->family, protocols[protocol].socket_type | SOCK_CLOEXEC, protocols[protocol].number);
    if (fd < 0) // no SCTP or IPv6 in this kernel: then nobody listens with it
        return errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT || errno == EAFNOSUPPORT ? 0 : -errno;
    int on = 1; // as every server does: connections of a former one that still close are no obstacle
    if (protocol != NETWORK_UDP)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (host_ip->family == AF_INET6) // 0.0.0.0 has a claim of its own
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    struct sockaddr_storage address;
    socklen_t n = ip_to_sockaddr(host_ip, port, &address);
    return bind(fd, (const struct sockaddr *)&address, n) < 0 ? -errno : 0;
}

static uint16_t next_random(struct port_table *t)
{
    pthread_mutex_lock(&t->lock);
    uint16_t port = t->next_random;
    t->next_random = port >= t->last_random ? t->first_random : (uint16_t)(port + 1);
    pthread_mutex_unlock(&t->lock);
    return port;
}

// Go's words for the errors people meet here.
static const char *bind_error_text(int errnum)
{
    switch (errnum) {
    case EADDRINUSE:
        return "address already in use";
    case EADDRNOTAVAIL:
        return "cannot assign requested address";
    case EACCES:
        return "permission denied";
    default:
        return strerror(errnum);
    }
}

// As it stands before a port: "127.0.0.1", "[::1]".
static void format_host(const struct ip_address *ip, char text[static IP_TEXT_MAX + 2])
{
    char plain[IP_TEXT_MAX];
    ip_format(ip, plain);
    snprintf(text, IP_TEXT_MAX + 2, ip->family == AF_INET6 ? "[%s]" : "%s", plain);
}

int ports_claim(struct port_table *t, const struct network_port *want, const struct ip_address *host_ip,
                const char *container_ip, bool is_recovered, char *const *sharers, uint16_t *ret_port,
                struct error *err)
{
    bool is_random = want->host_port == 0;
    uint16_t first = is_random ? t->first_random : want->host_port;
    uint16_t last = is_random ? t->last_random : want->last_host_port > first ? want->last_host_port : first;
    char ip[IP_TEXT_MAX + 2];
    format_host(host_ip, ip);
    uint16_t port = first;
    int bind_rc = 0;
    for (unsigned tries = 0; tries <= (unsigned)last - first; tries++) {
        port = is_random ? next_random(t) : (uint16_t)(first + tries);
        enum claim_result result = try_claim(t, want->protocol, host_ip, port, sharers);
        if (result == CLAIM_REFUSED) {
            bind_rc = 0;
            continue;
        }
        bind_rc = is_recovered || result == CLAIM_JOINED ? 0 : try_bind(want->protocol, host_ip, port);
        if (bind_rc == 0) {
            *ret_port = port;
            return 0;
        }
        ports_give_back(t, want->protocol, host_ip, port);
        if (bind_rc != -EADDRINUSE)
            break; // another port would fare no better
    }
    if (bind_rc < 0)
        return error_set(err, ERROR_INTERNAL, "failed to bind host port for %s:%u:%s:%u/%s: %s", ip, port,
                         container_ip, want->container_port, protocols[want->protocol].name,
                         bind_error_text(-bind_rc));
    if (is_random)
        return error_set(err, ERROR_INTERNAL, "all ports are allocated");
    return error_set(err, ERROR_INTERNAL, "Bind for %s:%u failed: port is already allocated", ip, port);
}
