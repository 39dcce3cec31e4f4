// What the files of store/ share.
#pragma once

#include "base/fd.h"
#include "base/map.h"
#include "base/str.h"
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
    pthread_mutex_t layer_lock;   // guards the step from staging to record: rename and meta_put of one layer
    pthread_mutex_t project_lock; // the ids that are taken (project.c); never held across I/O
    struct map projects;
    uint32_t next_project;
    pthread_mutex_t sync_lock; // guards the rest (sync.c)
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

// --- staging (layer.c): a layer on its way in, below tmp/
struct staging {
    struct store *store;
    char *name; // in tmp/
    int fd;
};
int staging_make(struct store *store, struct staging *ret, struct error *err);
void staging_remove(struct staging *s);
// Unpack into it; the digest must be the expected one.
int staging_fill(struct staging *s, struct reader stream, const char *expected_diff_id,
                 const struct layer_limits *limits, struct layer_info *ret, struct error *err);
int layer_put_record(struct store *store, const struct layer_info *info, struct error *err);
// Take a directory of layers/ out of sight, into tmp/; *ret_doomed is owned.
int layer_retire_directory(struct store *store, const char *name, char **ret_doomed, struct error *err);
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
// Is everything there that a replay would read? No payload is read.
int split_check(int layer_fd, struct error *err);

// --- application (apply.c)
// Unpack tar into staging/fs (which exists), writing `split`; payload of files that are replaced within the same tar goes to
// staging/extra. `decoder_problem` in errors comes from the caller.
struct layer_tally {
    uint64_t size_bytes, entries;
};
int layer_apply(int staging_fd, struct tar_reader *tar, struct split_writer *split,
                const struct layer_limits *limits, struct layer_tally *ret, struct error *err);

// --- times of directories, which wait until all entries are made (directory_times.c)
struct directory_times {
    struct str waiting;
    int fd; // what does not fit in memory; FD_NONE: nothing
};
#define DIRECTORY_TIMES_INIT \
    {                        \
        STR_INIT, FD_NONE    \
    }
// 0 or -errno. The path is below the layer's root; staging_fd is where a file without a name may be made.
int directory_times_add(struct directory_times *times, int staging_fd, const char *path, int64_t mtime_ns);
int directory_times_set(struct directory_times *times, int root_fd);
void directory_times_done(struct directory_times *times);

// Open `path` (relative) below root; never leaves it, follows links that stay below. Descriptor or -errno (-EXDEV: left).
int open_beneath(int root, const char *path, uint64_t flags);
