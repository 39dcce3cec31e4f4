// Volumes against the disk.
#pragma once

#include "store/fsck.h"
#include "volume/volume.h"

// Volumes whose directory is missing (repairs: made anew, empty) and directories of no volume, which are only reported: they may
// hold somebody's data, and the next start of the engine removes them.
void volume_fsck(struct volume_service *volumes, const struct fsck_options *options,
                 const struct fsck_sink *sink);
