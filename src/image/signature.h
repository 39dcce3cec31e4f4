// Whose images may come in: a policy file says which public keys must have signed what is pulled. The file is containers-policy.json(5)
// as podman and skopeo read it: "default" and "transports"."docker", scopes from the most special to the most general (reference,
// repository, its parents, registry, "*.domain", ""), requirements "insecureAcceptAnything", "reject" and "sigstoreSigned" with
// keyPath, keyPaths, keyData or keyDatas and signedIdentity matchRepoDigestOrExact (default), matchExact, matchRepository,
// exactReference or exactRepository. What else it may say is refused by name. Signatures lie in cosign's layout: a manifest tagged
// sha256-<digest>.sig in the image's repository.
#pragma once

#include "image/reference.h"
#include "oci/image.h"
#include "registry/client/client.h"

// Can the file be read, with every key that it names? ERROR_INVALID, ERROR_IO.
int image_policy_check(const char *path, struct error *err);

struct image_to_verify {
    const struct reference *reference; // as asked for
    struct registry_repository *repository;
    const char *top_digest;      // what the reference names: an index, or the manifest
    const char *manifest_digest; // of the platform's image; a signature of either will do
};
// May it come in, by the policy as it stands on disk now? ERROR_DENIED "... refused by the signature policy: ...". Nothing is written.
int image_policy_verify(const char *path, const struct image_to_verify *image, struct error *err);
