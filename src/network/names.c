// Theory of operation. skiff-netd is started by the first container that needs names, and outlives the engine; what it knows is told
// over one connection. Whoever tells it something while the connection is broken mends it: finds the program at its socket or starts
// one, and says everything again. A thread sleeps at the connection, so that a program that died is replaced at once and not with the
// next container.
//
// Containers of the default bridge ask at its gateway's address instead, where two sockets of the host's namespace serve all of them.
//
// In the container's network namespace two sockets are bound to 127.0.0.11, on ports of their own, and two nftables rules lead there
// what is sent to port 53: the port itself stays free for name servers that run in containers.
#include "network/service.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "kernel/netlink/route.h"
#include "kernel/nft/nft.h"
#include "kernel/nft/policy.h"
#include "netdproto/netdproto.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
// after <netinet/in.h>, whose names they repeat
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LISTEN_FD = 3,
    BACKLOG = 16,
    RELAY_BACKLOG = 1024,
    DNS_PORT = 53,
    ANSWER_TIMEOUT_S = 5,
    STACK_BYTES = 192 * 1024,
    RETRY_MS = 1000
};

#define BRIDGE_ASKER "bridge" // no container's id

static const struct ip_address resolver_address = { AF_INET, { 127, 0, 0, 11 } };

// A container that asks.
struct asker {
    char *container_id; // or BRIDGE_ASKER
    pid_t pid;          // 0: at `gateway`, in the host's namespace, for whoever asks from `from`
    struct ip_address gateway;
    struct ip_prefix from;
    char **links;
    struct ip_address upstreams[NETWORK_UPSTREAMS_MAX];
    size_t upstream_count;
};

struct name_service {
    struct network_service *networks;
    char *program, *socket_path;
    pthread_t thread;
    bool has_thread;
    int wake_fd; // the thread looks again; written at each new connection and at the end

    pthread_mutex_t lock; // guards what follows, and orders what is said
    int fd;               // connection; FD_NONE: none
    pid_t child;          // the program when we started it; 0: not
    struct map askers;    // container id -> struct asker, owned
    bool is_closing;
    bool is_resuming; // not everything is known yet that skiff-netd has of a former engine: nothing is said
    bool is_bridge_refused; // the port is another program's
    size_t relay_count;     // ports that are relayed
};

