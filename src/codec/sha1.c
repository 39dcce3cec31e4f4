#include "codec/sha1.h"

#include <openssl/evp.h>
#include <stdlib.h>

void sha1(const void *bytes, size_t n, uint8_t digest[static SHA1_SIZE])
{
    if (EVP_Digest(bytes, n, digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
}
