// Theory of operation. Messages wait in `queue`, whole ones only; what has come of the next one waits in `partial`. While the
// link is up, or is made for the first time, and its queue full, nothing is read: the monitor's socket fills, and its log's
// mode decides what that means, as for a plain connection. Once it has failed, and until it is up again, everything is read, and
// messages that find the queue full are dropped: a container does not stand still because its syslog is down. A message
// leaves the queue when the last of its bytes has gone out; when the link breaks before that, the next connection gets it
// from its beginning.
#include "logtls/relay.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "logtls/link.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <syslog.h>
#include <unistd.h>

enum { QUEUE_MAX = 64 * 1024, READ_SIZE = 16 * 1024, GOODBYE_MS = 2000, NOBODY = 65534 };
static const int64_t LINGER_NS = 10 * NS_PER_S;

struct relay {
    struct link link;
    int input;
    struct str queue, partial;
    size_t sent; // of the queue's first message, on this connection
    bool is_ending;
    int64_t end_ns; // is_ending: when to give up
    uint64_t dropped_count;
};

static bool is_up(const struct relay *r)
{
    return r->link.state == LINK_UP;
}

static bool wants_input(const struct relay *r)
{
    return !r->is_ending && (r->link.is_failing || r->queue.len < QUEUE_MAX);
}

// Move the whole messages from partial to the queue.
static void enqueue(struct relay *r)
{
    size_t used = 0;
    for (const char *newline; (newline = memchr(r->partial.ptr + used, '\n', r->partial.len - used));) {
        const char *message = r->partial.ptr + used;
        size_t n = (size_t)(newline + 1 - message);
        if (r->link.is_failing && r->queue.len + n > QUEUE_MAX)
            r->dropped_count++;
        else
            str_append_n(&r->queue, message, n);
        used += n;
    }
    str_consume(&r->partial, used);
}

static void take_input(struct relay *r, int64_t now_ns)
{
    ssize_t n = read(r->input, str_reserve(&r->partial, READ_SIZE), READ_SIZE);
    if (n > 0) {
        str_added(&r->partial, (size_t)n);
        enqueue(r);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        r->is_ending = true;
        r->end_ns = now_ns + LINGER_NS;
    }
}

// `sent` bytes of the queue are out: let go of the messages that are whole among them.
static void forget_sent(struct relay *r)
{
    const char *newline = memrchr(r->queue.ptr, '\n', r->sent);
    size_t n = newline ? (size_t)(newline + 1 - r->queue.ptr) : 0;
    str_consume(&r->queue, n);
    r->sent -= n;
}

static void give_output(struct relay *r)
{
    while (is_up(r) && r->queue.len > r->sent) {
        size_t n = link_send(&r->link, r->queue.ptr + r->sent, r->queue.len - r->sent);
        if (n == 0)
            break;
        r->sent += n;
        forget_sent(r);
    }
    if (!is_up(r))
        r->sent = 0;
}

static short link_events(const struct relay *r)
{
    if (!is_up(r))
        return r->link.wanted;
    return r->queue.len > r->sent ? POLLIN | POLLOUT : POLLIN;
}

static int timeout_ms(const struct relay *r)
{
    int64_t first = is_up(r) ? 0 : r->link.deadline_ns;
    if (r->is_ending && (first == 0 || r->end_ns < first))
        first = r->end_ns;
    if (first == 0)
        return is_up(r) ? -1 : 0;
    int64_t left = first - time_monotonic_ns();
    return left <= 0 ? 0 : (int)(left / NS_PER_MS) + 1;
}

static void run_once(struct relay *r)
{
    struct pollfd fds[] = { { .fd = wants_input(r) ? r->input : -1, .events = POLLIN },
                            { .fd = r->link.fd, .events = link_events(r) } };
    if (poll(fds, 2, timeout_ms(r)) < 0)
        return;
    int64_t now = time_monotonic_ns();
    // First: a peer that has gone is known before anything more is given to it.
    if (is_up(r)) {
        if (fds[1].revents & ~POLLOUT)
            link_listen(&r->link);
    } else if (fds[1].revents || now >= r->link.deadline_ns) {
        link_advance(&r->link, now);
    }
    if (fds[0].revents)
        take_input(r, now);
    give_output(r);
}

// The files are read; a server's bytes are parsed by nobody, who can never become anybody.
static int become_nobody(struct error *err)
{
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                           setresuid(NOBODY, NOBODY, NOBODY) < 0))
        return error_errno(err, errno, "become nobody");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, errno, "give up new privileges");
    return 0;
}

int logtls_relay(int input, const struct logtls_options *options, struct error *err)
{
    struct relay r = { .input = input };
    str_init(&r.queue, 0);
    str_init(&r.partial, 0);
    int problem = fd_set_nonblock(input, 1);
    if (problem < 0)
        return error_errno(err, problem, "read messages");
    if (link_init(&r.link, options, err) < 0)
        return -1;
    if (become_nobody(err) < 0) {
        link_done(&r.link);
        return -1;
    }
    while (!r.is_ending || (r.queue.len > 0 && time_monotonic_ns() < r.end_ns))
        run_once(&r);
    if (r.queue.len == 0)
        link_close(&r.link, GOODBYE_MS);
    if (r.dropped_count > 0)
        syslog(LOG_WARNING, "%s:%s: %" PRIu64 " messages were dropped while there was no connection",
               options->name, options->port, r.dropped_count);
    link_done(&r.link);
    str_done(&r.queue);
    str_done(&r.partial);
    return 0;
}
