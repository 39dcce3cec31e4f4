// Dockerfile instructions applied to an image configuration, as `import --change` and `commit --change` take them.
#pragma once

#include "base/error.h"

#include <jansson.h>

// Apply one line ("CMD [\"sh\"]", "ENV a=b") to `config`, the "config" object of an OCI image configuration. CMD, ENTRYPOINT,
// ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR; ERROR_INVALID for others and for bad syntax.
int image_change_apply(json_t *config, const char *line, struct error *err);
