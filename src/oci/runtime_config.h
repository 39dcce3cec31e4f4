// The OCI runtime configuration (config.json) as a value: parse, check, emit. It is what skiffd hands to skiff-shim and
// what `skiff-oci` reads from a bundle, so the runtime has one input.
// Spec: opencontainers/runtime-spec 1.1 config.md, config-linux.md.
//
// Unknown members are ignored, as the spec demands; known members of a wrong type, size or range are ERROR_INVALID.
// All pointers are owned by the struct that holds them. Booleans and numbers that are absent are false / 0 unless a
// `has_` or a pointer says otherwise.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A set of capabilities, bit n is capability number n of linux/capability.h.
typedef uint64_t oci_capset;

struct oci_capabilities {
    oci_capset bounding, effective, inheritable, permitted, ambient;
};

struct oci_rlimit {
    int resource; // RLIMIT_*
    uint64_t hard, soft;
};

struct oci_user {
    uint32_t uid, gid;
    bool has_umask;
    uint32_t umask;
    uint32_t *additional_gids;
    size_t additional_gid_count;
};

// Also the document of an exec: `process` alone.
struct oci_process {
    bool has_terminal;
    unsigned console_height, console_width; // 0: unset
    struct oci_user user;
    char **args; // strv, never empty after parse
    char **env;  // strv of NAME=value
    char *cwd;   // absolute
    struct oci_capabilities capabilities;
    bool has_capabilities; // absent: drop nothing
    struct oci_rlimit *rlimits;
    size_t rlimit_count;
    bool no_new_privileges;
    bool has_oom_score_adj;
    int oom_score_adj;
    char *apparmor_profile, *selinux_label; // NULL: unset
};

struct oci_id_mapping {
    uint32_t container_id, host_id, size;
};

// One of the spec's mounts. `options` as written; runtime/plan/mount_options.c turns them into flags.
struct oci_mount {
    char *destination; // absolute path in the container
    char *type;        // "bind" or NULL with a bind option, or a file system type
    char *source;
    char **options;
};

enum oci_namespace_type {
    OCI_NS_PID,
    OCI_NS_NETWORK,
    OCI_NS_MOUNT,
    OCI_NS_IPC,
    OCI_NS_UTS,
    OCI_NS_USER,
    OCI_NS_CGROUP,
    OCI_NS_TIME,
    OCI_NS_COUNT
};

struct oci_namespace {
    bool is_present; // listed: a new one, or the one at `path`
    char *path;      // NULL: create
};

struct oci_device {
    char *path;
    char type; // 'c', 'b', 'p'
    int64_t major, minor;
    uint32_t mode; // permission bits; 0666 when absent
    uint32_t uid, gid;
};

struct oci_device_rule {
    bool is_allow;
    char type;            // 'a', 'b', 'c'
    int64_t major, minor; // -1: any
    char access[4];       // of "rwm"
};

struct oci_throttle_device {
    int64_t major, minor;
    uint64_t rate;
};

struct oci_weight_device {
    int64_t major, minor;
    uint16_t weight, leaf_weight;
};

// INT64_MIN / 0 as noted: "not given". Memory sizes in bytes, -1: unlimited.
struct oci_resources {
    struct oci_device_rule *devices;
    size_t device_count;
    int64_t memory_limit, memory_reservation, memory_swap; // INT64_MIN: not given
    bool has_swappiness;
    uint64_t swappiness;
    bool disable_oom_killer;
    uint64_t cpu_shares;       // 0: not given
    int64_t cpu_quota_us;      // INT64_MIN: not given
    uint64_t cpu_period_us;    // 0: not given
    int64_t cpu_rt_runtime_us; // INT64_MIN: not given
    uint64_t cpu_rt_period_us; // 0: not given
    char *cpus, *mems;         // cpuset lists, NULL: not given
    int64_t pids_limit;        // INT64_MIN: not given; <= 0: unlimited
    uint16_t blkio_weight;     // 0: not given
    struct oci_weight_device *weight_devices;
    size_t weight_device_count;
    struct oci_throttle_device *read_bps, *write_bps, *read_iops, *write_iops;
    size_t read_bps_count, write_bps_count, read_iops_count, write_iops_count;
    char **unified; // strv "file=value": cgroup v2 files written as they are
};

struct oci_sysctl {
    char *key, *value;
};

struct oci_hook {
    char *path;
    char **args, **env;
    int timeout_s; // 0: none
};

enum oci_hook_point {
    OCI_HOOK_PRESTART,
    OCI_HOOK_CREATE_RUNTIME,
    OCI_HOOK_CREATE_CONTAINER,
    OCI_HOOK_START_CONTAINER,
    OCI_HOOK_POSTSTART,
    OCI_HOOK_POSTSTOP,
    OCI_HOOK_COUNT
};

struct oci_runtime_config {
    char *oci_version;
    bool has_process;
    struct oci_process process;
    char *root_path; // as written; may be relative to the bundle
    bool is_root_readonly;
    char *hostname, *domainname;
    struct oci_mount *mounts;
    size_t mount_count;
    struct oci_namespace namespaces[OCI_NS_COUNT];
    struct oci_id_mapping *uid_mappings, *gid_mappings;
    size_t uid_mapping_count, gid_mapping_count;
    struct oci_device *devices;
    size_t device_count;
    char *cgroups_path; // NULL: the runtime chooses
    struct oci_resources resources;
    struct oci_sysctl *sysctls;
    size_t sysctl_count;
    json_t *seccomp; // linux.seccomp as written (oci/seccomp.h compiles it), NULL: none
    char *rootfs_propagation;
    char **masked_paths, **readonly_paths; // strv
    struct {
        struct oci_hook *hooks;
        size_t count;
    } hooks[OCI_HOOK_COUNT];
    char **annotations; // strv "key=value"
};

// All members empty, resources "not given".
void oci_runtime_config_init(struct oci_runtime_config *config);
void oci_runtime_config_done(struct oci_runtime_config *config);
void oci_process_done(struct oci_process *process);

// `config` is initialised by the call, also on failure (nothing to release then).
int oci_runtime_config_parse(const json_t *document, struct oci_runtime_config *config, struct error *err);
int oci_process_parse(const json_t *document, struct oci_process *process, struct error *err);
// Owned JSON; parse(emit(x)) equals x.
json_t *oci_runtime_config_emit(const struct oci_runtime_config *config);
json_t *oci_process_emit(const struct oci_process *process);

// "CAP_CHOWN" or "CHOWN", any case. Number, or -1. And back: "CAP_CHOWN", NULL when unknown.
int oci_capability_number(const char *name);
const char *oci_capability_name(int number);
// "createRuntime" and so on; and back: an enum oci_hook_point, or -1.
const char *oci_hook_name(enum oci_hook_point point);
int oci_hook_number(const char *name);
// "RLIMIT_NOFILE" -> RLIMIT_NOFILE, or -1; and back.
int oci_rlimit_number(const char *name);
const char *oci_rlimit_name(int resource);
