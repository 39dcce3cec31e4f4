// Theory of operation. A container with a health check has one timer; when it fires, a thread runs the probe (an exec, so a
// process of the container's own, with its user and limits), takes the outcome into the state and sets the timer anew: two
// probes of one container never run at once, and the interval counts from the end of one to the beginning of the next. A
// probe belongs to the run in which it began; what comes of it after that run has ended is dropped. The state lies in a file
// beside the run's record, so that the next engine goes on where this one ended.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOG_ENTRIES_MAX = 5, OUTPUT_MAX = 4096, STATE_FILE_MAX = 1 << 20, EXIT_CODE_NONE = -1 };

struct probe {
    unsigned run;
    int64_t begun_ns, ended_ns; // CLOCK_REALTIME, as the API shows them
    int64_t since_start_ns;
    int exit_code;
    char *output; // owned
};

// --- what is shown
json_t *health_document(const struct container *c)
{
    if (!c->has_health)
        return NULL;
    json_t *document = json_object();
    json_set_string(document, "Status", health_status_name(c->health.status));
    json_set_int(document, "FailingStreak", c->health.failing_streak);
    json_object_set_new(document, "Log", c->health_log ? json_incref(c->health_log) : json_array());
    return document;
}

static json_t *probe_document(const struct probe *p)
{
    char begun[TIME_TEXT_MAX], ended[TIME_TEXT_MAX];
    json_t *document = json_object();
    time_format_rfc3339(p->begun_ns, begun);
    time_format_rfc3339(p->ended_ns, ended);
    json_set_string(document, "Start", begun);
    json_set_string(document, "End", ended);
    json_set_int(document, "ExitCode", p->exit_code);
    struct str quoted = STR_INIT; // what a program prints need not be UTF-8
    json_append_quoted(&quoted, p->output, strlen(p->output));
    json_t *text = json_loads(quoted.ptr, JSON_DECODE_ANY, NULL);
    json_object_set_new(document, "Output", text ? text : json_string(""));
    str_done(&quoted);
    return document;
}

// A new array: the old one may be part of somebody's snapshot.
static json_t *log_with(const json_t *log, json_t *entry)
{
    json_t *longer = json_array();
    size_t n = json_array_size(log);
    for (size_t i = n < LOG_ENTRIES_MAX ? 0 : n + 1 - LOG_ENTRIES_MAX; i < n; i++)
        json_array_append(longer, json_array_get(log, i));
    json_array_append_new(longer, entry);
    return longer;
}

// --- the file
static char *state_path(const struct container *c)
{
    return xasprintf("%s/health.json", c->state_directory);
}

// probe_id: of the exec that is under way, which the next engine ends if this one does not come to it; NULL: none.
static void save(struct container *c, const char *probe_id)
{
    CLEANUP(json_cleanup) json_t *document = NULL;
    CLEANUP(cleanup_free) char *path = state_path(c);
    pthread_mutex_lock(&c->lock);
    document = health_document(c);
    pthread_mutex_unlock(&c->lock);
    if (probe_id)
        json_set_string(document, "Probe", probe_id);
    CLEANUP(cleanup_free) char *text = json_text(document);
    int r = file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false);
    if (r < 0 && r != -ENOENT) // removed meanwhile
        log_warn("container %s: write its health: %s", c->id, strerror(-r));
}

static void load(struct container *c, struct health_state *ret, json_t **ret_log)
{
    struct error ignored;
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    CLEANUP(cleanup_free) char *path = state_path(c);
    if (file_read_at(AT_FDCWD, path, STATE_FILE_MAX, &text) < 0 ||
        json_parse(text.ptr, text.len, &document, &ignored) < 0)
        return;
    const char *status = json_get_string(document, "Status", "");
    for (int s = HEALTH_STARTING; s <= HEALTH_UNHEALTHY; s++)
        if (streq(status, health_status_name((enum health_status)s)))
            ret->status = (enum health_status)s;
    ret->failing_streak = (unsigned)json_get_int(document, "FailingStreak", 0);
    *ret_log = json_incref(json_get_array(document, "Log"));
    const char *probe_id = json_get_string(document, "Probe", "");
    if (id_is_full(probe_id))
        exec_kill(c, probe_id);
}

// --- the timer
static void schedule(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t pause_ns = health_pause_ns(&c->health, &c->config.health, time_now_ns() - c->state.started_ns);
    bool is_wanted = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
    pthread_mutex_unlock(&c->lock);
    if (is_wanted)
        timers_set(c, TIMER_HEALTH, time_monotonic_ns() + pause_ns);
}

void health_start(struct container *c)
{
    if (!c->config.health.args)
        return;
    CLEANUP(cleanup_free) char *path = state_path(c);
    unlink(path); // a former run's
    pthread_mutex_lock(&c->lock);
    c->has_health = true;
    c->health = (struct health_state){ .status = HEALTH_STARTING };
    pthread_mutex_unlock(&c->lock);
    schedule(c);
}

// --- what is done about an unhealthy container
static void restart_unhealthy(struct container *c)
{
    struct error err;
    pthread_mutex_lock(&c->lock);
    c->state.is_restarting = true;
    pthread_mutex_unlock(&c->lock);
    int r = container_end_run(c, 0, -1, &err);
    pthread_mutex_lock(&c->operation);
    pthread_mutex_lock(&c->lock);
    bool has_ended = r == 0 && c->state.status == CONTAINER_EXITED && !c->is_gone;
    bool is_wanted = has_ended && !c->state.is_stop_requested; // somebody may have stopped it meanwhile
    c->state.restart_count += is_wanted;
    pthread_mutex_unlock(&c->lock);
    if (is_wanted)
        r = container_start_again_locked(c, &err);
    else if (has_ended && c->config.is_auto_remove)
        container_destroy_locked(c);
    pthread_mutex_lock(&c->lock);
    c->state.is_restarting = false;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->operation);
    if (r < 0)
        log_error("container %s: restart because it is unhealthy: %s", c->id, err.message);
    else if (is_wanted)
        container_event(c, "restart", NULL, NULL);
}

