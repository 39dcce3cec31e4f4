// Attaching a client's socket: the shim takes it over; before the start it waits here.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/shim_client.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { EXPECTED_TIMEOUT_MS = 2000 };

static bool parse_key(const char *text, uint8_t *ret)
{
    static const char after_z[] = "[\\]^_";
    if (!text[1] && (unsigned char)text[0] >= 0x20) {
        *ret = (uint8_t)text[0];
        return true;
    }
    if (!str_has_prefix(text, "ctrl-") || !text[5] || text[6])
        return false;
    char c = text[5];
    const char *special = strchr(after_z, c);
    if (c == '@')
        *ret = 0;
    else if (c >= 'a' && c <= 'z')
        *ret = (uint8_t)(c - 'a' + 1);
    else if (special)
        *ret = (uint8_t)(27 + (special - after_z));
    else
        return false;
    return true;
}

int detach_keys_parse(const char *text, uint8_t keys[static SHIM_DETACH_KEYS_MAX], unsigned *ret_count,
                      struct error *err)
{
    *ret_count = 0;
    if (str_is_empty(text))
        return 0;
    CLEANUP(strv_freep) char **words = strv_split(text, ",", true);
    for (size_t i = 0; words[i]; i++)
        if (*ret_count == SHIM_DETACH_KEYS_MAX || !words[i][0] || !parse_key(words[i], &keys[(*ret_count)++]))
            return error_set(err, ERROR_INVALID, "Invalid detach keys (%s) provided", text);
    return 0;
}

static unsigned attach_flags(const struct container_attach *attach, bool has_tty)
{
    return (attach->wants_stdin ? SHIM_ATTACH_STDIN : 0u) | (attach->wants_stdout ? SHIM_ATTACH_STDOUT : 0u) |
           (attach->wants_stderr ? SHIM_ATTACH_STDERR : 0u) | (has_tty ? 0u : SHIM_ATTACH_MULTIPLEX);
}

void attach_fill(struct shim_message *m, const struct container_attach *attach, bool has_tty)
{
    m->type = SHIM_ATTACH;
    m->flags = attach_flags(attach, has_tty);
    m->leading_size =
        (uint32_t)(attach->leading_size < SHIM_LEADING_MAX ? attach->leading_size : SHIM_LEADING_MAX);
    if (m->leading_size)
        memcpy(m->leading, attach->leading, m->leading_size);
}

// --- before the start
static void pending_done(struct pending_attach *p)
{
    fd_close(p->socket);
    free(p->leading);
}

void attach_drop_pending(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    struct pending_attach *pending = TAKE_PTR(c->pending);
    size_t count = c->pending_count;
    c->pending_count = 0;
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < count; i++)
        pending_done(&pending[i]);
    free(pending);
}

void attach_pending(struct container *c, struct shim_start *start)
{
    pthread_mutex_lock(&c->lock);
    struct pending_attach *pending = TAKE_PTR(c->pending);
    size_t count = c->pending_count;
    c->pending_count = 0;
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < count; i++) {
        struct error err;
        struct shim_message m = { .type = SHIM_ATTACH,
                                  .flags = pending[i].flags,
                                  .detach_key_count = pending[i].detach_key_count,
                                  .leading_size = (uint32_t)pending[i].leading_size };
        memcpy(m.detach_keys, pending[i].detach_keys, sizeof m.detach_keys);
        if (pending[i].leading_size)
            memcpy(m.leading, pending[i].leading, pending[i].leading_size);
        int r = start ? shim_hand_over(start, &m, pending[i].socket, &err)
                      : shim_call(c->socket_path, &m, &pending[i].socket, 1, NULL, &err);
        if (r < 0)
            log_warn("container %s: attach: %s", c->id, err.message);
        pending_done(&pending[i]);
    }
    free(pending);
}

// Clients that went away while they waited make room.
static void prune_pending(struct container *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->pending_count; i++) {
        struct pollfd p = { .fd = c->pending[i].socket, .events = 0 };
        if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR))
            pending_done(&c->pending[i]);
        else
            c->pending[kept++] = c->pending[i];
    }
    c->pending_count = kept;
}

// c->lock is held. Takes the socket on success.
static int keep_for_start(struct container *c, int socket, const struct shim_message *m, struct error *err)
{
    if (c->pending_count >= PENDING_ATTACH_MAX)
        prune_pending(c);
    if (c->pending_count >= PENDING_ATTACH_MAX)
        return error_set(err, ERROR_EXHAUSTED, "more than %d clients wait for container %s to start",
                         PENDING_ATTACH_MAX, c->id);
    c->pending = xreallocarray(c->pending, c->pending_count + 1, sizeof *c->pending);
    struct pending_attach *p = &c->pending[c->pending_count++];
    *p = (struct pending_attach){ .socket = socket,
                                  .flags = m->flags,
                                  .detach_key_count = m->detach_key_count,
                                  .leading_size = m->leading_size,
                                  .leading = m->leading_size ? xmemdup(m->leading, m->leading_size) : NULL };
    memcpy(p->detach_keys, m->detach_keys, sizeof p->detach_keys);
    return 0;
}

