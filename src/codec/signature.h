// Public keys and what they signed, over libcrypto: ECDSA on P-256 with SHA-256. Source: SEC 1, FIPS 186-4, RFC 5480.
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct public_key;

// Of a PEM text ("-----BEGIN PUBLIC KEY-----"). ERROR_INVALID for anything but one key on P-256.
int public_key_parse(const char *pem, size_t n, struct public_key **ret, struct error *err);
void public_key_free(struct public_key *key); // NULL is fine
void public_key_freep(struct public_key **key);
// Did the key sign these bytes? The signature is in DER.
bool public_key_has_signed(const struct public_key *key, const void *bytes, size_t n, const void *signature,
                           size_t signature_n);
