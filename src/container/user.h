// "user[:group]" of a container or an exec -> numbers, by the image's own passwd and group files.
#pragma once

#include "base/error.h"
#include "container/rootfs.h"
#include "oci/runtime_config.h"

#include <stdint.h>

struct user_identity {
    uint32_t uid, gid;
    uint32_t *additional_gids; // owned; the primary group comes first
    size_t additional_gid_count;
    char *home; // owned; "/" when passwd does not say
};
void user_identity_done(struct user_identity *user);

#define USER_ID_MAX 0x7fffffffu

// passwd and group: the files' text, "" where they are missing. group_add: strv of names or numbers.
// Numbers are plain decimals of 0 to USER_ID_MAX; everything else is a name and must be listed.
// ERROR_INVALID in Docker's words: "unable to find user x: no matching entries in passwd file".
int user_lookup(const char *passwd, const char *group, const char *spec, char *const *group_add,
                struct user_identity *ret, struct error *err);
// The same with the files of a root.
int user_lookup_in_root(const struct rootfs *root, const char *spec, char *const *group_add,
                        struct user_identity *ret, struct error *err);
