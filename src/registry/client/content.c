// Theory of operation. Blobs are hashed as they pass; the last read answers "end" only when length and digest
// were right, so whoever consumes the stream to its end has consumed the right bytes, and whoever does not
// must not record anything. A connection that breaks is taken up with a Range request (or, where the registry
// ignores ranges, by reading past what is known); a registry that answers cleanly but wrongly is not asked
// again.
#include "registry/client/session.h"

#include "base/mem.h"
#include "codec/sha256.h"

#include <errno.h>
#include <string.h>

// So much must have come since the last break for it to count as the first again.
enum { PROGRESS_BYTES = 1 << 20, SKIP_CHUNK = 64 * 1024 };

static char *manifest_headers[] = { (char[]){ "Accept: " OCI_MEDIA_INDEX ", " DOCKER_MEDIA_INDEX
                                              ", " OCI_MEDIA_MANIFEST ", " DOCKER_MEDIA_MANIFEST
                                              ", application/vnd.docker.distribution.manifest.v1+"
                                              "prettyjws;q=0.1" },
                                    NULL };

// --- digests
static void digest_end(struct sha256 *hash, char ret[static OCI_DIGEST_LEN + 1])
{
    static const char algorithm[] = "sha256:";
    memcpy(ret, algorithm, strlen(algorithm));
    sha256_final_hex(hash, ret + strlen(algorithm));
}

// --- manifests
void registry_manifest_done(struct registry_manifest *manifest)
{
    str_done(&manifest->bytes);
    free(TAKE_PTR(manifest->media_type));
}

static int read_manifest(struct transfer *transfer, const char *tag_or_digest, struct registry_manifest *ret,
                         struct error *err)
{
    str_init(&ret->bytes, 0);
    if (transfer_read_all(transfer, OCI_DOCUMENT_MAX_BYTES, &ret->bytes, err) < 0)
        return err->kind == ERROR_INVALID ? error_wrap(err, "manifest %s", tag_or_digest) : -1;
    struct sha256 *hash = sha256_new();
    sha256_update(hash, ret->bytes.ptr, ret->bytes.len);
    digest_end(hash, ret->digest);
    sha256_free(hash);
    if (oci_digest_is_valid(tag_or_digest) && !streq(tag_or_digest, ret->digest))
        return error_set(err, ERROR_INVALID, "manifest verification failed for digest %s", tag_or_digest);
    ret->media_type = xstrdup(transfer->content_type);
    return 0;
}

int registry_manifest_get(struct registry_repository *repository, const char *tag_or_digest,
                          struct registry_manifest *ret, struct error *err)
{
    CLEANUP(registry_manifest_done) struct registry_manifest manifest = { .bytes = STR_INIT };
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/manifests/%s", repository->name, tag_or_digest);
    struct transfer *transfer = session_take_transfer(repository);
    int r = session_get_patiently(repository, transfer, path, manifest_headers, err);
    if (r == 0)
        r = read_manifest(transfer, tag_or_digest, &manifest, err);
    session_give_transfer(repository, transfer);
    if (r < 0)
        return -1;
    *ret = manifest;
    manifest = (struct registry_manifest){ .bytes = STR_INIT };
    return 0;
}

// --- blobs
struct registry_blob {
    struct registry_repository *repository;
    struct transfer *transfer;
    char digest[OCI_DIGEST_LEN + 1];
    uint64_t size_bytes, position, broke_at;
    struct sha256 *hash;
    unsigned attempts;
    bool is_verified, has_failed;
    struct error error;
};

