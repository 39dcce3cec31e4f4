// Theory of operation. One thread samples every container that somebody listens to, once a second, and lives only as long as
// somebody does. It holds no lock while it reads: under the lock it takes a list of sources, outside it reads, under the
// lock again it hands the sample to the source's listeners and wakes them through their eventfds. Samples are counted by
// reference and never change. A listener keeps the last two it was given, so that "this one and the one before" is its own
// affair and a slow one skips rather than piles up. A feed is a stream that the thread itself writes: it belongs to the thread from
// the moment the thread takes it out of new_feeds, so that no lock is held while it is written. A feed of all containers makes
// each of them a source, looked for at every tick. A source that has just come is sampled at once; the tick of the others stays
// as it is.
#include "container/stats_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "container/container_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SAMPLER_STACK_BYTES = 256 * 1024 };
static const int64_t TICK_NS = NS_PER_S;

struct sample {
    atomic_uint references;
    struct container_stats stats;
};

struct stats_source {
    struct stats_source *next;
    struct container *container; // a reference
    unsigned references;         // its listeners and feeds, and the thread while it reads
    struct stats_listener *listeners;
    struct feed *feeds;  // touched by the thread only
    struct sample *last; // NULL: not sampled yet
    bool is_over;        // the container is removed
    bool is_kept;        // will be sampled again
    bool is_for_all;     // one reference is that of the feeds of all containers; touched by the thread only
    struct stats_place place;
    unsigned run, limits_version, networks_version; // that `place` is of; touched by the thread only
};

struct stats_listener {
    struct stats_sampler *sampler;
    struct stats_source *source;
    struct stats_listener *next;
    struct sample *current, *previous;
    int wake_fd;
};

struct feed {
    struct stats_feed feed;
    struct stats_source *source; // a reference
    struct feed *next;
    struct sample *current; // NULL: none yet
};

struct all_feed {
    struct stats_all_feed feed;
    struct all_feed *next;
};

struct stats_sampler {
    pthread_mutex_t lock; // everything below, every source's list, listeners and last
    pthread_cond_t changed;
    struct container_service *service;
    struct stats_source *sources;
    struct feed *new_feeds; // not the thread's yet
    struct all_feed *new_all,
        *all; // not the thread's yet; the thread's, and NULL only together with the sources for them
    bool has_thread, is_closing, has_new_source;
};

struct stats_sampler *stats_sampler_new(struct container_service *service)
{
    struct stats_sampler *s = NEW(struct stats_sampler);
    s->service = service;
    pthread_condattr_t attributes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return s;
}

void stats_sampler_free(struct stats_sampler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_broadcast(&s->changed);
    while (s->has_thread)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}

static struct sample *sample_ref(struct sample *sample)
{
    atomic_fetch_add(&sample->references, 1);
    return sample;
}

static void sample_unref(struct sample *sample)
{
    if (!sample || atomic_fetch_sub(&sample->references, 1) != 1)
        return;
    container_stats_done(&sample->stats);
    free(sample);
}

// The lock is held.
static void source_unref(struct stats_sampler *s, struct stats_source *source)
{
    if (--source->references > 0)
        return;
    for (struct stats_source **at = &s->sources; *at; at = &(*at)->next)
        if (*at == source) {
            *at = source->next;
            break;
        }
    source->container->stats = NULL;
    sample_unref(source->last);
    stats_place_done(&source->place);
    container_unref(source->container);
    free(source);
}

// --- sampling
static bool has_network(const struct container *c)
{
    return c->config.network.kind == NS_MODE_PRIVATE || c->config.network.kind == NS_MODE_CONTAINER;
}

static struct sample *take_sample(struct stats_source *source, const struct stats_host *host,
                                  bool *ret_is_gone)
{
    struct container *c = source->container;
    struct sample *sample = NEW(struct sample);
    atomic_init(&sample->references, 1);
    pthread_mutex_lock(&c->lock);
    pid_t pid = c->state.pid;
    unsigned run = c->state.run, limits_version = c->limits_version;
    char link_name[sizeof c->endpoints->host_interface] = "";
    if (c->endpoint_count == 1 && streq(c->endpoints[0].interface, NETWORK_CONTAINER_INTERFACE))
        memcpy(link_name, c->endpoints[0].host_interface, sizeof link_name);
    unsigned networks_version = c->networks_version;
    *ret_is_gone = c->is_gone;
    pthread_mutex_unlock(&c->lock);
    if (pid <= 0) {
        stats_place_done(&source->place);
        return sample;
    }
    if (source->place.pid != pid || source->run != run || source->networks_version != networks_version) {
        stats_place_done(&source->place);
        stats_place_find(c->cgroup_path, pid, has_network(c), link_name, &source->place);
        if (source->is_kept)
            stats_place_keep(&source->place);
        source->run = run;
        source->networks_version = networks_version;
    }
    if (source->limits_version != limits_version)
        source->place.knows_limits = false;
    source->limits_version = limits_version;
    stats_read(&source->place, host, &sample->stats);
    return sample;
}