// --- attach
static int replay_logs(struct container *c, int socket, const struct container_attach *attach,
                       struct error *err)
{
    const struct container_log_query query = { .wants_stdout = attach->wants_stdout,
                                               .wants_stderr = attach->wants_stderr,
                                               .is_raw = attach->is_raw,
                                               .tail = -1 };
    return container_logs(c->service, c->id, &query, FD_NONE, writer_to_fd(&socket), err);
}

// From the shim's or a waiting start's point of view: the client is in pending, or it attaches to what runs.
static int join(struct container *c, int *own, const struct shim_message *m, bool *ret_is_running,
                struct error *err)
{
    enum container_status status = c->state.status;
    *ret_is_running = status == CONTAINER_RUNNING;
    if (status == CONTAINER_PAUSED)
        return error_set(err, ERROR_CONFLICT, "container %s is paused, unpause the container before attach",
                         c->id);
    if (c->is_gone)
        return error_set(err, ERROR_NOT_FOUND, "No such container: %s", c->id);
    if (*ret_is_running)
        return 0;
    int r = keep_for_start(c, *own, m, err);
    if (r == 0)
        *own = FD_NONE;
    return r;
}

static int answer_and_join(struct container *c, struct container_attach *attach, container_answer *answer,
                           void *context, struct shim_message *m, int *own, bool *ret_is_running,
                           struct error *err)
{
    int socket = FD_NONE;
    if (answer(context, attach, &socket, err) < 0)
        return -1;
    struct container_attach allowed = *attach;
    allowed.wants_stdin = attach->wants_stdin && c->config.has_stdin;
    attach_fill(m, &allowed, c->config.has_tty || attach->is_raw);
    if (attach->wants_logs && replay_logs(c, socket, attach, err) < 0)
        return -1;
    if (!attach->wants_stream)
        return 0;
    *own = fcntl(socket, F_DUPFD_CLOEXEC, 3);
    if (*own < 0)
        return error_errno(err, errno, "attach to container %s", c->id);
    // A start that is under way takes the waiting clients under c->lock: either it sees this one, or this one
    // sees it running.
    pthread_mutex_lock(&c->lock);
    int r = join(c, own, m, ret_is_running, err);
    pthread_mutex_unlock(&c->lock);
    return r;
}

static void expect(struct container *c, int change)
{
    pthread_mutex_lock(&c->lock);
    c->attaches_expected += (unsigned)change;
    if (change < 0)
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void attach_await_expected(struct container *c)
{
    int64_t until_ns = time_monotonic_ns() + EXPECTED_TIMEOUT_MS * NS_PER_MS;
    struct timespec until = time_to_timespec(until_ns);
    pthread_mutex_lock(&c->lock);
    while (c->attaches_expected > 0 &&
           pthread_cond_clockwait(&c->changed, &c->lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&c->lock);
}

int container_attach(struct container_service *s, const char *name, struct container_attach *attach,
                     container_answer *answer, void *context, struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    CLEANUP(cleanup_close) int own = FD_NONE;
    struct shim_message m = { 0 };
    bool is_running = false;
    if (container_find(s, name, &c, err) < 0 ||
        detach_keys_parse(attach->detach_keys, m.detach_keys, &m.detach_key_count, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    bool is_paused = c->state.status == CONTAINER_PAUSED;
    bool is_restarting = c->state.status == CONTAINER_RESTARTING;
    pthread_mutex_unlock(&c->lock);
    if (is_restarting)
        return error_set(err, ERROR_CONFLICT,
                         "container %s is restarting, wait until the container is running", name);
    if (is_paused)
        return error_set(err, ERROR_CONFLICT, "container %s is paused, unpause the container before attach",
                         name);
    expect(c, 1);
    int r = answer_and_join(c, attach, answer, context, &m, &own, &is_running, err);
    expect(c, -1);
    if (r < 0 || !attach->wants_stream)
        return r;
    container_event(c, "attach", NULL, NULL);
    if (!is_running || shim_call(c->socket_path, &m, &own, 1, NULL, err) == 0)
        return 0;
    // Its monitor has ended, and the record of that is about to come: the client has the logs it asked for, and sees the end.
    return err->kind == ERROR_NOT_FOUND ? 0 : -1;
}
