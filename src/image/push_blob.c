// Theory of operation. Four ways for a layer to be at the target, the cheapest first: (1) it is there under a digest we know it by
// (HEAD); (2) another repository of the same registry has it (mount); (3) the registry it came from still has it: its bytes pass
// through; (4) it is compressed from the store. Ways 3 and 4 have a maker thread that fills a bounded pipe and this thread, which
// sends piece by piece; a registry that does not take pieces gets the blob in one request, for which way 4 compresses twice
// (equal input gives equal bytes), first for the digest.
#include "image/push_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "codec/sha256.h"
#include "image/piece_pipe.h"
#include "store/layer.h"

#include <errno.h>
#include <string.h>

enum {
    PIECE_BYTES = 5 << 20, // object stores behind registries want parts of 5 MiB
    PIECE_MAX = 8 << 20,
    MAKER_STACK = 1 << 20,
    CHECKS_MAX = 4, // digests asked for per layer
    MOUNTS_MAX = 3,
};
#define REPORT_EVERY_NS (100 * NS_PER_MS)

// --- media types
static enum compression compression_of(const char *media_type)
{
    if (!media_type)
        return COMPRESSION_GZIP;
    return str_has_suffix(media_type, "gzip")   ? COMPRESSION_GZIP
           : str_has_suffix(media_type, "zstd") ? COMPRESSION_ZSTD
                                                : COMPRESSION_NONE;
}

static bool is_acceptable(const struct push *push, const struct oci_descriptor *blob)
{
    return !push->options->has_compression || compression_of(blob->media_type) == push->options->compression;
}

static void choose(struct push_layer *layer, const struct oci_descriptor *blob, bool is_made_here)
{
    free(layer->blob.media_type);
    layer->blob = *blob;
    layer->blob.media_type = xstrdup(blob->media_type ? blob->media_type : OCI_MEDIA_LAYER "+gzip");
    layer->is_made_here = is_made_here;
}

// --- (1) there already
// The blobs to try, the wanted one first; returns how many.
static size_t candidates(const struct push *push, const struct push_layer *layer,
                         const struct known_blob *ret[static CHECKS_MAX])
{
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < layer->known_n && n < CHECKS_MAX; i++) {
            const struct known_blob *known = &layer->known[i];
            bool is_wanted = layer->wanted && streq(layer->wanted->digest, known->descriptor.digest);
            if (is_wanted == (pass == 0) && is_acceptable(push, &known->descriptor))
                ret[n++] = known;
        }
    return n;
}

static int find_there(struct push *push, struct push_layer *layer, const struct known_blob **known, size_t n,
                      struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        int r = registry_blob_stat(push->repository, known[i]->descriptor.digest, NULL, err);
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        choose(layer, &known[i]->descriptor, known[i]->is_made_here);
        push_report(push, layer->short_id, "Layer already exists", 0, 0);
        return 1;
    }
    return 0;
}

// --- (2) in another repository of this registry
// The repository of a place, borrowed, when it is of this registry and not the target itself; else NULL.
static const char *mountable(const struct push *push, const char *place)
{
    size_t n = strlen(push->reference.domain);
    bool is_here = strncmp(place, push->reference.domain, n) == 0 && place[n] == '/' &&
                   !streq(place + n + 1, push->reference.repository);
    return is_here ? place + n + 1 : NULL;
}

static int try_mount(struct push *push, struct push_layer *layer, const struct known_blob *known,
                     const char *from, struct error *err)
{
    struct registry_upload *upload = NULL;
    if (registry_upload_begin(push->repository, known->descriptor.digest, from, NULL, &upload, err) < 0)
        return -1;
    if (upload) {
        registry_upload_close(upload);
        return 0;
    }
    CLEANUP(cleanup_free) char *status = xasprintf("Mounted from %s", from);
    choose(layer, &known->descriptor, known->is_made_here);
    push_report(push, layer->short_id, status, 0, 0);
    return 1;
}

