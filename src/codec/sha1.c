#define OPENSSL_SUPPRESS_DEPRECATED // sha256.c says why
#include "codec/sha1.h"

#include <openssl/sha.h>

void sha1(const void *bytes, size_t n, uint8_t digest[static SHA1_SIZE])
{
    SHA_CTX context; // SHA1() would bring in the machinery
    SHA1_Init(&context);
    SHA1_Update(&context, bytes, n);
    SHA1_Final(digest, &context);
}
