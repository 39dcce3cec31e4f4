// One TLS connection at a time to one server. Nothing here blocks.
#pragma once

#include "logtls/relay.h"

#include <openssl/ssl.h>
#include <stdint.h>

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_SHAKING_HANDS, LINK_UP };

struct link {
    const struct logtls_options *options; // borrowed
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    enum link_state state;
    bool is_failing;                      // the last attempt failed, or the connection broke: nobody is there
    short wanted;                         // poll events that the connection waits for while it is made
    int64_t deadline_ns;                  // down: when to connect again; while being made: when to give up
    int64_t up_ns;                        // since when it is up
    int64_t delay_ns;                     // before the attempt after the next failure
    char last_problem[ERROR_MESSAGE_MAX]; // that was told
};

// ERROR_INVALID: the files do not make sense; the link needs no link_done then.
int link_init(struct link *link, const struct logtls_options *options, struct error *err);
void link_done(struct link *link);
// Go on with connecting: when the deadline has passed, or the socket is ready.
void link_advance(struct link *link, int64_t now_ns);
// Is the peer still there? What it says is thrown away. Call when the socket is readable.
void link_listen(struct link *link);
// How many bytes went out; 0: no room, or the link broke (state says).
size_t link_send(struct link *link, const char *bytes, size_t n);
// All is sent: say goodbye, and wait until the peer has read it (timeout_ms at most).
void link_close(struct link *link, int timeout_ms);
