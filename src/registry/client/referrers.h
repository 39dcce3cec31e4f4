// What refers to a manifest: signatures, attestations, other artifacts. Spec: opencontainers/distribution-spec 1.1 "Listing Referrers",
// "Unavailable Referrers API".
#pragma once

#include "registry/client/client.h"

// The index of all manifests whose subject is `digest`: its bytes, unverified, at most OCI_DOCUMENT_MAX_BYTES. Where the registry
// has no referrers API the index is the one tagged sha256-<digest>, and *ret_is_native false. *ret is empty when there is none.
int registry_referrers_get(struct registry_repository *repository, const char *digest, struct str *ret,
                           bool *ret_is_native, struct error *err);
