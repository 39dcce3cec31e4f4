// Garbage collection by policy: which images go although nobody removed them.
#pragma once

#include "image/image.h"

struct image_gc_policy {
    int64_t unused_ns; // those that no container was made from, started or removed for so long; 0: no rule
    unsigned
        keep_last; // of each repository all but the last so many (by the time they were tagged or came); 0: no rule
    unsigned
        disk_high; // above so many percent of the data root's file system in use, those used longest ago; 0: no rule
    unsigned disk_low;  // ... until it is below this; 0: five percent less
    char *const *keeps; // strv: reference patterns, "label=key", "label=key=value": these never go
};

// With unused_ns and keep_last both set an image goes when both say so; the disk rule goes beyond unused_ns, not beyond keep_last.
// Never: what a container is made from, what keeps names, what was used or came in the last ten minutes.
bool image_gc_policy_is_set(const struct image_gc_policy *policy);
// ERROR_INVALID: percentages out of range or upside down, a pattern that is none.
int image_gc_policy_check(const struct image_gc_policy *policy, struct error *err);

// Apply it; is_dry: only say what would go. *ret is owned:
// {"Images":[{"Id","RepoTags","Size","LastUsed","Removed",Reason"}],"Report":[as image_remove],"SpaceReclaimed","DiskUsedPercent"}
// Size: what the image holds alone on disk. Removed: it went (is_dry: would go). SpaceReclaimed: bytes that came (would come) free.
// Events "untag" and "delete" for each.
int image_gc(struct image_service *images, const struct image_gc_policy *policy, bool is_dry, json_t **ret,
             struct error *err);
