#include "shim/shim_internal.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { INPUT_SIZE = 4096, DISCARD_MAX = 256 };

static const uint8_t DEFAULT_DETACH_KEYS[] = { 0x10, 0x11 }; // ctrl-p, ctrl-q

// Close the socket and forget the client. The other side may still hold the socket (skiffd passed a
// duplicate), hence shutdown.
static void client_drop(struct client *client)
{
    struct process *process = client->process;
    if (client->watch.fd < 0)
        return;
    // Input left unread would turn a TCP close into a reset, and the reset would eat output that is under
    // way.
    char discarded[1024];
    for (int i = 0; i < DISCARD_MAX && recv(client->watch.fd, discarded, sizeof discarded, MSG_DONTWAIT) > 0;
         i++)
        ;
    // An exec that never started has said nothing: skiffd tells the reason on its duplicate.
    if (process->is_started)
        (void)shutdown(client->watch.fd, SHUT_WR);
    loop_close(&process->shim->loop, &client->watch);
    for (struct client **c = &process->clients; *c; c = &(*c)->next)
        if (*c == client) {
            *c = client->next;
            break;
        }
    process->shim->client_count--;
    str_done(&client->out);
    loop_retire(&process->shim->loop, &client->watch);
    process_update(process);
}

void client_update(struct client *client)
{
    uint32_t events = 0;
    if (client->out.len > 0)
        events |= EPOLLOUT;
    if ((client->flags & SHIM_ATTACH_STDIN) && !client->is_input_closed && !client->is_ending &&
        client->process->pending_in.len == 0 && (client->process->out.fd >= 0 || client->process->is_started))
        events |= EPOLLIN;
    // The kernel reports a hang-up whether asked or not: with nothing to do about it yet, do not listen at
    // all.
    if (client->is_hung_up && !(events & EPOLLIN))
        loop_forget(&client->process->shim->loop, &client->watch);
    else
        loop_ask(&client->process->shim->loop, &client->watch, events);
}

void client_end(struct client *client)
{
    client->is_ending = true;
    if (client->out.len == 0)
        client_drop(client);
    else
        client_update(client);
}

void client_output(struct client *client, int stream, const char *bytes, size_t n)
{
    uint32_t wanted = stream == 2 ? SHIM_ATTACH_STDERR : SHIM_ATTACH_STDOUT;
    if (!(client->flags & wanted) || client->is_ending || n == 0)
        return;
    uint8_t header[8] = { (uint8_t)stream,   0,         0, 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
                          (uint8_t)(n >> 8), (uint8_t)n };
    size_t header_size = client->flags & SHIM_ATTACH_MULTIPLEX ? sizeof header : 0;
    size_t sent = 0;
    if (client->out.len == 0) {
        struct iovec iov[2] = { { header, header_size }, { (void *)(uintptr_t)bytes, n } };
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
        ssize_t r = sendmsg(client->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r < 0 && errno != EAGAIN && errno != EINTR) {
            client->flags = 0;
            client_end(client);
            return;
        }
        sent = r > 0 ? (size_t)r : 0;
    }
    if (sent < header_size) {
        str_append_n(&client->out, header + sent, header_size - sent);
        sent = header_size;
    }
    sent -= header_size;
    if (sent < n) {
        str_append_n(&client->out, bytes + sent, n - sent);
        client_update(client);
    }
}

static void flush_output(struct client *client)
{
    ssize_t r = send(client->watch.fd, client->out.ptr, client->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r < 0) {
        if (errno != EAGAIN && errno != EINTR)
            client_drop(client);
        return;
    }
    if ((size_t)r < client->out.len) {
        str_consume(&client->out, (size_t)r);
        return;
    }
    str_done(&client->out);
    if (client->is_ending)
        client_drop(client);
    else
        process_update(client->process);
}