static void act_unhealthy(struct container *c)
{
    struct error err;
    int r = 0;
    switch (c->config.health.on_unhealthy) {
    case UNHEALTHY_NONE:
        break;
    case UNHEALTHY_RESTART:
        restart_unhealthy(c);
        break;
    case UNHEALTHY_STOP:
        r = container_stop(c->service, c->id, 0, -1, &err);
        break;
    case UNHEALTHY_KILL:
        r = container_kill_run(c, &err);
        break;
    }
    if (r < 0 && err.kind != ERROR_NOT_MODIFIED)
        log_error("container %s: end it because it is unhealthy: %s", c->id, err.message);
}

void health_recover(struct container *c)
{
    if (!c->config.health.args)
        return;
    struct health_state health = { .status = HEALTH_STARTING };
    json_t *log = NULL;
    load(c, &health, &log);
    pthread_mutex_lock(&c->lock);
    c->has_health = true;
    c->health = health;
    c->health_log = log;
    pthread_mutex_unlock(&c->lock);
    network_set_fit(c->service->networks, c->id, health.status == HEALTH_HEALTHY);
    schedule(c);
    if (health.status ==
        HEALTH_UNHEALTHY) // what is done about that ends the run, so the last engine did not come to it
        timers_run(c, act_unhealthy);
}

// --- the probe
// Go's text of a duration, to the millisecond: "500ms", "1.5s", "1m30s".
static void go_duration(int64_t ns, char text[static 48])
{
    int64_t ms = ns / NS_PER_MS, minutes = ms / 60000;
    double seconds = (double)(ms % 60000) / 1000;
    if (ms < 1000)
        snprintf(text, 48, "%lldms", (long long)ms);
    else if (minutes >= 60)
        snprintf(text, 48, "%lldh%lldm%gs", (long long)(minutes / 60), (long long)(minutes % 60), seconds);
    else if (minutes > 0)
        snprintf(text, 48, "%lldm%gs", (long long)minutes, seconds);
    else
        snprintf(text, 48, "%gs", seconds);
}

// False: the engine is closing, nothing has come of it.
static bool run_probe(struct container *c, struct probe *p)
{
    const struct health_check *check = &c->config.health;
    struct exec_result result = { 0 };
    struct error err;
    char limit[48];
    char exec_id[ID_LEN + 1];
    p->begun_ns = time_now_ns();
    int r = exec_prepare(c, check->args, exec_id, &err);
    if (r == 0) {
        save(c, exec_id);
        r = exec_capture(c, exec_id, check->timeout_ns, OUTPUT_MAX, timers_closing_fd(c->service->timers),
                         &result, &err);
    }
    p->ended_ns = time_now_ns();
    if (r < 0) {
        if (err.kind == ERROR_CANCELLED)
            return false;
        p->exit_code = EXIT_CODE_NONE;
        p->output = xstrdup(err.message);
        return true;
    }
    CLEANUP(cleanup_free) char *output = xasprintf("%s%s", result.output, result.is_cut ? "..." : "");
    free(result.output);
    p->exit_code = result.is_late ? EXIT_CODE_NONE : result.exit_code;
    go_duration(check->timeout_ns, limit);
    p->output = result.is_late
                    ? xasprintf("Health check exceeded timeout (%s)%s%s", limit, *output ? ": " : "", output)
                    : TAKE_PTR(output);
    return true;
}

// True: it has become unhealthy.
static bool take(struct container *c, const struct probe *p)
{
    json_t *entry = probe_document(p);
    pthread_mutex_lock(&c->lock);
    bool is_wanted = c->state.run == p->run && !c->is_gone &&
                     (c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED);
    bool has_changed = false;
    enum health_status status = HEALTH_STARTING;
    if (is_wanted) {
        json_t *former = c->health_log;
        c->health_log = log_with(former, json_incref(entry));
        json_decref(former);
        has_changed = health_take(&c->health, &c->config.health, p->exit_code, p->since_start_ns);
        status = c->health.status;
    }
    pthread_mutex_unlock(&c->lock);
    json_decref(entry);
    if (!is_wanted)
        return false;
    save(c, NULL);
    if (!has_changed)
        return false;
    network_set_fit(c->service->networks, c->id, status == HEALTH_HEALTHY);
    CLEANUP(cleanup_free) char *action = xasprintf("health_status: %s", health_status_name(status));
    container_event(c, action, NULL, NULL);
    return status == HEALTH_UNHEALTHY;
}

void health_due(struct container *c)
{
    struct probe p = { 0 };
    pthread_mutex_lock(&c->lock);
    enum container_status status = c->state.status;
    p.run = c->state.run;
    p.since_start_ns = time_now_ns() - c->state.started_ns;
    pthread_mutex_unlock(&c->lock);
    // A frozen container cannot answer; it is asked when its next turn comes.
    bool is_unhealthy = status == CONTAINER_RUNNING && run_probe(c, &p) && take(c, &p);
    free(p.output);
    if (is_unhealthy)
        act_unhealthy(c);
    pthread_mutex_lock(&c->lock);
    bool is_same_run = c->state.run == p.run;
    pthread_mutex_unlock(&c->lock);
    if (is_same_run)
        schedule(c);
}
