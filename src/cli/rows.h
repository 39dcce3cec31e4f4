// Cells that several lists share.
#pragma once

#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

// "sha256:0123..." -> "0123456789ab"; whole (with its prefix) when !truncates. Owned.
char *rows_id(const char *id, bool truncates);
// {"a":"1","b":"2"} -> "a=1,b=2" in key order. Owned.
char *rows_labels(const json_t *labels);
// Docker's port list: "0.0.0.0:8080->80/tcp, 443-444/tcp" with ranges gathered. Owned.
char *rows_ports(const json_t *ports);
// "3 hours ago" for seconds since 1970. Owned.
char *rows_since(int64_t created);
