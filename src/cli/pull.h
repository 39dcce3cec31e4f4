// Pulling an image, for pull, run and create.
#pragma once

#include "cli/cli.h"

// Pull `reference`, drawing progress on `fd` (1 or 2; bars on a terminal, plain lines otherwise, nothing when
// quiet).
int pull_image(struct cli *cli, const char *reference, const char *platform, bool is_quiet, int fd,
               struct error *err);
// "busybox" -> "busybox:latest"; one with a tag or digest stays. Owned.
char *pull_familiar_name(const char *reference);
// "busybox:1" -> "docker.io/library/busybox:1". Owned.
char *pull_canonical_name(const char *reference);
// "repo:tag" or "repo@digest" into its parts, owned; *ret_tag is NULL when there is none.
void pull_split(const char *reference, char **ret_repository, char **ret_tag, bool *ret_is_digest);
