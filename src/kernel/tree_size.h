// How much a directory tree holds. The tree may be foreign and may be changed meanwhile: every object is looked at below its
// directory's descriptor, and links are never followed.
#pragma once

#include <stdint.h>

// Bytes of the regular files below fd (borrowed, may be O_PATH), each counted once however many names it has. Best effort: what
// vanishes, and what is deeper than 512 directories, is not counted.
uint64_t tree_size(int fd);
