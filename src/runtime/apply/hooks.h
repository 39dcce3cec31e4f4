// Hooks: programs that the configuration wants to be run at points of a container's life. Each gets the container's state on
// its standard input, its own environment and nothing else of ours; what it prints is kept for the message when it fails.
//
//   point            process that runs it   namespaces    path is looked up in
//   prestart         the runtime            the runtime's the runtime's
//   createRuntime    the runtime            the runtime's the runtime's
//   createContainer  the container's first  the container's  the runtime's: before pivot_root
//   startContainer   the container's first  the container's  the container's, as the container's user
//   poststart        the runtime            the runtime's the runtime's
//   poststop         the runtime            the runtime's the runtime's
//
// The first two run once the container's mounts are made, and the third after them; meanwhile its root file system lies on
// <bundle>/<root.path> in its own mount namespace (and in no other). The caller has made that directory, and config.json.
// Spec: runtime-spec config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
#pragma once

#include "runtime/plan/plan.h"

struct hook_context {
    const char *id, *bundle, *oci_version;
    char *const *annotations;
    uint64_t self_dev, self_ino; // never to be executed (startContainer); 0: look for nothing
};

// Run these one after another; the first that fails (cannot be executed, does not exit with 0, takes longer than its timeout and
// is killed) ends it: ERROR_INTERNAL says which and what it printed.
int hooks_run(const struct hook_context *context, enum oci_hook_point point, const struct oci_hook *hooks,
              size_t count, const char *status, pid_t pid, struct error *err);

// The hooks of a plan at one point.
int hooks_run_planned(const struct runtime_plan *plan, enum oci_hook_point point, const char *status,
                      pid_t pid, struct error *err);
// In the container's process, instead of execve's forerunner: startContainer.
int hooks_run_inside(const struct runtime_plan *plan, uint64_t self_dev, uint64_t self_ino,
                     struct error *err);

// What is left to run when the plan is gone: poststart and poststop. NULL when there is neither.
struct runtime_hooks *hooks_keep(const struct runtime_plan *plan);
void hooks_free(struct runtime_hooks *hooks);
int hooks_poststart(const struct runtime_hooks *hooks, pid_t pid, struct error *err);
// All of them, whatever comes of each. -1 and *err: the first that failed.
int hooks_poststop(const struct runtime_hooks *hooks, struct error *err);
