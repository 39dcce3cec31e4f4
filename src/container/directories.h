// The two directories of a container: its data (upper and work of the overlay, log) below the data root, and its state
// (sockets, exit record, hostname, hosts, resolv.conf) below the exec root, which a reboot may empty. Both are named by its
// id, and what carries the id of no recorded container is garbage that the next start of the engine removes.
#pragma once

#include "base/error.h"

#include <stdint.h>

struct container_roots {
    const char *data;  // <data root>/containers
    const char *state; // the exec root
};

// Make both. On failure nothing is left.
int directories_make(const struct container_roots *roots, const char *id, struct error *err);
// 0 or -errno; missing is success.
int directories_remove(const struct container_roots *roots, const char *id);
// When the container's last run began, kept as an extended attribute of its data directory: one system call, no record and
// no sync. Noted: 0 or -errno; asked: 0 for never, or not noted. Without it a run that a reboot ended is not known.
// Source: xattr(7), trusted namespace, as overlay uses it.
int directories_note_run(const char *data_directory, int64_t started_ns);
int64_t directories_noted_run(const char *data_directory);
