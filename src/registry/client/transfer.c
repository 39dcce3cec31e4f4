// Theory of operation. libcurl pushes: it calls write_body when it has bytes. Here the caller pulls:
// transfer_read drives the multi handle until the buffer holds something, and write_body pauses the transfer
// when BUFFER_MAX is reached, which stops reading from the socket, which closes the sender's window. Only the
// thread that reads drives, so nothing here is locked. A wait is cut into POLL_MS slices, in which
// cancellation is asked for and the silence of the peer is measured; time in which the caller does not read
// is not the peer's silence.
//
// libcurl is loaded by the first pull, not linked: with the thirty libraries behind it, it would take 3.0 MB (PSS)
// and some 10 ms of start-up from every engine, also from those that never pull.
#include "registry/client/transfer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

enum { BUFFER_MAX = 256 * 1024, POLL_MS = 200, CONNECT_TIMEOUT_S = 15, TIMEOUT_DEFAULT_S = 60 };

// clang-format off
#define CURL_FUNCTIONS(X) \
    X(curl_easy_cleanup) \
    X(curl_easy_getinfo) \
    X(curl_easy_init) \
    X(curl_easy_pause) \
    X(curl_easy_reset) \
    X(curl_easy_setopt) \
    X(curl_easy_strerror) \
    X(curl_free) \
    X(curl_global_init) \
    X(curl_multi_add_handle) \
    X(curl_multi_cleanup) \
    X(curl_multi_info_read) \
    X(curl_multi_init) \
    X(curl_multi_perform) \
    X(curl_multi_poll) \
    X(curl_multi_remove_handle) \
    X(curl_slist_append) \
    X(curl_slist_free_all) \
    X(curl_url) \
    X(curl_url_cleanup) \
    X(curl_url_get) \
    X(curl_url_set)
// clang-format on

static struct {
#define MEMBER(name) __typeof__(name) *name;
    CURL_FUNCTIONS(MEMBER)
#undef MEMBER
} curl;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static char *curl_problem; // written once; NULL: loaded

