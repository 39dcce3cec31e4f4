#include "registry/client/account.h"

#include "base/mem.h"
#include "registry/client/session.h"

#include <string.h>
#include <strings.h>

enum { SEARCH_ANSWER_MAX = 4 << 20, SEARCH_REDIRECTS_MAX = 5, LOGIN_ANSWER_MAX = 64 * 1024 };

// --- login
// In Docker's words; whatever the registry refused, it is the credentials that are at fault.
static int refused(const struct registry_repository *repository, struct error *err)
{
    if (err->kind != ERROR_UNAUTHORISED && err->kind != ERROR_DENIED)
        return -1;
    err->kind = ERROR_UNAUTHORISED;
    if (repository && str_has_prefix(err->message, "unauthorized: authentication required"))
        return error_set(err, ERROR_UNAUTHORISED,
                         "login attempt to %s/v2/ failed with status: 401 Unauthorized", repository->base);
    return -1;
}

int registry_login(const char *domain, const struct registry_credentials *credentials,
                   const struct registry_options *options, char **ret_identity_token, struct error *err)
{
    struct registry_repository *repository = NULL;
    struct error ignored;
    CLEANUP(str_done) struct str answer = STR_INIT;
    if (registry_open(domain, NULL, credentials, options, &repository, err) < 0)
        return refused(NULL, err);
    struct transfer *transfer = session_take_transfer(repository);
    int r = session_get(repository, transfer, "/v2/", NULL, 0, err);
    if (r == 0)
        (void)transfer_read_all(transfer, LOGIN_ANSWER_MAX, &answer, &ignored);
    session_give_transfer(repository, transfer);
    if (r < 0)
        refused(repository, err);
    else
        *ret_identity_token = TAKE_PTR(repository->given_identity_token);
    registry_close(repository);
    return r;
}

// --- search
static bool is_same_place(const char *a, const char *b)
{
    CLEANUP(url_parts_done) struct url_parts x = { 0 }, y = { 0 };
    return url_split(a, &x) && url_split(b, &y) && streq(x.scheme, y.scheme) &&
           strcasecmp(x.host, y.host) == 0 && streq(x.port, y.port);
}

// One request and its redirects; credentials stay with the scheme, host and port they are for.
static int get_url(struct transfer *transfer, const char *first, const struct transfer_request *template,
                   struct error *err)
{
    CLEANUP(cleanup_free) char *url = xstrdup(first);
    for (int hop = 0; hop <= SEARCH_REDIRECTS_MAX; hop++) {
        struct transfer_request request = *template;
        request.url = url;
        if (!is_same_place(first, url)) {
            request.authorization = NULL;
            request.ca_file = NULL;
            request.is_unverified = false;
        }
        if (transfer_begin(transfer, &request, err) < 0)
            return -1;
        if (transfer->status < 300 || transfer->status >= 400 || !transfer->location)
            return 0;
        char *next = url_resolve(url, transfer->location);
        if (!next || (str_has_prefix(url, "https:") && !str_has_prefix(next, "https:"))) {
            free(next);
            return error_set(err, ERROR_DENIED, "Get \"%s\": redirected to no usable place", url);
        }
        free(url);
        url = next;
    }
    return error_set(err, ERROR_INVALID, "Get \"%s\": stopped after %d redirects", first,
                     SEARCH_REDIRECTS_MAX);
}

static int search_by(struct transfer *transfer, const char *scheme, const char *host, const char *term,
                     unsigned limit, const struct transfer_request *template, struct str *ret,
                     struct error *err)
{
    CLEANUP(str_done) struct str url = STR_INIT;
    str_appendf(&url, "%s://%s/v1/search?q=", scheme, host);
    auth_append_escaped(&url, term);
    str_appendf(&url, "&n=%u", limit);
    if (get_url(transfer, url.ptr, template, err) < 0)
        return -1;
    if (transfer->status == 401)
        return error_set(err, ERROR_UNAUTHORISED, "unauthorized: authentication required");
    if (transfer->status != 200)
        return error_set(err, transfer->status == 404 ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE,
                         "Unexpected status code %d", transfer->status);
    return transfer_read_all(transfer, SEARCH_ANSWER_MAX, ret, err);
}

int registry_search(const char *domain, const char *term, unsigned limit,
                    const struct registry_credentials *credentials, const struct registry_options *options,
                    struct str *ret, struct error *err)
{
    const char *host = streq(domain, "docker.io") ? "index.docker.io" : domain;
    if (transfer_prepare(err) < 0)
        return -1;
    bool has_password = credentials && !str_is_empty(credentials->username);
    bool is_insecure = registry_is_insecure(host, options->insecure);
    CLEANUP(cleanup_free)
    char *basic = has_password ? auth_basic(credentials->username, credentials->password) : NULL;
    struct transfer_request template = { .authorization = basic,
                                         .is_unverified = is_insecure,
                                         .timeout_s = options->timeout_s,
                                         .is_cancelled = options->is_cancelled,
                                         .context = options->context };
    struct transfer *transfer = transfer_new();
    int r = search_by(transfer, "https", host, term, limit, &template, ret, err);
    if (r < 0 && err->kind == ERROR_UNAVAILABLE && is_insecure && transfer->status == 0)
        r = search_by(transfer, "http", host, term, limit, &template, ret, err);
    transfer_free(transfer);
    return r;
}
