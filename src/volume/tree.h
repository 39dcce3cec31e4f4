// Whole directory trees: copied as they are. Private to volume/.
//
// Trees may be foreign and may be changed by a container while they are walked, so nothing is found by a path of more than one
// component: every object is opened below its directory's descriptor, links are never followed, and what was opened is what is
// copied (security rule R2).
#pragma once

#include "base/error.h"

// Copy what is in the directory from_fd into the directory to_fd: data (shared with the original where the file system can, holes
// kept), owners, modes, times, extended attributes, symbolic and hard links, fifos, sockets and devices. Names that are there
// already are ERROR_CONFLICT; what was copied before stays. Both are borrowed and may be O_PATH.
int tree_copy(int from_fd, int to_fd, struct error *err);
// Owner, mode, times and extended attributes of from_fd's object onto to_fd's. 0 or -errno.
int tree_copy_attributes(int from_fd, int to_fd);
