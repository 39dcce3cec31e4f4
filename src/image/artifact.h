// Artifacts: manifests that are no images, and what is attached to an image (signatures, bills of materials). They stay in their registry:
// nothing of them is kept here. Spec: image-spec 1.1 manifest.md "Guidelines for Artifact Usage", distribution-spec 1.1 (referrers).
#pragma once

#include "image/image.h"

// What refers to the image (or other manifest) that the reference names: an array of {"Digest","MediaType","ArtifactType","Size",
// "Annotations"}, owned; type NULL: of every artifact type.
int artifact_list(struct image_service *images, const char *name, const char *type,
                  const struct registry_auth *auth, json_t **ret, struct error *err);

struct artifact_attachment {
    const char *name;         // of the subject
    const char *type;         // artifact type, a media type
    char *const *annotations; // strv "key=value", or NULL
    struct reader files;      // a tar; regular files become layers, with their last name as title
    const char *media_type;   // of the files; NULL: application/octet-stream
};
// Push the files and a manifest whose subject is what `name` stands for; where the registry has no referrers API the index tagged
// sha256-<digest> is brought up to date.
int artifact_attach(struct image_service *images, const struct artifact_attachment *attachment,
                    const struct registry_auth *auth, char ret_digest[static DIGEST_LEN + 1],
                    struct error *err);
// The files of an artifact as a tar, verified as they pass: a layer's title (its last name; NAME_MAX at most), else its digest.
int artifact_pull(struct image_service *images, const char *name, const struct registry_auth *auth,
                  struct writer to, struct error *err);
