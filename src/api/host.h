// What the host is and can do, for /info and /version.
#pragma once

#include <jansson.h>

// "amd64", "arm64", ...: Go's name for this machine. Static.
const char *host_go_architecture(void);
// Adds OperatingSystem, OSVersion, NCPU, MemTotal, CgroupVersion, DriverStatus and the limits that can be set.
void host_describe(const char *data_root, json_t *info);
