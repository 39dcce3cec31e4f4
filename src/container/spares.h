// What the next containers need and what takes long to make, made ahead: a shim with a container's first process
// (shim_client.h) for a start, an id with its directories for a create. One is taken, and the next is made when nobody waits.
// One thread.
#pragma once

#include "base/id.h"
#include "container/directories.h"
#include "container/shim_client.h"

#include <stdbool.h>

struct spares;

// All strings are borrowed until spares_free. Nothing is made until the first take.
struct spares *spares_new(const struct shim_program *program, const struct container_roots *roots);
void spares_free(struct spares *spares);
// One of them, the caller's; .pid is 0 when there is none now.
struct shim_spare spares_take_shim(struct spares *spares);
// An id whose directories exist, the caller's to remove. False: there is none now.
bool spares_take_id(struct spares *spares, char ret_id[static ID_LEN + 1]);
// Is it one that waits?
bool spares_has_id(struct spares *spares, const char *id);
// A container has ended, the machine has time: make what is missing, its client first.
void spares_refill(struct spares *spares);