static void curl_load(void)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    const char *problem = library ? NULL : dlerror();
#define LOAD(name)                                                            \
    if (!problem && !(curl.name = (__typeof__(name) *)dlsym(library, #name))) \
        problem = "libcurl.so.4 has no " #name;
    CURL_FUNCTIONS(LOAD)
#undef LOAD
    if (!problem && curl.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        problem = "libcurl cannot start";
    curl_problem = xstrdup(problem);
}

int transfer_prepare(struct error *err)
{
    pthread_once(&curl_once, curl_load);
    return curl_problem ? error_set(err, ERROR_UNAVAILABLE, "cannot talk to registries: %s", curl_problem)
                        : 0;
}

struct transfer *transfer_new(void)
{
    struct transfer *transfer = NEW(struct transfer);
    str_init(&transfer->buffer, 0);
    transfer->multi = curl.curl_multi_init();
    transfer->easy = curl.curl_easy_init();
    if (!transfer->multi || !transfer->easy)
        abort(); // libcurl fails these for want of memory only
    return transfer;
}

void transfer_end(struct transfer *transfer)
{
    if (transfer->is_added)
        curl.curl_multi_remove_handle(transfer->multi, transfer->easy);
    transfer->is_added = transfer->is_paused = transfer->is_finished = transfer->has_head = false;
    curl.curl_slist_free_all(TAKE_PTR(transfer->headers));
    free(TAKE_PTR(transfer->url));
    free(TAKE_PTR(transfer->location));
    free(TAKE_PTR(transfer->content_type));
    free(TAKE_PTR(transfer->link));
    auth_challenge_done(&transfer->challenge);
    str_done(&transfer->buffer);
    transfer->taken = 0;
}

void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    transfer_end(transfer);
    curl.curl_easy_cleanup(transfer->easy);
    curl.curl_multi_cleanup(transfer->multi);
    free(transfer);
}

// --- what libcurl calls
static size_t write_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t n = size * count;
    if (transfer->buffer.len - transfer->taken >= BUFFER_MAX) {
        transfer->is_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (transfer->taken > 0) {
        str_consume(&transfer->buffer, transfer->taken);
        transfer->taken = 0;
    }
    str_append_n(&transfer->buffer, bytes, n);
    return n;
}

static void begin_head(struct transfer *transfer, const char *line)
{
    const char *space = strchr(line, ' ');
    uint32_t status = 0;
    CLEANUP(cleanup_free) char *digits = space ? xstrndup(space + 1, strspn(space + 1, "0123456789")) : NULL;
    transfer->status = digits && parse_u32(digits, 999, &status) ? (int)status : 0;
    transfer->content_length = -1;
    transfer->content_range_from = 0;
    transfer->retry_after_s = 0;
    transfer->received = -1;
    transfer->chunk_min = 0;
    free(TAKE_PTR(transfer->location));
    free(TAKE_PTR(transfer->content_type));
    free(TAKE_PTR(transfer->link));
    auth_challenge_done(&transfer->challenge);
}

// Seconds, or a date (RFC 9110 section 10.2.3); 0 when it is neither or past.
static unsigned retry_after(const char *value)
{
    uint32_t seconds;
    if (parse_u32(value, UINT32_MAX, &seconds))
        return seconds;
    struct tm tm = { 0 };
    const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    int64_t left = end && *end == '\0' ? timegm(&tm) - time_now_ns() / NS_PER_S : 0;
    return left > 0 && left < UINT32_MAX ? (unsigned)left : 0;
}

static void keep_header(struct transfer *transfer, const char *name, const char *value)
{
    if (strcasecmp(name, "location") == 0) {
        free_and_strdup(&transfer->location, value);
    } else if (strcasecmp(name, "content-type") == 0) {
        free_and_strdup(&transfer->content_type, value);
    } else if (strcasecmp(name, "www-authenticate") == 0) {
        auth_challenge_read(value, &transfer->challenge);
    } else if (strcasecmp(name, "content-length") == 0) {
        if (!parse_i64(value, 0, INT64_MAX, &transfer->content_length))
            transfer->content_length = -1;
    } else if (strcasecmp(name, "link") == 0) {
        free_and_strdup(&transfer->link, value);
    } else if (strcasecmp(name, "retry-after") == 0) {
        transfer->retry_after_s = retry_after(value);
    } else if (strcasecmp(name, "content-range") == 0 && strncasecmp(value, "bytes ", 6) == 0) {
        CLEANUP(cleanup_free) char *from = xstrndup(value + 6, strspn(value + 6, "0123456789"));
        if (!parse_u64(from, UINT64_MAX, &transfer->content_range_from))
            transfer->content_range_from = 0;
    }
}

// Of an upload's answers: "Range: 0-1023" and the least length of a chunk but the last.
static void keep_upload_header(struct transfer *transfer, const char *name, const char *value)
{
    if (strcasecmp(name, "range") == 0) {
        const char *first = str_has_prefix(value, "bytes=") ? value + strlen("bytes=") : value;
        int64_t last;
        if (str_has_prefix(first, "0-") && parse_i64(first + 2, 0, INT64_MAX - 1, &last))
            transfer->received = last + 1;
    } else if (strcasecmp(name, "oci-chunk-min-length") == 0) {
        if (!parse_u64(value, UINT64_MAX, &transfer->chunk_min))
            transfer->chunk_min = 0;
    }
}

static size_t write_header(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t n = size * count, end = n;
    while (end > 0 && isspace((unsigned char)bytes[end - 1]))
        end--;
    CLEANUP(cleanup_free) char *line = xstrndup(bytes, end);
    char *colon = strchr(line, ':');
    if (strncasecmp(line, "HTTP/", 5) == 0) {
        begin_head(transfer, line);
    } else if (end == 0) {
        transfer->has_head = transfer->status >= 200;
    } else if (colon && !transfer->has_head) { // later ones are trailers
        *colon = '\0';
        keep_header(transfer, line, colon + 1 + strspn(colon + 1, " \t"));
        keep_upload_header(transfer, line, colon + 1 + strspn(colon + 1, " \t"));
    }
    return n;
}

static size_t read_stream(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    const struct reader *stream = transfer->request.stream;
    ssize_t n = stream->read(stream->context, bytes, size * count);
    if (n >= 0)
        return (size_t)n;
    transfer->stream_failed = (int)n;
    return CURL_READFUNC_ABORT;
}

// --- errors in Go's words
static void lower_first(char *text)
{
    text[0] = (char)tolower((unsigned char)text[0]);
}

static char *connect_cause(const struct transfer *transfer, const struct url_parts *parts)
{
    long errnum = 0;
    const char *address = NULL;
    curl.curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &errnum);
    curl.curl_easy_getinfo(transfer->easy, CURLINFO_PRIMARY_IP, &address);
    char text[128] = "connection refused";
    if (errnum > 0) {
        const char *words = strerrordesc_np((int)errnum);
        snprintf(text, sizeof text, "%s", words ? words : "unknown error");
        lower_first(text);
    }
    return xasprintf("dial tcp %s:%s: connect: %s", str_is_empty(address) ? parts->host : address,
                     parts->port, text);
}

static char *cause_text(const struct transfer *transfer)
{
    CLEANUP(url_parts_done) struct url_parts parts = { 0 };
    if (!url_split(transfer->url, &parts))
        return xstrdup("malformed URL");
    const char *detail = transfer->detail[0] ? transfer->detail : curl.curl_easy_strerror(transfer->result);
    double connected = 0;
    switch ((int)transfer->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return xasprintf("dial tcp: lookup %s: no such host", parts.host);
    case CURLE_COULDNT_CONNECT:
        return connect_cause(transfer, &parts);
    case CURLE_OPERATION_TIMEDOUT:
        curl.curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME, &connected);
        return connected > 0 ? xstrdup("net/http: TLS handshake timeout")
                             : xasprintf("dial tcp %s:%s: i/o timeout", parts.host, parts.port);
    case CURLE_PEER_FAILED_VERIFICATION:
        return xasprintf("tls: failed to verify certificate: x509: %s", detail);
    case CURLE_SSL_CONNECT_ERROR:
        return strstr(detail, "wrong version number")
                   ? xstrdup("http: server gave HTTP response to HTTPS client")
                   : xasprintf("tls: %s", detail);
    case CURLE_PARTIAL_FILE:
        return xstrdup("unexpected EOF");
    case CURLE_GOT_NOTHING:
        return xstrdup("EOF");
    case CURLE_RECV_ERROR:
        return xstrdup(strstr(detail, "reset") ? "read: connection reset by peer" : "unexpected EOF");
    default:
        return xstrdup(detail);
    }
}