// --- the program
static int spawn(const char *program, int listen_fd, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char *argv[] = { (char[]){ "skiff-netd" }, NULL }, *envp[] = { NULL };
    sigemptyset(&none);
    sigfillset(&all);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    if ((r = posix_spawnattr_init(&attributes)) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    if ((r = posix_spawn_file_actions_adddup2(&actions, listen_fd, LISTEN_FD)) == 0 &&
        (r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, 0, 1)) == 0 && // standard error stays the engine's
        (r = posix_spawn_file_actions_addclosefrom_np(&actions, LISTEN_FD + 1)) == 0)
        r = posix_spawn(ret_pid, program, &actions, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int make_address(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof ret->sun_path)
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

static int start_program(struct name_service *names)
{
    struct sockaddr_un address;
    int r = make_address(names->socket_path, &address);
    int fd CLEANUP(cleanup_close) = r < 0 ? r : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return r < 0 ? r : -errno;
    unlink(names->socket_path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    if (names->child > 0)
        waitpid(names->child, NULL, WNOHANG);
    return spawn(names->program, fd, &names->child);
}

static int dial(const struct name_service *names)
{
    struct sockaddr_un address;
    const struct timeval limit = { .tv_sec = ANSWER_TIMEOUT_S };
    int r = make_address(names->socket_path, &address);
    int fd = r < 0 ? r : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return r < 0 ? r : -errno;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    r = -errno;
    fd_close(fd);
    return r;
}

// --- what it is told; names->lock held
static struct netd_message message_of(enum netd_message_type type, const char *container)
{
    struct netd_message m = NETD_MESSAGE_INIT;
    m.type = type;
    snprintf(m.container, sizeof m.container, "%s", container);
    return m;
}

static int say_names(const struct name_service *names, const struct network_endpoint *e)
{
    struct netd_message m = message_of(NETD_NAMES, e->container_id);
    snprintf(m.network, sizeof m.network, "%s", e->network_id);
    m.names = e->names;
    if (ip_parse(e->ip, &m.addresses[m.address_count]))
        m.address_count++;
    if (ip_parse(e->ip6, &m.addresses[m.address_count]))
        m.address_count++;
    return netd_send(names->fd, &m);
}

// The networks a container is on, owned strv; and whether any of them has a way out.
static char **networks_of(struct name_service *names, const char *container_id, bool *ret_has_way_out)
{
    struct network_service *s = names->networks;
    char **networks = NULL;
    size_t at = 0;
    *ret_has_way_out = false;
    pthread_mutex_lock(&s->lock);
    const struct network *bridge = streq(container_id, BRIDGE_ASKER) ? map_get(&s->by_name, "bridge") : NULL;
    if (bridge) {
        strv_push(&networks, bridge->id);
        *ret_has_way_out = true;
    }
    for (const struct map_entry *entry; (entry = map_next(&s->attachments, &at));) {
        const struct attachment *a = entry->value;
        if (!streq(a->endpoint.container_id, container_id) || a->is_leaving)
            continue;
        strv_push(&networks, a->network->id);
        *ret_has_way_out |= !a->network->is_internal;
    }
    pthread_mutex_unlock(&s->lock);
    return networks;
}

static int say_asker(struct name_service *names, const struct asker *a, const int *fds)
{
    struct netd_message m = message_of(NETD_RESOLVER, a->container_id);
    bool has_way_out;
    CLEANUP(strv_freep) char **networks = networks_of(names, a->container_id, &has_way_out);
    m.networks = networks;
    m.links = a->links;
    m.from = a->from;
    if (has_way_out) { // no question leaves an internal network
        memcpy(m.upstreams, a->upstreams, sizeof m.upstreams);
        m.upstream_count = a->upstream_count;
    }
    if (fds) {
        memcpy(m.fds, fds, sizeof m.fds);
        m.fd_count = NETD_FDS_MAX;
    }
    return netd_send(names->fd, &m);
}

// --- sockets in a container's network namespace
static int bind_there(int type, const struct ip_address *to, uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_storage address;
    struct sockaddr_in bound;
    socklen_t n = ip_to_sockaddr(to, port, &address), bound_n = sizeof bound;
    int on = 1, fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on); // lo, or the bridge, may not be up yet
    if (bind(fd, (struct sockaddr *)&address, n) == 0 && (type != SOCK_STREAM || listen(fd, BACKLOG) == 0) &&
        getsockname(fd, (struct sockaddr *)&bound, &bound_n) == 0) {
        *ret_port = ntohs(bound.sin_port);
        return fd;
    }
    int r = -errno;
    fd_close(fd);
    return r;
}

// is_again: there may be a former program's table, whose sockets are gone. Not otherwise: the kernel lets a socket that has deleted
// anything wait for a grace period (10 ms) when it is closed.
static int lead_there(uint16_t udp_port, uint16_t tcp_port, bool is_again)
{
    const struct ip_prefix own = { resolver_address, 32 };
    const struct {
        uint8_t protocol;
        uint16_t port;
    } ways[] = { { IPPROTO_UDP, udp_port }, { IPPROTO_TCP, tcp_port } };
    struct nft_batch b CLEANUP(nft_batch_done);
    int fd CLEANUP(cleanup_close) = FD_NONE;
    nft_batch_init(&b, "skiff-names");
    nft_add_table(&b);
    if (is_again) {
        nft_delete_table(&b);
        nft_add_table(&b);
    }
    nft_add_chain(&b, "output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST);
    for (size_t i = 0; i < 2; i++) {
        struct nftnl_rule *r = nft_rule_begin(&b, "output");
        nft_match_family(r, AF_INET);
        nft_match_destination(r, &own);
        nft_match_port(r, ways[i].protocol, DNS_PORT);
        nft_dnat(r, &resolver_address, ways[i].port);
        nft_rule_end(&b, r);
    }
    return nft_commit(&b, &fd);
}

static int open_sockets(const struct network_service *s, pid_t pid, bool is_again,
                        int fds[static NETD_FDS_MAX])
{
    char path[64];
    uint16_t ports[NETD_FDS_MAX] = { 0 };
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    int netns CLEANUP(cleanup_close) = open(path, O_RDONLY | O_CLOEXEC);
    int r = netns < 0 ? -errno : netns_enter(netns);
    if (r < 0)
        return r;
    fds[0] = bind_there(SOCK_DGRAM, &resolver_address, 0, &ports[0]);
    fds[1] = bind_there(SOCK_STREAM, &resolver_address, 0, &ports[1]);
    r = fds[0] < 0 ? fds[0] : fds[1] < 0 ? fds[1] : lead_there(ports[0], ports[1], is_again);
    netns_leave(s->home_netns_fd);
    if (r < 0)
        for (size_t i = 0; i < NETD_FDS_MAX; i++)
            fds[i] = fd_close(fds[i]);
    return r;
}

static int open_gateway_sockets(const struct asker *a, int fds[static NETD_FDS_MAX])
{
    uint16_t port;
    fds[0] = bind_there(SOCK_DGRAM, &a->gateway, DNS_PORT, &port);
    fds[1] = fds[0] < 0 ? fds[0] : bind_there(SOCK_STREAM, &a->gateway, DNS_PORT, &port);
    if (fds[0] >= 0 && fds[1] >= 0)
        return 0;
    int r = fds[1];
    fds[0] = fd_close(fds[0]);
    fds[1] = FD_NONE;
    return r;
}

static int say_new_asker(struct name_service *names, const struct asker *a, bool is_again)
{
    int fds[NETD_FDS_MAX] = { FD_NONE, FD_NONE };
    int r = a->pid == 0 ? open_gateway_sockets(a, fds) : open_sockets(names->networks, a->pid, is_again, fds);
    if (r == 0)
        r = say_asker(names, a, fds);
    for (size_t i = 0; i < NETD_FDS_MAX; i++)
        fd_close(fds[i]);
    return r;
}

static int has_sockets(struct name_service *names, const char *container_id, bool *ret)
{
    struct netd_message ask = message_of(NETD_HAS, container_id), answer;
    int r = netd_send(names->fd, &ask);
    if (r == 0)
        r = netd_receive(names->fd, &answer);
    if (r <= 0)
        return r < 0 ? r : -EPIPE;
    *ret = answer.type == NETD_YES;
    netd_message_done(&answer);
    return 0;
}

static int say_asker_again(struct name_service *names, const struct asker *a)
{
    bool is_there;
    int r = has_sockets(names, a->container_id, &is_there);
    return r < 0 ? r : is_there ? say_asker(names, a, NULL) : say_new_asker(names, a, true);
}

// --- ports that are relayed
static int listen_at(const struct netd_socket *where)
{
    struct sockaddr_storage address;
    int on = 1, fd = socket(where->ip.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on); // 0.0.0.0 is the kernel's to translate
    socklen_t n = ip_to_sockaddr(&where->ip, where->port, &address);
    if (bind(fd, (struct sockaddr *)&address, n) == 0 && listen(fd, RELAY_BACKLOG) == 0)
        return fd;
    int r = -errno;
    fd_close(fd);
    return r;
}

static struct netd_message relay_message(enum netd_message_type type, const struct network_endpoint *e,
                                         const struct network_port *p)
{
    struct netd_message m = message_of(type, e->container_id);
    ip_parse(p->host_ip, &m.listen.ip);
    m.listen.port = p->host_port;
    ip_parse(e->ip[0] ? e->ip : e->ip6, &m.target.ip);
    m.target.port = p->container_port;
    return m;
}

static int has_relay(struct name_service *names, struct netd_message m, bool *ret)
{
    struct netd_message answer;
    m.type = NETD_HAS_PROXY;
    int r = netd_send(names->fd, &m);
    if (r == 0)
        r = netd_receive(names->fd, &answer);
    if (r <= 0)
        return r < 0 ? r : -EPIPE;
    *ret = answer.type == NETD_YES;
    netd_message_done(&answer);
    return 0;
}

// A socket of a former engine's life, or of the port's former target, is kept, and its connections with it.
static int say_relay(struct name_service *names, const struct network_endpoint *e,
                     const struct network_port *p)
{
    struct netd_message m = relay_message(NETD_PROXY, e, p);
    bool is_there = false;
    int fd = listen_at(&m.listen), r = 0;
    if (fd == -EADDRINUSE)
        r = has_relay(names, m, &is_there);
    if (r == 0 && fd == -EADDRINUSE && !is_there) // it has just been closed
        fd = listen_at(&m.listen);
    if (r == 0 && fd < 0 && !is_there)
        r = fd;
    m.fds[0] = fd;
    m.fd_count = fd >= 0 ? 1 : 0;
    if (r == 0)
        r = netd_send(names->fd, &m);
    fd_close(fd);
    return r;
}

static size_t count_relays(const struct network_endpoint *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->port_count; i++)
        n += endpoint_port_is_relayed(e, &e->ports[i]);
    return n;
}

static int say_relays(struct name_service *names, const struct network_endpoint *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < e->port_count; i++)
        if (endpoint_port_is_relayed(e, &e->ports[i]))
            r = say_relay(names, e, &e->ports[i]);
    return r;
}

static int say_no_relays(struct name_service *names, const struct network_endpoint *e)
{
    struct netd_message m = NETD_MESSAGE_INIT;
    bool is_there;
    int r = 0;
    for (size_t i = 0; r == 0 && i < e->port_count; i++)
        if (endpoint_port_is_relayed(e, &e->ports[i])) {
            m = relay_message(NETD_UNPROXY, e, &e->ports[i]);
            r = netd_send(names->fd, &m);
        }
    return r == 0 && m.type != 0 ? has_relay(names, m, &is_there) : r; // answered when all of it is done
}

// --- the connection; names->lock held

// Said once, and once more over a new connection, over which everything is said anyway.
static bool is_broken(int r)
{
    return r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN || r == -EBADF || r == -EAGAIN;
}

// Every endpoint that is plugged, owned array with one empty element more.
static struct network_endpoint *plugged_endpoints(struct network_service *s, size_t *ret_n)
{
    size_t at = 0;
    *ret_n = 0;
    pthread_mutex_lock(&s->lock);
    struct network_endpoint *all = xcalloc(s->attachments.len + 1, sizeof *all);
    for (const struct map_entry *entry; (entry = map_next(&s->attachments, &at));) {
        const struct attachment *a = entry->value;
        if (a->is_plugged && !a->is_leaving)
            all[(*ret_n)++] = network_endpoint_copy(&a->endpoint);
    }
    pthread_mutex_unlock(&s->lock);
    return all;
}

static int say_everything(struct name_service *names)
{
    struct netd_message begin = message_of(NETD_BEGIN, ""), end = message_of(NETD_END, "");
    size_t n, at = 0;
    struct network_endpoint *endpoints CLEANUP(cleanup_free) = plugged_endpoints(names->networks, &n);
    int r = netd_send(names->fd, &begin);
    for (size_t i = 0; i < n; i++) {
        if (r == 0 && strv_len(endpoints[i].names))
            r = say_names(names, &endpoints[i]);
        int relayed = r == 0 ? say_relays(names, &endpoints[i]) : 0;
        if (is_broken(relayed))
            r = relayed;
        else if (relayed < 0)
            log_warn("relay the IPv6 ports of %s: %s", endpoints[i].container_name, strerror(-relayed));
        network_endpoint_done(&endpoints[i]);
    }
    for (const struct map_entry *e; r == 0 && (e = map_next(&names->askers, &at));) {
        int asked = say_asker_again(names, e->value);
        if (asked == -EPIPE || asked == -ECONNRESET)
            r = asked;
        else if (asked < 0) // its container has just ended, perhaps
            log_debug("names for container %s: %s", e->key, strerror(-asked));
    }
    return r == 0 ? netd_send(names->fd, &end) : r;
}

static bool is_needed(const struct name_service *names)
{
    return names->askers.len > 0 || names->relay_count > 0;
}

static void disconnect(struct name_service *names)
{
    names->fd = fd_close(names->fd);
}

static void *watch(void *context);

static void wake(struct name_service *names)
{
    uint64_t one = 1;
    if (!names->has_thread)
        names->has_thread = thread_start(&names->thread, STACK_BYTES, watch, names) == 0;
    (void)!write(names->wake_fd, &one, sizeof one);
}

// may_start: when none answers, start one.
static int connect_now(struct name_service *names, bool may_start)
{
    if (names->fd >= 0)
        return 0;
    names->fd = dial(names);
    if (names->fd < 0 && may_start) {
        int r = start_program(names);
        names->fd = r < 0 ? r : dial(names);
    }
    if (names->fd < 0)
        return names->fd;
    int r = say_everything(names);
    if (r < 0)
        disconnect(names);
    else
        wake(names);
    return r;
}

// --- a program that dies is replaced
static void *watch(void *context)
{
    struct name_service *names = context;
    uint64_t count;
    int pause_ms = -1;
    for (;;) {
        pthread_mutex_lock(&names->lock);
        struct pollfd p[] = { { .fd = names->wake_fd, .events = POLLIN },
                              { .fd = names->fd, .events = POLLRDHUP } };
        bool is_closing = names->is_closing;
        pthread_mutex_unlock(&names->lock);
        if (is_closing)
            return NULL;
        poll(p, 2, pause_ms);
        if (p[0].revents)
            (void)!read(names->wake_fd, &count, sizeof count);
        pthread_mutex_lock(&names->lock);
        pause_ms = -1;
        bool is_dead = names->fd == p[1].fd && (p[1].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
        if (is_dead)
            disconnect(names);
        if (names->fd < 0 && is_needed(names) && !names->is_closing) {
            int r = connect_now(names, true);
            if (r < 0) {
                log_warn("skiff-netd: %s", strerror(-r));
                pause_ms = RETRY_MS;
            }
        }
        pthread_mutex_unlock(&names->lock);
    }
}

// --- life
struct name_service *name_service_new(struct network_service *networks, const char *program,
                                      const char *exec_root)
{
    struct name_service *names = NEW(struct name_service);
    names->networks = networks;
    names->program = xstrdup(program);
    names->socket_path = xasprintf("%s/netd.sock", exec_root);
    names->fd = FD_NONE;
    names->is_resuming = true;
    names->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&names->lock, NULL);
    return names;
}

static void asker_free(struct asker *a)
{
    free(a->container_id);
    strv_free(a->links);
    free(a);
}

void name_service_free(struct name_service *names)
{
    const struct map_entry *e;
    if (!names)
        return;
    pthread_mutex_lock(&names->lock);
    names->is_closing = true;
    bool has_thread = names->has_thread;
    if (has_thread)
        wake(names);
    pthread_mutex_unlock(&names->lock);
    if (has_thread)
        pthread_join(names->thread, NULL);
    for (size_t at = 0; (e = map_next(&names->askers, &at));)
        asker_free(e->value);
    map_done(&names->askers);
    fd_close(names->fd);
    fd_close(names->wake_fd);
    pthread_mutex_destroy(&names->lock);
    free(names->program);
    free(names->socket_path);
    free(names);
}

// --- endpoints

// Whoever is on the network now asks there from now on: the askers' networks follow.
static int say_change(struct name_service *names, const struct network_endpoint *e, bool is_there)
{
    struct netd_message gone = message_of(NETD_UNNAMES, e->container_id);
    snprintf(gone.network, sizeof gone.network, "%s", e->network_id);
    const struct asker *a = map_get(&names->askers, e->container_id);
    int r = is_there ? say_names(names, e) : netd_send(names->fd, &gone);
    return r == 0 && a ? say_asker(names, a, NULL) : r;
}

static void change(struct network_service *s, const struct network_endpoint *e, bool is_there)
{
    struct name_service *names = s->names;
    if (!names || !strv_len(e->names))
        return;
    pthread_mutex_lock(&names->lock);
    int r =
        names->fd >= 0 ? say_change(names, e, is_there) : 0; // without a connection: said when there is one
    if (is_broken(r)) {
        disconnect(names);
        r = is_needed(names) ? connect_now(names, true) : 0;
    }
    if (r < 0)
        log_warn("names of %s: %s", e->container_name, strerror(-r));
    pthread_mutex_unlock(&names->lock);
}

void names_publish(struct network_service *s, const struct network_endpoint *e)
{
    change(s, e, true);
}

void names_withdraw(struct network_service *s, const struct network_endpoint *e)
{
    change(s, e, false);
}

// --- resolvers
static struct asker *asker_new(const struct network_resolver *r)
{
    struct asker *a = NEW(struct asker);
    a->container_id = xstrdup(r->container_id);
    a->pid = r->pid;
    a->links = strv_copy(r->links);
    a->upstream_count = r->upstream_count < NETWORK_UPSTREAMS_MAX ? r->upstream_count : NETWORK_UPSTREAMS_MAX;
    if (a->upstream_count > 0)
        memcpy(a->upstreams, r->upstreams, a->upstream_count * sizeof *r->upstreams);
    return a;
}

static void enter(struct name_service *names, struct asker *a)
{
    struct asker *former = map_put(&names->askers, a->container_id, a);
    if (former)
        asker_free(former);
}

int relays_open(struct network_service *s, const struct network_endpoint *e)
{
    struct name_service *names = s->names;
    size_t n = count_relays(e);
    if (!names || n == 0)
        return 0;
    pthread_mutex_lock(&names->lock);
    names->relay_count += n;
    if (names->is_resuming) { // said with everything else
        pthread_mutex_unlock(&names->lock);
        return 0;
    }
    int r = connect_now(names, true);
    if (r == 0)
        r = say_relays(names, e);
    if (is_broken(r)) {
        disconnect(names);
        r = connect_now(names, true);
        if (r == 0)
            r = say_relays(names, e);
    }
    pthread_mutex_unlock(&names->lock);
    return r;
}

bool relays_are_resuming(const struct network_service *s)
{
    if (!s->names)
        return false;
    pthread_mutex_lock(&s->names->lock);
    bool is_resuming = s->names->is_resuming;
    pthread_mutex_unlock(&s->names->lock);
    return is_resuming;
}

void relays_restore(struct network_service *s, const struct network_endpoint *e)
{
    if (!s->names)
        return;
    pthread_mutex_lock(&s->names->lock);
    s->names->relay_count += count_relays(e);
    pthread_mutex_unlock(&s->names->lock);
}

// Another endpoint that is published on the same port (network/spread.c), copied; false: there is none.
static bool find_heir(struct network_service *s, const struct network_endpoint *e,
                      const struct network_port *p, struct network_endpoint *ret)
{
    bool is_found = false;
    size_t at = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct map_entry *entry; !is_found && (entry = map_next(&s->attachments, &at));) {
        const struct attachment *a = entry->value;
        if (!a->is_plugged || a->is_leaving || streq(a->endpoint.endpoint_id, e->endpoint_id))
            continue;
        for (size_t i = 0; i < a->endpoint.port_count && !is_found; i++) {
            const struct network_port *other = &a->endpoint.ports[i];
            is_found = other->host_port == p->host_port && streq(other->host_ip, p->host_ip) &&
                       endpoint_port_is_relayed(&a->endpoint, other);
        }
        if (is_found)
            *ret = network_endpoint_copy(&a->endpoint);
    }
    pthread_mutex_unlock(&s->lock);
    return is_found;
}

