// One HTTP exchange over libcurl whose body is pulled by the caller instead of pushed by the library, so that
// a slow consumer (unpacking) holds the sender back and nothing is buffered without bound. Internal to
// registry/client.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/stream.h"
#include "registry/client/auth.h"

#define CURL_DISABLE_TYPECHECK // its macros would hide the functions, which are called through pointers
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct transfer_request {
    const char *url;
    const char *authorization; // NULL: none
    char *const *headers;      // strv of further "Name: value"
    const char *form;          // POST this; NULL: GET
    const char *method;        // "HEAD", "PUT", ...; NULL: as `form` says
    const void *body; // what a method with a body sends; body_n bytes, borrowed until the head is there
    size_t body_n;
    const struct reader *stream; // sent instead of `body` when not NULL: body_n bytes; cannot be sent twice
    // Told how much of the body is gone, as it goes; on the thread of transfer_begin. May be NULL.
    void (*on_sent)(void *context, uint64_t n);
    void *sent_context;
    uint64_t range_from;                  // > 0: ask for the bytes from here on
    const char *ca_file;                  // certificates trusted beside the system's; NULL: none
    bool is_unverified;                   // take any certificate
    const char *client_cert, *client_key; // PEM files that say who we are; NULL: none
    unsigned timeout_s;                   // without a byte
    bool (*is_cancelled)(void *context);
    void *context;
};

struct transfer {
    CURLM *multi; // keeps the connections
    CURL *easy;
    struct transfer *next;

    // One exchange:
    struct transfer_request request; // pointers are good during transfer_begin only, but for the callback
    char *url;
    struct curl_slist *headers;
    struct str buffer;
    size_t taken; // of buffer
    bool is_added, is_paused, is_finished, has_head;
    CURLcode result;
    char detail[CURL_ERROR_SIZE];
    uint64_t sent;     // of the body
    int stream_failed; // -errno of request.stream

    // The response's head:
    int status;
    char *location, *content_type, *link;
    int64_t content_length;      // -1: not said
    uint64_t content_range_from; // of 206
    unsigned retry_after_s;      // 0: not said
    int64_t received;   // bytes of an upload that the registry has ("Range: 0-N" is N + 1); -1: not said
    uint64_t chunk_min; // OCI-Chunk-Min-Length; 0: not said
    struct auth_challenge challenge;
};

// Load and start libcurl, once per process; before anything else here. ERROR_UNAVAILABLE when it is not
// installed.
int transfer_prepare(struct error *err);
// Owned.
struct transfer *transfer_new(void);
void transfer_free(struct transfer *transfer);
// Send the request and wait for the response's head. Ends an exchange under way.
// ERROR_UNAVAILABLE 'Get "url": cause' in the words of Go's net/http; ERROR_CANCELLED.
int transfer_begin(struct transfer *transfer, const struct transfer_request *request, struct error *err);
// Body bytes (> 0), 0 at its end, < 0 with *err.
ssize_t transfer_read(struct transfer *transfer, void *bytes, size_t n, struct error *err);
// The whole body, at most max bytes (then ERROR_INVALID "... larger than ..."), appended.
int transfer_read_all(struct transfer *transfer, size_t max, struct str *out, struct error *err);
// Is what went wrong likely to pass: a connection refused, reset or cut short, a silent peer, "too many requests", a server's
// own trouble?
bool transfer_is_transient(const struct transfer *transfer);
// Done with this exchange; connections are kept when the body was read to its end.
void transfer_end(struct transfer *transfer);

// Parts of a URL, owned; port is always given. False when it is no http or https URL with a host.
struct url_parts {
    char *scheme, *host, *port;
};
bool url_split(const char *url, struct url_parts *ret);
void url_parts_done(struct url_parts *parts);
// "localhost", 127.0.0.0/8, ::1 (with or without brackets).
bool host_is_loopback(const char *host);
// `location` seen from `base`, owned; NULL when malformed.
char *url_resolve(const char *base, const char *location);
