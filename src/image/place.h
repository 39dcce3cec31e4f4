// A repository of a registry, opened with what the engine knows of registries. Internal to image/.
#pragma once

#include "image/image_internal.h"
#include "registry/client/client.h"

// What every connection to a registry begins with. auth NULL: anonymous.
struct registry_credentials image_place_credentials(const struct registry_auth *auth);
struct registry_options image_place_options(const struct image_service *images);
// ERROR_DENIED when the configuration blocks the repository (oci/registries.h), for whatever purpose.
int image_place_check(const struct image_service *images, const char *domain, const char *repository,
                      struct error *err);

// auth NULL: anonymous. is_push: with the right to write; mount_from: strv of repositories of the same registry that blobs may be
// mounted from, or NULL. Errors as registry_open.
int image_place_open(struct image_service *images, const struct reference *reference,
                     const struct registry_auth *auth, bool is_push, char *const *mount_from,
                     struct registry_repository **ret, struct error *err);
// One blob from there to here, within one registry without its bytes passing where the registry can (mount), unless it has it already.
// ERROR_* of the registries.
int image_place_copy_blob(struct registry_repository *from, const char *from_name,
                          struct registry_repository *to, const struct oci_descriptor *blob,
                          struct error *err);
// A small blob of these bytes; nothing is sent when the registry has it.
int image_place_put_blob(struct registry_repository *to, const char *digest, const void *bytes, size_t n,
                         struct error *err);
