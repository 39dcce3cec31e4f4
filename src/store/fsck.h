// What is wrong on disk: how it is told upwards (image/, container/ and volume/ have checks of their own), and the checks of
// the store's own things. Nothing here changes what it looks at, unless its name says so.
#pragma once

#include "base/error.h"
#include "base/stream.h"
#include "store/layer.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct fsck_options {
    bool is_quick; // whether everything is there and of the right size; contents of layers are not read
    bool repairs;  // bring back what can be had again, remove what belongs to nothing
    bool may_drop; // images that cannot be made whole go
};

struct fsck_finding {
    const char *kind;    // "layer", "document", "image", "tag", "init layer", "container", "volume"
    const char *id;      // digest, reference, container id, volume name
    const char *problem; // "contents differ from the digest"
    const char *action;  // what was done, or why nothing was; NULL: nothing was tried
    bool is_repaired;
    char *const *needed_by; // strv of image and container names that suffer, or NULL
};

struct fsck_sink {
    // Any thread, one call at a time.
    void (*found)(void *context, const struct fsck_finding *finding);
    // So far, of all that is to be read. < 0: the client is gone, stop.
    int (*progress)(void *context, uint64_t bytes, uint64_t all_bytes);
    void *context;
};

// Is all of the layer there? ERROR_IO "layer ... is damaged"; nothing but the split file is read, every file that it names is
// looked at.
int layer_check_quickly(struct store *store, const char *diff_id, struct error *err);
// Put a fresh copy (as layer_unpack takes it) in the place of a layer. The stream must have that very diff id: else nothing
// changes. keeps_old: the former copy stays in tmp/ until the next start, for a container that runs on it.
int layer_replace(struct store *store, struct reader stream, const char *diff_id,
                  const struct layer_limits *limits, bool keeps_old, struct error *err);
// Directories below layers/ that no record names: strv of names, owned. One that is being published is none.
int layer_strays(struct store *store, char ***ret, struct error *err);
int layer_stray_remove(struct store *store, const char *name, struct error *err);
// ERROR_IO naming what differs from what layer_make_init makes.
int layer_init_check(struct store *store, struct error *err);
// Make it anew and exchange it in one step; what runs keeps the former one, which goes with the next start.
int layer_init_replace(struct store *store, struct error *err);
// The document's bytes under their digest, whatever stands there. ERROR_INVALID when they have another one.
int content_replace(struct store *store, const char *digest, const void *bytes, size_t n, struct error *err);
