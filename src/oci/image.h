// Image documents as values: descriptor, manifest, index, and what a pull needs of the configuration. Both
// families, the OCI's and Docker's schema 2. Foreign bytes: bounded in size, depth and count before anything
// is believed. Spec: opencontainers/image-spec 1.1 manifest.md, image-index.md, descriptor.md, config.md;
// distribution manifest-v2-2.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OCI_MEDIA_INDEX       "application/vnd.oci.image.index.v1+json"
#define OCI_MEDIA_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_MEDIA_CONFIG      "application/vnd.oci.image.config.v1+json"
#define OCI_MEDIA_LAYER       "application/vnd.oci.image.layer.v1.tar"
#define DOCKER_MEDIA_INDEX    "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MEDIA_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_MEDIA_CONFIG   "application/vnd.docker.container.image.v1+json"
#define DOCKER_MEDIA_LAYER    "application/vnd.docker.image.rootfs.diff.tar"

enum {
    OCI_DIGEST_LEN = 71,              // "sha256:" and 64 digits
    OCI_DOCUMENT_MAX_BYTES = 4 << 20, // manifests, indexes, configurations
    OCI_LAYERS_MAX = 125,             // what an overlay mount (and Docker) can stack
    OCI_INDEX_ENTRIES_MAX = 1000,
};

// "linux", "arm64", "v8"; variant may be NULL.
struct oci_platform {
    char *os, *architecture, *variant;
};

struct oci_descriptor {
    char *media_type; // NULL: not said
    char digest[OCI_DIGEST_LEN + 1];
    uint64_t size_bytes;
    bool has_platform;
    struct oci_platform platform;
};

enum oci_document_kind { OCI_DOCUMENT_MANIFEST, OCI_DOCUMENT_INDEX };

struct oci_document {
    enum oci_document_kind kind;
    char *media_type;                   // one of the four above, never NULL
    struct oci_descriptor config;       // manifest only
    struct oci_descriptor *descriptors; // manifest: layers, bottom first; index: manifests
    size_t count;
};

// "sha256:" and 64 lower-case hex digits: the one algorithm that is accepted.
bool oci_digest_is_valid(const char *digest);

// Parse and check a manifest or an index. `content_type` is what the transport said of it (NULL: nothing); a
// contradiction between it, the document's own mediaType and its members is refused, as is a document that is
// manifest and index at once (CVE-2021-41190). *ret is untouched on failure. ERROR_INVALID: malformed,
// contradictory or over a bound; ERROR_UNSUPPORTED: schema 1, or a manifest that is no container image.
int oci_document_parse(const char *bytes, size_t n, const char *content_type, struct oci_document *ret,
                       struct error *err);
void oci_document_done(struct oci_document *document);
// Owned JSON with the members in the specifications' order; parse(emit(x)) equals x.
json_t *oci_document_emit(const struct oci_document *document);
// The document as owned JSON of one descriptor.
json_t *oci_descriptor_emit(const struct oci_descriptor *descriptor);

// "os[/architecture[/variant]]", in any of the usual spellings (x86_64, aarch64, ...). ERROR_INVALID
// otherwise.
int oci_platform_parse(const char *text, struct oci_platform *ret, struct error *err);
// This machine's.
void oci_platform_host(struct oci_platform *ret);
void oci_platform_done(struct oci_platform *platform);
// Owned "linux/arm64/v8" (without the variant when there is none).
char *oci_platform_text(const struct oci_platform *platform);
// Would a machine (or wish) `wanted` run what is made for `offered`? No variant stands for the architecture's
// plain one; an older variant runs on a newer machine.
bool oci_platform_matches(const struct oci_platform *wanted, const struct oci_platform *offered);
// The best entry of an index, borrowed from it; NULL: none.
const struct oci_descriptor *oci_index_choose(const struct oci_document *index,
                                              const struct oci_platform *wanted);

// The diff ids of an image configuration as an owned strv, bottom first, each a valid digest. ERROR_INVALID
// otherwise.
int oci_config_diff_ids(const json_t *config, char ***ret, struct error *err);
