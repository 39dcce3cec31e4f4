// What a container's policies decide, as functions of values: when an ended container is started again, after which pause,
// and what a health probe's outcome makes of its state. Nothing here touches the system; restart.c and health.c act on it.
// Source: Docker Engine API HostConfig.RestartPolicy, Config.Healthcheck; docs/lifecycle.md has the rules for people.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

// --- restart
enum restart_policy_kind { RESTART_NO, RESTART_ALWAYS, RESTART_UNLESS_STOPPED, RESTART_ON_FAILURE };

struct restart_policy {
    enum restart_policy_kind kind;
    int64_t max_retries; // on-failure: 0 is no bound
};

// HostConfig.RestartPolicy; NULL or an empty name is "no". ERROR_INVALID in Docker's words.
int restart_policy_parse(const json_t *document, struct restart_policy *ret, struct error *err);

// A run that is over.
struct run_end {
    int exit_code;
    bool is_cancelled;      // it was to end: the policy is not asked
    bool was_stopped;       // somebody stopped or signalled it; outlives the engine
    unsigned restart_count; // restarts by policy since somebody started it
};
// Is it started again, now that it has ended?
bool restart_after_exit(const struct restart_policy *policy, const struct run_end *end);
// The same question at the start of the engine, of a container that was found ended. "always" and "on-failure" ask nobody
// then whether it had been stopped.
bool restart_at_boot(const struct restart_policy *policy, const struct run_end *end);
// The pause before the next restart: 100 ms, doubled each time up to a minute, and 100 ms again after a run of ten seconds.
// last_ns: the pause before the run that is over, 0 for none.
int64_t restart_delay_ns(int64_t last_ns, int64_t ran_ns);

// --- health
enum unhealthy_action { UNHEALTHY_NONE, UNHEALTHY_RESTART, UNHEALTHY_STOP, UNHEALTHY_KILL };

// The annotation (HostConfig.Annotations) that says what is done about a container that has become unhealthy.
#define ANNOTATION_ON_UNHEALTHY "skiff.on-unhealthy"

struct health_check {
    char **args; // strv: the probe's command, owned; NULL: no check
    int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns;
    unsigned retries;
    enum unhealthy_action on_unhealthy;
};
// Config.Healthcheck with Config.Shell for CMD-SHELL, defaults filled in. *ret is initialised by the call. ERROR_INVALID in
// Docker's words.
int health_check_parse(const json_t *config, const json_t *host_config, struct health_check *ret,
                       struct error *err);
void health_check_done(struct health_check *check);
// The client's Healthcheck over the image's, as Docker merges them: what the client leaves open is the image's, and a Test of
// ["NONE"] is the client's word. Either may be NULL. Owned, NULL when there is neither.
json_t *health_check_merge(const json_t *own, const json_t *image);

enum health_status { HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };
const char *health_status_name(enum health_status status); // "starting", ...

struct health_state {
    enum health_status status;
    unsigned failing_streak;
};
// One probe's outcome, since_start_ns being the age of the run when the probe began. True when the status has changed.
bool health_take(struct health_state *state, const struct health_check *check, int exit_code,
                 int64_t since_start_ns);
// From now to the next probe.
int64_t health_pause_ns(const struct health_state *state, const struct health_check *check,
                        int64_t since_start_ns);

// --- stop
// What /proc/<pid>/status says of a process about one signal.
struct signal_disposition {
    bool is_first; // process 1 of its own pid namespace
    bool is_caught, is_ignored, is_blocked;
};
// False when the text is not complete.
bool signal_disposition_parse(const char *status_text, int signal, struct signal_disposition *ret);
// What /proc/<pid>/syscall and /proc/<pid>/wchan ("" when it cannot be read) say: the process is in sigwait, which takes
// signals that have no handler, and during which they do not show as blocked.
bool is_in_sigwait(const char *syscall_text, const char *wchan_text);
// The kernel throws away a signal to the first process of a pid namespace that has no handler for it: nothing will come of it.
bool signal_is_lost(const struct signal_disposition *disposition, int signal);
