// What the files of store/ share.
#pragma once

#include "codec/tar.h"
#include "store/layer.h"
#include "store/store.h"

#include <pthread.h>

struct meta;

struct store {
    char *root;      // absolute
    int root_fd;     // O_RDONLY directory
    int lock_fd;     // holds the flock for as long as the store is open
    char *layer_dir; // root/layers
    int layers_fd, blobs_fd, tmp_fd;
    struct meta *meta;
    pthread_mutex_t layer_lock; // guards the step from staging to record: rename and meta_put of one layer
    pthread_mutex_t sync_lock;  // guards the rest (sync.c)
    pthread_cond_t sync_changed;
    uint64_t syncs_begun, syncs_done;
    bool is_syncing;
    int sync_failed; // errno of the last one
};

int meta_open(struct store *store, struct error *err);
void meta_close(struct store *store);
// Drop unrecorded layer directories and records without a directory.
int layer_recover(struct store *store, struct error *err);
// Make what layer_init_relative_path names, where it is missing (init_layer.c).
int layer_make_init(struct store *store, struct error *err);

// Everything written to the store's file system before the call is on disk after it. Callers at the same time share the work.
int store_sync(struct store *store, struct error *err);

// --- split files (split.c): a tar stream without its file payload
struct split_writer;
int split_writer_new(int dirfd, const char *name, struct split_writer **ret); // 0 or -errno
struct writer split_raw(struct split_writer *split);
// The payload of `entry` comes here, and is found at `path` below the layer. Gives the file's number.
int split_file(struct split_writer *split, const char *path, const struct tar_entry *entry,
               uint32_t *ret_number);
int split_finish(struct split_writer *split);
void split_writer_free(struct split_writer *split);
void split_writer_freep(struct split_writer **split);
// Rebuild the tar of the layer in this directory ("fs", "split", "extra").
int split_replay(int layer_fd, struct writer to, struct error *err);

// --- application (apply.c)
// Unpack tar into staging/fs (which exists), writing `split`; payload of files that are replaced within the same tar goes to
// staging/extra. `decoder_problem` in errors comes from the caller.
struct layer_tally {
    uint64_t size_bytes, entries;
};
int layer_apply(int staging_fd, struct tar_reader *tar, struct split_writer *split,
                const struct layer_limits *limits, struct layer_tally *ret, struct error *err);

// Open `path` (relative) below root; never leaves it, follows links that stay below. Descriptor or -errno (-EXDEV: left).
int open_beneath(int root, const char *path, uint64_t flags);
