// What the files of image/ share: the service itself, the way an image enters it (pull, load, import, commit) and the rules
// for an image configuration.
#pragma once

#include "base/map.h"
#include "image/image.h"
#include "image/pull_claims.h"
#include "image/reference.h"

#include <pthread.h>

struct image_service {
    struct store *store;
    struct image_options options; // insecure_registries is an owned copy
    // Guards every read-modify-write of the image and tag tables, and the two members below. Never held while layer
    // data moves (layers are deleted after it is given back).
    pthread_mutex_t lock;
    unsigned
        acquiring; // pulls, loads, imports under way; while there is one, no layer or document is collected
    struct pull_claims claims;
    bool wants_sweep;         // something unreferenced may be there: collect when the last one ends
    pthread_mutex_t use_lock; // guards `uses`; a leaf
    struct map uses;          // image id -> struct image_use (use.c)
};

// Bracket whatever brings layers and documents into the store: between the two nothing unreferenced is collected, so that a
// layer found by layer_has stays until the image that needs it is registered. The last `end` collects what is left
// unreferenced (a failed pull's layers), if someone said that there may be such a thing.
void image_acquire_begin(struct image_service *images);
void image_acquire_end(struct image_service *images);
// To be called before `end` by whoever may leave something unreferenced behind.
void image_acquire_failed(struct image_service *images);

// An image configuration, checked: an object with rootfs.diff_ids (valid digests, at most IMAGE_LAYERS_MAX), "os" and
// "architecture" being strings when present. ERROR_INVALID otherwise. *ret_config and *ret_diff_ids are owned.
enum { IMAGE_LAYERS_MAX = 500, IMAGE_DOCUMENT_MAX = CONTENT_MAX_BYTES };
int image_config_parse(const void *bytes, size_t n, json_t **ret_config, char ***ret_diff_ids,
                       struct error *err);

struct image_registration {
    const void *config; // the configuration's bytes; their digest becomes the image id
    size_t config_n;
    const char
        *manifest_digest; // the platform's manifest; its document must be in content/ already; NULL: none
    const char
        *repo_digest; // full "docker.io/library/busybox@sha256:..." as pulled (index or manifest); NULL: none
    const struct reference *tag; // gets its tag moved here; NULL or without tag: untagged
};

// Store the configuration and record the image (again: digests are added to the existing record). Every layer named by
// rootfs.diff_ids must be in the store (ERROR_INVALID). Synced to disk when this returns. Must be inside an acquire bracket.
// Emits no event.
int image_register(struct image_service *images, const struct image_registration *registration,
                   char ret_id[static DIGEST_LEN + 1], struct error *err);

// The image is in a registry now: add the digest by which it is known there, and its manifest when it had none. The manifest's
// document must be in content/ already.
int image_note_push(struct image_service *images, const char *id, const char *manifest_digest,
                    const char *repo_digest, struct error *err);

// Emit an "image" event with the Actor's ID and its "name" attribute; `config` (may be NULL) gives the labels.
void image_emit(struct image_service *images, const char *action, const char *actor_id, const char *name,
                const json_t *config);

// Move a tag to an image; the caller holds images->lock. `reference` must have a tag.
int image_tag_locked(struct image_service *images, const struct reference *reference, const char *id,
                     struct error *err);
// The id a name stands for (reference, repo@digest, id or unique prefix); images->lock held.
// *ret_is_id: by id or prefix, not by reference.
int image_resolve_locked(struct image_service *images, const char *name, char ret_id[static DIGEST_LEN + 1],
                         bool *ret_is_id, struct error *err);
// The whole image by full id; the lock need not be held.
int image_load_record(struct image_service *images, const char *id, struct image **ret, struct error *err);
// As image_load_record, without reading the configuration (image->config is NULL). For walks over all images.
int image_load_summary(struct image_service *images, const char *id, struct image **ret, struct error *err);
// The first, or where the configuration cannot be read the second: a damaged image is still listed and removed.
int image_load_what_is_there(struct image_service *images, const char *id, struct image **ret,
                             struct error *err);
// Every image's id, strv, those that linger included only when asked.
int image_ids(struct image_service *images, bool with_lingering, char ***ret, struct error *err);
// The record under META_IMAGES, with one more key taken or changed by `change`; lock held.
int image_put_record(struct image_service *images, const char *id, const json_t *record, struct error *err);
// Remove an image with all its names unless a container uses it; what it needed alone stays for image_sweep. Appends to the report
// as image_remove makes it.
int image_remove_if_unused(struct image_service *images, const char *id, json_t *report, bool *ret_is_removed,
                           struct error *err);
// Delete layers and documents that no image needs, unless something is being acquired (then later). No lock held. *ret_bytes (may be
// NULL) grows by what came free on disk, to the block.
void image_sweep(struct image_service *images, json_t *report, uint64_t *ret_bytes);

// --- use.c
void image_uses_done(struct image_service *images);
