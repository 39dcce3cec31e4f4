#include "codec/sha256.h"

#include "base/mem.h"

#include <openssl/evp.h>

struct sha256 {
    EVP_MD_CTX *context;
};

// libcrypto fails here only when it is out of memory or was built without SHA-256.
static void must(int ok)
{
    if (ok != 1)
        abort();
}

struct sha256 *sha256_new(void)
{
    struct sha256 *hash = NEW(struct sha256);
    hash->context = EVP_MD_CTX_new();
    must(hash->context != NULL);
    must(EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL));
    return hash;
}

void sha256_update(struct sha256 *hash, const void *bytes, size_t n)
{
    must(EVP_DigestUpdate(hash->context, bytes, n));
}

void sha256_final_hex(struct sha256 *hash, char hex[static SHA256_HEX_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    must(EVP_DigestFinal_ex(hash->context, raw, &n));
    for (unsigned i = 0; i < n && i < SHA256_HEX_LEN / 2; i++) {
        hex[2 * i] = digits[raw[i] >> 4];
        hex[2 * i + 1] = digits[raw[i] & 15];
    }
    hex[SHA256_HEX_LEN] = 0;
}

void sha256_free(struct sha256 *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
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
