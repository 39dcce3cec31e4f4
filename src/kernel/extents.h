// Where the contents of files lie on disk, so that what several files share (reflink) is counted once. Source: FS_IOC_FIEMAP,
// Documentation/filesystems/fiemap.rst.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct extent {
    uint64_t physical, length;
    uint32_t owner;
};
struct extents {
    struct extent *list;
    size_t count, room;
};
void extents_done(struct extents *extents);

// Can files of this file system share blocks (xfs, btrfs)? fd may be O_PATH.
bool extents_can_share(int fd);
// The contents of the file behind fd (readable) for this owner (a small number). Bytes that went into extents.
uint64_t extents_add_file(struct extents *extents, int fd, uint32_t owner);
// The contents of all files below fd (borrowed, a directory) for this owner. *ret_rest: bytes on disk of what has
// no extent: directories, attributes, small files that lie in their inodes. Best effort: what vanishes meanwhile is left out.
void extents_add_tree(struct extents *extents, int fd, uint32_t owner, uint64_t *ret_rest);
// Every stretch of the disk once, with the owners that have it (each once, in no order).
void extents_each(struct extents *extents,
                  void (*visit)(void *context, uint64_t length, const uint32_t *owners, size_t count),
                  void *context);
