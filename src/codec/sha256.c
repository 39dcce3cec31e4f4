// libcrypto's SHA-256 itself, without the machinery that finds it by name: that way it is linked in with 50 kB, where the shared
// library costs an engine alone on its machine 3 MB. OpenSSL calls these functions deprecated and keeps them.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "codec/sha256.h"

#include "base/mem.h"

#include <openssl/sha.h>

struct sha256 {
    SHA256_CTX context;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *hash = NEW(struct sha256);
    SHA256_Init(&hash->context); // none of them can fail
    return hash;
}

void sha256_update(struct sha256 *hash, const void *bytes, size_t n)
{
    SHA256_Update(&hash->context, bytes, n);
}

void sha256_final_hex(struct sha256 *hash, char hex[static SHA256_HEX_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[SHA256_DIGEST_LENGTH];
    SHA256_Final(raw, &hash->context);
    for (size_t i = 0; i < sizeof raw; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[SHA256_HEX_LEN] = 0;
}

void sha256_free(struct sha256 *hash)
{
    free(hash);
}

void sha256_freep(struct sha256 **hash)
{
    sha256_free(*hash);
}

void sha256_hex(const void *bytes, size_t n, char hex[static SHA256_HEX_LEN + 1])
{
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    sha256_update(hash, bytes, n);
    sha256_final_hex(hash, hex);
}
