// The state of a container, as hooks read it on their standard input.
// Spec: runtime-spec runtime.md "State", config.md "POSIX-platform Hooks".
#pragma once

#include <sys/types.h>

struct oci_state {
    const char *oci_version, *id;
    const char *status;       // "creating", "created", "running", "stopped"
    pid_t pid;                // of the container's process as whoever reads it sees it; 0: none any more
    const char *bundle;       // absolute
    char *const *annotations; // strv "key=value"; NULL: none
};

// One JSON object. Owned.
char *oci_state_text(const struct oci_state *state);
