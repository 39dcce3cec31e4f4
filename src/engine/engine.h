// The composition root: owns store, images, networks, containers, events; recovery at start; garbage collection.
#pragma once

#include "base/error.h"
#include "container/container.h"
#include "engine/dedup.h"
#include "engine/events.h"
#include "engine/gc.h"
#include "image/image.h"
#include "network/network.h"
#include "store/store.h"
#include "volume/volume.h"

struct registry_rules; // oci/registries.h

// All strings are borrowed and must outlive the engine.
struct engine_options {
    const char *data_root, *exec_root, *shim_program, *cgroup_parent, *userns_mode, *seccomp_profile;
    const char *signature_policy; // file; NULL: none
    char **insecure_registries, **cdi_directories;
    struct layer_limits layer_limits;
    char **registry_mirrors; // strv of docker.io's, shown by /info
    const struct registry_rules *registries;
    int stop_timeout_s;
    const char *init_program, *netd_program;
    bool has_init;
    struct network_options network;
    char **labels;          // strv "k=v", shown by /info
    const char *log_driver; // NULL: "json-file"
    char **log_options;     // strv "key=value"
    bool is_debug;
    struct image_gc_policy gc;
    int gc_interval_s;
    bool dedups_images; // after pulls
};

struct engine {
    struct engine_options options;
    char id[64]; // of this data root, "8-4-4-4-12" hex digits, kept in <data-root>/engine-id
    int64_t started_ns;
    struct store *store;
    struct image_service *images;
    struct network_service *networks;
    struct volume_service *volumes;
    struct container_service *containers;
    struct engine_events *events;
    struct engine_gc *gc;       // NULL: no policy
    struct engine_dedup *dedup; // NULL: not wished
};

// Opens the store (which locks the data root), then images, networks, volumes, containers (which finds what still runs).
int engine_open(const struct engine_options *options, struct engine **ret, struct error *err);
// Containers run on.
void engine_close(struct engine *engine);
