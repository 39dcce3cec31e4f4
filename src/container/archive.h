// The files of a container from outside: stat, copy out, copy in, export. Work on containers in any state; what a running one
// sees (volumes, binds) is seen, in its ids. Source: Docker Engine API, HEAD/GET/PUT /containers/{id}/archive, GET .../export.
#pragma once

#include "base/error.h"
#include "base/stream.h"
#include "container/container.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct container_path_stat {
    char *name; // last component of the path asked for; "/", ".", too
    int64_t size;
    uint32_t mode; // bits as Go's os.FileMode has them
    int64_t mtime_ns;
    char *link_target; // where a symbolic link leads in the end, absolute inside; "" for others
};
void container_path_stat_done(struct container_path_stat *stat);

// The bits of st_mode as Go's os.FileMode.
uint32_t container_go_mode(mode_t mode);
// "/a/./b/" -> "b", "/" -> "/", "/a/." -> ".". Owned.
char *container_path_base(const char *path);

// ERROR_NOT_FOUND "Could not find the file x in container y".
int container_archive_stat(struct container_service *containers, const char *name, const char *path,
                           struct container_path_stat *ret, struct error *err);
// The object at path as a tar stream, a link as a link unless the path ends with a slash. `begin` is called before the first
// byte. Event archive-path.
int container_archive_get(struct container_service *containers, const char *name, const char *path,
                          void (*begin)(void *context, const struct container_path_stat *stat), void *context,
                          struct writer to, struct error *err);

struct container_archive_put {
    bool keeps_kinds;  // noOverwriteDirNonDir
    bool owns_by_user; // copyUIDGID: all belongs to the container's configured user, if there is one
};
// Unpack a tar stream (plain, gzip or zstd) below the directory at path. ERROR_INVALID "extraction point is not a directory";
// ERROR_DENIED "container rootfs is marked read-only", "mounted volume is marked read-only". Event extract-to-dir.
int container_archive_put(struct container_service *containers, const char *name, const char *path,
                          const struct container_archive_put *options, struct reader from, struct error *err);
// The root file system without volumes as a tar stream. Event export.
int container_export(struct container_service *containers, const char *name, struct writer to,
                     struct error *err);
