// What the options of Docker's local driver (type, device, o) say about where a volume's data is. Private to volume/.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum volume_backing_kind {
    VOLUME_PLAIN, // the volume's own directory
    VOLUME_BIND,  // a directory of the host (o=bind): containers get it directly, nothing is mounted for it
    VOLUME_MOUNT, // a file system (tmpfs, nfs, ext4, ...) mounted on the volume's directory while a container uses it
};

struct volume_backing {
    enum volume_backing_kind kind;
    const char *type, *device; // borrowed from the options
    uint64_t attributes;       // MOUNT_ATTR_*
    char **data;               // strv, "key=value" or "flag" for the file system
    bool is_read_only;
    uint64_t size_bytes; // VOLUME_PLAIN: what it may hold; 0: no limit
};

// options: an object of strings, or NULL. ERROR_INVALID in Docker's words. *ret is initialised also on failure.
int volume_backing_parse(const json_t *options, struct volume_backing *ret, struct error *err);
void volume_backing_done(struct volume_backing *backing);
// Mount on the directory target_fd. ERROR_IO naming the device.
int volume_backing_mount(const struct volume_backing *backing, int target_fd, struct error *err);
