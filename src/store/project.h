// Project ids: how much a container's or a volume's directory may hold (kernel/quota.h). The engine gives them out of a range of its
// own and leaves out what somebody else uses in that file system. Thread-safe; no lock is held across a system call.
//
// An id is in the table "projects" from before it gets a limit until after the limit is taken off, and in the record of the container
// or volume that has it. So whatever a crash leaves behind is known: what is in the table and in no record is given back by
// project_settle, and a limit on an id that is not in the table is another's.
#pragma once

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define PROJECT_FIRST_ID 0x736b0000u
enum { PROJECT_COUNT = 65536 };

// What to tell whoever asks for a limit where there can be none.
#define PROJECT_HELP                                                                                       \
    "the data root's file system must be xfs mounted with pquota, or ext4 made with -O quota,project and " \
    "mounted with prjquota (Linux 5.14 or newer)"

// Can directories of the store be limited?
bool project_is_offered(const struct store *store);
// A free id with this limit; record it, then project_release it when its directories are gone. ERROR_EXHAUSTED, ERROR_IO.
int project_claim(struct store *store, uint64_t limit_bytes, uint32_t *ret_id, struct error *err);
// The directory `name` below dirfd, which must be empty, and all that will be made in it. ERROR_IO.
int project_apply(int dirfd, const char *name, uint32_t id, struct error *err);
// Another limit; 0: none. ERROR_IO.
int project_limit(struct store *store, uint32_t id, uint64_t limit_bytes, struct error *err);
// Take the limit off and give the id back; 0 is ignored. Where that fails now, the next project_settle does it.
void project_release(struct store *store, uint32_t id);

// --- after a start: first all records say what they have (0 is ignored), then settle gives back what nobody has.
void project_keep(struct store *store, uint32_t id);
void project_settle(struct store *store);
