// Small blobs by digest: manifests, indexes, image configurations. Never layers. A digest is "sha256:" and 64 lower-case hex
// digits; anything else is ERROR_INVALID before any path is made of it.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "store/store.h"

#include <stdbool.h>

enum { DIGEST_LEN = 71, CONTENT_MAX_BYTES = 4 << 20 };

bool digest_is_valid(const char *digest);
// The hex part of a valid digest, borrowed.
const char *digest_hex(const char *digest);
// "sha256:..." of these bytes.
void digest_of(const void *bytes, size_t n, char digest[static DIGEST_LEN + 1]);

int content_put(struct store *store, const void *bytes, size_t n, char ret_digest[static DIGEST_LEN + 1],
                struct error *err);
// Verified on read: ERROR_IO when the file does not match its name.
int content_get(struct store *store, const char *digest, struct str *ret, struct error *err);
bool content_has(struct store *store, const char *digest);
int content_delete(struct store *store, const char *digest, struct error *err);
