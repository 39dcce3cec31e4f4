// How much a directory tree holds. The tree may be foreign and may be changed meanwhile: every object is looked at below its
// directory's descriptor, and links are never followed.
#pragma once

#include <stdint.h>

// Bytes of the files and symbolic links below fd (borrowed, may be O_PATH), as Docker sums them: each once however many names it
// has. Best effort: what vanishes, and what is deeper than 512 directories, is not counted.
uint64_t tree_size(int fd);
// Bytes on disk of the directory behind fd and of all below it, as du counts them: blocks, each inode once.
uint64_t tree_disk_bytes(int fd);