static int transfer_failure(const struct transfer *transfer, const char *cause, struct error *err)
{
    CLEANUP(cleanup_free) char *text = cause ? xstrdup(cause) : cause_text(transfer);
    char method[8] = "Get";
    snprintf(method, sizeof method, "%s",
             transfer->request.method ? transfer->request.method
             : transfer->request.form ? "Post"
                                      : "Get");
    for (char *c = method + 1; method[0] && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return error_set(err, ERROR_UNAVAILABLE, "%s \"%s\": %s", method, transfer->url, text);
}

bool transfer_is_transient(const struct transfer *transfer)
{
    int status = transfer->status;
    if (transfer->has_head && status >= 400)
        return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
    switch ((int)transfer->result) {
    case CURLE_OK: // no result yet: the peer was silent for too long
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return true;
    default:
        return false;
    }
}

bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    return streq(host, "localhost") || str_has_suffix(host, ".localhost") || streq(host, "[::1]") ||
           streq(host, "::1") || (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

// --- driving
static void collect_result(struct transfer *transfer)
{
    int left;
    const CURLMsg *message;
    while ((message = curl.curl_multi_info_read(transfer->multi, &left))) {
        if (message->msg == CURLMSG_DONE && message->easy_handle == transfer->easy) {
            transfer->is_finished = true;
            transfer->result = message->data.result;
        }
    }
}

static bool has_bytes(const struct transfer *transfer)
{
    return transfer->buffer.len > transfer->taken;
}

// True when more of the body went out since the last look.
static bool note_sent(struct transfer *transfer)
{
    curl_off_t sent = 0;
    const struct transfer_request *request = &transfer->request;
    if (!request->body && !request->stream)
        return false;
    curl.curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent < 0 || (uint64_t)sent == transfer->sent)
        return false;
    transfer->sent = (uint64_t)sent;
    if (request->on_sent)
        request->on_sent(request->sent_context, transfer->sent);
    return true;
}

// Until there is a head (wants_head) or a body byte, or the exchange is over.
static int drive(struct transfer *transfer, bool wants_head, struct error *err)
{
    unsigned timeout_s = transfer->request.timeout_s ? transfer->request.timeout_s : TIMEOUT_DEFAULT_S;
    int64_t deadline = time_monotonic_ns() + (int64_t)timeout_s * NS_PER_S;
    for (;;) {
        int running;
        if (transfer->request.is_cancelled && transfer->request.is_cancelled(transfer->request.context))
            return error_set(err, ERROR_CANCELLED, "context canceled");
        if (curl.curl_multi_perform(transfer->multi, &running) != CURLM_OK)
            return transfer_failure(transfer, "cannot drive the transfer", err);
        collect_result(transfer);
        if (note_sent(transfer))
            deadline = time_monotonic_ns() + (int64_t)timeout_s * NS_PER_S;
        if (has_bytes(transfer) || transfer->is_finished || (wants_head && transfer->has_head))
            return 0;
        if (time_monotonic_ns() > deadline)
            return transfer_failure(
                transfer, wants_head ? "net/http: timeout awaiting response headers" : "read: i/o timeout",
                err);
        curl.curl_multi_poll(transfer->multi, NULL, 0, POLL_MS, NULL);
    }
}

static void append_header(struct transfer *transfer, const char *name, const char *value)
{
    CLEANUP(cleanup_free) char *line = name ? xasprintf("%s: %s", name, value) : xstrdup(value);
    transfer->headers = curl.curl_slist_append(transfer->headers, line);
}

// No "Expect: 100-continue": an answer to it costs a round trip and some registries never give one.
static void set_body(struct transfer *transfer, const struct transfer_request *request)
{
    CURL *easy = transfer->easy;
    if (streq(request->method, "HEAD")) {
        curl.curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (request->stream) {
        curl.curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl.curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_stream);
        curl.curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl.curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_n);
        curl.curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
        append_header(transfer, NULL, "Expect:");
    } else if (request->method && !streq(request->method, "GET")) {
        curl.curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_n);
        curl.curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
        curl.curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
        append_header(transfer, NULL, "Expect:");
        if (!request->body)
            append_header(transfer, NULL, "Content-Type:");
    }
}