// A port that containers share is relayed to one of them; when that one goes, another takes it over. names->lock held.
static void hand_on(struct name_service *names, const struct network_endpoint *e)
{
    for (size_t i = 0; i < e->port_count && names->fd >= 0; i++) {
        struct network_endpoint heir;
        if (!endpoint_port_is_relayed(e, &e->ports[i]) || !find_heir(names->networks, e, &e->ports[i], &heir))
            continue;
        int r = say_relays(names, &heir);
        if (r < 0)
            log_warn("relay of %s: %s", heir.container_name, strerror(-r));
        network_endpoint_done(&heir);
    }
}

void relays_close(struct network_service *s, const struct network_endpoint *e)
{
    struct name_service *names = s->names;
    size_t n = count_relays(e);
    if (!names || n == 0)
        return;
    pthread_mutex_lock(&names->lock);
    names->relay_count -= n;
    if (names->fd >= 0 && is_broken(say_no_relays(names, e)))
        disconnect(names);
    hand_on(names, e);
    pthread_mutex_unlock(&names->lock);
}

int network_resolver_start(struct network_service *s, const struct network_resolver *resolver,
                           struct error *err)
{
    struct name_service *names = s->names;
    if (!names)
        return error_set(err, ERROR_INTERNAL, "this engine has no skiff-netd");
    struct asker *a = asker_new(resolver);
    pthread_mutex_lock(&names->lock);
    enter(names, a);
    if (names->is_resuming) {
        pthread_mutex_unlock(&names->lock);
        return 0;
    }
    bool is_new = names->fd < 0; // then everything is said, this asker with it
    int r = connect_now(names, true);
    if (r == 0 && !is_new)
        r = say_new_asker(names, a, false);
    if (is_broken(r)) {
        disconnect(names);
        r = connect_now(names, true);
    }
    pthread_mutex_unlock(&names->lock);
    return r < 0 ? error_errno(err, r, "answer names in the container (skiff-netd)") : 0;
}

