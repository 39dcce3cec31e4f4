// Theory of operation. A session is opened by asking for /v2/: that settles the scheme and usually brings the
// challenge. Every later request carries what answered it; a 401 (no token yet, or an expired one) makes a
// new one, once per request.
//
// Who may see credentials: (1) user name and password go to the registry's own scheme, host and port (Basic),
// or to the token server that this registry names, if that one is reached by HTTPS or the user declared it
// insecure; (2) a token goes to the registry's own scheme, host and port; (3) a redirect to anywhere else
// carries nothing; (4) HTTPS never redirects to HTTP.
#include "registry/client/session.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum {
    REDIRECTS_MAX = 10,
    TOKEN_ANSWER_MAX = 1 << 20,
    ERROR_ANSWER_MAX = 64 * 1024,
    UNCONDITIONAL_TIMEOUT_S = 5,
    TRIES_MAX = 5,
    PING_TRIES_MAX = 3,
    WAIT_FIRST_MS = 100,
    WAIT_MAX_S = 60,
    WAIT_SLICE_MS = 100
};

// --- which registries may be spoken to in the clear
static bool is_in_cidr(const char *host, const char *cidr)
{
    const char *slash = strchr(cidr, '/');
    CLEANUP(cleanup_free) char *network = xstrndup(cidr, (size_t)(slash - cidr));
    unsigned char a[16], b[16];
    uint32_t bits;
    int family = strchr(network, ':') ? AF_INET6 : AF_INET;
    unsigned size = family == AF_INET6 ? 16 : 4;
    if (!parse_u32(slash + 1, size * 8, &bits) || inet_pton(family, network, a) != 1 ||
        inet_pton(family, host, b) != 1)
        return false;
    for (unsigned i = 0; i < bits; i++)
        if (((a[i / 8] ^ b[i / 8]) >> (7 - i % 8)) & 1)
            return false;
    return true;
}

// "host:port" or "[v6]:port" -> owned host without brackets.
static char *host_alone(const char *host)
{
    if (host[0] == '[')
        return xstrndup(host + 1, strcspn(host + 1, "]"));
    const char *colon = strchr(host, ':');
    return colon && !strchr(colon + 1, ':') ? xstrndup(host, (size_t)(colon - host)) : xstrdup(host);
}

bool registry_is_insecure(const char *host, char *const *list)
{
    CLEANUP(cleanup_free) char *alone = host_alone(host);
    if (host_is_loopback(alone))
        return true;
    for (size_t i = 0; list && list[i]; i++)
        if (strcasecmp(list[i], host) == 0 || strcasecmp(list[i], alone) == 0 ||
            (strchr(list[i], '/') && is_in_cidr(alone, list[i])))
            return true;
    return false;
}

// --- transfers
struct transfer *session_take_transfer(struct registry_repository *repository)
{
    pthread_mutex_lock(&repository->pool_lock);
    struct transfer *transfer = repository->idle;
    if (transfer)
        repository->idle = transfer->next;
    pthread_mutex_unlock(&repository->pool_lock);
    return transfer ? transfer : transfer_new();
}

void session_give_transfer(struct registry_repository *repository, struct transfer *transfer)
{
    if (!transfer)
        return;
    transfer_end(transfer);
    pthread_mutex_lock(&repository->pool_lock);
    transfer->next = repository->idle;
    repository->idle = transfer;
    pthread_mutex_unlock(&repository->pool_lock);
}

static struct transfer_request plain_request(const struct registry_repository *repository, const char *url)
{
    return (struct transfer_request){ .url = url,
                                      .ca_file = repository->ca_file,
                                      .client_cert = repository->client_cert,
                                      .client_key = repository->client_key,
                                      .is_unverified = repository->is_unverified,
                                      .timeout_s = repository->options.timeout_s,
                                      .is_cancelled = repository->options.is_cancelled,
                                      .context = repository->options.context };
}

