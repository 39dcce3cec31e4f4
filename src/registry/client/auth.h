// WWW-Authenticate challenges and the credentials that answer them, as values.
// Spec: RFC 9110 section 11 (challenges), RFC 7617 (Basic), RFC 6750 (Bearer), distribution token
// authentication.
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct auth_challenge {
    bool has_basic, has_bearer;
    char *realm, *service, *scope, *error; // of Bearer; NULL: not given
};

// Read one header value (it may hold several challenges) into *challenge, which starts zeroed; unknown
// schemes and malformed remainders are passed over. Called once per header of that name.
void auth_challenge_read(const char *value, struct auth_challenge *challenge);
void auth_challenge_done(struct auth_challenge *challenge);

// Owned "Basic ..." of these.
char *auth_basic(const char *username, const char *password);
// Owned "Bearer ..."; NULL when the token has bytes that no header may carry.
char *auth_bearer(const char *token);
// The token of a token server's answer, owned. *ret_refresh (may be NULL): the refresh token, owned, or NULL. ERROR_INVALID when there is
// no token.
int auth_token_parse(const char *bytes, size_t n, char **ret, char **ret_refresh, struct error *err);
// The first error of a registry's error document as "code: message" ("manifest unknown: manifest unknown"),
// printable, owned; NULL when it is not one. *ret_code (may be NULL): owned, as sent.
char *auth_error_text(const char *bytes, size_t n, char **ret_code);
// Append bytes for a query or form value, percent-encoded.
void auth_append_escaped(struct str *out, const char *text);
