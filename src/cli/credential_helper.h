// Programs that keep credentials: docker-credential-NAME get|store|erase, spoken to over standard input and output. Source:
// docker-credential-helpers, "Development".
#pragma once

#include "cli/config_file.h"

// All NULL when the helper has none for the server. ERROR_UNAVAILABLE "error getting credentials - err: ..., out: ..." when it fails.
int credential_helper_get(const char *name, const char *server, struct login *ret, struct error *err);
int credential_helper_store(const char *name, const char *server, const struct login *login,
                            struct error *err);
int credential_helper_erase(const char *name, const char *server, struct error *err);
