// Trees of files to tar streams and back, where somebody hostile may change the tree meanwhile: the files of a running
// container. Every object is reached by a descriptor of its directory and a single name, never followed; only regular files
// are ever opened for their contents, by the descriptor that has shown them to be regular. Bounded: depth, names of one
// directory. Source: Docker Engine API, /containers/{id}/archive and /export; image-spec layer.md (whiteouts).
#pragma once

#include "base/error.h"
#include "base/stream.h"
#include "codec/tar.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARCHIVE_DEPTH_MAX = 512, ARCHIVE_DIRECTORY_MAX_BYTES = 64 << 20 };

// How owners on this side (of the file system) and in the archive belong together. count 0: they are the same. Else ids
// first .. first + count - 1 here are 0 .. count - 1 there, and others show as 65534 (nobody).
struct archive_ids {
    uint32_t first, count;
};

struct archive_pack {
    const char *name;    // what the top is called: "dir" gives "dir/", "dir/x"; "/" gives "/", "/x"
    bool leaves_top_out; // only what is below it, without a name before it: "x"
    bool needs_all;      // nobody changes the tree: what cannot be read is an error, not left out
    bool is_layer;       // an overlay's upper directory: whiteouts and opaque directories in the layer format
    struct archive_ids ids;
};

// Write the object (O_PATH descriptor; a link is written as a link) and all below it, without end mark; names in byte order,
// sockets left out, hard links within it kept. What vanishes or cannot be read meanwhile is left out, as Docker does. 0;
// ERROR_IO with the writer's errno; ERROR_UNSUPPORTED for a tree nested too deep and for what a layer cannot say.
int archive_pack(int fd, const struct archive_pack *options, struct writer to, struct error *err);

// Several layers (descriptors of their directories, topmost first, borrowed; O_PATH will do) as the one layer that has the same effect
// on whatever lies below them: objects as they show through, whiteouts and opaque directories where something further down is to be
// hidden. is_lowest: nothing lies below, so nothing is hidden. Without end mark; names in byte order; hard links of one layer kept.
// Errors as archive_pack, but what cannot be read fails it.
int archive_pack_layers(const int *fds, size_t count, bool is_lowest, struct writer to, struct error *err);

// The extended attributes that archives carry: user.*, security.capability and, unless ids are mapped, POSIX ACLs. trusted.*
// would be orders to overlay itself.
bool archive_xattr_is_wanted(const char *name, const struct archive_ids *ids);

struct archive_unpack {
    bool keeps_kinds;   // a directory is not replaced by something else, nor the other way round
    bool ignores_owner; // files belong to whom they are made by
    bool has_owner;     // ... or all to this one
    uint32_t uid, gid;  // in the archive's ids
    struct archive_ids ids;
    const char *from,
        *to; // NULL, or: entries called `from` or below it are called `to`; "" stands for what has no name
};

// Make the entries below directory_fd (O_PATH or O_RDONLY), which no entry leaves, whatever links it or the archive holds.
// Parents that the archive does not name are made 0755. Of files to be made with mapped ids, the calling thread's fsuid and
// fsgid must be `ids.first`. ERROR_INVALID: malformed archive, an entry that leads outside, or a kind to be kept; ERROR_DENIED:
// read-only; ERROR_IO and others of the file system.
int archive_unpack(int directory_fd, struct tar_reader *tar, const struct archive_unpack *options,
                   struct error *err);
