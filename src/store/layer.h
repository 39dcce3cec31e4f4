// Layers: unpacked directories by diff ID (digest of the uncompressed tar), each unpacked on its own because overlay needs no
// parent; plus a split file, from which and the unpacked files the very tar stream is rebuilt bit for bit.
// Whiteouts (.wh.x, .wh..wh..opq) become overlay's own: character device 0/0, xattr trusted.overlay.opaque=y.
// Spec: image-spec layer.md. Every path inside a layer is resolved below the layer's directory (security R2); a path with
// "..", or through a symbolic link that leaves, touches nothing outside and fails the layer.
#pragma once

#include "base/error.h"
#include "base/stream.h"
#include "store/content.h"

#include <stdbool.h>
#include <stdint.h>

struct layer_limits {
    uint64_t max_bytes;   // of the uncompressed tar, and of the files in it; 0: none
    uint64_t max_entries; // 0: none
};

struct layer_info {
    char diff_id[DIGEST_LEN + 1];
    uint64_t size_bytes; // sum of regular file sizes
    uint64_t tar_bytes;  // length of the uncompressed tar
};

// Unpack one layer from a compressed or plain tar stream (gzip, zstd, plain: by magic bytes) into the store. When
// expected_diff_id is not NULL a differing result is ERROR_INVALID and leaves nothing. When the layer is already there the
// stream is read to its end and checked all the same. Data is on disk (synced) before the layer is recorded.
int layer_unpack(struct store *store, struct reader stream, const char *expected_diff_id,
                 const struct layer_limits *limits, struct layer_info *ret, struct error *err);
bool layer_has(struct store *store, const char *diff_id);
int layer_get(struct store *store, const char *diff_id, struct layer_info *ret, struct error *err);
// The uncompressed tar, bit for bit.
int layer_pack(struct store *store, const char *diff_id, struct writer to, struct error *err);
// Remove from record and disk. The caller knows that no image or container uses it.
int layer_delete(struct store *store, const char *diff_id, struct error *err);
// The same in two steps, for callers that hold a lock: retire takes the layer out of record and sight at once and gives the
// name of what is left to delete; discard (takes the name) does that.
int layer_retire(struct store *store, const char *diff_id, char **ret_doomed, struct error *err);
int layer_discard(struct store *store, char *doomed, struct error *err);
// Absolute directory that is the parent of all layers, and a layer's path below it ("<hex>/fs") for overlay.
const char *layer_directory(struct store *store);
char *layer_relative_path(const char *diff_id); // owned
// The root of a layer's unpacked files: a CLOEXEC descriptor, the caller's; ERROR_NOT_FOUND. Nobody writes below it.
int layer_open(struct store *store, const char *diff_id, int *ret, struct error *err);
// The layer that lies between every container's own and its image's.
const char *layer_init_relative_path(void);
// What overlay takes for a read-only view of these layers (diff ids, bottom first; NULL: none): paths below layer_directory, the
// topmost first. It wants two at least: empty directories of the store's own make up what is missing. Owned strv.
char **layer_view_paths(char *const *diff_ids);