// --- feeds; the thread's
static void feed_end(struct feed *f, bool is_container_gone)
{
    f->feed.end(f->feed.context, is_container_gone);
    sample_unref(f->current);
    free(f);
}

// Write the sample to each of the source's feeds. The number of those that have ended.
static unsigned write_feeds(struct stats_source *source, const struct sample *before, struct sample *sample,
                            bool is_over)
{
    static const int is_slow = -EAGAIN;
    struct stats_text shared = { .text = STR_INIT }, own = { .text = STR_INIT };
    unsigned ended = 0;
    for (struct feed **at = &source->feeds, *f; (f = *at);) {
        struct stats_text *text = f->current && f->current == before ? &shared : &own;
        own.version = 0;
        int r = is_over ? -ENOENT
                        : f->feed.put(f->feed.context, text, &sample->stats,
                                      f->current ? &f->current->stats : NULL);
        if (r == 0) {
            sample_unref(f->current);
            f->current = sample_ref(sample);
        }
        if (r == 0 || r == is_slow) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        feed_end(f, is_over);
        ended++;
    }
    str_done(&shared.text);
    str_done(&own.text);
    return ended;
}

// Its first sample, when its source has one: no older than a tick is fresh enough. False: the feed has ended.
static bool write_first(struct feed *f)
{
    struct sample *last = f->source->last; // replaced by this thread only
    struct stats_text text = { .text = STR_INIT };
    if (!last)
        return true;
    int r = f->feed.put(f->feed.context, &text, &last->stats, NULL);
    str_done(&text.text);
    f->current = r == 0 ? sample_ref(last) : NULL;
    return r == 0 || r == -EAGAIN;
}

// The lock is held, and given back while they are written.
static void adopt_new_feeds(struct stats_sampler *s)
{
    while (s->new_feeds) {
        struct feed *f = s->new_feeds;
        struct stats_source *source = f->source;
        s->new_feeds = f->next;
        pthread_mutex_unlock(&s->lock);
        bool goes_on = write_first(f);
        if (goes_on) {
            f->next = source->feeds;
            source->feeds = f;
        } else {
            feed_end(f, false);
        }
        pthread_mutex_lock(&s->lock);
        if (!goes_on)
            source_unref(s, source);
    }
}

// The engine ends. The lock is held, and given back while a source's are ended.
static void end_all_feeds(struct stats_sampler *s)
{
    adopt_new_feeds(s);
    for (struct stats_source *at = s->sources, *next; at; at = next) {
        next = at->next; // only feeds are left to hold sources, and only this thread ends them
        while (at->feeds) {
            struct feed *f = at->feeds;
            at->feeds = f->next;
            bool is_last = at->references == 1;
            pthread_mutex_unlock(&s->lock);
            feed_end(f, false);
            pthread_mutex_lock(&s->lock);
            source_unref(s, at);
            if (is_last)
                break;
        }
    }
}

// --- feeds of all containers; the thread's
static void put_to_all(struct stats_sampler *s, const char *id, const char *name,
                       const struct container_stats *now)
{
    for (struct all_feed **at = &s->all, *f; (f = *at);) {
        if (f->feed.put(f->feed.context, id, name, now) == 0) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        f->feed.end(f->feed.context);
        free(f);
    }
}

static void put_sample_to_all(struct stats_sampler *s, struct container *c, const struct sample *sample)
{
    if (!s->all)
        return;
    pthread_mutex_lock(&c->lock);
    CLEANUP(cleanup_free) char *name = xstrdup(c->name);
    pthread_mutex_unlock(&c->lock);
    put_to_all(s, c->id, name, &sample->stats);
}

static struct stats_source *source_obtain(struct stats_sampler *s, struct container *c);

// Make every container a source as long as there are feeds of all. The lock is held, and given back while they are listed.
static void obtain_for_all(struct stats_sampler *s)
{
    size_t n = 0;
    while (s->new_all) {
        struct all_feed *f = s->new_all;
        s->new_all = f->next;
        f->next = s->all;
        s->all = f;
    }
    if (!s->all)
        return;
    pthread_mutex_unlock(&s->lock);
    struct container **containers = container_all(s->service);
    pthread_mutex_lock(&s->lock);
    while (containers[n])
        n++;
    while (n-- > 0) { // the last becomes the first of the list, so it stays in the order of age
        struct stats_source *source = source_obtain(s, containers[n]);
        source->references += !source->is_for_all;
        source->is_for_all = true;
    }
    container_all_free(containers);
}

