#include "container/policy.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

// --- restart
enum { FIRST_DELAY_MS = 100, LONGEST_DELAY_MS = 60000, SETTLED_RUN_S = 10 };

static const char *const policy_names[] = { [RESTART_NO] = "no",
                                            [RESTART_ALWAYS] = "always",
                                            [RESTART_UNLESS_STOPPED] = "unless-stopped",
                                            [RESTART_ON_FAILURE] = "on-failure" };

int restart_policy_parse(const json_t *document, struct restart_policy *ret, struct error *err)
{
    const char *name = json_get_string(document, "Name", "");
    int64_t retries = json_get_int(document, "MaximumRetryCount", 0);
    *ret = (struct restart_policy){ .kind = RESTART_NO };
    if (!*name) // what old clients send, with any count
        return 0;
    size_t kind = 0, n = sizeof policy_names / sizeof *policy_names;
    while (kind < n && !streq(policy_names[kind], name))
        kind++;
    if (kind == n)
        return error_set(
            err, ERROR_INVALID,
            "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
            name);
    if (kind != RESTART_ON_FAILURE && retries != 0)
        return error_set(err, ERROR_INVALID,
                         "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
                         retries < 0 ? " and cannot be negative" : "");
    if (retries < 0)
        return error_set(err, ERROR_INVALID,
                         "invalid restart policy: maximum retry count cannot be negative");
    *ret = (struct restart_policy){ .kind = (enum restart_policy_kind)kind, .max_retries = retries };
    return 0;
}

bool restart_at_boot(const struct restart_policy *policy, const struct run_end *end)
{
    switch (policy->kind) {
    case RESTART_ALWAYS:
        return true;
    case RESTART_UNLESS_STOPPED:
        return !end->was_stopped;
    case RESTART_ON_FAILURE:
        return end->exit_code != 0 &&
               (policy->max_retries == 0 || (int64_t)end->restart_count < policy->max_retries);
    case RESTART_NO:
        break;
    }
    return false;
}

bool restart_after_exit(const struct restart_policy *policy, const struct run_end *end)
{
    return !end->is_cancelled && restart_at_boot(policy, end);
}

int64_t restart_delay_ns(int64_t last_ns, int64_t ran_ns)
{
    if (last_ns <= 0 || ran_ns >= SETTLED_RUN_S * NS_PER_S)
        return FIRST_DELAY_MS * NS_PER_MS;
    return last_ns < LONGEST_DELAY_MS * NS_PER_MS / 2 ? last_ns * 2 : LONGEST_DELAY_MS * NS_PER_MS;
}

// --- health: what is asked for
enum { RETRIES = 3, INTERVAL_S = 30, TIMEOUT_S = 30, START_INTERVAL_S = 5 };

static int parse_duration(const json_t *check, const char *key, int64_t otherwise_ns, int64_t *ret_ns,
                          struct error *err)
{
    int64_t ns = json_get_int(check, key, 0);
    if (ns != 0 && ns < NS_PER_MS)
        return error_set(err, ERROR_INVALID, "%s in Healthcheck cannot be less than 1ms", key);
    *ret_ns = ns ? ns : otherwise_ns;
    return 0;
}

static int parse_action(const json_t *host_config, enum unhealthy_action *ret, struct error *err)
{
    static const char *const names[] = { [UNHEALTHY_NONE] = "none",
                                         [UNHEALTHY_RESTART] = "restart",
                                         [UNHEALTHY_STOP] = "stop",
                                         [UNHEALTHY_KILL] = "kill" };
    const char *text =
        json_get_string(json_get_object(host_config, "Annotations"), ANNOTATION_ON_UNHEALTHY, "none");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (streq(names[i], text)) {
            *ret = (enum unhealthy_action)i;
            return 0;
        }
    return error_set(
        err, ERROR_INVALID,
        "invalid annotation " ANNOTATION_ON_UNHEALTHY "=%s: use one of none, restart, stop or kill", text);
}

static char **probe_args(const json_t *config, const json_t *check)
{
    CLEANUP(strv_freep) char **test = json_get_strv(check, "Test");
    char **args = NULL;
    if (strv_len(test) < 2)
        return NULL;
    if (streq(test[0], "CMD-SHELL")) {
        args = json_get_strv(config, "Shell");
        if (strv_len(args) == 0) {
            strv_push(&args, "/bin/sh");
            strv_push(&args, "-c");
        }
    } else if (!streq(test[0], "CMD")) {
        return NULL; // NONE, or a kind that Docker passes over as well
    }
    for (size_t i = 1; test[i]; i++)
        strv_push(&args, test[i]);
    return args;
}

