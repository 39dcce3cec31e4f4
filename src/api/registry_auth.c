#include "api/registry_auth.h"

#include "base/mem.h"
#include "codec/base64.h"

#include <string.h>

static char *member(const json_t *document, const char *key)
{
    const char *value = json_get_string(document, key, "");
    return *value ? xstrdup(value) : NULL;
}

int registry_auth_from_json(const json_t *document, struct registry_auth *ret, struct error *err)
{
    CLEANUP(str_done) struct str pair = STR_INIT;
    const char *auth = json_get_string(document, "auth", "");
    *ret = (struct registry_auth){ .username = member(document, "username"),
                                   .password = member(document, "password"),
                                   .identity_token = member(document, "identitytoken"),
                                   .registry_token = member(document, "registrytoken") };
    if (ret->username || !*auth)
        return 0;
    const char *colon = base64_decode(&pair, auth) ? strchr(pair.ptr, ':') : NULL;
    if (!colon)
        return error_set(err, ERROR_INVALID,
                         "invalid auth configuration: auth is not base64 of user:password");
    ret->username = xstrndup(pair.ptr, (size_t)(colon - pair.ptr));
    ret->password = xstrdup(colon + 1);
    return 0;
}

int registry_auth_read(struct request *request, struct registry_auth *ret, struct error *err)
{
    const char *header = http_exchange_header(request->http, "X-Registry-Auth");
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    if (str_is_empty(header))
        return 0;
    if (!base64_decode(&text, header))
        return error_set(err, ERROR_INVALID, "invalid X-Registry-Auth header: bad base64");
    if (text.len && json_parse(text.ptr, text.len, &document, err) < 0)
        return error_wrap(err, "invalid X-Registry-Auth header");
    return registry_auth_from_json(document, ret, err);
}

bool registry_auth_is_anonymous(const struct registry_auth *auth)
{
    return !auth->username && !auth->identity_token && !auth->registry_token;
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void registry_auth_done(struct registry_auth *auth)
{
    free(auth->username);
    forget(auth->password);
    forget(auth->identity_token);
    forget(auth->registry_token);
    *auth = (struct registry_auth){ 0 };
}
