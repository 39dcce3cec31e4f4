// One pull under way, as pull.c and pull_layers.c share it.
#pragma once

#include "image/image_internal.h"
#include "oci/image.h"
#include "oci/registries.h"
#include "registry/client/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct pull_layer {
    const struct oci_descriptor *descriptor; // borrowed from the manifest
    const char *diff_id;                     // borrowed from the configuration
    char short_id[13];
    bool is_here; // in the store, or brought by an earlier entry of the same manifest
    _Atomic uint64_t downloaded;
    _Atomic bool is_downloading;
    int64_t reported_ns; // of the worker that has the layer
};

struct pull {
    struct image_service *images;
    struct reference reference;
    char *familiar, *familiar_name; // "busybox:latest", "busybox"
    struct oci_platform platform;
    bool has_platform_wish;
    const struct progress_sink *sink;
    struct registry_repository *repository;

    char top_digest[OCI_DIGEST_LEN + 1];      // of what the reference names
    char manifest_digest[OCI_DIGEST_LEN + 1]; // of the platform's manifest
    struct registry_manifest manifest_bytes;
    struct oci_document manifest;
    struct str config_bytes;
    json_t *config;
    char **diff_ids;
    struct pull_layer *layers;
    struct pull_layer **missing; // those to be brought, the largest first
    size_t missing_count;
    const struct registry_mirror *mirror; // that is asked; NULL: the registry itself
    char **tags;                          // of the repository, when all are pulled
    bool tells_status;                    // at the end; not when it is one tag of all
    bool is_newer;                        // the reference stood for something else, or nothing, before

    pthread_mutex_t report_lock; // one line at a time
    _Atomic bool is_gone;        // the client is: every transfer ends
    _Atomic bool is_stopped;     // a layer failed: so do those of this source

    pthread_mutex_t lock; // guards the rest
    pthread_cond_t changed;
    size_t next_layer, workers; // next_layer: of `missing`
    bool has_failed;
    struct error error; // the first
};

// Is nothing more to be done, for either reason? For callbacks: `pull` is the struct pull.
bool pull_is_stopped(void *pull);
// One progress line; sets is_gone when the client is. Any thread.
void pull_report(struct pull *pull, const char *id, const char *status, uint64_t current, uint64_t total);
// Bring every layer into the store. The first failure ends the others.
int pull_layers(struct pull *pull, bool is_known_image, struct error *err);
