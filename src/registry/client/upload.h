// The uploading side of the distribution protocol, over a repository opened with registry_options.is_push. Spec:
// opencontainers/distribution-spec 1.1 "Push".
#pragma once

#include "registry/client/client.h"

// Is there a blob (HEAD)? 1: yes, *ret_size (may be NULL) is its length or 0 when that was not said; 0: no; -1: error.
int registry_blob_stat(struct registry_repository *repository, const char *digest, uint64_t *ret_size,
                       struct error *err);

// One blob on its way. Bytes are given in pieces, in order; each is with the registry when the call returns. A broken connection is
// taken up again from what the registry says it has of the piece. One thread at a time.
struct registry_upload;

struct registry_upload_progress {
    void (*sent)(void *context, uint64_t position); // of the blob; on the thread that uploads
    void *context;
};

// Begin an upload (POST). When mount_digest is not NULL the registry is asked to take that blob from mount_from (another of its
// repositories; NULL: from wherever it has it) instead: *ret is NULL when it did. progress may be NULL.
int registry_upload_begin(struct registry_repository *repository, const char *mount_digest,
                          const char *mount_from, const struct registry_upload_progress *progress,
                          struct registry_upload **ret, struct error *err);
// How large pieces should be, at least and for all but the last: what the registry asked for, or 0.
uint64_t registry_upload_piece_min(const struct registry_upload *upload);
// Add a piece that is not the last (PATCH). ERROR_UNSUPPORTED: this registry takes a blob in one piece only (use
// registry_upload_whole on a new upload).
int registry_upload_piece(struct registry_upload *upload, const void *bytes, size_t n, struct error *err);
// Add the last piece and close the blob (PUT); the registry checks the digest of all. n may be 0.
int registry_upload_finish(struct registry_upload *upload, const void *bytes, size_t n, const char *digest,
                           struct error *err);
// The whole blob of n bytes from a stream in one request. Read errors of the stream come back as they are.
int registry_upload_whole(struct registry_upload *upload, const struct reader *stream, uint64_t n,
                          const char *digest, struct error *err);
// Frees it. One that was not finished is given up at the registry, too (DELETE, a single try). NULL is fine.
void registry_upload_close(struct registry_upload *upload);

// Store a manifest under a tag or its own digest. Errors as the registry words them: ERROR_DENIED "denied: ...", ERROR_UNAVAILABLE.
int registry_manifest_put(struct registry_repository *repository, const char *tag_or_digest,
                          const char *media_type, const void *bytes, size_t n, struct error *err);