static int skip_bytes(struct registry_blob *blob, uint64_t n, struct error *err)
{
    CLEANUP(cleanup_free) char *bytes = xmalloc(SKIP_CHUNK);
    while (n > 0) {
        ssize_t got = transfer_read(blob->transfer, bytes, n < SKIP_CHUNK ? (size_t)n : SKIP_CHUNK, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return error_set(err, ERROR_UNAVAILABLE, "unexpected EOF");
        n -= (uint64_t)got;
    }
    return 0;
}

// Ask for the blob from `position` on.
static int blob_connect(struct registry_blob *blob, struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/blobs/%s", blob->repository->name, blob->digest);
    struct transfer *transfer = blob->transfer;
    if (session_get(blob->repository, transfer, path, NULL, blob->position, err) < 0)
        return err->kind == ERROR_NOT_FOUND
                   ? error_set(err, ERROR_NOT_FOUND, "blob unknown: blob %s unknown to registry",
                               blob->digest)
                   : -1;
    if (transfer->status == 206 && transfer->content_range_from != blob->position)
        return error_set(err, ERROR_INVALID, "blob %s: the registry sent another part than asked for",
                         blob->digest);
    uint64_t left = transfer->status == 206 ? blob->size_bytes - blob->position : blob->size_bytes;
    if (transfer->content_length >= 0 && (uint64_t)transfer->content_length > left)
        return error_set(err, ERROR_INVALID, "blob %s is larger than the %llu bytes of its descriptor",
                         blob->digest, (unsigned long long)blob->size_bytes);
    return transfer->status == 206 ? 0 : skip_bytes(blob, blob->position, err);
}

static bool may_try_again(struct registry_blob *blob, const struct error *err)
{
    if (err->kind != ERROR_UNAVAILABLE || !transfer_is_transient(blob->transfer))
        return false;
    if (blob->position - blob->broke_at >= PROGRESS_BYTES)
        blob->attempts = 0;
    blob->broke_at = blob->position;
    return session_wait(blob->repository, blob->transfer, ++blob->attempts);
}

static int blob_resume(struct registry_blob *blob, struct error *err)
{
    while (may_try_again(blob, err))
        if (blob_connect(blob, err) == 0)
            return 0;
    return -1;
}

int registry_blob_open(struct registry_repository *repository, const struct oci_descriptor *descriptor,
                       struct registry_blob **ret, struct error *err)
{
    struct registry_blob *blob = NEW(struct registry_blob);
    blob->repository = repository;
    blob->size_bytes = descriptor->size_bytes;
    memcpy(blob->digest, descriptor->digest, sizeof blob->digest);
    blob->hash = sha256_new();
    blob->transfer = session_take_transfer(repository);
    if (blob_connect(blob, err) < 0 && blob_resume(blob, err) < 0) {
        registry_blob_close(blob);
        return -1;
    }
    *ret = blob;
    return 0;
}

static int finish(struct registry_blob *blob)
{
    char digest[OCI_DIGEST_LEN + 1];
    digest_end(blob->hash, digest);
    if (!streq(digest, blob->digest))
        return error_set(&blob->error, ERROR_INVALID, "filesystem layer verification failed for digest %s",
                         blob->digest);
    blob->is_verified = true;
    return 0;
}

static ssize_t take(struct registry_blob *blob, const void *bytes, size_t n)
{
    if (n > blob->size_bytes - blob->position)
        return error_set(&blob->error, ERROR_INVALID,
                         "blob %s is larger than the %llu bytes of its descriptor", blob->digest,
                         (unsigned long long)blob->size_bytes);
    sha256_update(blob->hash, bytes, n);
    blob->position += n;
    return (ssize_t)n;
}

static ssize_t blob_read_some(struct registry_blob *blob, void *bytes, size_t n)
{
    for (;;) {
        ssize_t got = transfer_read(blob->transfer, bytes, n, &blob->error);
        if (got > 0)
            return take(blob, bytes, (size_t)got);
        if (got == 0 && blob->position == blob->size_bytes)
            return finish(blob);
        if (got == 0)
            return error_set(&blob->error, ERROR_INVALID,
                             "unexpected EOF: blob %s ends after %llu of %llu bytes", blob->digest,
                             (unsigned long long)blob->position, (unsigned long long)blob->size_bytes);
        if (blob_resume(blob, &blob->error) < 0)
            return -1;
    }
}

static int errno_of(const struct error *err)
{
    return err->kind == ERROR_CANCELLED ? ECANCELED : err->kind == ERROR_INVALID ? EBADMSG : EIO;
}

static ssize_t blob_read(void *context, void *bytes, size_t n)
{
    struct registry_blob *blob = context;
    if (blob->has_failed)
        return -errno_of(&blob->error);
    if (blob->is_verified || n == 0)
        return 0;
    ssize_t got = blob_read_some(blob, bytes, n);
    if (got >= 0)
        return got;
    blob->has_failed = true;
    return -errno_of(&blob->error);
}

struct reader registry_blob_reader(struct registry_blob *blob)
{
    return (struct reader){ .read = blob_read, .context = blob };
}

const struct error *registry_blob_error(const struct registry_blob *blob)
{
    return blob->has_failed ? &blob->error : NULL;
}

void registry_blob_close(struct registry_blob *blob)
{
    if (!blob)
        return;
    session_give_transfer(blob->repository, blob->transfer);
    sha256_free(blob->hash);
    free(blob);
}

int registry_blob_get(struct registry_repository *repository, const struct oci_descriptor *descriptor,
                      struct str *ret, struct error *err)
{
    struct registry_blob *blob = NULL;
    if (descriptor->size_bytes > OCI_DOCUMENT_MAX_BYTES)
        return error_set(err, ERROR_INVALID, "%s is %llu bytes, at most %d are taken", descriptor->digest,
                         (unsigned long long)descriptor->size_bytes, OCI_DOCUMENT_MAX_BYTES);
    if (registry_blob_open(repository, descriptor, &blob, err) < 0)
        return -1;
    int r = reader_read_all(registry_blob_reader(blob), OCI_DOCUMENT_MAX_BYTES, ret);
    if (r < 0 && blob->has_failed)
        *err = blob->error;
    else if (r < 0)
        error_errno(err, r, "read blob %s", descriptor->digest);
    registry_blob_close(blob);
    return r < 0 ? -1 : 0;
}
