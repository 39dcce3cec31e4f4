// struct container_config -> struct oci_runtime_config: Docker's defaults spelled out, the container's own
// wishes on top.
#pragma once

#include "container/config.h"
#include "container/user.h"
#include "oci/runtime_config.h"

#define SPEC_INIT_TARGET "/sbin/docker-init" // as in Docker: programs look for it

struct spec_inputs {
    const struct container_config *config;
    const struct user_identity *user;
    const char *id, *hostname;
    const char *hosts_path, *hostname_path, *resolv_conf_path; // absolute, on the host
    const char *cgroup_path;
    const char *layers_dir;   // of the store; for mounts of images
    const char *init_path;    // of skiff-init, to be process 1; NULL: the command itself is
    uint32_t userns_first_id; // 0: the host's user namespace
    // Namespaces of another container or the host to be joined ("/proc/N/ns/net"); NULL: as config says.
    const char *userns_path, *netns_path, *pidns_path, *ipcns_path;
    char *const *extra_env;       // strv, before the container's own; NULL: none
    char *const *cdi_directories; // strv
    const char *shm_path; // "/proc/N/root/dev/shm" of the container whose IPC namespace is joined, or NULL
};

// Touches the host only to look at devices and at bind sources (a missing -v source directory is made here,
// as Docker makes it). *ret is initialised by the call; on failure there is nothing to release. ERROR_INVALID
// in Docker's words.
int spec_build(const struct spec_inputs *in, struct oci_runtime_config *ret, struct error *err);
// The limits alone, as a document for SHIM_UPDATE. Owned. ERROR_INVALID as spec_build.
int spec_resources_document(const struct container_config *config, json_t **ret, struct error *err);
// One side of what changes in a container that runs (runtime.h, struct runtime_change): the binds, volumes and tmpfs of `mounts`,
// and all devices and rules of `devices` (NULL: none are named). is_going: these mounts are to be taken off. Owned.
int spec_change_document(const struct container_config *mounts, bool is_going,
                         const struct container_config *devices, char *const *cdi_directories, json_t **ret,
                         struct error *err);
// The environment of a process: PATH, HOSTNAME, TERM, then `env` (later entries win), then HOME. Owned strv.
char **spec_environment(char *const *env, const char *hostname, bool has_tty, const char *home);
// The identity and capabilities of `user` with the bounding set `bounding` into *process.
void spec_set_user(struct oci_process *process, const struct user_identity *user, oci_capset bounding);
