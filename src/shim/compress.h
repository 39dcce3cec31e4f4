#pragma once

#include <sys/types.h>

// Compress file `from` to `to` (gzip) in a child of low priority, then remove `from`. The child's pid, or
// -errno.
pid_t compress_in_background(const char *from, const char *to);
