// Which blobs a layer is known as, and where: by them a layer that a registry has is not sent again, and one that came from a
// registry goes on byte for byte. Records of META_BLOBS by diff ID, made by pull and push. Internal to image/.
#pragma once

#include "base/error.h"
#include "oci/image.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct known_blob {
    struct oci_descriptor descriptor; // digest, size, media type
    char **places;                    // strv of "domain/repository", the latest last
    bool is_made_here; // compressed by a push of ours, so that compressing again gives it again
};

// Remember that the layer's blob is in this repository. Best effort: what is not remembered is sent again.
void blob_note(struct store *store, const char *diff_id, const struct oci_descriptor *descriptor,
               const char *domain, const char *repository, bool is_made_here);
// The same for a layer that was there already: only a blob whose content is known to be the layer gets a further place, since a
// registry's manifest may pair any blob with any layer.
void blob_note_place(struct store *store, const char *diff_id, const char *digest, const char *domain,
                     const char *repository);
// All that are remembered of a layer, the latest first. *ret: owned array of *ret_n, NULL when none.
void blob_known(struct store *store, const char *diff_id, struct known_blob **ret, size_t *ret_n);
void known_blobs_free(struct known_blob *blobs, size_t n);
// The layer is gone.
void blob_forget(struct store *store, const char *diff_id);
