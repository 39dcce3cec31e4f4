// Two images, or an image and a container, compared: files by their layers, and configurations.
#pragma once

#include "image/image.h"

#include <sys/stat.h>

// One thing to compare. Its layers are not collected until image_side_done.
struct image_side {
    struct image_service *images; // the bracket's; NULL: not begun
    char *name;                   // as people know it
    int *fds;                     // roots of the layers, bottom first
    char **keys;                  // strv beside them: diff ids; what equals is the same layer
    size_t count;
    json_t *config; // an OCI image configuration
};
// ERROR_NOT_FOUND as image_get; ERROR_IO for a layer that is not there.
int image_side_open(struct image_service *images, const char *name, struct image_side *ret,
                    struct error *err);
// Put a further directory (taken) on top, which no other side has, and another "config" (borrowed): a container's.
void image_side_push(struct image_side *side, int fd, const char *key, const json_t *config);
void image_side_done(struct image_side *side); // a zeroed one is fine

enum image_difference_kind { IMAGE_ADDED, IMAGE_CHANGED, IMAGE_DELETED };
// Why a file counts as changed: bits.
enum {
    IMAGE_DIFFERS_TYPE = 1,
    IMAGE_DIFFERS_CONTENT = 2, // also a link's target, a device's numbers
    IMAGE_DIFFERS_MODE = 4,
    IMAGE_DIFFERS_OWNER = 8,
    IMAGE_DIFFERS_XATTR = 16,
    IMAGE_DIFFERS_TIME = 32,
};
struct image_difference {
    enum image_difference_kind kind;
    const char *path;             // of a file: "/etc/passwd"; NULL: of the configuration
    unsigned reasons;             // of a changed file
    const struct stat *from, *to; // of a file; NULL where it is not
    const char *field, *key;      // of the configuration: "Env", "PATH"; key NULL: the field as a whole
    const json_t *old_value, *new_value;
};
// < 0 stops the comparison.
typedef int image_difference_visitor(void *context, const struct image_difference *difference);

// Every difference on the way from one to the other: the configuration's first, then files in the order of a walk (a directory before
// what is in it, names in byte order). Layers that both have are looked at only where layers above them differ. with_times: files whose
// time of modification alone differs count, too. 0, or the visitor's negative result; ERROR_IO for what cannot be read.
int image_diff(const struct image_side *from, const struct image_side *to, bool with_times,
               image_difference_visitor *visit, void *context, struct error *err);

// The configuration's part of it (diff_config.c).
int image_diff_config(const json_t *from, const json_t *to, image_difference_visitor *visit, void *context);
