#include "codec/signature.h"

#include "base/mem.h"
#include "base/str.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

struct public_key {
    EVP_PKEY *key;
};

static bool is_p256(const EVP_PKEY *key)
{
    char group[64] = "";
    size_t n = 0;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &n) == 1 &&
           (streq(group, "prime256v1") || streq(group, "P-256"));
}

int public_key_parse(const char *pem, size_t n, struct public_key **ret, struct error *err)
{
    BIO *bio = n <= INT_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!key)
        return error_set(err, ERROR_INVALID, "no public key in PEM");
    if (!is_p256(key)) {
        EVP_PKEY_free(key);
        return error_set(err, ERROR_INVALID, "a key of a kind that is not offered: ECDSA on P-256 is");
    }
    *ret = NEW(struct public_key);
    (*ret)->key = key;
    return 0;
}

void public_key_free(struct public_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

void public_key_freep(struct public_key **key)
{
    public_key_free(*key);
}

bool public_key_has_signed(const struct public_key *key, const void *bytes, size_t n, const void *signature,
                           size_t signature_n)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_right = context && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
                    EVP_DigestVerify(context, signature, signature_n, bytes, n) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return is_right;
}