void network_resolver_resume(struct network_service *s, const struct network_resolver *resolver)
{
    if (!s->names)
        return;
    pthread_mutex_lock(&s->names->lock);
    enter(s->names, asker_new(resolver));
    pthread_mutex_unlock(&s->names->lock);
}

void network_resolvers_resumed(struct network_service *s)
{
    if (!s->names)
        return;
    pthread_mutex_lock(&s->names->lock);
    s->names->is_resuming = false;
    int r = connect_now(s->names, is_needed(s->names));
    if (r < 0 && is_needed(s->names))
        log_warn("skiff-netd: %s", strerror(-r));
    pthread_mutex_unlock(&s->names->lock);
}

void network_resolver_stop(struct network_service *s, const char *container_id)
{
    struct name_service *names = s->names;
    if (!names)
        return;
    pthread_mutex_lock(&names->lock);
    struct asker *a = map_remove(&names->askers, container_id);
    if (a && names->fd >= 0) {
        struct netd_message m = message_of(NETD_FORGET, container_id);
        if (is_broken(netd_send(names->fd, &m)))
            disconnect(names);
    }
    pthread_mutex_unlock(&names->lock);
    if (a)
        asker_free(a);
}

// --- the default bridge
static struct asker *bridge_asker_new(struct network_service *s, const struct ip_address *upstreams, size_t n)
{
    const struct network_resolver resolver = { .container_id = BRIDGE_ASKER,
                                               .upstreams = upstreams,
                                               .upstream_count = n };
    pthread_mutex_lock(&s->lock);
    const struct network *bridge = map_get(&s->by_name, "bridge"); // predefined: it stays
    pthread_mutex_unlock(&s->lock);
    if (!bridge)
        return NULL;
    struct asker *a = asker_new(&resolver);
    a->gateway = bridge->pools[0].gateway;
    a->from = bridge->pools[0].subnet;
    return a;
}

