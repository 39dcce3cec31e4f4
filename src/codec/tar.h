// A bounded walker over a tar stream: ustar, pax (with GNU sparse 0.0, 0.1, 1.0), GNU long names, old GNU sparse, base-256
// numbers. It differs from libarchive in one thing, which is why it exists: every byte of the stream that is not file
// payload taken by the caller is handed to `raw` in order, so that the stream can be rebuilt bit for bit.
// Spec: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual "Storing Sparse Files".
#pragma once

#include "base/stream.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TAR_BLOCK = 512,
    TAR_PAX_MAX = 1 << 20,     // bytes of one pax header
    TAR_NAME_MAX = 64 * 1024,  // bytes of a long name
    TAR_EXTENTS_MAX = 1 << 18, // pieces of a sparse file
};

enum tar_type {
    TAR_REGULAR,
    TAR_HARDLINK,
    TAR_SYMLINK,
    TAR_CHAR,
    TAR_BLOCK_DEVICE,
    TAR_DIRECTORY,
    TAR_FIFO,
    TAR_OTHER, // volume labels and such: payload only
    TAR_TYPE_COUNT
};

struct tar_xattr {
    char *name; // as the kernel knows it: "user.x", "security.capability"
    char *value;
    size_t value_n;
};

struct tar_extent {
    uint64_t offset, length; // in the unpacked file
};

struct tar_entry {
    enum tar_type type;
    char *path, *link; // as stored; never NULL
    uint32_t mode;     // permission bits with setuid, setgid, sticky
    uint32_t uid, gid;
    uint64_t size;    // of the file as unpacked
    uint64_t payload; // bytes of data in the stream (less than size when sparse)
    int64_t mtime_ns;
    uint32_t major, minor;
    struct tar_xattr *xattrs;
    size_t xattr_count;
    bool is_sparse;
    struct tar_extent *extents; // the payload's places, ascending, when is_sparse
    size_t extent_count;
};

struct tar_reader;

// `from` and `raw` are borrowed until tar_reader_free; raw.write may be NULL.
struct tar_reader *tar_reader_new(struct reader from, struct writer raw);
void tar_reader_free(struct tar_reader *tar); // NULL is fine
void tar_reader_freep(struct tar_reader **tar);
// Go to the next entry; payload not taken goes to raw. 1: *ret, borrowed until the next call; 0: end, the stream has been
// read to its last byte; -EBADMSG: malformed or cut short (tar_reader_problem); else the stream's or raw's own -errno.
int tar_reader_next(struct tar_reader *tar, const struct tar_entry **ret);
// Some of the current entry's payload, in place: *ret borrowed until the next call. Bytes, 0 at its end, or -errno.
ssize_t tar_reader_data(struct tar_reader *tar, const void **ret);
const char *tar_reader_problem(const struct tar_reader *tar);

// --- writing: ustar with pax headers where ustar does not suffice
// One entry's header(s); then the caller writes entry->size bytes and calls tar_write_padding(size). Sparseness is ignored.
// Deterministic: equal entries give equal bytes. 0 or -errno of the writer.
int tar_write_header(struct writer to, const struct tar_entry *entry);
int tar_write_padding(struct writer to, uint64_t size);
// The end mark: two zero blocks.
int tar_write_end(struct writer to);
