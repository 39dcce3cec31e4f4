// What is to be done, as values; private to runtime/. Strings are owned by the plan unless marked borrowed.
#pragma once

#include "runtime/runtime.h"

#include <stdint.h>

enum plan_mount_kind {
    PLAN_MOUNT_FS,     // a new file system, made in the child
    PLAN_MOUNT_BIND,   // a clone of a host path, made by the parent
    PLAN_MOUNT_DEV,    // the tmpfs on /dev, made and filled by the parent
    PLAN_MOUNT_CGROUP, // the container's own cgroup directories
    PLAN_MOUNT_LAYERS, // a read-only overlay of layers, made by the parent
};

struct plan_mount {
    enum plan_mount_kind kind;
    const char *destination, *source, *type; // borrowed from the config
    char **lower;                            // PLAN_MOUNT_LAYERS: strv, relative to the layers' parent
    char **data;                             // strv "key=value" or "flag" for the file system
    uint64_t set, clear;                     // MOUNT_ATTR_*
    uint64_t recursive_set, recursive_clear; // the same for the whole tree (rro, ...)
    uint64_t propagation;                    // MS_PRIVATE ...; 0: private
    bool is_propagation_recursive;
    bool is_recursive; // rbind
    bool keeps_owners; // without the container's idmap
    int fd;            // apply: the detached mount made by the parent, else FD_NONE (PLAN_MOUNT_FS: joined.c)
    bool is_source_directory; // apply: of a bind
};

struct plan_join {
    enum oci_namespace_type type;
    const char *path; // borrowed
    int fd;           // apply
};

struct plan_write {
    const char *controller; // v1 hierarchy; NULL on v2
    const char *file;
    char *value;
    const char *other_file; // tried when `file` does not exist; NULL: none
};

struct plan_writes {
    struct plan_write *items;
    size_t count;
    const char
        *refused; // a limit that this version cannot hold: the reason, in Docker's words where it has some
};

struct runtime_plan {
    struct runtime_spec spec;
    const struct oci_runtime_config *config;
    uint64_t clone_flags;    // CLONE_NEW*, without cgroup
    bool wants_new_cgroupns; // by unshare, when the process is in its cgroup
    struct plan_join joins[OCI_NS_COUNT];
    size_t join_count;
    bool has_userns;             // its own or a joined one
    uint32_t root_uid, root_gid; // host ids of the container's root
    struct plan_mount *mounts;
    size_t mount_count;
    struct oci_device *devices; // to make in /dev: the spec's own, then the config's; `path` borrowed
    size_t device_count;
    struct oci_device_rule *device_rules; // empty: no device control
    size_t device_rule_count;
    bool wants_cpuset;
    bool has_create_hooks; // hooks that are run while the container is made
};

// plan/mount_options.c: options of one mount into flags and data. ERROR_INVALID names the option.
int plan_mount_options(const struct oci_mount *mount, struct plan_mount *ret, struct error *err);
void plan_mount_done(struct plan_mount *mount);
// "X-mount.subdir=DIR", as mount(8) has it: only that directory of the source, which may be foreign (a volume's, an image's): it
// is resolved as if the source were the root, and what was found is what is mounted. Borrowed; NULL: none.
const char *plan_mount_subdir(const struct plan_mount *mount);

// plan/plan.c: a plan of what can change while a container runs: the mounts and devices of a configuration that has nothing else.
// A mount of another kind than a bind or a new file system is ERROR_UNSUPPORTED.
int plan_change_new(const struct oci_runtime_config *config, struct runtime_plan **ret, struct error *err);

// plan/limits.c: the resources as files to write.
struct plan_writes plan_limits_v1(const struct oci_resources *r);
struct plan_writes plan_limits_v2(const struct oci_resources *r);
void plan_writes_done(struct plan_writes *writes);

// Host id of a container id, or UINT32_MAX.
uint32_t plan_map_id(const struct oci_id_mapping *maps, size_t count, uint32_t id);