// --- patience
static bool is_cancelled(const struct registry_repository *repository)
{
    return repository->options.is_cancelled && repository->options.is_cancelled(repository->options.context);
}

// Twice as long each time and a little uneven, so that many who were turned away together do not come back together.
bool session_wait(struct registry_repository *repository, const struct transfer *transfer, unsigned tries)
{
    int64_t now = time_monotonic_ns();
    int64_t wait_ms = (int64_t)WAIT_FIRST_MS << (tries < 10 ? tries - 1 : 9);
    if (tries >= TRIES_MAX || transfer->retry_after_s > WAIT_MAX_S)
        return false;
    wait_ms += wait_ms * (now % 64) / 256;
    if (transfer->has_head && transfer->retry_after_s > 0)
        wait_ms = (int64_t)transfer->retry_after_s * 1000;
    for (int64_t end = now + wait_ms * NS_PER_MS; now < end; now = time_monotonic_ns()) {
        int64_t slice = end - now < WAIT_SLICE_MS * NS_PER_MS ? end - now : WAIT_SLICE_MS * NS_PER_MS;
        struct timespec pause = { .tv_nsec = slice };
        if (is_cancelled(repository))
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

// --- places
static bool is_same_origin(const struct url_parts *a, const struct url_parts *b)
{
    return streq(a->scheme, b->scheme) && strcasecmp(a->host, b->host) == 0 && streq(a->port, b->port);
}

static bool is_home_url(const struct registry_repository *repository, const char *url)
{
    CLEANUP(url_parts_done) struct url_parts home = { 0 }, here = { 0 };
    return url_split(repository->base, &home) && url_split(url, &here) && is_same_origin(&home, &here);
}

// --- errors
static enum error_kind kind_of_status(int status)
{
    return status == 401   ? ERROR_UNAUTHORISED
           : status == 403 ? ERROR_DENIED
           : status == 404 ? ERROR_NOT_FOUND
                           : ERROR_UNAVAILABLE;
}

static const char *default_text(int status)
{
    return status == 401   ? "unauthorized: authentication required"
           : status == 403 ? "denied: requested access to the resource is denied"
           : status == 404 ? "manifest unknown: manifest unknown"
           : status == 429 ? "toomanyrequests: too many requests"
                           : NULL;
}

static int status_error(struct transfer *transfer, struct error *err)
{
    struct error ignored;
    int status = transfer->status;
    CLEANUP(str_done) struct str body = STR_INIT;
    CLEANUP(cleanup_free) char *code = NULL, *text = NULL;
    // A token without the right to this repository: Docker says the same whether it exists or not.
    if (status == 401 && streq(transfer->challenge.error, "insufficient_scope"))
        return error_set(err, ERROR_DENIED, "denied: requested access to the resource is denied");
    if (transfer_read_all(transfer, ERROR_ANSWER_MAX, &body, &ignored) == 0)
        text = auth_error_text(body.ptr, body.len, &code);
    if (text)
        return error_set(err, streq(code, "DENIED") ? ERROR_DENIED : kind_of_status(status), "%s", text);
    if (default_text(status))
        return error_set(err, kind_of_status(status), "%s", default_text(status));
    return error_set(err, kind_of_status(status), "received unexpected HTTP status %d from %s", status,
                     transfer->url);
}

// --- authorization
static void append_scopes(const struct registry_repository *repository, struct str *query)
{
    CLEANUP(cleanup_free)
    char *scope =
        xasprintf("repository:%s:%s", repository->name, repository->options.is_push ? "pull,push" : "pull");
    str_append(query, "scope=");
    auth_append_escaped(query, scope);
    for (size_t i = 0; repository->mount_from && repository->mount_from[i]; i++) {
        CLEANUP(cleanup_free) char *other = xasprintf("repository:%s:pull", repository->mount_from[i]);
        str_append(query, "&scope=");
        auth_append_escaped(query, other);
    }
}

// Without a repository it is the account that is asked for, and a token that stands for the password.
static void append_login(const struct registry_repository *repository, struct str *query)
{
    str_append(query, "offline_token=true&account=");
    auth_append_escaped(query, repository->username ? repository->username : "");
}

static char *token_query(const struct registry_repository *repository, const struct auth_challenge *challenge)
{
    struct str query = STR_INIT;
    if (repository->name)
        append_scopes(repository, &query);
    else
        append_login(repository, &query);
    if (challenge->service) {
        str_append(&query, "&service=");
        auth_append_escaped(&query, challenge->service);
    }
    return str_take(&query);
}

static int check_realm(const struct registry_repository *repository, const char *realm, bool *ret_is_insecure,
                       struct error *err)
{
    CLEANUP(url_parts_done) struct url_parts parts = { 0 };
    if (!realm || !url_split(realm, &parts))
        return error_set(err, ERROR_INVALID, "registry names no usable token server: %s",
                         realm ? realm : "(none)");
    CLEANUP(cleanup_free) char *host = xasprintf("%s:%s", parts.host, parts.port);
    *ret_is_insecure = registry_is_insecure(host, repository->insecure);
    if (streq(parts.scheme, "http") && (!*ret_is_insecure || str_has_prefix(repository->base, "https:")))
        return error_set(err, ERROR_DENIED, "token server %s would be asked in the clear: refused", realm);
    return 0;
}

static int read_token(struct registry_repository *repository, struct transfer *transfer, char **ret,
                      struct error *err)
{
    CLEANUP(str_done) struct str answer = STR_INIT;
    if (transfer->status != 200) {
        if (status_error(transfer, err) < 0 && (transfer->status == 401 || transfer->status == 403))
            return error_set(err, ERROR_DENIED, "Get \"%s\": unauthorized: incorrect username or password",
                             transfer->url);
        return error_wrap(err, "failed to fetch token");
    }
    if (transfer_read_all(transfer, TOKEN_ANSWER_MAX, &answer, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *token = NULL, *refresh = NULL;
    if (auth_token_parse(answer.ptr, answer.len, &token, &refresh, err) < 0)
        return -1;
    if (!repository->name)
        free_and_strdup(&repository->given_identity_token, refresh);
    char *header = auth_bearer(token);
    if (!header)
        return error_set(err, ERROR_INVALID, "authorization server sent a token that is no token");
    *ret = header;
    return 0;
}

static int fetch_token(struct registry_repository *repository, const struct auth_challenge *challenge,
                       char **ret, struct error *err)
{
    bool is_insecure = false;
    if (check_realm(repository, challenge->realm, &is_insecure, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *query = token_query(repository, challenge);
    CLEANUP(cleanup_free) char *url = NULL, *form = NULL, *basic = NULL;
    if (repository->identity_token) {
        CLEANUP(str_done) struct str text = STR_INIT;
        str_appendf(&text, "grant_type=refresh_token&client_id=skiff&%s&refresh_token=", query);
        auth_append_escaped(&text, repository->identity_token);
        form = str_take(&text);
        url = xstrdup(challenge->realm);
    } else {
        url = xasprintf("%s%c%s%s", challenge->realm, strchr(challenge->realm, '?') ? '&' : '?',
                        repository->name ? "" : "client_id=skiff&", query);
        basic = repository->username ? auth_basic(repository->username, repository->password) : NULL;
    }
    struct transfer_request request = plain_request(repository, url);
    if (!is_home_url(repository, url))
        request.client_cert = NULL;
    request.is_unverified = is_insecure;
    request.authorization = basic;
    request.form = form;
    struct transfer *transfer = session_take_transfer(repository);
    int r;
    for (unsigned tries = 1;; tries++) {
        r = transfer_begin(transfer, &request, err);
        if (r == 0)
            r = read_token(repository, transfer, ret, err);
        if (r == 0 || err->kind != ERROR_UNAVAILABLE || !transfer_is_transient(transfer) ||
            !session_wait(repository, transfer, tries))
            break;
    }
    session_give_transfer(repository, transfer);
    return r;
}

static int make_authorization(struct registry_repository *repository, const struct auth_challenge *challenge,
                              char **ret, struct error *err)
{
    if (challenge->has_bearer && repository->registry_token) {
        *ret = auth_bearer(repository->registry_token);
        return *ret ? 0 : error_set(err, ERROR_INVALID, "the given registry token is no token");
    }
    if (challenge->has_bearer)
        return fetch_token(repository, challenge, ret, err);
    if (challenge->has_basic && repository->username) {
        *ret = auth_basic(repository->username, repository->password);
        return 0;
    }
    return error_set(err, ERROR_DENIED, "Get \"%s/v2/\": no basic auth credentials", repository->base);
}

// Answer a challenge. seen: authorization_count when the refused request was made; if another thread has made
// a newer one meanwhile, that one is tried first.
static int authorise(struct registry_repository *repository, const struct auth_challenge *challenge,
                     unsigned seen, struct error *err)
{
    int r = 0;
    char *header = NULL;
    pthread_mutex_lock(&repository->auth_lock);
    if (repository->authorization_count == seen) {
        r = make_authorization(repository, challenge, &header, err);
        if (r == 0) {
            free(repository->authorization);
            repository->authorization = header;
            repository->authorization_count++;
        }
    }
    pthread_mutex_unlock(&repository->auth_lock);
    return r;
}

static char *current_authorization(struct registry_repository *repository, unsigned *ret_count)
{
    pthread_mutex_lock(&repository->auth_lock);
    char *header = xstrdup(repository->authorization);
    *ret_count = repository->authorization_count;
    pthread_mutex_unlock(&repository->auth_lock);
    return header;
}

// --- requests
// Where a redirect leads, judged. *ret_request gets credentials and verification for that place.
static int follow(struct registry_repository *repository, struct transfer *transfer, char **url,
                  const char *authorization, struct transfer_request *request, struct error *err)
{
    CLEANUP(url_parts_done) struct url_parts from = { 0 }, to = { 0 }, home = { 0 };
    char *target = transfer->location ? url_resolve(*url, transfer->location) : NULL;
    if (!target || !url_split(*url, &from) || !url_split(target, &to) ||
        !url_split(repository->base, &home)) {
        free(target);
        return error_set(err, ERROR_INVALID, "Get \"%s\": redirected to no usable place", *url);
    }
    free(*url);
    *url = target;
    CLEANUP(cleanup_free) char *host = xasprintf("%s:%s", to.host, to.port);
    bool is_insecure = registry_is_insecure(host, repository->insecure);
    if (streq(to.scheme, "http") && (streq(from.scheme, "https") || !is_insecure))
        return error_set(err, ERROR_DENIED, "Get \"%s\": redirected from %s to plain HTTP: refused", target,
                         from.host);
    request->url = target;
    request->is_unverified = is_insecure;
    request->authorization = is_same_origin(&to, &home) ? authorization : NULL;
    request->ca_file = is_same_origin(&to, &home) ? repository->ca_file : NULL;
    request->client_cert = is_same_origin(&to, &home) ? repository->client_cert : NULL;
    return 0;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One request and its redirects. *ret_is_home: the last answer came from the registry itself.
static int get_following(struct registry_repository *repository, struct transfer *transfer,
                         struct transfer_request *request, bool *ret_is_home, struct error *err)
{
    CLEANUP(cleanup_free) char *url = xstrdup(request->url);
    const char *authorization = request->authorization;
    *ret_is_home = true;
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        request->url = url;
        if (transfer_begin(transfer, request, err) < 0)
            return -1;
        if (!is_redirect(transfer->status))
            return 0;
        if (follow(repository, transfer, &url, authorization, request, err) < 0)
            return -1;
        CLEANUP(url_parts_done) struct url_parts home = { 0 }, here = { 0 };
        *ret_is_home =
            url_split(repository->base, &home) && url_split(url, &here) && is_same_origin(&home, &here);
    }
    return error_set(err, ERROR_INVALID, "Get \"%s\": stopped after %d redirects", url, REDIRECTS_MAX);
}

int session_get(struct registry_repository *repository, struct transfer *transfer, const char *path,
                char *const *headers, uint64_t range_from, struct error *err)
{
    CLEANUP(cleanup_free) char *url = xasprintf("%s%s", repository->base, path);
    for (int attempt = 0;; attempt++) {
        unsigned seen;
        bool is_home;
        CLEANUP(cleanup_free) char *authorization = current_authorization(repository, &seen);
        struct transfer_request request = plain_request(repository, url);
        request.authorization = authorization;
        request.headers = headers;
        request.range_from = range_from;
        if (get_following(repository, transfer, &request, &is_home, err) < 0)
            return -1;
        if (transfer->status >= 200 && transfer->status < 300)
            return 0;
        bool can_answer = transfer->status == 401 && is_home && attempt < 2 &&
                          (transfer->challenge.has_basic || transfer->challenge.has_bearer);
        // Basic credentials that were refused once are refused again.
        if (!can_answer || (!transfer->challenge.has_bearer && authorization && attempt > 0))
            return status_error(transfer, err);
        if (authorise(repository, &transfer->challenge, seen, err) < 0)
            return -1;
    }
}

int session_get_patiently(struct registry_repository *repository, struct transfer *transfer, const char *path,
                          char *const *headers, struct error *err)
{
    for (unsigned tries = 1;; tries++) {
        if (session_get(repository, transfer, path, headers, 0, err) == 0)
            return 0;
        if (err->kind != ERROR_UNAVAILABLE || !transfer_is_transient(transfer) ||
            !session_wait(repository, transfer, tries))
            return -1;
    }
}

// `path` may be a whole URL (a Location of an upload): its place is judged like a redirect's.
static int aim(struct registry_repository *repository, const char *path, struct transfer_request *request,
               char **ret_url, struct error *err)
{
    if (path[0] == '/') {
        *ret_url = xasprintf("%s%s", repository->base, path);
        request->url = *ret_url;
        return 0;
    }
    CLEANUP(url_parts_done) struct url_parts to = { 0 }, home = { 0 };
    if (!url_split(path, &to) || !url_split(repository->base, &home))
        return error_set(err, ERROR_INVALID, "registry names no usable place for an upload: %s", path);
    if (!is_same_origin(&to, &home)) {
        CLEANUP(cleanup_free) char *host = xasprintf("%s:%s", to.host, to.port);
        bool is_insecure = registry_is_insecure(host, repository->insecure);
        if (streq(to.scheme, "http") && (streq(home.scheme, "https") || !is_insecure))
            return error_set(err, ERROR_DENIED, "upload to %s would go in the clear: refused", path);
        request->is_unverified = is_insecure;
        request->authorization = NULL;
        request->ca_file = NULL;
        request->client_cert = NULL;
    }
    *ret_url = xstrdup(path);
    request->url = *ret_url;
    return 0;
}

static int send_once(struct registry_repository *repository, struct transfer *transfer,
                     const struct session_request *what, const char *authorization, bool *ret_is_home,
                     char **ret_url, struct error *err)
{
    struct transfer_request request = plain_request(repository, NULL);
    request.authorization = authorization;
    request.headers = what->headers;
    request.method = what->method;
    request.body = what->body;
    request.body_n = what->body_n;
    request.stream = what->stream;
    request.on_sent = what->on_sent;
    request.sent_context = what->sent_context;
    if (what->is_unconditional) {
        request.is_cancelled = NULL;
        request.timeout_s = UNCONDITIONAL_TIMEOUT_S;
    }
    free(TAKE_PTR(*ret_url));
    if (aim(repository, what->path, &request, ret_url, err) < 0)
        return -1;
    *ret_is_home = is_home_url(repository, *ret_url);
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        if (transfer_begin(transfer, &request, err) < 0)
            return -1;
        if (!is_redirect(transfer->status))
            return 0;
        if (what->stream)
            return error_set(err, ERROR_UNAVAILABLE, "%s \"%s\": redirected amid an upload", what->method,
                             *ret_url);
        if (follow(repository, transfer, ret_url, authorization, &request, err) < 0)
            return -1;
        *ret_is_home = is_home_url(repository, *ret_url);
    }
    return error_set(err, ERROR_INVALID, "%s \"%s\": stopped after %d redirects", what->method, *ret_url,
                     REDIRECTS_MAX);
}

int session_send(struct registry_repository *repository, struct transfer *transfer,
                 const struct session_request *what, char **ret_url, struct error *err)
{
    CLEANUP(cleanup_free) char *url = NULL;
    for (int attempt = 0;; attempt++) {
        unsigned seen;
        bool is_home;
        CLEANUP(cleanup_free) char *authorization = current_authorization(repository, &seen);
        if (send_once(repository, transfer, what, authorization, &is_home, &url, err) < 0)
            return -1;
        if (transfer->status >= 200 && transfer->status < 300) {
            if (ret_url)
                *ret_url = TAKE_PTR(url);
            return 0;
        }
        bool can_answer = transfer->status == 401 && is_home && attempt < 2 && !what->stream &&
                          (transfer->challenge.has_basic || transfer->challenge.has_bearer);
        if (!can_answer || (!transfer->challenge.has_bearer && authorization && attempt > 0))
            return status_error(transfer, err);
        if (authorise(repository, &transfer->challenge, seen, err) < 0)
            return -1;
    }
}

// --- opening
// A host that does not answer at all is not waited for again: the time for that is over already.
static bool may_ping_again(struct registry_repository *repository, const struct transfer *transfer,
                           unsigned tries, const struct error *err)
{
    bool was_silent =
        transfer->result == CURLE_OPERATION_TIMEDOUT || (transfer->result == CURLE_OK && !transfer->has_head);
    return err->kind == ERROR_UNAVAILABLE && !was_silent && transfer_is_transient(transfer) &&
           tries < PING_TRIES_MAX && session_wait(repository, transfer, tries);
}

// Ask for /v2/ below `base` (takes it).
static int ping(struct registry_repository *repository, char *base, unsigned tries_before, bool *ret_again,
                struct error *err)
{
    free(repository->base);
    repository->base = base;
    CLEANUP(cleanup_free) char *url = xasprintf("%s/v2/", repository->base);
    struct transfer_request request = plain_request(repository, url);
    struct transfer *transfer = session_take_transfer(repository);
    int r = transfer_begin(transfer, &request, err);
    if (r == 0 && transfer->status == 401 &&
        (transfer->challenge.has_basic || transfer->challenge.has_bearer))
        r = authorise(repository, &transfer->challenge, 0, err);
    else if (r == 0 && (transfer->status >= 500 || transfer->status == 429))
        r = status_error(transfer, err);
    *ret_again = r < 0 && tries_before > 0 && may_ping_again(repository, transfer, tries_before, err);
    session_give_transfer(repository, transfer);
    return r;
}

static int connect_registry(struct registry_repository *repository, const char *host, struct error *err)
{
    const char *mirror = repository->options.mirror_url;
    bool again = true;
    int r = -1;
    for (unsigned tries = 1; again; tries++) {
        if (mirror) {
            r = ping(repository, xstrdup(mirror), tries, &again, err);
            continue;
        }
        r = ping(repository, xasprintf("https://%s", host), repository->is_unverified ? 0 : tries, &again,
                 err);
        // An insecure registry is asked again in the clear when it does not speak TLS; what it says by HTTPS
        // stands.
        if (r < 0 && err->kind == ERROR_UNAVAILABLE && repository->is_unverified)
            r = ping(repository, xasprintf("http://%s", host), tries, &again, err);
    }
    return r;
}

// "https://host:5000/prefix" -> "host:5000", owned.
static char *host_of_url(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return xstrndup(host, strcspn(host, "/"));
}

static char *find_ca_file(const char *root, const char *host)
{
    char *path = root ? xasprintf("%s/%s/ca.crt", root, host) : NULL;
    if (path && access(path, R_OK) < 0)
        free(TAKE_PTR(path));
    return path;
}

// "<root>/<host>/x.cert" with its "x.key", as Docker has it.
static void find_client_cert(struct registry_repository *repository, const char *root, const char *host)
{
    CLEANUP(cleanup_free) char *directory = root ? xasprintf("%s/%s", root, host) : NULL;
    DIR *d = directory ? opendir(directory) : NULL;
    for (struct dirent *e; d && !repository->client_cert && (e = dir_next(d));) {
        size_t n = strlen(e->d_name);
        if (!str_has_suffix(e->d_name, ".cert"))
            continue;
        CLEANUP(cleanup_free)
        char *key = xasprintf("%s/%.*s.key", directory, (int)(n - strlen(".cert")), e->d_name);
        if (access(key, R_OK) < 0)
            continue;
        repository->client_cert = xasprintf("%s/%s", directory, e->d_name);
        repository->client_key = TAKE_PTR(key);
    }
    if (d)
        closedir(d);
}

int registry_open(const char *domain, const char *name, const struct registry_credentials *credentials,
                  const struct registry_options *options, struct registry_repository **ret, struct error *err)
{
    bool is_hub = streq(domain, "docker.io") || streq(domain, "index.docker.io");
    CLEANUP(cleanup_free)
    char *host = options->mirror_url ? host_of_url(options->mirror_url)
                                     : xstrdup(is_hub ? "registry-1.docker.io" : domain);
    if (transfer_prepare(err) < 0)
        return -1;
    struct registry_repository *repository = NEW(struct registry_repository);
    pthread_mutex_init(&repository->auth_lock, NULL);
    pthread_mutex_init(&repository->pool_lock, NULL);
    repository->options = *options;
    repository->name = xstrdup(name); // NULL stays NULL
    repository->insecure = strv_copy(options->insecure);
    repository->mirror_url = xstrdup(options->mirror_url);
    repository->options.mirror_url = repository->mirror_url;
    if (options->mirror_url && str_has_prefix(options->mirror_url, "http://"))
        strv_push(&repository->insecure, host); // who configured it so wants it so
    repository->mount_from = strv_copy(options->mount_from);
    repository->is_unverified = registry_is_insecure(host, repository->insecure);
    repository->ca_file = find_ca_file(options->certificates_root, host);
    find_client_cert(repository, options->certificates_root, host);
    if (credentials) {
        repository->username = str_is_empty(credentials->username) ? NULL : xstrdup(credentials->username);
        repository->password = xstrdup(credentials->password);
        repository->identity_token =
            str_is_empty(credentials->identity_token) ? NULL : xstrdup(credentials->identity_token);
        repository->registry_token =
            str_is_empty(credentials->registry_token) ? NULL : xstrdup(credentials->registry_token);
    }
    if (connect_registry(repository, host, err) < 0) {
        registry_close(repository);
        return -1;
    }
    *ret = repository;
    return 0;
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void registry_close(struct registry_repository *repository)
{
    if (!repository)
        return;
    while (repository->idle) {
        struct transfer *transfer = repository->idle;
        repository->idle = transfer->next;
        transfer_free(transfer);
    }
    pthread_mutex_destroy(&repository->auth_lock);
    pthread_mutex_destroy(&repository->pool_lock);
    forget(repository->authorization);
    forget(repository->given_identity_token);
    forget(repository->password);
    forget(repository->identity_token);
    forget(repository->registry_token);
    free(repository->username);
    free(repository->base);
    free(repository->mirror_url);
    free(repository->ca_file);
    free(repository->client_cert);
    free(repository->client_key);
    free(repository->name);
    strv_free(repository->insecure);
    strv_free(repository->mount_from);
    free(repository);
}