static bool has_upstreams(const struct asker *a, const struct ip_address *upstreams, size_t n)
{
    bool is_same = a->upstream_count == n;
    for (size_t i = 0; is_same && i < n; i++)
        is_same = ip_equals(&a->upstreams[i], &upstreams[i]);
    return is_same;
}

// names->lock held; takes the asker. What a container sends to the gateway's address is for the host, and its firewall's to refuse:
// where that drops by default the question would not arrive, and the container would wait in vain before it asks elsewhere.
static int serve_bridge(struct name_service *names, struct asker *a)
{
    bool is_first = map_get(&names->askers, BRIDGE_ASKER) == NULL;
    if (names->is_resuming) { // said with everything else
        enter(names, a);
        return 0;
    }
    int r = is_first && nft_drops_input() > 0 ? -EHOSTUNREACH : connect_now(names, true);
    if (r == 0)
        r = say_asker_again(names, a);
    if (is_broken(r)) {
        disconnect(names);
        r = connect_now(names, true);
        if (r == 0)
            r = say_asker_again(names, a);
    }
    if (r == 0) {
        enter(names, a);
        return 0;
    }
    names->is_bridge_refused = true; // until the next start of the engine: nobody is to pay for it each time
    char gateway[IP_TEXT_MAX];
    ip_format(&a->gateway, gateway);
    log_info("no names on the default bridge: %s port %d: %s", gateway, DNS_PORT, strerror(-r));
    asker_free(a);
    return r;
}

