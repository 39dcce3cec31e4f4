// Manifest lists made here: one name for the same image on several platforms. They are kept as records until they are pushed; the
// manifests themselves stay in their registries. As `docker manifest` has it, and OCI indexes where all members are OCI manifests.
#pragma once

#include "image/image.h"

// Everywhere: auth as for image_pull; names are references, latest by default.

// The manifest (or list) that a name stands for: one made here when there is, else the registry's. *ret is owned: {"Ref","MediaType",
// "Digest","Size","Document","IsLocal"} and, verbose, "Members": [{"Ref","MediaType","Digest","Size","Platform","Document"}].
// ERROR_NOT_FOUND "no such manifest: x".
int manifest_inspect(struct image_service *images, const char *name, bool is_verbose,
                     const struct registry_auth *auth, json_t **ret, struct error *err);
// Make a list of these manifests (strv), or add them to one that is there (amends). Each is looked up in its registry now; its platform
// is what its configuration says. ERROR_CONFLICT in Docker's words; ERROR_INVALID for a member that is a list itself.
int manifest_list_create(struct image_service *images, const char *name, char *const *members, bool amends,
                         const struct registry_auth *auth, struct error *err);

struct manifest_annotation { // NULL: stays as it is
    const char *os, *architecture, *variant, *os_version;
    char **os_features, **annotations; // strv; annotations "key=value"
};
// ERROR_NOT_FOUND for a list or a member that is not there.
int manifest_list_annotate(struct image_service *images, const char *name, const char *member,
                           const struct manifest_annotation *annotation, struct error *err);
// Put the list, and before it what the list's repository has not of its members, into its registry; all must be in the same one.
// purges: forget it here. *ret_pushed: strv of "ref@digest", one for each member that was put, owned.
int manifest_list_push(struct image_service *images, const char *name, bool purges,
                       const struct registry_auth *auth, char ret_digest[static DIGEST_LEN + 1],
                       char ***ret_pushed, struct error *err);
// Forget it. ERROR_NOT_FOUND "No such manifest: x".
int manifest_list_remove(struct image_service *images, const char *name, struct error *err);
