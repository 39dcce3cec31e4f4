// Theory of operation. Up to WORKERS threads take the missing layers, the largest first. A layer is one pass of two
// threads: socket -> digest of the compressed bytes -> ring of buffers -> decompression -> digest of the tar -> unpacking into staging; only when
// both digests are right does layer_unpack rename it into place and record it, so a failed pull has nothing
// to undo but finished layers, which the end of the acquire bracket collects. The pulling thread itself only
// waits, and says something now and then, so that a client that went away is noticed even when the registry
// is silent.
#include "image/pull_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/read_ahead.h"
#include "base/thread.h"
#include "image/blobs.h"
#include "store/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS = 3, WORKER_STACK = 1 << 20, HEARTBEAT_S = 2 };
#define REPORT_EVERY_NS (100 * NS_PER_MS)

// --- the stream
struct layer_stream {
    struct pull *pull;
    struct pull_layer *layer;
    struct reader from;
};

static void report_layer(struct pull *pull, const struct pull_layer *layer, const char *status)
{
    pull_report(pull, layer->short_id, status, 0, 0);
}

static void note_bytes(struct layer_stream *stream, uint64_t n)
{
    struct pull_layer *layer = stream->layer;
    uint64_t position = atomic_fetch_add(&layer->downloaded, n) + n, total = layer->descriptor->size_bytes;
    int64_t now = time_monotonic_ns();
    if (now - layer->reported_ns < REPORT_EVERY_NS && position < total)
        return;
    layer->reported_ns = now;
    pull_report(stream->pull, layer->short_id, "Downloading", position, total);
}

static void note_end(struct layer_stream *stream)
{
    struct pull_layer *layer = stream->layer;
    if (!atomic_exchange(&layer->is_downloading, false))
        return;
    report_layer(stream->pull, layer, "Verifying Checksum");
    report_layer(stream->pull, layer, "Download complete");
    pull_report(stream->pull, layer->short_id, "Extracting", layer->descriptor->size_bytes,
                layer->descriptor->size_bytes);
}

static ssize_t stream_read(void *context, void *bytes, size_t n)
{
    struct layer_stream *stream = context;
    ssize_t got = stream->from.read(stream->from.context, bytes, n);
    if (got > 0)
        note_bytes(stream, (uint64_t)got);
    else if (got == 0)
        note_end(stream);
    return got;
}

// To its end, where its digest is checked.
static void drain(struct reader from)
{
    char bytes[16 * 1024];
    while (from.read(from.context, bytes, sizeof bytes) > 0)
        ;
}

static int unpack_stream(struct pull *pull, struct pull_layer *layer, struct reader reader, struct error *err)
{
    struct layer_info info;
    if (layer_unpack(pull->images->store, reader, layer->diff_id, &pull->images->options.layer_limits, &info,
                     err) == 0)
        return 0;
    // What the unpacker met was perhaps only the end of a stream that broke, or a byte that changed on its way; the stream knows.
    if (err->kind == ERROR_INVALID)
        drain(reader);
    return -1;
}

// One thread downloads and digests, this one inflates and unpacks.
static int unpack(struct pull *pull, struct pull_layer *layer, struct registry_blob *blob, struct error *err)
{
    struct layer_stream stream = { .pull = pull, .layer = layer, .from = registry_blob_reader(blob) };
    struct read_ahead *ahead;
    int r = read_ahead_start((struct reader){ .read = stream_read, .context = &stream }, &ahead);
    if (r < 0)
        return error_errno(err, r, "cannot start a thread for a layer");
    r = unpack_stream(pull, layer, read_ahead_reader(ahead), err);
    read_ahead_stop(ahead);
    if (r == 0)
        return 0;
    if (registry_blob_error(blob))
        *err = *registry_blob_error(blob);
    else if (!str_has_prefix(err->message, "failed to register layer"))
        error_wrap(err, "failed to register layer");
    return -1;
}

static int bring_layer(struct pull *pull, struct pull_layer *layer, struct error *err)
{
    struct registry_blob *blob = NULL;
    layer->reported_ns = time_monotonic_ns();
    atomic_store(&layer->is_downloading, true);
    if (registry_blob_open(pull->repository, layer->descriptor, &blob, err) < 0)
        return -1;
    int r = unpack(pull, layer, blob, err);
    registry_blob_close(blob);
    atomic_store(&layer->is_downloading, false);
    return r;
}

// Another pull may have brought the layer while this one waited for its turn; one that failed to leaves it to us.
static int pull_layer(struct pull *pull, struct pull_layer *layer, struct error *err)
{
    struct pull_claims *claims = &pull->images->claims;
    if (!pull_claim(claims, layer->diff_id, pull_is_stopped, pull))
        return error_set(err, ERROR_CANCELLED, "context canceled");
    int r = layer_has(pull->images->store, layer->diff_id) ? 0 : bring_layer(pull, layer, err);
    pull_claim_release(claims, layer->diff_id);
    if (r == 0) {
        blob_note(pull->images->store, layer->diff_id, layer->descriptor, pull->reference.domain,
                  pull->reference.repository, false);
        report_layer(pull, layer, "Pull complete");
    }
    return r;
}

