// What is asked of a registry but images: whether credentials are good, and what its index finds.
#pragma once

#include "registry/client/client.h"

// Are these credentials good for the registry of `domain`? *ret_identity_token: what to use instead of the password from now on,
// owned, or NULL when the registry gives none. ERROR_UNAUTHORISED when they are refused. Source: distribution token
// authentication (offline_token).
int registry_login(const char *domain, const struct registry_credentials *credentials,
                   const struct registry_options *options, char **ret_identity_token, struct error *err);

// GET /v1/search of the index `domain` ("docker.io": the Hub's): its answer, as sent, appended to *ret. Source: Docker Registry API v1,
// "Search".
int registry_search(const char *domain, const char *term, unsigned limit,
                    const struct registry_credentials *credentials, const struct registry_options *options,
                    struct str *ret, struct error *err);
