// Records: JSON documents by (table, key) in one SQLite file. One mechanism for every module; a commit is a write to the
// WAL, never an fsync; checkpoints (which do sync) run on a thread of their own. All functions are thread-safe.
#pragma once

#include "base/error.h"
#include "store/store.h"

#include <jansson.h>

// Tables, each with one owner.
#define META_LAYERS     "layers"     // diff id -> {size, ...}             store/layer.c
#define META_IMAGES     "images"     // image id (sha256:...) -> {...}     image/
#define META_BLOBS      "blobs"      // diff id -> {"blobs":[..]}          image/blobs.c
#define META_MANIFESTS  "manifests"  // "docker.io/library/x:tag" -> {"members":[..]} image/manifest_list.c
#define META_TAGS       "tags"       // "docker.io/library/x:tag" -> {...} image/
#define META_CONTAINERS "containers" // id -> {...}                        container/
#define META_NETWORKS   "networks"   // id -> {...}                        network/
#define META_VOLUMES    "volumes"    // name -> {...}                      volume/
#define META_PROJECTS   "projects"   // project id (decimal) -> {}               store/project.c

// Insert or replace.
int meta_put(struct store *store, const char *table, const char *key, const json_t *document,
             struct error *err);
// ERROR_NOT_FOUND when absent. Owned result.
int meta_get(struct store *store, const char *table, const char *key, json_t **ret, struct error *err);
// Removing what is not there is success.
int meta_delete(struct store *store, const char *table, const char *key, struct error *err);
// Every record of a table in key order; a negative result of visit stops and is returned.
int meta_each(struct store *store, const char *table,
              int (*visit)(void *context, const char *key, const json_t *document), void *context,
              struct error *err);
// Several changes, all or nothing. The caller's thread holds the database between the two.
int meta_begin(struct store *store, struct error *err);
int meta_commit(struct store *store, struct error *err);
void meta_rollback(struct store *store);
// Push the WAL to disk and wait (fsync); after pulls, loads, commits.
int meta_sync(struct store *store, struct error *err);
