// Theory of operation. A link is down until its deadline, then a socket connects, then TLS shakes hands, then it is up; any
// problem on the way, or a peer that closes, takes it down again, and the next deadline is twice as far off as the last,
// from a quarter of a second to eight seconds; a link that was up for a while begins anew. The first problem of a kind is
// told to the host's syslog: nobody else hears of it.
#include "logtls/link.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

enum { UNACKNOWLEDGED_MS = 30000 };
static const int64_t DELAY_MIN_NS = 250 * NS_PER_MS, DELAY_MAX_NS = 8 * NS_PER_S, STEADY_NS = 10 * NS_PER_S,
                     CONNECT_NS = 10 * NS_PER_S;

// --- the files
static const char *ssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason ? reason : "unknown error";
}

static int load_files(SSL_CTX *context, const struct logtls_options *o, struct error *err)
{
    if (!o->skips_verify && o->ca && SSL_CTX_load_verify_file(context, o->ca) != 1)
        return error_set(err, ERROR_INVALID, "could not read CA certificate \"%s\": %s", o->ca, ssl_reason());
    if (o->certificate && (SSL_CTX_use_certificate_chain_file(context, o->certificate) != 1 ||
                           SSL_CTX_use_PrivateKey_file(context, o->key, SSL_FILETYPE_PEM) != 1 ||
                           SSL_CTX_check_private_key(context) != 1))
        return error_set(err, ERROR_INVALID, "Could not load X509 key pair: %s", ssl_reason());
    return 0;
}

// A key with a passphrase is refused: there is nobody to ask.
static int no_passphrase(char *buffer, int size, int is_writing, void *context)
{
    (void)buffer, (void)size, (void)is_writing, (void)context;
    return -1;
}

int link_init(struct link *link, const struct logtls_options *options, struct error *err)
{
    *link = (struct link){ .options = options, .fd = FD_NONE, .delay_ns = DELAY_MIN_NS };
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        return error_set(err, ERROR_INTERNAL, "TLS: %s", ssl_reason());
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    // The queue moves and grows between two attempts to send its front.
    (void)SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, options->skips_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_default_verify_paths(context);
    ERR_clear_error();
    if (load_files(context, options, err) < 0) {
        SSL_CTX_free(context);
        return -1;
    }
    link->context = context;
    return 0;
}

// --- down
static void take_down(struct link *link, const char *problem)
{
    int64_t now = time_monotonic_ns();
    if (link->state == LINK_UP && now - link->up_ns >= STEADY_NS) {
        link->delay_ns = DELAY_MIN_NS;
        link->last_problem[0] = 0;
    }
    SSL_free(link->ssl);
    link->ssl = NULL;
    link->fd = fd_close(link->fd);
    link->state = LINK_DOWN;
    link->is_failing = true;
    link->deadline_ns = now + link->delay_ns;
    link->delay_ns = link->delay_ns * 2 < DELAY_MAX_NS ? link->delay_ns * 2 : DELAY_MAX_NS;
    ERR_clear_error();
    if (streq(problem, link->last_problem))
        return;
    snprintf(link->last_problem, sizeof link->last_problem, "%s", problem);
    syslog(LOG_ERR, "%s:%s: %s", link->options->name, link->options->port, problem);
}

void link_done(struct link *link)
{
    SSL_free(link->ssl);
    SSL_CTX_free(link->context);
    link->fd = fd_close(link->fd);
}

// What SSL_get_error says of the last call: true when it is only to be repeated.
static bool is_only_waiting(struct link *link, int result)
{
    int saved = errno, reason = SSL_get_error(link->ssl, result);
    long verdict = SSL_get_verify_result(link->ssl);
    link->wanted = reason == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return true;
    if (reason == SSL_ERROR_ZERO_RETURN)
        take_down(link, "the server closed the connection");
    else if (reason == SSL_ERROR_SYSCALL)
        take_down(link, saved ? strerror(saved) : "the connection broke");
    else if (!link->options->skips_verify && verdict != X509_V_OK)
        take_down(link, X509_verify_cert_error_string(verdict));
    else
        take_down(link, ssl_reason());
    return false;
}