static void set_options(struct transfer *transfer, const struct transfer_request *request)
{
    CURL *easy = transfer->easy;
    curl.curl_easy_reset(easy);
    curl.curl_easy_setopt(easy, CURLOPT_URL, transfer->url);
    curl.curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); // ours to judge
    curl.curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl.curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl.curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl.curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
    curl.curl_easy_setopt(easy, CURLOPT_USERAGENT, "skiff/" SKIFF_VERSION);
    curl.curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->detail);
    curl.curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_body);
    curl.curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl.curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, write_header);
    curl.curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    CLEANUP(url_parts_done) struct url_parts parts = { 0 };
    if (url_split(transfer->url, &parts) && host_is_loopback(parts.host))
        curl.curl_easy_setopt(easy, CURLOPT_PROXY, ""); // a proxy's loopback is not ours
    if (request->ca_file)
        curl.curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file); // CAPATH goes on naming the system's
    if (request->client_cert) {
        curl.curl_easy_setopt(easy, CURLOPT_SSLCERT, request->client_cert);
        curl.curl_easy_setopt(easy, CURLOPT_SSLKEY, request->client_key);
    }
    if (request->is_unverified) {
        curl.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (request->form)
        curl.curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->form);
    else if (request->method)
        set_body(transfer, request);
    if (request->authorization)
        append_header(transfer, "Authorization", request->authorization);
    for (size_t i = 0; request->headers && request->headers[i]; i++)
        append_header(transfer, NULL, request->headers[i]);
    if (request->range_from > 0) {
        CLEANUP(cleanup_free) char *range = xasprintf("bytes=%llu-", (unsigned long long)request->range_from);
        append_header(transfer, "Range", range);
    }
    curl.curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

