// The Engine API as the skiff command uses it: one keep-alive connection for calls, a connection of its own
// for each stream. Paths are sent without a version, so that the engine answers with the newest documents it
// knows. Single-threaded. May use: http/, codec/, base/.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/stream.h"
#include "http/client.h"

#include <jansson.h>
#include <stdbool.h>

struct client {
    char *address;                // "unix:///run/skiff/skiff.sock", "tcp://host:port"
    struct http_connection *idle; // connected and between requests, or NULL
    int status;                   // HTTP status of the last answer, 0 when none came
    char *next_header; // "Name: value" that goes with the next call or stream only; owned; NULL: none
    bool unreachable;  // the last failure was: nobody answers at `address`
};

// Remember the address; nothing is connected yet.
void client_init(struct client *client, const char *address);
void client_done(struct client *client);
// Connect now unless a connection is idle. ERROR_UNAVAILABLE in Docker's words when nobody answers.
int client_connect(struct client *client, struct error *err);

// A request whose answer is a document. body: borrowed, NULL for none. *ret (ret may be NULL) becomes the
// owned document, or NULL when the answer was empty. Status >= 400 fails with "Error response from daemon:
// MESSAGE" and the kind of the status; 304 succeeds with client->status == 304.
int client_call(struct client *client, const char *method, const char *target, const json_t *body,
                json_t **ret, struct error *err);

// An answer that is read as it comes, on a connection that belongs to it until client_stream_done.
struct client_stream {
    struct client *client;
    struct http_connection *connection;
    struct reader body;
    const char *content_type; // "" when none; borrowed from the connection
};

// Send a request, upload `upload` (chunked; NULL: none) as `content_type`, and read the answer's head.
int client_stream_open(struct client *client, const char *method, const char *target,
                       const char *content_type, const struct reader *upload, struct client_stream *ret,
                       struct error *err);
// Give the connection back when its answer was read to the end, else close it. Safe on a zeroed stream.
void client_stream_done(struct client_stream *stream);
// Is the rest of the answer (or a part) readable without waiting for the socket?
bool client_stream_is_buffered(const struct client_stream *stream);

// Ask for `Upgrade: tcp` and take the raw connection over: *ret_fd is owned, *ret_leading gets what was read
// ahead.
int client_hijack(struct client *client, const char *target, const json_t *body, int *ret_fd,
                  struct str *ret_leading, struct error *err);

// The documents of a stream of JSON objects (one a line), each given to `each`; stops early when it returns
// nonzero and returns that. 0 at the end; ERROR_IO when the connection broke, ERROR_INVALID for what is not
// JSON.
int client_each_document(struct reader body, int (*each)(void *context, json_t *document), void *context,
                         struct error *err);
