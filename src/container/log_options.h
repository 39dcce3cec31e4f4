// A log's options with the container's names in them.
#pragma once

#include "container/config.h"

// What a tag's fields stand for; all borrowed. name without "/".
struct log_tag_names {
    const char *id, *name, *image_id, *image_name;
    char *const *arguments;
};
// "{{.Name}}/{{.ID}}" with the fields of Docker's log tags filled in. *ret owned. ERROR_INVALID for anything else in braces.
int log_tag_expand(const char *template, const struct log_tag_names *names, char **ret, struct error *err);
// The labels and environment variables that go with every message. An owned JSON object, empty when none do.
json_t *log_attributes(const struct log_choice *choice, const json_t *labels, char *const *env);

struct container;
// What the monitor gets for the next start; *ret needs shim_log_options_done. Looks names up and connects once to a syslog
// or journald: ERROR_INTERNAL in Docker's words when nobody is there.
int log_options_for_start(struct container *c, struct shim_log_options *ret, struct error *err);
