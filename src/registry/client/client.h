// The client side of the distribution protocol: one repository of one registry, for the time of a pull. Every
// byte that comes from it is foreign: bounded, and believed only when its digest is right.
//
// Scheme: HTTPS. A registry that is loopback or named by `insecure` is tried by HTTPS without verification,
// then by plain HTTP. Redirects are followed, at most ten, never from HTTPS down to HTTP, and credentials
// never leave the scheme, host and port they are for. Tokens are fetched once per repository handle, and again when they expire.
// What is likely to pass (a connection refused or broken, 429, 500, 502, 503, 504) is tried again, a few times, waiting twice as long
// each time or as long as Retry-After says.
// Thread-safe once open; each call blocks. Spec: opencontainers/distribution-spec 1.1; distribution token
// authentication.
//
// libcurl is loaded by the first registry_open of the process, not at start: an engine that never pulls
// never pays.
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "base/stream.h"
#include "oci/image.h"

#include <stdbool.h>
#include <stdint.h>

struct registry_credentials { // each may be NULL
    const char *username, *password;
    const char *identity_token; // OAuth2 refresh token
    const char *registry_token; // used as it is
};

struct registry_options {
    char *const *insecure;         // strv of "host", "host:port" or CIDR (of literal addresses)
    const char *certificates_root; // "<root>/<host:port>/ca.crt" is trusted for that registry, beside the
                                   // system's; NULL: none
    const char
        *mirror_url; // ask here instead, "http[s]://host[:port][/prefix]", copied; NULL: the registry itself
    unsigned timeout_s;      // without a byte; 0: 60
    bool is_push;            // ask token servers for the right to push, too
    char *const *mount_from; // strv of repositories that blobs may be mounted from; copied; NULL: none
    // Asked a few times a second, from any thread; true ends every transfer with ERROR_CANCELLED. May be
    // NULL.
    bool (*is_cancelled)(void *context);
    void *context;
};

struct registry_repository;

// Reaches the registry ("docker.io", "localhost:5000") and learns its scheme and how it wants to be asked.
// `repository` as in a parsed reference. Arguments are copied (the context is borrowed until close).
// ERROR_UNAVAILABLE 'Get "https://host/v2/": dial tcp ...'; ERROR_CANCELLED.
int registry_open(const char *domain, const char *repository, const struct registry_credentials *credentials,
                  const struct registry_options *options, struct registry_repository **ret,
                  struct error *err);
void registry_close(struct registry_repository *repository);

struct registry_manifest {
    struct str bytes;
    char *media_type; // Content-Type as sent, or NULL
    char digest[OCI_DIGEST_LEN + 1];
};
void registry_manifest_done(struct registry_manifest *manifest);

// By tag or by digest (then verified). ERROR_NOT_FOUND "manifest unknown: ...", ERROR_UNAUTHORISED /
// ERROR_DENIED "denied: ...", ERROR_INVALID over OCI_DOCUMENT_MAX_BYTES or of another digest,
// ERROR_UNAVAILABLE, ERROR_CANCELLED.
int registry_manifest_get(struct registry_repository *repository, const char *tag_or_digest,
                          struct registry_manifest *ret, struct error *err);

// The repository's tags as an owned strv, in the registry's order; all pages of them, at most REGISTRY_TAGS_MAX (then
// ERROR_INVALID). Errors as registry_manifest_get. Spec: distribution-spec "Content Discovery".
enum { REGISTRY_TAGS_MAX = 10000 };
int registry_tags(struct registry_repository *repository, char ***ret, struct error *err);

// A blob as a stream that is verified as it is read: size and digest must be the descriptor's. The last read
// gives 0 only when they were; a broken connection is taken up again where it broke (a few times). One thread
// at a time per blob; the repository must outlive it.
struct registry_blob;
int registry_blob_open(struct registry_repository *repository, const struct oci_descriptor *descriptor,
                       struct registry_blob **ret, struct error *err);
struct reader registry_blob_reader(struct registry_blob *blob);
// Why a read failed, borrowed until close; NULL when none has.
const struct error *registry_blob_error(const struct registry_blob *blob);
void registry_blob_close(struct registry_blob *blob);
// A small blob (an image configuration) in one piece, at most OCI_DOCUMENT_MAX_BYTES; appended to *ret.
int registry_blob_get(struct registry_repository *repository, const struct oci_descriptor *descriptor,
                      struct str *ret, struct error *err);

// May plain HTTP be spoken to "host[:port]"? Loopback, or named by the list.
bool registry_is_insecure(const char *host, char *const *list);