// --- connecting
static int open_socket(const struct logtls_options *o)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV },
                    *found;
    if (getaddrinfo(o->host, o->port, &hints, &found) != 0)
        return -EINVAL;
    int one = 1, ms = UNACKNOWLEDGED_MS, r = 0;
    int fd CLEANUP(cleanup_close) = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS))
        r = -errno;
    freeaddrinfo(found);
    if (r < 0)
        return r;
    // A server that vanished without a word is noticed all the same.
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return TAKE_FD(fd);
}

static void start_connecting(struct link *link, int64_t now_ns)
{
    int fd = open_socket(link->options);
    if (fd < 0) {
        take_down(link, strerror(-fd));
        return;
    }
    link->fd = fd;
    link->state = LINK_CONNECTING;
    link->wanted = POLLOUT;
    link->deadline_ns = now_ns + CONNECT_NS;
}

// RFC 6066 section 3: an address is no server name. RFC 6125: a name is looked for among names, an address among addresses.
static bool name_server(SSL *ssl, const struct logtls_options *o)
{
    struct in6_addr ignored;
    bool is_address =
        inet_pton(AF_INET, o->name, &ignored) == 1 || inet_pton(AF_INET6, o->name, &ignored) == 1;
    if (!is_address && SSL_set_tlsext_host_name(ssl, o->name) != 1)
        return false;
    if (o->skips_verify)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), o->name) == 1
                      : SSL_set1_host(ssl, o->name) == 1;
}

static void start_handshake(struct link *link)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0 || problem != 0) {
        take_down(link, strerror(problem ? problem : errno));
        return;
    }
    link->ssl = SSL_new(link->context);
    if (!link->ssl || SSL_set_fd(link->ssl, link->fd) != 1 || !name_server(link->ssl, link->options)) {
        take_down(link, ssl_reason());
        return;
    }
    link->state = LINK_SHAKING_HANDS;
}

static void shake_hands(struct link *link, int64_t now_ns)
{
    errno = 0;
    int r = SSL_connect(link->ssl);
    if (r != 1) {
        (void)is_only_waiting(link, r);
        return;
    }
    link->state = LINK_UP;
    link->is_failing = false;
    link->up_ns = now_ns;
    link->deadline_ns = 0;
}

void link_advance(struct link *link, int64_t now_ns)
{
    bool is_late = now_ns >= link->deadline_ns;
    if (link->state == LINK_DOWN && is_late) {
        start_connecting(link, now_ns);
        return;
    }
    if ((link->state == LINK_CONNECTING || link->state == LINK_SHAKING_HANDS) && is_late) {
        take_down(link, "the connection timed out");
        return;
    }
    if (link->state == LINK_CONNECTING)
        start_handshake(link);
    if (link->state == LINK_SHAKING_HANDS)
        shake_hands(link, now_ns);
}

// --- up
void link_listen(struct link *link)
{
    char ignored[4096];
    int r;
    do {
        errno = 0;
        r = SSL_read(link->ssl, ignored, sizeof ignored);
    } while (r > 0);
    (void)is_only_waiting(link, r);
}

size_t link_send(struct link *link, const char *bytes, size_t n)
{
    errno = 0;
    int r = SSL_write(link->ssl, bytes, n < INT_MAX ? (int)n : INT_MAX);
    if (r > 0)
        return (size_t)r;
    (void)is_only_waiting(link, r);
    return 0;
}

// Closing with something unread (TLS 1.3's session tickets) would make the kernel reset the connection, and the peer lose what
// it has not read yet.
void link_close(struct link *link, int timeout_ms)
{
    char ignored[4096];
    if (link->state != LINK_UP)
        return;
    int64_t deadline = time_monotonic_ns() + timeout_ms * NS_PER_MS;
    (void)SSL_shutdown(link->ssl);
    (void)shutdown(link->fd, SHUT_WR);
    for (int64_t left; (left = deadline - time_monotonic_ns()) > 0;) {
        struct pollfd p = { .fd = link->fd, .events = POLLIN };
        if (poll(&p, 1, (int)(left / NS_PER_MS) + 1) < 0)
            continue;
        ssize_t n = recv(link->fd, ignored, sizeof ignored, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return;
    }
}
