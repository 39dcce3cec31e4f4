#include "store/content.h"

#include "base/file.h"
#include "base/mem.h"
#include "codec/sha256.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool digest_is_valid(const char *digest)
{
    if (!digest || strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != DIGEST_LEN)
        return false;
    return strspn(digest + 7, "0123456789abcdef") == SHA256_HEX_LEN;
}

const char *digest_hex(const char *digest)
{
    return digest + 7;
}

void digest_of(const void *bytes, size_t n, char digest[static DIGEST_LEN + 1])
{
    memcpy(digest, "sha256:", 7);
    sha256_hex(bytes, n, digest + 7);
}

int content_put(struct store *store, const void *bytes, size_t n, char ret_digest[static DIGEST_LEN + 1],
                struct error *err)
{
    char digest[DIGEST_LEN + 1];
    if (n > CONTENT_MAX_BYTES)
        return error_set(err, ERROR_INVALID, "document of %zu bytes is larger than %d", n,
                         (int)CONTENT_MAX_BYTES);
    digest_of(bytes, n, digest);
    if (!content_has(store, digest)) {
        int r = file_replace_at(store->blobs_fd, digest_hex(digest), 0600, bytes, n, true);
        if (r < 0)
            return error_errno(err, r, "write %s", digest);
    }
    memcpy(ret_digest, digest, sizeof digest);
    return 0;
}

int content_get(struct store *store, const char *digest, struct str *ret, struct error *err)
{
    struct str s CLEANUP(str_done) = STR_INIT;
    char found[DIGEST_LEN + 1];
    if (!digest_is_valid(digest))
        return error_set(err, ERROR_INVALID, "invalid digest \"%.100s\"", digest);
    int r = file_read_at(store->blobs_fd, digest_hex(digest), CONTENT_MAX_BYTES, &s);
    if (r == -ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "no such content: %s", digest);
    if (r < 0)
        return error_errno(err, r, "read %s", digest);
    digest_of(s.ptr, s.len, found);
    if (!streq(found, digest))
        return error_set(err, ERROR_IO, "content %s is damaged", digest);
    str_append_n(ret, s.ptr, s.len);
    return 0;
}

bool content_has(struct store *store, const char *digest)
{
    return digest_is_valid(digest) && faccessat(store->blobs_fd, digest_hex(digest), F_OK, 0) == 0;
}

int content_delete(struct store *store, const char *digest, struct error *err)
{
    if (!digest_is_valid(digest))
        return error_set(err, ERROR_INVALID, "invalid digest \"%.100s\"", digest);
    if (unlinkat(store->blobs_fd, digest_hex(digest), 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove %s", digest);
    return 0;
}
