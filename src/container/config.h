// A create request turned into types: everything in Docker's Config and HostConfig that this engine honours,
// checked once.
//
// Every member of HostConfig is known here. It is honoured; or it is accepted at its default value only and
// otherwise refused with ERROR_UNSUPPORTED naming it; it is never ignored. Members this table has never heard
// of are refused as well. Source: Docker Engine API POST /containers/create; wording of the errors that
// clients match on is Docker's.
#pragma once

#include "base/error.h"
#include "container/policy.h"
#include "network/network.h"
#include "oci/runtime_config.h"
#include "shimproto/shimproto.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum namespace_mode_kind { NS_MODE_PRIVATE, NS_MODE_HOST, NS_MODE_CONTAINER, NS_MODE_NONE };

struct namespace_mode {
    enum namespace_mode_kind kind;
    char *container; // NS_MODE_CONTAINER: name or id as given
};

struct bind_mount {
    char *source, *target;
    bool is_read_only;
    bool is_recursive;      // rbind
    bool creates_source;    // -v and CreateMountpoint: a missing source directory is made
    char *propagation;      // "rprivate", ...
    bool is_flat_read_only; // mounts below the source stay writable
    char *mode;             // the options as -v has them, for inspect; NULL: none
    // A volume: `source` is known once the container has been made (mounts.c).
    bool is_volume, is_anonymous, is_declared; // declared: by -v /path or the image's VOLUME
    char *volume;                              // name; NULL for an anonymous one that is still to be made
    bool copies_up;                            // an empty volume takes over what the image has at the target
    char *subpath;                             // only this directory of it; NULL: all
    json_t *labels, *driver_options;           // of one that is made on demand; NULL: none
    // An image, seen through its layers and never written to: `source` is its id once the container has been made.
    char *image;   // as the client named it; NULL: none
    char **layers; // diff ids, bottom first
};

struct tmpfs_mount {
    char *target;
    char *options; // "size=64m,mode=1777", "" for none
};

struct device_mapping {
    char *host_path, *container_path;
    char permissions[4];
};

struct extra_host {
    char *name, *ip; // ip may be "host-gateway"
};

// What goes with every line of the log; NULL: not asked for (log_options.h).
struct log_choice {
    char *tag; // template
    char **labels, **env;
    char *labels_regex, *env_regex;
    char *address; // syslog: "unix:/path", "udp:host:port", tcp: and tls: the same; NULL: the local one
};

struct container_config {
    // Config
    char *hostname, *domainname, *user, *working_dir, *stop_signal_name;
    char **env, **args;
    bool has_tty, has_stdin, is_stdin_once;
    int stop_signal;
    int stop_timeout_s; // -1: the service's
    // HostConfig
    bool is_privileged, is_auto_remove, is_read_only, has_no_new_privileges, disables_oom_killer,
        publishes_all;
    struct namespace_mode network, pid, ipc, uts, userns;
    char *network_name; // network.kind PRIVATE: "bridge" or a network's name
    bool has_private_cgroupns, has_shareable_ipc;
    char *cgroup_parent; // NULL: the engine's
    char *mac_address;
    oci_capset capabilities; // add and drop applied; privileged: all
    char **group_add;
    int oom_score_adj;
    int64_t shm_size_bytes;
    int64_t memory_bytes, memory_reservation_bytes, memory_swap_bytes; // 0: not given; swap -1: unlimited
    int64_t memory_swappiness;                                         // -1: not given
    int64_t nano_cpus, cpu_shares, cpu_period_us, cpu_quota_us, cpu_rt_period_us, cpu_rt_runtime_us;
    char *cpuset_cpus, *cpuset_mems;
    int64_t pids_limit; // 0: unlimited
    unsigned blkio_weight;
    uint64_t storage_size_bytes; // what the writable layer may hold; 0: no limit
    json_t *blkio_weight_devices, *blkio_read_bps, *blkio_write_bps, *blkio_read_iops,
        *blkio_write_iops; // arrays or NULL
    struct oci_rlimit *rlimits;
    size_t rlimit_count;
    struct bind_mount *binds;
    size_t bind_count;
    struct tmpfs_mount *tmpfs;
    size_t tmpfs_count;
    char **declared_volumes; // targets of Config.Volumes, cleaned
    char **volumes_from;     // "container[:mode]"
    struct device_mapping *devices;
    size_t device_count;
    json_t *device_requests; // HostConfig.DeviceRequests (cdi.h), or NULL
    struct oci_device_rule *device_rules;
    size_t device_rule_count;
    struct oci_sysctl *sysctls;
    size_t sysctl_count;
    struct extra_host *extra_hosts;
    size_t extra_host_count;
    char **dns, **dns_search, **dns_options;
    char **links;                          // "name" or "name:alias" (links.h)
    char **masked_paths, **readonly_paths; // NULL: Docker's default; empty: none
    bool has_masked_paths, has_readonly_paths;
    char **annotations; // "key=value"
    bool is_seccomp_unconfined, has_seccomp_profile;
    json_t *seccomp_profile; // a client's own, or NULL: the engine's
    struct shim_log_options
        log; // path is filled in by the caller, what depends on the container at the start
    struct log_choice log_choice;
    struct network_port *ports;
    size_t port_count;
    unsigned console_rows, console_columns;
    bool is_network_mode_explicit, has_no_network;
    struct restart_policy restart; // as created; container->restart is what counts
    struct health_check health;
    enum { INIT_DEFAULT, INIT_NO, INIT_YES } init; // an init as process 1; INIT_DEFAULT: the engine's
};