int transfer_begin(struct transfer *transfer, const struct transfer_request *request, struct error *err)
{
    transfer_end(transfer);
    transfer->request = *request;
    transfer->url = xstrdup(request->url);
    transfer->result = CURLE_OK;
    transfer->status = 0;
    transfer->retry_after_s = 0;
    transfer->detail[0] = '\0';
    transfer->sent = 0;
    transfer->stream_failed = 0;
    set_options(transfer, request);
    if (curl.curl_multi_add_handle(transfer->multi, transfer->easy) != CURLM_OK)
        return transfer_failure(transfer, "cannot begin the transfer", err);
    transfer->is_added = true;
    if (drive(transfer, true, err) < 0)
        return -1;
    return transfer->has_head ? 0 : transfer_failure(transfer, NULL, err);
}

ssize_t transfer_read(struct transfer *transfer, void *bytes, size_t n, struct error *err)
{
    if (!has_bytes(transfer) && transfer->is_paused) {
        transfer->is_paused = false;
        curl.curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
    }
    if (!has_bytes(transfer) && !transfer->is_finished && drive(transfer, false, err) < 0)
        return -1;
    if (!has_bytes(transfer))
        return transfer->result == CURLE_OK ? 0 : transfer_failure(transfer, NULL, err);
    size_t there = transfer->buffer.len - transfer->taken, take = there < n ? there : n;
    memcpy(bytes, transfer->buffer.ptr + transfer->taken, take);
    transfer->taken += take;
    if (!has_bytes(transfer)) {
        str_clear(&transfer->buffer);
        transfer->taken = 0;
    }
    return (ssize_t)take;
}

int transfer_read_all(struct transfer *transfer, size_t max, struct str *out, struct error *err)
{
    char bytes[16 * 1024];
    size_t total = 0;
    if (transfer->content_length > (int64_t)max)
        return error_set(err, ERROR_INVALID, "answer to %s is %lld bytes: larger than the %zu that are taken",
                         transfer->url, (long long)transfer->content_length, max);
    for (;;) {
        ssize_t n = transfer_read(transfer, bytes, sizeof bytes, err);
        if (n <= 0)
            return (int)n;
        total += (size_t)n;
        if (total > max)
            return error_set(err, ERROR_INVALID, "answer to %s is larger than the %zu bytes that are taken",
                             transfer->url, max);
        str_append_n(out, bytes, (size_t)n);
    }
}

// --- URLs
void url_parts_done(struct url_parts *parts)
{
    free(parts->scheme);
    free(parts->host);
    free(parts->port);
    *parts = (struct url_parts){ 0 };
}

static void cleanup_url(CURLU **url)
{
    curl.curl_url_cleanup(*url);
}

static char *url_part(CURLU *url, CURLUPart which, unsigned flags)
{
    char *text = NULL;
    if (curl.curl_url_get(url, which, &text, flags) != CURLUE_OK)
        return NULL;
    char *copy = xstrdup(text);
    curl.curl_free(text);
    return copy;
}

bool url_split(const char *text, struct url_parts *ret)
{
    CLEANUP(cleanup_url) CURLU *url = curl.curl_url();
    CLEANUP(url_parts_done) struct url_parts parts = { 0 };
    if (!url || curl.curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        return false;
    parts.scheme = url_part(url, CURLUPART_SCHEME, 0);
    parts.host = url_part(url, CURLUPART_HOST, 0);
    parts.port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    if (str_is_empty(parts.host) || !parts.port ||
        (!streq(parts.scheme, "http") && !streq(parts.scheme, "https")))
        return false;
    *ret = parts;
    parts = (struct url_parts){ 0 };
    return true;
}

char *url_resolve(const char *base, const char *location)
{
    CLEANUP(cleanup_url) CURLU *url = curl.curl_url();
    if (!url || curl.curl_url_set(url, CURLUPART_URL, base, 0) != CURLUE_OK ||
        curl.curl_url_set(url, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK)
        return NULL;
    return url_part(url, CURLUPART_URL, 0);
}