// Hand on input, looking for the detach keys. A sequence that turns out not to be one is handed on whole.
// True: the client asked to leave.
static bool input_with_keys(struct client *client, const uint8_t *bytes, size_t n)
{
    uint8_t held[INPUT_SIZE + SHIM_DETACH_KEYS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != client->detach_keys[client->detach_matched] && client->detach_matched > 0) {
            memcpy(held + count, client->detach_keys, client->detach_matched);
            count += client->detach_matched;
            client->detach_matched = 0;
        }
        if (bytes[i] != client->detach_keys[client->detach_matched]) {
            held[count++] = bytes[i];
        } else if (++client->detach_matched == client->detach_key_count) {
            process_input(client->process, held, count);
            return true;
        }
    }
    process_input(client->process, held, count);
    return false;
}

static void take_input(struct client *client, const uint8_t *bytes, size_t n)
{
    if (client->detach_key_count == 0) {
        process_input(client->process, bytes, n);
        return;
    }
    if (!input_with_keys(client, bytes, n))
        return;
    struct shim_message event = { .type = SHIM_DETACHED };
    memcpy(event.exec_id, client->process->exec_id, sizeof event.exec_id);
    shim_tell(client->process->shim, &event);
    client_end(client);
}

// The client will send no more. Docker: that closes the container's stdin where it was asked to (StdinOnce,
// exec) and there is no terminal; otherwise it ends the attachment.
static void input_closed(struct client *client)
{
    struct process *process = client->process;
    client->is_input_closed = true;
    if (process->closes_stdin && !process->has_terminal) {
        process_end_input(process);
        client_update(client);
    } else {
        client_end(client);
    }
}

static void client_ready(struct watch *watch, uint32_t events)
{
    struct client *client = watch->owner;
    if ((events & EPOLLIN) && (watch->events & EPOLLIN)) {
        uint8_t bytes[INPUT_SIZE];
        ssize_t n = recv(watch->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            take_input(client, bytes, (size_t)n);
        else if (n == 0)
            input_closed(client);
        else if (errno != EAGAIN && errno != EINTR)
            client_drop(client);
    } else if (events & EPOLLERR) {
        client_drop(client);
    } else if (events & EPOLLHUP) {
        // Both directions are gone; what it sent before is still in the socket while the process is slow to
        // take it.
        if ((client->flags & SHIM_ATTACH_STDIN) && !client->is_input_closed &&
            client->process->pending_in.len > 0)
            client->is_hung_up = true;
        else
            client_drop(client);
    }
    if (watch->fd >= 0 && (events & EPOLLOUT) && client->out.len > 0)
        flush_output(client);
    if (watch->fd >= 0)
        client_update(client);
}

int client_attach(struct process *process, int socket, const struct shim_message *request)
{
    struct shim *shim = process->shim;
    if (shim->client_count >= CLIENTS_MAX) {
        fd_close(socket);
        return -EMFILE;
    }
    if (process->is_reaped) {
        (void)shutdown(socket, SHUT_WR);
        fd_close(socket);
        return 0;
    }
    struct client *client = NEW(struct client);
    client->process = process;
    client->watch = watch_for(socket, client_ready, client);
    client->flags = request->flags;
    str_init(&client->out, 0);
    client->next = process->clients;
    process->clients = client;
    shim->client_count++;
    const uint8_t *keys = request->detach_key_count ? request->detach_keys : DEFAULT_DETACH_KEYS;
    client->detach_key_count =
        request->detach_key_count ? request->detach_key_count : sizeof DEFAULT_DETACH_KEYS;
    memcpy(client->detach_keys, keys, client->detach_key_count);
    // Whether there is a terminal or a stdin is known once the process has been made; process_listen settles
    // it.
    if (process->out.fd >= 0)
        process_update(process);
    client_update(client);
    if ((client->flags & SHIM_ATTACH_STDIN) && request->leading_size > 0)
        take_input(client, request->leading, request->leading_size);
    return 0;
}
