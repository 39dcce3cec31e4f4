// Containers against the disk.
#pragma once

#include "container/container.h"
#include "store/fsck.h"

// Every container's directories and its image's layers, and directories of no container. Reports only: what is missing cannot be
// had again, and what belongs to nobody goes with the next start of the engine. Waits for no operation of a container.
void container_fsck(struct container_service *containers, const struct fsck_sink *sink);
