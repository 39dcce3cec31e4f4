// The credentials that a request brings for a registry.
#pragma once

#include "api/request.h"
#include "image/image.h"

// X-Registry-Auth: base64url, padded or not, of {"username","password","identitytoken","registrytoken"}. Nothing or "{}" is
// anonymous: all members NULL. ERROR_INVALID otherwise. Source: API, "Authentication".
int registry_auth_read(struct request *request, struct registry_auth *ret, struct error *err);
// The same from a document (POST /auth). "auth" (base64 of user:password) counts when there is no username.
int registry_auth_from_json(const json_t *document, struct registry_auth *ret, struct error *err);
bool registry_auth_is_anonymous(const struct registry_auth *auth);
// Frees and wipes.
void registry_auth_done(struct registry_auth *auth);
