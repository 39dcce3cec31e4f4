// Theory of operation. The end of a run is the one place where a restart is decided (container_exited, and recovery for the
// ends that no engine saw): the state goes from running to restarting in one step, so nobody sees a container with a policy
// as ended in between. What follows is a timer; when it fires, the operation lock decides between the restart and whoever
// does not want it any more.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { OTHER_PAUSE_MS = 100 };

static struct run_end end_of(const struct container *c, int exit_code)
{
    return (struct run_end){ .exit_code = exit_code,
                             .is_cancelled = c->state.is_stop_requested || c->state.is_restarting,
                             .was_stopped = c->state.was_stopped,
                             .restart_count = c->state.restart_count };
}

static void set_restarting(struct container *c, int64_t delay_ns)
{
    c->state.status = CONTAINER_RESTARTING;
    c->state.restart_delay_ns = delay_ns;
    c->state.restart_count++;
}

bool restart_decide(struct container *c, int exit_code, int64_t finished_ns)
{
    const struct run_end end = end_of(c, exit_code);
    if (!restart_after_exit(&c->restart, &end))
        return false;
    int64_t ran_ns = c->state.started_ns ? finished_ns - c->state.started_ns : 0;
    set_restarting(c, restart_delay_ns(c->state.restart_delay_ns, ran_ns));
    return true;
}

void restart_schedule(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t delay_ns = c->state.restart_delay_ns;
    pthread_mutex_unlock(&c->lock);
    timers_set(c, TIMER_RESTART, time_monotonic_ns() + delay_ns);
}

void restart_recover(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    const struct run_end end = end_of(c, c->state.exit_code);
    bool is_again = c->state.status == CONTAINER_EXITED && restart_at_boot(&c->restart, &end);
    if (is_again) {
        set_restarting(c, 0);
        c->state.was_stopped = false;
    }
    pthread_mutex_unlock(&c->lock);
    if (is_again)
        restart_schedule(c);
}

bool restart_cancel(struct container *c)
{
    struct error err;
    pthread_mutex_lock(&c->lock);
    bool is_pending = c->state.status == CONTAINER_RESTARTING;
    pthread_mutex_unlock(&c->lock);
    if (!is_pending)
        return false;
    pthread_mutex_lock(&c->operation);
    pthread_mutex_lock(&c->lock);
    is_pending = c->state.status == CONTAINER_RESTARTING;
    if (is_pending) {
        c->state.status = CONTAINER_EXITED;
        c->state.was_stopped = true;
        waiters_notify(c, CONTAINER_WAIT_NEXT_EXIT, c->state.exit_code);
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    if (is_pending) {
        timers_clear(c, TIMER_RESTART);
        if (container_save_state(c, &err) < 0)
            log_warn("container %s: %s", c->id, err.message);
    }
    pthread_mutex_unlock(&c->operation);
    return is_pending;
}

static bool is_restarting(struct container_service *s, const char *id)
{
    CLEANUP(container_unrefp) struct container *other = NULL;
    struct error ignored;
    if (container_find(s, id, &other, &ignored) < 0)
        return false;
    pthread_mutex_lock(&other->lock);
    bool is_restarting = other->state.status == CONTAINER_RESTARTING;
    pthread_mutex_unlock(&other->lock);
    return is_restarting;
}

// One that joins another's namespaces can start once the other runs; at the start of the engine both are under way.
static bool waits_for_other(struct container *c)
{
    const struct namespace_mode *modes[] = { &c->config.network, &c->config.pid };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i]->kind == NS_MODE_CONTAINER && is_restarting(c->service, modes[i]->container))
            return true;
    return false;
}

void restart_due(struct container *c)
{
    struct error err;
    if (waits_for_other(c)) {
        timers_set(c, TIMER_RESTART, time_monotonic_ns() + OTHER_PAUSE_MS * NS_PER_MS);
        return;
    }
    pthread_mutex_lock(&c->operation);
    pthread_mutex_lock(&c->lock);
    bool is_wanted = c->state.status == CONTAINER_RESTARTING && !c->is_gone;
    pthread_mutex_unlock(&c->lock);
    if (is_wanted && container_start_again_locked(c, &err) < 0)
        log_error("container %s: restart: %s", c->id,
                  err.message); // and, as in Docker, that was its last one
    pthread_mutex_unlock(&c->operation);
}
