// The image service: images, their tags, and how they come and go. Thread-safe. Documents returned are JSON in the shape of
// the OCI image configuration; the Docker API's own shapes are made in api/.
#pragma once

#include "base/error.h"
#include "base/event.h"
#include "base/stream.h"
#include "store/layer.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct image_service;
struct registry_rules; // oci/registries.h

struct image_options {
    char **insecure_registries; // strv of "host[:port]" or CIDR; loopback is always insecure-allowed
    const struct registry_rules *registries; // mirrors and what is blocked; borrowed, NULL: none
    struct layer_limits layer_limits;        // of every layer that comes in, whichever way
    const char *signature_policy; // file (image/signature.h), borrowed; NULL: whatever is pulled may come in
    struct event_sink events;     // "image": pull, load, import, tag, untag, delete, save
    // Is a container made from this image? (asked by removal and prune; may be NULL)
    bool (*is_in_use)(void *context, const char *image_id, char container_id[65], bool *ret_is_running);
    void *is_in_use_context;
};

int image_service_open(struct store *store, const struct image_options *options, struct image_service **ret,
                       struct error *err);
void image_service_close(struct image_service *images);

struct image {
    char id[DIGEST_LEN + 1]; // digest of the configuration
    char **tags;             // strv, familiar: "busybox:latest"
    char **repo_digests;     // strv "busybox@sha256:..."
    char *manifest_digest;   // as pulled, or NULL
    char **diff_ids;         // strv, bottom first
    int64_t created_ns;
    int64_t last_tagged_ns;
    int64_t added_ns;     // when it came into this store; 0: not known
    int64_t last_used_ns; // a container was made from it, started or removed, to the hour; 0: never
    uint64_t size_bytes;
    json_t *config; // the whole OCI image configuration
};
void image_free(struct image *image);
void image_freep(struct image **image);

// By reference, full id, or unique id prefix. ERROR_NOT_FOUND "No such image: x".
int image_get(struct image_service *images, const char *name, struct image **ret, struct error *err);
// NULL-terminated array of all, newest first; one whose configuration is damaged is there with config NULL. Free with image_list_free.
int image_list(struct image_service *images, struct image ***ret, struct error *err);
void image_list_free(struct image **list);

// Progress as Docker streams it: one call per JSON line. Any of the members may be NULL / 0.
struct progress {
    const char *id;     // layer short id or tag
    const char *status; // "Downloading", "Pull complete", ...
    const char *stream; // load: "Loaded image: x\n"
    int64_t current, total;
    const json_t *aux;
};
struct progress_sink {
    int (*report)(void *context, const struct progress *progress); // < 0: the client is gone, stop
    void *context;
};

struct registry_auth {
    char *username, *password, *identity_token, *registry_token; // NULL: none
};

// Pull reference (tag defaults to latest; digest allowed) for `platform` ("linux/amd64", NULL: this machine's), from the mirrors that
// are configured for it in their order and from the registry itself last.
// Errors in Docker's words: "manifest for x not found: manifest unknown: ...", "pull access denied for x, ...".
int image_pull(struct image_service *images, const char *reference, const char *platform,
               const struct registry_auth *auth, const struct progress_sink *progress, struct error *err);
// Every tag of a repository, one after another; a failure ends it. `name` has neither tag nor digest.
int image_pull_all(struct image_service *images, const char *name, const char *platform,
                   const struct registry_auth *auth, const struct progress_sink *progress, struct error *err);
// `docker save` archives and OCI layouts, possibly compressed. *ret_names: strv of loaded tags or ids (owned).
int image_load(struct image_service *images, struct reader archive, const struct progress_sink *progress,
               char ***ret_names, struct error *err);
// A `docker save` archive that is an OCI layout as well (index.json and manifest.json), layers bit for bit.
int image_save(struct image_service *images, char *const *names, struct writer to, struct error *err);
// A root file system tar becomes an image. changes: strv of Dockerfile instructions (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
// USER, VOLUME, WORKDIR, STOPSIGNAL, ONBUILD, HEALTHCHECK). reference may be NULL.
int image_import(struct image_service *images, struct reader archive, const char *reference,
                 const char *message, const char *platform, char *const *changes,
                 char ret_id[static DIGEST_LEN + 1], struct error *err);
int image_tag(struct image_service *images, const char *name, const char *new_reference, struct error *err);
// As `docker rmi`: untag, and delete when it was the last tag (or by id). *ret_report: JSON array of {"Untagged":..} /
// {"Deleted":..}, owned. ERROR_CONFLICT in Docker's words when a container uses it.
int image_remove(struct image_service *images, const char *name, bool is_forced, json_t **ret_report,
                 struct error *err);
// Remove images without tags (all_unused: also tagged ones) that no container uses and for which keeps() (NULL: none) is false;
// it must not call the service. Report as image_remove; bytes that came free on disk, to the block.
typedef bool image_keeper(void *context, const struct image *image);
int image_prune(struct image_service *images, bool all_unused, image_keeper *keeps, void *context,
                json_t **ret_report, uint64_t *ret_bytes, struct error *err);

// A container is made from this image (full id), started or removed. Costs nothing but once an hour, when a record is written.
void image_note_use(struct image_service *images, const char *id);

// Layers of an image kept for the time a container needs them: containers hold the image by id; removal asks is_in_use.