static int find_elsewhere(struct push *push, struct push_layer *layer, const struct known_blob **known,
                          size_t n, struct error *err)
{
    int tried = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = strv_len(known[i]->places); k-- > 0 && tried < MOUNTS_MAX;) {
            const char *from = mountable(push, known[i]->places[k]);
            if (!from)
                continue;
            tried++;
            int r = try_mount(push, layer, known[i], from, err);
            if (r != 0)
                return r;
        }
    return 0;
}

// --- sending
struct sending {
    struct push *push;
    struct push_layer *layer;
    struct piece_pipe *pipe;
    // The maker's:
    int (*make)(struct sending *sending, struct writer to, struct error *err);
    struct registry_repository *source_repository; // of `source`
    struct registry_blob *source;
    struct writer encoder;
    enum compression compression;
    struct sha256 *hash; // of what goes out; NULL: the digest is known
    struct writer out;
    uint64_t out_bytes;
};

static void report_position(void *context, uint64_t position)
{
    struct sending *sending = context;
    struct push_layer *layer = sending->layer;
    uint64_t total = atomic_load(&layer->total);
    int64_t now = time_monotonic_ns();
    uint64_t taken =
        atomic_load(&layer->taken); // of the tar, when it is being compressed: total is its length
    position = taken ? taken : position;
    atomic_store(&layer->sent, position);
    if (now - atomic_load(&layer->reported_ns) < REPORT_EVERY_NS)
        return;
    atomic_store(&layer->reported_ns, now);
    push_report(sending->push, layer->short_id, "Pushing", position, total > position ? total : position);
}

static int write_out(void *context, const void *bytes, size_t n)
{
    struct sending *sending = context;
    if (push_is_stopped(sending->push))
        return -ECANCELED;
    if (sending->hash)
        sha256_update(sending->hash, bytes, n);
    sending->out_bytes += n;
    return sending->out.write(sending->out.context, bytes, n);
}

static int write_encoder(void *context, const void *bytes, size_t n)
{
    struct sending *sending = context;
    atomic_fetch_add(&sending->layer->taken, n);
    return sending->encoder.write(sending->encoder.context, bytes, n);
}

static int make_compressed(struct sending *sending, struct writer to, struct error *err)
{
    struct push *push = sending->push;
    CLEANUP(block_encoder_freep)
    struct block_encoder *encoder =
        block_encoder_new(push->pool, sending->compression, push->options->level, to);
    sending->encoder = block_encoder_writer(encoder);
    atomic_store(&sending->layer->taken, 0);
    if (layer_pack(push->images->store, sending->layer->diff_id, (struct writer){ write_encoder, sending },
                   err) < 0)
        return -1;
    int r = block_encoder_finish(encoder);
    return r < 0 ? error_errno(err, r, "compress layer") : 0;
}

static int make_relayed(struct sending *sending, struct writer to, struct error *err)
{
    struct reader from = registry_blob_reader(sending->source);
    ssize_t n = stream_copy(from, to);
    if (n >= 0)
        return 0;
    if (registry_blob_error(sending->source))
        *err = *registry_blob_error(sending->source);
    else
        error_errno(err, (int)n, "pass layer on");
    return -1;
}

static int run_maker(struct sending *sending, struct writer out, struct error *err)
{
    sending->out = out;
    sending->out_bytes = 0;
    return sending->make(sending, (struct writer){ write_out, sending }, err);
}

static void *maker_thread(void *context)
{
    struct sending *sending = context;
    struct error err;
    int r = run_maker(sending, piece_pipe_writer(sending->pipe), &err);
    piece_pipe_end(sending->pipe, r < 0 ? &err : NULL);
    return NULL;
}

static void take_digest(struct sending *sending)
{
    struct oci_descriptor *blob = &sending->layer->blob;
    if (!sending->hash)
        return;
    memcpy(blob->digest, "sha256:", 7);
    sha256_final_hex(sending->hash, blob->digest + 7);
    blob->size_bytes = sending->out_bytes;
    sha256_free(TAKE_PTR(sending->hash));
}

