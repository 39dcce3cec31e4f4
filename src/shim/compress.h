#pragma once

#include <sys/types.h>

// Compress what descriptor `from` (borrowed) reads into file `to` (gzip) in a child of low priority; what becomes of the two is
// the caller's affair when the child has ended (exit status 0: done). The child's pid, or -errno.
pid_t compress_in_background(int from, const char *to);
