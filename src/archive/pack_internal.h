// What pack.c and merge.c share: an archive being written.
#pragma once

#include "archive/archive.h"
#include "base/map.h"
#include "base/str.h"

#include <sys/stat.h>

struct pack {
    const struct archive_pack *options;
    struct writer to;
    struct str path;   // of the current entry, as it stands in the archive
    struct map linked; // "device:inode" of files with several names -> the first one (owned)
    char *buffer;
    struct error *err;
};
void pack_init(struct pack *p, const struct archive_pack *options, struct writer to, struct error *err);
void pack_done(struct pack *p);
// The object (O_PATH) as the current entry, with all below it.
int pack_object(struct pack *p, int fd, int depth);
// A directory's own entry. *ret_is_opaque: whether overlay marks it so.
int pack_directory_entry(struct pack *p, int fd, const struct stat *st, bool *ret_is_opaque);
// An empty file beside the current entry that says what is not there: ".wh." and a name.
int pack_mark(struct pack *p, const char *prefix, const char *name);