static int send_pieces(struct sending *sending, struct registry_upload *upload, struct error *err)
{
    for (;;) {
        const void *bytes;
        size_t n;
        bool is_last;
        if (piece_pipe_take(sending->pipe, &bytes, &n, &is_last, err) < 0)
            return -1;
        if (is_last) {
            take_digest(sending);
            return registry_upload_finish(upload, bytes, n, sending->layer->blob.digest, err);
        }
        if (registry_upload_piece(upload, bytes, n, err) < 0)
            return -1;
    }
}

static int send_whole(struct sending *sending, struct registry_upload *upload, struct error *err)
{
    const struct oci_descriptor *blob = &sending->layer->blob;
    struct reader stream = piece_pipe_reader(sending->pipe);
    if (registry_upload_whole(upload, &stream, blob->size_bytes, blob->digest, err) == 0)
        return 0;
    if (piece_pipe_error(sending->pipe))
        *err = *piece_pipe_error(sending->pipe);
    return -1;
}

static int send_through_pipe(struct sending *sending, struct registry_upload *upload, bool is_whole,
                             struct error *err)
{
    pthread_t thread;
    uint64_t wanted = registry_upload_piece_min(upload);
    sending->pipe = piece_pipe_new(wanted > PIECE_BYTES ? (size_t)wanted : PIECE_BYTES);
    int r = thread_start(&thread, MAKER_STACK, maker_thread, sending);
    if (r < 0) {
        error_errno(err, r, "cannot start a thread for the layer");
    } else {
        r = is_whole ? send_whole(sending, upload, err) : send_pieces(sending, upload, err);
        piece_pipe_abandon(sending->pipe);
        pthread_join(thread, NULL);
    }
    piece_pipe_free(TAKE_PTR(sending->pipe));
    return r;
}

static int write_nowhere(void *context, const void *bytes, size_t n)
{
    (void)context;
    (void)bytes;
    (void)n;
    return 0;
}

static int begin_upload(struct sending *sending, struct registry_upload **ret, struct error *err)
{
    struct registry_upload_progress progress = { report_position, sending };
    return registry_upload_begin(sending->push->repository, NULL, NULL, &progress, ret, err);
}

// For registries that take a blob in one piece only: the digest first, then the bytes.
static int send_in_one(struct sending *sending, struct error *err)
{
    struct registry_upload *upload;
    if (sending->hash) {
        sha256_free(sending->hash);
        sending->hash = sha256_new();
        if (run_maker(sending, (struct writer){ write_nowhere, NULL }, err) < 0)
            return -1;
        take_digest(sending);
    }
    if (begin_upload(sending, &upload, err) < 0)
        return -1;
    int r = send_through_pipe(sending, upload, true, err);
    registry_upload_close(upload);
    return r;
}

// What was read of a source is gone: once more from its beginning. Nothing to do for a layer that is compressed.
static int begin_again(struct sending *sending, struct error *err)
{
    if (!sending->source_repository)
        return 0;
    registry_blob_close(TAKE_PTR(sending->source));
    return registry_blob_open(sending->source_repository, &sending->layer->blob, &sending->source, err);
}

static int send_blob(struct sending *sending, struct error *err)
{
    struct registry_upload *upload;
    atomic_store(&sending->layer->is_pushing, true);
    if (begin_upload(sending, &upload, err) < 0)
        return -1;
    int r = -1;
    if (registry_upload_piece_min(upload) > PIECE_MAX)
        error_set(err, ERROR_UNSUPPORTED, "pieces are too large");
    else
        r = send_through_pipe(sending, upload, false, err);
    registry_upload_close(upload);
    if (r < 0 && err->kind == ERROR_UNSUPPORTED)
        r = begin_again(sending, err) < 0 ? -1 : send_in_one(sending, err);
    atomic_store(&sending->layer->is_pushing, false);
    if (r == 0)
        push_report(sending->push, sending->layer->short_id, "Pushed", 0, 0);
    return r;
}

