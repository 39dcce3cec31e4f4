// A container for tests: a root file system of busybox in /tmp, a configuration like Docker's, run for real.
#pragma once

#include "base/error.h"
#include "runtime/runtime.h"

#include <jansson.h>
#include <stdbool.h>

struct container {
    char *folder;     // mkdtemp; holds layers/base, layers/extra, c/upper, c/work, plain
    json_t *document; // the configuration; change it before run
    bool has_layers;  // else root.path
    bool wants_userns;
    bool has_embryo; // grown from a process that was born before the configuration was known
    const char *input;
    int seccomp_fd;
    char cgroup_path[64];
    struct runtime_container process;
    int out_fd; // read end of stdout and stderr
};

bool container_is_possible(void); // root, and busybox is installed
void container_init(struct container *c);
void container_done(struct container *c);
// args: a shell command line for /bin/sh -c.
void container_set_shell(struct container *c, const char *command);
void container_set_args(struct container *c, const char *first, ...) __attribute__((sentinel));
json_t *container_process(struct container *c);
json_t *container_linux(struct container *c);
void container_add_mount(struct container *c, const char *type, const char *source, const char *destination,
                         const char *options);
void container_remove_namespace(struct container *c, const char *type,
                                const char *path); // path: join instead
// create + start. 0, or -1 with *err and nothing left behind.
int container_begin(struct container *c, struct error *err);
// Until it ends: output (owned) and exit status (128 + n for a signal). Destroys it.
int container_end(struct container *c, char **ret_output);
// All of it: asserts that it starts. Owned output.
char *container_run(struct container *c, int *ret_status);
