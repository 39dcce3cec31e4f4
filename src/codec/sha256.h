// SHA-256 over libcrypto (SHA-NI where the machine has it).
#pragma once

#include <stddef.h>

enum { SHA256_HEX_LEN = 64 };

struct sha256; // a running hash

struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *hash, const void *bytes, size_t n);
// Lower-case hex of everything so far, NUL-terminated; the hash cannot be updated any more.
void sha256_final_hex(struct sha256 *hash, char hex[static SHA256_HEX_LEN + 1]);
void sha256_free(struct sha256 *hash); // NULL is fine
void sha256_freep(struct sha256 **hash);
// All at once.
void sha256_hex(const void *bytes, size_t n, char hex[static SHA256_HEX_LEN + 1]);