int health_check_parse(const json_t *config, const json_t *host_config, struct health_check *ret,
                       struct error *err)
{
    const json_t *check = json_get_object(config, "Healthcheck");
    int64_t retries = json_get_int(check, "Retries", 0);
    struct health_check c = { .retries = retries > 0 && retries < UINT32_MAX ? (unsigned)retries : RETRIES };
    *ret = (struct health_check){ 0 };
    if (parse_duration(check, "Interval", INTERVAL_S * NS_PER_S, &c.interval_ns, err) < 0 ||
        parse_duration(check, "Timeout", TIMEOUT_S * NS_PER_S, &c.timeout_ns, err) < 0 ||
        parse_duration(check, "StartPeriod", 0, &c.start_period_ns, err) < 0 ||
        parse_duration(check, "StartInterval", START_INTERVAL_S * NS_PER_S, &c.start_interval_ns, err) < 0 ||
        parse_action(host_config, &c.on_unhealthy, err) < 0)
        return -1;
    if (retries < 0)
        return error_set(err, ERROR_INVALID, "Retries in Healthcheck cannot be negative");
    c.args = probe_args(config, check);
    *ret = c;
    return 0;
}

void health_check_done(struct health_check *check)
{
    strv_free(check->args);
    *check = (struct health_check){ 0 };
}

static bool is_open(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_integer(v) && json_integer_value(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

json_t *health_check_merge(const json_t *own, const json_t *image)
{
    static const char *const members[] = { "Test",        "Interval",      "Timeout",
                                           "StartPeriod", "StartInterval", "Retries" };
    if (!json_is_object(own))
        return json_is_object(image) ? json_deep_copy(image) : NULL;
    json_t *merged = json_deep_copy(own);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (is_open(json_object_get(own, members[i])) && !is_open(json_object_get(image, members[i])))
            json_object_set_new(merged, members[i], json_deep_copy(json_object_get(image, members[i])));
    return merged;
}

// --- health: what comes of it
const char *health_status_name(enum health_status status)
{
    static const char *const names[] = {
        [HEALTH_STARTING] = "starting", [HEALTH_HEALTHY] = "healthy", [HEALTH_UNHEALTHY] = "unhealthy"
    };
    return names[status];
}

bool health_take(struct health_state *state, const struct health_check *check, int exit_code,
                 int64_t since_start_ns)
{
    enum health_status before = state->status;
    if (exit_code == 0) {
        *state = (struct health_state){ .status = HEALTH_HEALTHY };
        return before != HEALTH_HEALTHY;
    }
    // A container that is still starting may fail without its counting.
    if (state->status == HEALTH_STARTING && since_start_ns < check->start_period_ns)
        return false;
    if (++state->failing_streak >= check->retries)
        state->status = HEALTH_UNHEALTHY;
    return state->status != before;
}

int64_t health_pause_ns(const struct health_state *state, const struct health_check *check,
                        int64_t since_start_ns)
{
    int64_t left_ns = check->start_period_ns - since_start_ns;
    if (left_ns <= 0)
        return check->interval_ns;
    int64_t pause_ns = state->status == HEALTH_STARTING ? check->start_interval_ns : check->interval_ns;
    // The end of the start period is looked at when it comes, not an interval later.
    return check->interval_ns > left_ns && pause_ns > left_ns ? left_ns : pause_ns;
}

// --- stop
static bool mask_bit(const char *text, const char *key, int signal, bool *ret)
{
    const char *at = strstr(text, key);
    uint64_t mask;
    if (!at || sscanf(at + strlen(key), " %" SCNx64, &mask) != 1)
        return false;
    *ret = mask >> (signal - 1) & 1;
    return true;
}

bool signal_disposition_parse(const char *status_text, int signal, struct signal_disposition *ret)
{
    const char *ids = strstr(status_text, "\nNSpid:");
    if (!ids || signal < 1 || signal > 64 || !mask_bit(status_text, "\nSigCgt:", signal, &ret->is_caught) ||
        !mask_bit(status_text, "\nSigIgn:", signal, &ret->is_ignored) ||
        !mask_bit(status_text, "\nSigBlk:", signal, &ret->is_blocked))
        return false;
    // One number a namespace, the innermost last: "NSpid:\t4711\t1".
    size_t n = strcspn(++ids, "\n");
    ret->is_first = n > 2 && ids[n - 1] == '1' && ids[n - 2] == '\t' && memchr(ids, '\t', n - 2);
    return true;
}

bool is_in_sigwait(const char *syscall_text, const char *wchan_text)
{
    // The number of a 32-bit process's system call is another one: there the kernel's function tells.
    char *end;
    long number = strtol(syscall_text, &end, 10);
    return (end != syscall_text && number == SYS_rt_sigtimedwait) ||
           str_has_prefix(wchan_text, "do_sigtimedwait");
}

bool signal_is_lost(const struct signal_disposition *d, int signal)
{
    return d->is_first && !d->is_caught && !d->is_ignored && !d->is_blocked && signal != SIGKILL &&
           signal != SIGSTOP;
}