// --- the workers
static struct pull_layer *take_layer(struct pull *pull)
{
    struct pull_layer *layer = NULL;
    pthread_mutex_lock(&pull->lock);
    if (!pull->has_failed && pull->next_layer < pull->missing_count)
        layer = pull->missing[pull->next_layer++];
    pthread_mutex_unlock(&pull->lock);
    return layer;
}

static void note_failure(struct pull *pull, const struct error *err)
{
    pthread_mutex_lock(&pull->lock);
    // A layer that was called off says nothing of the reason.
    if (!pull->has_failed || pull->error.kind == ERROR_CANCELLED) {
        pull->has_failed = true;
        pull->error = *err;
    }
    pthread_mutex_unlock(&pull->lock);
    atomic_store(&pull->is_stopped, true);
}

static void *work(void *context)
{
    struct pull *pull = context;
    struct pull_layer *layer;
    struct error err;
    while ((layer = take_layer(pull)))
        if (pull_layer(pull, layer, &err) < 0)
            note_failure(pull, &err);
    pthread_mutex_lock(&pull->lock);
    pull->workers--;
    pthread_cond_signal(&pull->changed);
    pthread_mutex_unlock(&pull->lock);
    return NULL;
}

static void heartbeat(struct pull *pull)
{
    for (size_t i = 0; i < pull->manifest.count; i++) {
        const struct pull_layer *layer = &pull->layers[i];
        if (atomic_load(&layer->is_downloading)) {
            pull_report(pull, layer->short_id, "Downloading", atomic_load(&layer->downloaded),
                        layer->descriptor->size_bytes);
            return;
        }
    }
}

static void wait_for_workers(struct pull *pull)
{
    pthread_mutex_lock(&pull->lock);
    while (pull->workers > 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += HEARTBEAT_S;
        if (pthread_cond_timedwait(&pull->changed, &pull->lock, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&pull->lock);
        heartbeat(pull);
        pthread_mutex_lock(&pull->lock);
    }
    pthread_mutex_unlock(&pull->lock);
}

static int run_workers(struct pull *pull, struct error *err)
{
    pthread_t threads[WORKERS];
    size_t wanted = pull->missing_count < WORKERS ? pull->missing_count : WORKERS, n = 0;
    int r = 0;
    for (; n < wanted && r == 0; n += r == 0) {
        pthread_mutex_lock(&pull->lock);
        r = thread_start(&threads[n], WORKER_STACK, work, pull);
        pull->workers += r == 0;
        pthread_mutex_unlock(&pull->lock);
    }
    if (n == 0)
        return error_errno(err, r, "cannot start a thread for the layers");
    wait_for_workers(pull);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    if (pull->has_failed)
        *err = pull->error;
    return pull->has_failed ? -1 : 0;
}

// --- the plan
static bool came_before(const struct pull *pull, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (streq(pull->layers[i].diff_id, pull->layers[index].diff_id))
            return true;
    return false;
}

// The largest first: what is left at the end is then small, and no core waits for another.
static int compare_sizes(const void *a, const void *b)
{
    const struct pull_layer *const *x = a, *const *y = b;
    uint64_t m = (*x)->descriptor->size_bytes, n = (*y)->descriptor->size_bytes;
    return m < n ? 1 : m > n ? -1 : *x < *y ? -1 : *x > *y;
}

static void plan(struct pull *pull)
{
    pull->layers = xcalloc(pull->manifest.count + 1, sizeof *pull->layers);
    pull->missing = xcalloc(pull->manifest.count + 1, sizeof(struct pull_layer *));
    for (size_t i = 0; i < pull->manifest.count; i++) {
        struct pull_layer *layer = &pull->layers[i];
        layer->descriptor = &pull->manifest.descriptors[i];
        layer->diff_id = pull->diff_ids[i];
        memcpy(layer->short_id, layer->descriptor->digest + 7, 12);
        layer->is_here = came_before(pull, i) || layer_has(pull->images->store, layer->diff_id);
        if (!layer->is_here)
            pull->missing[pull->missing_count++] = layer;
    }
    qsort(pull->missing, pull->missing_count, sizeof *pull->missing, compare_sizes);
}

int pull_layers(struct pull *pull, bool is_known_image, struct error *err)
{
    plan(pull);
    if (pull->missing_count == 0 && is_known_image)
        return 0;
    for (size_t i = 0; i < pull->manifest.count; i++) {
        const struct pull_layer *layer = &pull->layers[i];
        report_layer(pull, layer, layer->is_here ? "Already exists" : "Pulling fs layer");
        if (layer->is_here)
            blob_note_place(pull->images->store, layer->diff_id, layer->descriptor->digest,
                            pull->reference.domain, pull->reference.repository);
    }
    for (size_t i = WORKERS; i < pull->missing_count; i++)
        report_layer(pull, pull->missing[i], "Waiting");
    return pull->missing_count > 0 ? run_workers(pull, err) : 0;
}