bool network_bridge_gateway(struct network_service *s, char ret_address[static IP_TEXT_MAX])
{
    pthread_mutex_lock(&s->lock);
    const struct network *bridge = map_get(&s->by_name, "bridge");
    if (bridge)
        ip_format(&bridge->pools[0].gateway, ret_address);
    pthread_mutex_unlock(&s->lock);
    return bridge != NULL;
}

bool network_bridge_resolver(struct network_service *s, const struct ip_address *upstreams, size_t n)
{
    struct name_service *names = s->names;
    if (!names || !s->has_bridge_names || !s->is_enabled)
        return false;
    n = n < NETWORK_UPSTREAMS_MAX ? n : NETWORK_UPSTREAMS_MAX;
    pthread_mutex_lock(&names->lock);
    const struct asker *a = map_get(&names->askers, BRIDGE_ASKER);
    if (!names->is_bridge_refused && (!a || !has_upstreams(a, upstreams, n))) {
        struct asker *wanted = bridge_asker_new(s, upstreams, n);
        a = wanted && serve_bridge(names, wanted) == 0 ? wanted : NULL;
    }
    bool is_served = a && !names->is_bridge_refused;
    pthread_mutex_unlock(&names->lock);
    return is_served;
}

void network_bridge_resolver_resume(struct network_service *s, const struct ip_address *upstreams, size_t n)
{
    struct name_service *names = s->names;
    if (!names || !s->has_bridge_names || !s->is_enabled)
        return;
    pthread_mutex_lock(&names->lock);
    struct asker *a = map_get(&names->askers, BRIDGE_ASKER) ? NULL : bridge_asker_new(s, upstreams, n);
    if (a)
        enter(names, a);
    pthread_mutex_unlock(&names->lock);
}
