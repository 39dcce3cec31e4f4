// Images against the disk: documents, layers, tags, and what belongs to nothing.
#pragma once

#include "image/image.h"
#include "store/fsck.h"

// Verify every document and layer (quick: that layers are complete) and report what is wrong. Reads a snapshot of the records;
// nothing waits for it, and nothing that it looks at is collected meanwhile. Repairs: a layer or document with a known origin
// is fetched again, verified before it replaces the damaged one; what belongs to nothing goes. may_drop: an image that stays
// damaged goes with its tags ("untag" and "delete" events), unless a container is made from it. Findings are no failure;
// ERROR_CANCELLED when the sink said stop; ERROR_IO for records that cannot be read.
int image_fsck(struct image_service *images, const struct fsck_options *options, const struct fsck_sink *sink,
               struct error *err);
