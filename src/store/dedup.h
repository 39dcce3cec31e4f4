// Equal files of different layers share their blocks, where the file system can: the same contents once on disk, while every file
// keeps its own inode, owner, mode, times and attributes. Source: ioctl_fideduperange(2).
#pragma once

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct dedup_result {
    const char *file_system; // "xfs", "btrfs", "ext4", ...; static
    bool can_share;
    uint64_t files;       // that got (would get) another one's blocks
    uint64_t saved_bytes; // on disk
};

// Of all recorded layers; the caller sees to it that none goes meanwhile. Containers may run on them: the kernel compares and exchanges
// in one step, and the contents stay what they are. Layers that have been through it before are only compared with new ones.
// is_dry: look and say what it would bring, on any file system. ERROR_UNSUPPORTED in words for people where files cannot share blocks.
int store_dedup(struct store *store, bool is_dry, struct dedup_result *ret, struct error *err);
