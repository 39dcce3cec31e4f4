// HTTP client over any connected stream socket, for the skiff command: libc only. (The registry client uses libcurl.)
#pragma once

#include "http/http.h"

struct http_connection {
    int fd;
    struct http_input input;
    struct http_head head; // of the current response
    struct http_body body;
};

// "unix:///path", "unix://path", "tcp://host:port", "/path". ERROR_UNAVAILABLE when nothing answers.
int http_connect(const char *address, struct http_connection **ret, struct error *err);
void http_connection_free(struct http_connection *connection);
// Send a request (body of n bytes, or streamed chunked from `stream` when not NULL) and read the response's head.
// extra_headers: strv of "Name: value", or NULL. The body is then read with http_body_reader(&connection->body).
int http_request(struct http_connection *connection, const char *method, const char *target,
                 char *const *extra_headers, const char *content_type, const void *body, size_t n,
                 const struct reader *stream, struct error *err);
