// Containers as the Docker API shows them.
#pragma once

#include "api/request.h"

// GET /containers/json's element. `image_text`: the name or id to show as Image. Owned.
json_t *container_summary_document(const struct request *request, const struct container_info *info,
                                   const char *image_text);
// Add SizeRw and SizeRootFs.
void container_add_sizes(const struct request *request, const struct container_info *info, json_t *document);
// Every container as GET /containers/json?all=1&size=1 shows it. Owned.
json_t *container_summaries(const struct request *request);
// GET /containers/{id}/json. Owned.
json_t *container_inspect_document(const struct request *request, const struct container_info *info);
// "Up 5 seconds", "Exited (0) 2 minutes ago", ... Owned.
char *container_status_text(const struct container_info *info, int64_t now_ns);
// What it is attached to: "bridge", "host", "none", "container:<id>". Borrowed.
const char *container_network_mode(const struct container_info *info);
// The `Mounts` array from HostConfig's Binds, Mounts and Tmpfs. Owned.
json_t *container_mounts_document(const struct container_info *info);
