// HTTP server: one thread a connection with a small stack; a handler is a straight line that reads the body where it needs it
// and writes the answer where it has it.
#pragma once

#include "http/http.h"

#include <pthread.h>

struct http_exchange; // one request and its answer

struct http_handler {
    void (*handle)(void *context, struct http_exchange *exchange);
    void *context;
};

struct http_server;
// Takes no ownership of listening sockets; each accept starts a thread. max_connections: further ones wait in the backlog.
int http_server_new(struct http_handler handler, unsigned max_connections, struct http_server **ret);
// Accept on these sockets (non-blocking ones) until stop_fd becomes readable. Then idle connections are shut at once, the others
// after grace_ms, and it returns when all threads have ended: 0; or -ETIMEDOUT when some have not two seconds later (handlers may
// then still be running: what they use must not be freed).
int http_server_run(struct http_server *server, const int *sockets, size_t count, int stop_fd, int grace_ms);
void http_server_free(struct http_server *server);

// --- request
const char *http_exchange_method(const struct http_exchange *exchange);
const char *
http_exchange_path(const struct http_exchange *exchange); // as sent (not decoded), without the query
const char *http_exchange_query(const struct http_exchange *exchange); // "" when none
const char *http_exchange_header(const struct http_exchange *exchange, const char *name);
struct reader http_exchange_body(struct http_exchange *exchange);
bool http_exchange_has_body(const struct http_exchange *exchange);
// Becomes readable or hung up when the client goes away; poll it, do not read it.
int http_exchange_fd(const struct http_exchange *exchange);

// --- answer
// Added to whatever answer follows.
void http_exchange_add_header(struct http_exchange *exchange, const char *name, const char *value);
// A whole answer with its length. type NULL: no Content-Type. HEAD answers carry the length and no body.
void http_reply(struct http_exchange *exchange, int status, const char *type, const void *bytes, size_t n);
// Head now, body in chunks (HTTP/1.0: until close) as it is written; each write goes out at once.
struct writer http_reply_stream(struct http_exchange *exchange, int status, const char *type);
// An answer that goes on without a thread: head now, body in chunks as whoever has the stream puts them. Send no more from the
// handler, return. The connection stays the server's: it counts among the connections and is shut at once when the server stops.
// NULL when there is nothing to write to (HEAD, or the client is gone).
struct http_stream;
struct http_stream *http_reply_detached(struct http_exchange *exchange, int status, const char *type);
// One chunk, without waiting: what the socket has no room for is kept and goes first the next time. 0; -EAGAIN: this chunk was
// left out whole, because the last one has not gone yet; other -errno: the client is gone. One thread at a time.
int http_stream_put(struct http_stream *stream, const void *bytes, size_t n);
// The last chunk (unless the answer is cut off) and the end of the connection. Works after http_server_free too.
void http_stream_end(struct http_stream *stream, bool is_complete);
// The stream cannot be completed: end the connection without the final chunk, so that the client sees that it was cut.
void http_reply_abort(struct http_exchange *exchange);
// Did the client ask for `Upgrade: tcp`?
bool http_exchange_wants_upgrade(const struct http_exchange *exchange);
// The connection leaves HTTP: answer 101 (when the client asked for `Upgrade: tcp`) or 200 with this type, then the socket
// is the caller's (*ret_fd, owned), with what was read ahead appended to *ret_leading. Read the body first. 0 or -errno.
int http_hijack(struct http_exchange *exchange, const char *type, int *ret_fd, struct str *ret_leading);
// Go over to another protocol on this connection: answer 101 with `Upgrade: protocol` and the headers added. The socket stays
// the server's: the handler talks over http_exchange_fd until it returns, and stopping the server shuts it. What was read
// ahead is appended to *ret_leading. 0 or -errno.
int http_upgrade(struct http_exchange *exchange, const char *protocol, struct str *ret_leading);
// Has any part of an answer been sent?
bool http_exchange_is_answered(const struct http_exchange *exchange);
