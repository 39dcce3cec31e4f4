// Log messages on their way to a socket: syslog's or journald's. Nothing here blocks.
#pragma once

#include "base/str.h"
#include "shim/loop.h"
#include "shimproto/shimproto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// More than this waiting is a congestion in blocking mode.
enum { LOG_SINK_QUEUE_MAX = 64 * 1024 };

struct log_sink {
    const char *address; // "unix:/dev/log", "udp:192.0.2.1:514", "tcp:[::1]:514", "tls:..."; borrowed
    const struct shim_log_tls *tls; // borrowed
    bool drops_when_full;           // non-blocking mode
    size_t queue_max;
    struct loop *loop; // NULL: before shim_log_listen
    void (*on_room)(void *context);
    void *context;
    struct watch watch;            // the socket
    bool is_stream, is_connecting; // stream: messages may go out in parts
    struct str queue;              // messages, each behind its size (native uint32_t)
    size_t sent;                   // of the first one's bytes (streams)
    int64_t relay_ns;              // tls: when the relay was started last, 0: never
    int64_t retry_ns;              // when to connect again; 0: connected, or nothing tried yet
    uint64_t dropped_count;
};

// options must outlive it.
void log_sink_init(struct log_sink *sink, const struct shim_log_options *options);
void log_sink_done(struct log_sink *sink);
void log_sink_listen(struct log_sink *sink, struct loop *loop, void (*on_room)(void *context), void *context);
// Send a message, or queue it; drops it when the queue is full and may not grow: in non-blocking mode, and while nobody is there
// to send to (a container does not stand still because its syslog is down).
void log_sink_add(struct log_sink *sink, const char *bytes, size_t n);
// Send what waits, connecting when it is time.
void log_sink_push(struct log_sink *sink);
bool log_sink_is_congested(const struct log_sink *sink);