// `config` and `host_config` as POST /containers/create has them, the image's defaults merged in already
// (config_merge_image). *ret is initialised by the call, also on failure (nothing to release then).
// ERROR_INVALID, ERROR_UNSUPPORTED. *warnings: strv, appended to.
int container_config_parse(const json_t *config, const json_t *host_config, struct container_config *ret,
                           char ***warnings, struct error *err);
void container_config_done(struct container_config *config);

// A copy of `config` in which what the client left open is what the image says (Env, Cmd, Entrypoint,
// WorkingDir, User, Labels, ExposedPorts, Volumes, StopSignal, Healthcheck), as Docker does it. image_config: the OCI
// image configuration. Owned result. ERROR_INVALID: no command specified.
int config_merge_image(const json_t *config, const json_t *image_config, json_t **ret, struct error *err);
// A copy of host_config with Docker's defaults filled in, as inspect shows it. Owned result.
json_t *host_config_complete(const json_t *host_config);

// "SIGTERM", "term", "15", "RTMIN+3". 0 when unknown.
int signal_parse(const char *text);
const char *signal_name(int number); // "SIGTERM"; NULL for unknown

// --- parts, each with its own tests (config_mounts.c, config_ports.c, config_resources.c)

// HostConfig.LogConfig (config_log.c).
int config_parse_log(const json_t *host_config, struct container_config *ret, struct error *err);
// At create only: a syslog's socket must be there. ERROR_INVALID.
int config_log_check_address(const struct container_config *config, struct error *err);
void config_log_done(struct container_config *config);
int config_log_tag_check(const char *template, struct error *err);
// Fill the engine's default driver and options (strv "key=value") into a completed HostConfig, where `given`, as the client sent
// it, names no driver or the same one.
void config_log_default(json_t *host_config, const json_t *given, const char *driver, char *const *options);
const char *config_log_driver_name(enum shim_log_driver driver);
// An array of all names. Owned.
json_t *config_log_driver_names(void);
// HostConfig.Binds, Mounts, Tmpfs.
int config_parse_mounts(const json_t *host_config, struct container_config *ret, struct error *err);
// The same for Config.Volumes: *ret gets declared_volumes.
int config_parse_declared_volumes(const json_t *config, struct container_config *ret, struct error *err);
// Release what a mount owns / a copy of it, owned.
void bind_mount_done(struct bind_mount *mount);
struct bind_mount bind_mount_copy(const struct bind_mount *mount);
bool config_has_target(const struct container_config *config,
                       const char *target); // of a bind, volume or tmpfs
// "/a//./b" -> "/a/b", owned. ERROR_INVALID: relative, with "..", or the root.
int config_clean_target(const char *target, char **ret, struct error *err);
// One -v value: "src:dst[:opts]", "volume:dst[:opts]", or "dst" for an anonymous volume.
int config_parse_bind(const char *text, struct bind_mount *ret, struct error *err);
// ExposedPorts, PortBindings, PublishAllPorts.
int config_parse_ports(const json_t *config, const json_t *host_config, struct container_config *ret,
                       struct error *err);
// "80/tcp" -> number and protocol.
int config_parse_port(const char *text, uint16_t *ret_port, enum network_protocol *ret_protocol,
                      struct error *err);
// Memory, CPU, pids, blkio, ulimits, devices.
int config_parse_resources(const json_t *host_config, struct container_config *ret, char ***warnings,
                           struct error *err);
// StorageOpt (storage.c).
int config_parse_storage(const json_t *host_config, struct container_config *ret, struct error *err);
// CapAdd, CapDrop over Docker's default set.
int config_parse_capabilities(const json_t *host_config, bool is_privileged, oci_capset *ret,
                              struct error *err);
// A list like "0-3,7": well formed and below `limit`.
bool config_cpu_list_is_valid(const char *text, unsigned limit);
