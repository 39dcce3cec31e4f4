// Seccomp for containers: choose the profile, resolve its conditions for this container's capabilities,
// compile it once, keep the program. Compiling costs over a millisecond; a start must not pay it.
#pragma once

#include "base/error.h"
#include "oci/runtime_config.h"

#include <jansson.h>
#include <stdint.h>

// One rule of the built-in profile. Strings of several words are separated by blanks.
struct seccomp_rule {
    const char *calls;
    const char *with_cap, *without_cap;       // one capability, or NULL
    const char *with_arches, *without_arches; // Go architecture names ("amd64"), or NULL
    const char *min_kernel;                   // "4.8", or NULL
    const char *op;                           // comparison, NULL: any arguments
    unsigned argument;
    uint64_t value;
    int errno_value; // 0: allow, else refuse with it
};
struct seccomp_arch {
    const char *name, *subs;
};
extern const struct seccomp_rule seccomp_default_rules[];  // ends with .calls NULL
extern const struct seccomp_arch seccomp_default_arches[]; // ends with .name NULL

// The built-in profile as a document in Docker's profile format ("archMap", "includes", "excludes"). Owned.
json_t *seccomp_default_profile(void);
// A profile in Docker's format or in the OCI's -> the OCI's linux.seccomp for these capabilities on this
// machine. Owned in *ret. ERROR_INVALID when it is not a profile.
int seccomp_resolve(const json_t *profile, oci_capset bounding, json_t **ret, struct error *err);

// Compiled programs by (profile, capabilities), each a sealed memfd. Thread-safe.
struct seccomp_cache;
struct seccomp_cache *seccomp_cache_new(void);
void seccomp_cache_free(struct seccomp_cache *cache);
// profile NULL: the built-in one. The descriptor is borrowed until seccomp_cache_free.
int seccomp_cache_get(struct seccomp_cache *cache, const json_t *profile, oci_capset bounding, int *ret_fd,
                      struct error *err);