// The lock is held.
static void release_for_all(struct stats_sampler *s)
{
    for (struct stats_source *at = s->sources, *next; at; at = next) {
        next = at->next;
        if (!at->is_for_all || (s->all && !at->is_over))
            continue;
        at->is_for_all = false;
        source_unref(s, at);
    }
}

static void end_all_containers_feeds(struct stats_sampler *s)
{
    struct all_feed **last = &s->all;
    while (*last)
        last = &(*last)->next;
    *last = TAKE_PTR(s->new_all);
    for (struct all_feed *f; (f = s->all);) {
        s->all = f->next;
        pthread_mutex_unlock(&s->lock);
        f->feed.end(f->feed.context);
        pthread_mutex_lock(&s->lock);
        free(f);
    }
    release_for_all(s);
}

// The lock is held, and given back while files are read and feeds written.
static void sample_source(struct stats_sampler *s, struct stats_source *source, const struct stats_host *host,
                          bool is_whole_pass)
{
    bool is_gone;
    struct sample *before = source->last; // replaced by this thread only
    pthread_mutex_unlock(&s->lock);
    struct sample *sample = take_sample(source, host, &is_gone);
    unsigned ended = write_feeds(source, before, sample, is_gone);
    if (is_whole_pass && source->is_for_all && !is_gone)
        put_sample_to_all(s, source->container, sample);
    pthread_mutex_lock(&s->lock);
    sample_unref(source->last);
    source->last = sample;
    source->is_over = is_gone;
    for (struct stats_listener *l = source->listeners; l; l = l->next)
        (void)!write(l->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    while (ended-- > 0) // the pass holds one of its own
        source_unref(s, source);
}

// One pass over all sources, or over those that have no sample yet. The lock is held.
static void pass(struct stats_sampler *s, bool only_new)
{
    struct stats_host host;
    size_t count = 0, n = 0;
    if (!only_new)
        obtain_for_all(s);
    s->has_new_source = false;
    adopt_new_feeds(s);
    for (struct stats_source *at = s->sources; at; at = at->next)
        count++;
    struct stats_source **sources = xcalloc(count + 1, sizeof *sources);
    for (struct stats_source *at = s->sources; at; at = at->next)
        if (!only_new || !at->last) {
            at->references++;
            sources[n++] = at;
        }
    if (n > 0) {
        pthread_mutex_unlock(&s->lock);
        (void)stats_host_read(n, &host);
        pthread_mutex_lock(&s->lock);
    }
    for (size_t i = 0; i < n; i++) {
        sample_source(s, sources[i], &host, !only_new);
        source_unref(s, sources[i]);
    }
    free(sources);
    if (n > 0)
        stats_host_done(&host);
    if (only_new)
        return;
    pthread_mutex_unlock(&s->lock);
    put_to_all(s, NULL, NULL, NULL);
    pthread_mutex_lock(&s->lock);
    release_for_all(s);
}

static void *sampler_run(void *context)
{
    struct stats_sampler *s = context;
    int64_t next_ns = time_monotonic_ns();
    pthread_mutex_lock(&s->lock);
    while ((s->sources || s->all || s->new_all) && !s->is_closing) {
        int64_t now_ns = time_monotonic_ns();
        if (now_ns >= next_ns) {
            pass(s, false);
            next_ns = now_ns - next_ns > TICK_NS ? now_ns + TICK_NS : next_ns + TICK_NS; // behind: not twice
        } else if (s->has_new_source || s->new_feeds) {
            pass(s, true);
        } else {
            struct timespec until = time_to_timespec(next_ns);
            (void)pthread_cond_timedwait(&s->changed, &s->lock, &until);
        }
    }
    end_all_containers_feeds(s);
    end_all_feeds(s);
    s->has_thread = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// The lock is held.
static int start_thread(struct stats_sampler *s)
{
    if (s->has_thread)
        return 0;
    int r = thread_start(NULL, SAMPLER_STACK_BYTES, sampler_run, s);
    s->has_thread = r == 0;
    return r;
}

// --- listening

// The lock is held. Takes a reference of the container when it makes one.
static struct stats_source *source_obtain(struct stats_sampler *s, struct container *c)
{
    if (c->stats)
        return c->stats;
    struct stats_source *source = c->stats = NEW(struct stats_source);
    source->container = container_ref(c);
    source->is_kept = true;
    source->next = s->sources;
    s->sources = source;
    s->has_new_source = true;
    return source;
}

int container_stats_listen(struct container_service *service, const char *name, struct stats_listener **ret,
                           struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct stats_sampler *s = service->stats;
    if (container_find(service, name, &c, err) < 0)
        return -1;
    struct stats_listener *l = NEW(struct stats_listener);
    l->sampler = s;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0) {
        free(l);
        return error_errno(err, errno, "listen to the figures of container %s", name);
    }
    pthread_mutex_lock(&s->lock);
    l->source = source_obtain(s, c);
    l->source->references++;
    l->next = l->source->listeners;
    l->source->listeners = l;
    if (l->source->last) // fresh enough: no older than a tick
        (void)!write(l->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    int r = start_thread(s);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (r < 0) {
        container_stats_unlisten(l);
        return error_errno(err, r, "start the sampler");
    }
    *ret = l;
    return 0;
}

int container_stats_feed(struct container_service *service, const char *name, const struct stats_feed *feed,
                         struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct stats_sampler *s = service->stats;
    if (container_find(service, name, &c, err) < 0)
        return -1;
    struct feed *f = NEW(struct feed);
    f->feed = *feed;
    pthread_mutex_lock(&s->lock);
    int r = s->is_closing ? -ECANCELED : start_thread(s);
    if (r == 0) {
        f->source = source_obtain(s, c);
        f->source->references++;
        f->next = s->new_feeds;
        s->new_feeds = f;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (r == 0)
        return 0;
    free(f);
    return error_errno(err, r, "start the sampler");
}

int container_stats_feed_all(struct container_service *service, const struct stats_all_feed *feed,
                             struct error *err)
{
    struct stats_sampler *s = service->stats;
    struct all_feed *f = NEW(struct all_feed);
    f->feed = *feed;
    pthread_mutex_lock(&s->lock);
    int r = s->is_closing ? -ECANCELED : start_thread(s);
    if (r == 0) {
        f->next = s->new_all;
        s->new_all = f;
    }
    pthread_mutex_unlock(&s->lock);
    if (r == 0)
        return 0;
    free(f);
    return error_errno(err, r, "start the sampler");
}

void container_stats_unlisten(struct stats_listener *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->sampler->lock);
    for (struct stats_listener **at = &l->source->listeners; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    source_unref(l->sampler, l->source);
    pthread_cond_broadcast(&l->sampler->changed);
    pthread_mutex_unlock(&l->sampler->lock);
    sample_unref(l->current);
    sample_unref(l->previous);
    fd_close(l->wake_fd);
    free(l);
}

// Take the source's sample if it is another one than ours. False: none yet.
static bool take_newer(struct stats_listener *l, bool *ret_is_over)
{
    pthread_mutex_lock(&l->sampler->lock);
    struct sample *last = l->source->last;
    *ret_is_over = l->source->is_over || l->sampler->is_closing;
    bool is_newer = last && last != l->current;
    if (is_newer)
        (void)sample_ref(last);
    pthread_mutex_unlock(&l->sampler->lock);
    if (is_newer) {
        sample_unref(l->previous);
        l->previous = l->current;
        l->current = last;
    }
    return is_newer;
}

int container_stats_next(struct stats_listener *l, int cancel_fd, const struct container_stats **ret,
                         const struct container_stats **ret_previous)
{
    for (;;) {
        bool is_over;
        uint64_t count;
        bool is_newer = take_newer(l, &is_over);
        if (is_over)
            return 0;
        if (is_newer) {
            *ret = &l->current->stats;
            *ret_previous = l->previous ? &l->previous->stats : NULL;
            return 1;
        }
        struct pollfd polls[] = { { .fd = l->wake_fd, .events = POLLIN },
                                  { .fd = cancel_fd, .events = POLLRDHUP } };
        if (poll(polls, 2, -1) < 0 && errno != EINTR)
            return 0;
        if (polls[1].revents)
            return 0;
        (void)!read(l->wake_fd, &count, sizeof count);
    }
}

int container_stats_read(struct container_service *service, const char *name, struct container_stats *ret,
                         struct error *err)
{
    CLEANUP(container_unrefp) struct container *c = NULL;
    struct stats_host host;
    bool is_gone;
    if (container_find(service, name, &c, err) < 0)
        return -1;
    struct stats_source once = { .container = c };
    (void)stats_host_read(1, &host);
    struct sample *sample = take_sample(&once, &host, &is_gone);
    stats_host_done(&host);
    *ret = sample->stats;
    free(sample);
    stats_place_done(&once.place);
    return 0;
}
