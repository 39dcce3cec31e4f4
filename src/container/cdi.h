// Devices by the Container Device Interface: vendors describe in files what a container needs for a device, under a name such as
// "vendor.com/gpu=0". Spec: cncf-tags/container-device-interface SPEC.md (0.3 to 0.8). JSON and YAML.
#pragma once

#include "base/error.h"
#include "oci/runtime_config.h"

#include <jansson.h>
#include <stdbool.h>

// "vendor/class=name"?
bool cdi_is_device_name(const char *text);
// Every device that the files in these directories describe, as full names; a later directory's win. Owned strv, sorted. Files that
// cannot be read are passed over.
char **cdi_device_names(char *const *directories);
// Put what these devices need into *config: variables, device nodes with their cgroup rules, mounts, groups. ERROR_INVALID in
// Docker's words: "CDI device injection failed: unresolvable CDI devices x"; ERROR_UNSUPPORTED for a device that needs hooks.
int cdi_inject(char *const *directories, char *const *devices, struct oci_runtime_config *config,
               struct error *err);
// The names behind HostConfig.DeviceRequests, appended to *names: driver "cdi" names them; a request for the capability "gpu"
// means the devices of class gpu that the host has. ERROR_INVALID "could not select device driver ...".
int cdi_resolve_requests(char *const *directories, const json_t *requests, char ***names, struct error *err);
