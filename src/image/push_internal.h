// One push under way, as push.c, push_layers.c and push_blob.c share it.
#pragma once

#include "codec/block_encoder.h"
#include "image/blobs.h"
#include "image/image_internal.h"
#include "image/push.h"
#include "oci/image.h"
#include "registry/client/upload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct push_layer {
    const char *diff_id; // borrowed from the image
    char short_id[13];
    uint64_t tar_bytes;
    size_t twin; // index of an earlier layer of the same diff ID, or its own
    struct known_blob *known;
    size_t known_n;
    const struct oci_descriptor
        *wanted; // what the image's stored manifest calls it, if its content is known to be this; or NULL
    struct oci_descriptor blob; // what it is at the target; media type NULL until it is known
    bool is_made_here;
    _Atomic bool is_pushing;
    _Atomic uint64_t sent, taken, total; // for the progress
    _Atomic int64_t reported_ns;
};

struct push {
    struct image_service *images;
    const struct image_push_options *options;
    const struct registry_auth *auth;
    struct reference reference; // domain and repository; tag: of the image under way
    char *familiar_name;
    const struct progress_sink *sink;
    struct registry_repository *repository;
    struct compress_pool *pool;

    // The image under way:
    struct image *image;
    struct str stored_bytes; // its manifest as it came; empty: none
    struct oci_document stored;
    bool has_stored;
    struct push_layer *layers; // bottom first
    size_t count;

    pthread_mutex_t report_lock; // one line at a time
    _Atomic bool is_stopped;     // the client went away, or a layer failed

    pthread_mutex_t lock; // guards the rest
    pthread_cond_t changed;
    char **unreachable; // strv: domains of sources that did not answer
    size_t next_layer, workers;
    bool has_failed;
    struct error error; // the first
};

// One progress line; sets is_stopped when the client is gone. Any thread.
void push_report(struct push *push, const char *id, const char *status, uint64_t current, uint64_t total);
// Asked by the registry client: has the push ended?
bool push_is_stopped(void *push);
// Bring every layer to the target. The first failure ends the others.
int push_layers(struct push *push, struct error *err);
// One layer: find it there, have it mounted, pass it on from where it came, or compress it. layer->blob is set.
int push_layer(struct push *push, struct push_layer *layer, struct error *err);
// The manifest for this image and these layers: the stored one when it says just that, else a new one. *ret_type borrowed.
int push_manifest(struct push *push, struct str *ret, const char **ret_type, struct error *err);
// Credentials of the push for `domain`: none for any other registry than its own.
struct registry_credentials push_credentials(const struct push *push, const char *domain);
// As registry_open, with the push's options.
int push_open(struct push *push, const char *domain, const char *repository, bool is_target,
              char *const *mount_from, struct registry_repository **ret, struct error *err);
