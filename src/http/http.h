// HTTP/1.1 heads and bodies, shared by server and client. Bounded: HTTP_HEAD_MAX bytes of head, HTTP_HEADERS_MAX fields.
// Spec: RFC 9112 (framing), RFC 9110 (semantics). A message with both Content-Length and Transfer-Encoding, with two
// different lengths, or with obsolete folding is refused (request smuggling).
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 64 * 1024, HTTP_HEADERS_MAX = 100 };

struct http_header {
    const char *name, *value; // borrowed from the head's buffer; value is trimmed
};

struct http_head {
    bool is_request;
    const char *method, *target; // request
    int status;                  // response
    int minor;                   // HTTP/1.minor
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    char *buffer; // owned
};

// Parse a head that ends with an empty line. *ret_used: bytes of it. 1: done, 0: more bytes needed, < 0: error.
int http_head_parse(const char *bytes, size_t n, bool is_request, struct http_head *ret, size_t *ret_used,
                    struct error *err);
void http_head_done(struct http_head *head);
// First value of a header, any case; NULL when absent.
const char *http_head_get(const struct http_head *head, const char *name);

// One connection's reading side: a descriptor and what was read ahead.
struct http_input {
    int fd;
    struct str buffered;
};

// A message body as a stream: by length, chunked, or to the end of the connection.
struct http_body {
    struct http_input *input;
    enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE } framing;
    uint64_t left; // of the length or of the current chunk
    bool is_done;
    int failed; // -errno, -EPROTO for bad framing
};
int http_body_begin(struct http_body *body, struct http_input *input, const struct http_head *head,
                    struct error *err);
struct reader http_body_reader(struct http_body *body);

// Are all its escapes well-formed and none of them a NUL? The server refuses a request whose query is not.
bool http_query_is_valid(const char *query);
// "a=b&c=%20" -> decoded value of the first `name`, owned, NULL when absent.
char *http_query_get(const char *query, const char *name);
// All values, owned strv.
char **http_query_get_all(const char *query, const char *name);
// Docker's BoolValue: "", "0", "no", "false", "none" are false; anything else is true.
bool http_query_bool(const char *query, const char *name, bool otherwise);
// Append text with everything but letters, digits and "-._~" percent-encoded.
void http_url_encode(struct str *out, const char *text);
// Append the decoded text; false for bad escapes and for an encoded NUL.
bool http_url_decode(struct str *out, const char *text, size_t n, bool plus_is_space);