// --- (3) from where it came
static bool is_unreachable(struct push *push, const char *domain)
{
    pthread_mutex_lock(&push->lock);
    bool is = strv_contains(push->unreachable, domain);
    pthread_mutex_unlock(&push->lock);
    return is;
}

// A registry that does not answer is waited for once, not once for each layer.
static int open_source(struct push *push, const char *domain, const char *repository,
                       struct registry_repository **ret, struct error *err)
{
    if (is_unreachable(push, domain))
        return error_set(err, ERROR_UNAVAILABLE, "%s does not answer", domain);
    int r = push_open(push, domain, repository, false, NULL, ret, err);
    if (r < 0 && err->kind == ERROR_UNAVAILABLE) {
        pthread_mutex_lock(&push->lock);
        strv_push(&push->unreachable, domain);
        pthread_mutex_unlock(&push->lock);
    }
    return r;
}

static int relay(struct push *push, struct push_layer *layer, const struct known_blob *known,
                 const char *place, struct error *err)
{
    const char *slash = strchr(place, '/');
    CLEANUP(cleanup_free) char *domain = xstrndup(place, slash ? (size_t)(slash - place) : 0);
    struct sending sending = { .push = push, .layer = layer, .make = make_relayed };
    if (!slash || open_source(push, domain, slash + 1, &sending.source_repository, err) < 0)
        return 0;
    int r = 0;
    if (registry_blob_open(sending.source_repository, &known->descriptor, &sending.source, err) == 0) {
        choose(layer, &known->descriptor, false);
        atomic_store(&layer->total, known->descriptor.size_bytes);
        r = send_blob(&sending, err) == 0 ? 1 : -1;
        // A source that breaks midway is as good as none; a target that does is an error.
        if (r < 0 && (!sending.source || registry_blob_error(sending.source)))
            r = 0;
        if (sending.source)
            registry_blob_close(sending.source);
    }
    registry_close(sending.source_repository);
    return r;
}

static int relay_from_source(struct push *push, struct push_layer *layer, const struct known_blob **known,
                             size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t count = strv_len(known[i]->places);
        if (known[i]->is_made_here || count == 0)
            continue;
        int r = relay(push, layer, known[i], known[i]->places[count - 1], err);
        if (r != 0 || push_is_stopped(push))
            return r != 0 ? r : error_set(err, ERROR_CANCELLED, "context canceled");
    }
    return 0;
}

// --- (4) anew
static int compress_anew(struct push *push, struct push_layer *layer, struct error *err)
{
    enum compression compression =
        push->options->has_compression ? push->options->compression : COMPRESSION_GZIP;
    struct sending sending = { .push = push,
                               .layer = layer,
                               .make = make_compressed,
                               .compression = compression,
                               .hash = sha256_new() };
    struct oci_descriptor blob = { .media_type = compression == COMPRESSION_ZSTD
                                                     ? (char[]){ OCI_MEDIA_LAYER "+zstd" }
                                                     : (char[]){ OCI_MEDIA_LAYER "+gzip" } };
    choose(layer, &blob, true);
    atomic_store(&layer->total, layer->tar_bytes);
    int r = send_blob(&sending, err);
    sha256_free(sending.hash);
    return r;
}

int push_layer(struct push *push, struct push_layer *layer, struct error *err)
{
    const struct known_blob *known[CHECKS_MAX];
    size_t n = candidates(push, layer, known);
    int r = find_there(push, layer, known, n, err);
    if (r == 0)
        r = find_elsewhere(push, layer, known, n, err);
    if (r == 0)
        r = relay_from_source(push, layer, known, n, err);
    if (r == 0)
        r = compress_anew(push, layer, err);
    if (r < 0)
        return -1;
    blob_note(push->images->store, layer->diff_id, &layer->blob, push->reference.domain,
              push->reference.repository, layer->is_made_here);
    return 0;
}
