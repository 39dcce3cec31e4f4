// What layers and documents occupy on disk, to the block: as du counts it, but what several files share by reflink once.
#pragma once

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

// What one image stands on. diff_ids and digests: strv, borrowed.
struct usage_group {
    char *const *diff_ids, *const *digests;
    bool is_held;          // not to be reclaimed
    uint64_t bytes;        // out: of its layers and documents, each once
    uint64_t shared_bytes; // out: those of them that another group has as well
};
struct usage_total {
    uint64_t bytes;             // of all groups, each layer once
    uint64_t reclaimable_bytes; // those that no held group needs
};
// Measures layers where it has not been done yet (a walk over their files) and remembers it in their records; layers that share
// blocks are looked at each time. A layer that is not there counts nothing. ERROR_IO for records that cannot be read.
int store_usage(struct store *store, struct usage_group *groups, size_t count, struct usage_total *ret,
                struct error *err);

// Bytes that come free when these retired layers (names as layer_retire gave them, strv) are discarded.
uint64_t store_doomed_bytes(struct store *store, char *const *doomed);
// Bytes on disk of one document; 0 when it is not there.
uint64_t content_disk_bytes(struct store *store, const char *digest);
// The layer has been compared with all others; is_shared: its files share blocks with others' from now on.
int layer_mark_deduped(struct store *store, const char *diff_id, bool is_shared, struct error *err);
