// Theory of operation. Making spares costs about as much as a start (a program, namespaces, cgroups, files), and
// on a machine of few processors it competes with the start it follows: the container that was just started, and
// its client, go first. So after a take the thread waits a little; it makes what is missing at once when a
// container has ended (in a loop of short runs that is the moment when nothing else happens), or nearly so when
// none is left.
#include "container/spares.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    SPARES_WANTED = 2,
    DELAY_MS = 20,
    DELAY_EMPTY_MS = 2,
    RETRY_MS = 1000,
    THREAD_STACK_BYTES = 128 * 1024
};

struct spares {
    struct shim_program program;
    struct container_roots roots;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; // everything below
    pthread_cond_t changed;
    struct shim_spare shims[SPARES_WANTED];
    char ids[SPARES_WANTED][ID_LEN + 1];
    size_t shim_count, id_count; // only the thread adds
    int64_t due_ns;              // monotonic: when to make the missing ones; 0: nothing is asked for
    bool is_closing;
};

static void ask(struct spares *s, int64_t delay_ms)
{
    int64_t due_ns = time_monotonic_ns() + delay_ms * NS_PER_MS;
    if (s->due_ns == 0 || due_ns < s->due_ns) {
        s->due_ns = due_ns;
        pthread_cond_signal(&s->changed);
    }
}

// lock is held; it is let go while something is made.
static void add_shim(struct spares *s)
{
    struct shim_spare fresh = { 0 };
    struct error err;
    pthread_mutex_unlock(&s->lock);
    int r = shim_prepare(&s->program, &fresh, &err);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        s->shims[s->shim_count++] = fresh;
        return;
    }
    log_warn("prepare a monitor for the next container: %s", err.message);
    ask(s, RETRY_MS);
}

static void add_id(struct spares *s)
{
    char id[ID_LEN + 1];
    struct error err;
    pthread_mutex_unlock(&s->lock);
    id_new(id);
    int r = directories_make(&s->roots, id, &err);
    pthread_mutex_lock(&s->lock);
    if (r == 0) {
        memcpy(s->ids[s->id_count++], id, sizeof id);
        return;
    }
    log_warn("%s", err.message);
    ask(s, RETRY_MS);
}

static void make_missing(struct spares *s)
{
    if (s->id_count < SPARES_WANTED)
        add_id(s);
    if (s->shim_count < SPARES_WANTED)
        add_shim(s);
    if (s->shim_count < SPARES_WANTED || s->id_count < SPARES_WANTED)
        ask(s, s->shim_count && s->id_count ? DELAY_MS : DELAY_EMPTY_MS);
}

static void *run(void *context)
{
    struct spares *s = context;
    pthread_mutex_lock(&s->lock);
    while (!s->is_closing) {
        if (s->due_ns == 0) {
            pthread_cond_wait(&s->changed, &s->lock);
        } else if (time_monotonic_ns() < s->due_ns) {
            struct timespec until = time_to_timespec(s->due_ns);
            pthread_cond_clockwait(&s->changed, &s->lock, CLOCK_MONOTONIC, &until);
        } else {
            s->due_ns = 0;
            make_missing(s);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct spares *spares_new(const struct shim_program *program, const struct container_roots *roots)
{
    struct spares *s = NEW(struct spares);
    s->program = *program;
    s->roots = *roots;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    // Without it every start makes its own.
    s->has_thread = thread_start(&s->thread, THREAD_STACK_BYTES, run, s) == 0;
    return s;
}

void spares_free(struct spares *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    while (s->shim_count > 0)
        shim_spare_done(&s->shims[--s->shim_count]);
    while (s->id_count > 0)
        (void)directories_remove(&s->roots, s->ids[--s->id_count]);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct shim_spare spares_take_shim(struct spares *s)
{
    struct shim_spare taken = { 0 };
    pthread_mutex_lock(&s->lock);
    if (s->shim_count > 0)
        taken = s->shims[--s->shim_count];
    ask(s, s->shim_count ? DELAY_MS : DELAY_EMPTY_MS);
    pthread_mutex_unlock(&s->lock);
    return taken;
}

bool spares_take_id(struct spares *s, char ret_id[static ID_LEN + 1])
{
    pthread_mutex_lock(&s->lock);
    bool has = s->id_count > 0;
    if (has)
        memcpy(ret_id, s->ids[--s->id_count], ID_LEN + 1);
    ask(s, DELAY_MS); // a start follows, as a rule, and asks again
    pthread_mutex_unlock(&s->lock);
    return has;
}

bool spares_has_id(struct spares *s, const char *id)
{
    bool has = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->id_count; i++)
        has |= streq(s->ids[i], id);
    pthread_mutex_unlock(&s->lock);
    return has;
}

void spares_refill(struct spares *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->shim_count < SPARES_WANTED || s->id_count < SPARES_WANTED)
        ask(s, 1);
    pthread_mutex_unlock(&s->lock);
}
