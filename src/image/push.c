// Theory of operation. registry -> layers (push_layers.c, push_blob.c) -> configuration -> manifest under its tag -> record. What is
// referred to is always there before what refers to it, so a push that ends midway leaves blobs that nothing names, and a
// registry's own collection takes them; uploads that were open are given up. The acquire bracket keeps the layers here while
// they are read.
#include "image/push.h"

#include "base/mem.h"
#include "codec/json.h"
#include "image/place.h"
#include "image/push_internal.h"
#include "store/meta.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

// --- the push as an object
bool push_is_stopped(void *context)
{
    struct push *push = context;
    return atomic_load(&push->is_stopped);
}

static void report(struct push *push, const struct progress *progress)
{
    if (!push->sink || !push->sink->report || atomic_load(&push->is_stopped))
        return;
    pthread_mutex_lock(&push->report_lock);
    if (push->sink->report(push->sink->context, progress) < 0)
        atomic_store(&push->is_stopped, true);
    pthread_mutex_unlock(&push->report_lock);
}

void push_report(struct push *push, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct progress progress = {
        .id = id, .status = status, .current = (int64_t)current, .total = (int64_t)total
    };
    report(push, &progress);
}

static void layers_done(struct push *push)
{
    for (size_t i = 0; i < push->count; i++) {
        known_blobs_free(push->layers[i].known, push->layers[i].known_n);
        free(push->layers[i].blob.media_type);
    }
    free(TAKE_PTR(push->layers));
    push->count = 0;
    oci_document_done(&push->stored);
    push->has_stored = false;
    str_done(&push->stored_bytes);
    image_free(TAKE_PTR(push->image));
}

static void push_done(struct push *push)
{
    layers_done(push);
    registry_close(push->repository);
    compress_pool_free(push->pool);
    reference_done(&push->reference);
    free(push->familiar_name);
    strv_free(push->unreachable);
    pthread_cond_destroy(&push->changed);
    pthread_mutex_destroy(&push->lock);
    pthread_mutex_destroy(&push->report_lock);
}

static int push_init(struct push *push, struct image_service *images, const char *name,
                     const struct image_push_options *options, const struct registry_auth *auth,
                     const struct progress_sink *sink, struct error *err)
{
    *push = (struct push){
        .images = images, .options = options, .auth = auth, .sink = sink, .stored_bytes = STR_INIT
    };
    pthread_mutex_init(&push->lock, NULL);
    pthread_mutex_init(&push->report_lock, NULL);
    pthread_cond_init(&push->changed, NULL);
    if (reference_parse(name, 0, &push->reference, err) < 0)
        return -1;
    if (push->reference.digest)
        return error_set(err, ERROR_INVALID, "cannot push a digest reference");
    push->familiar_name = reference_familiar_name(&push->reference);
    return 0;
}

struct registry_credentials push_credentials(const struct push *push, const char *domain)
{
    return image_place_credentials(streq(domain, push->reference.domain) ? push->auth : NULL);
}

int push_open(struct push *push, const char *domain, const char *repository, bool is_target,
              char *const *mount_from, struct registry_repository **ret, struct error *err)
{
    struct registry_credentials credentials = push_credentials(push, domain);
    struct registry_options options = image_place_options(push->images);
    options.is_push = is_target;
    options.mount_from = mount_from;
    options.is_cancelled = push_is_stopped;
    options.context = push;
    if (image_place_check(push->images, domain, repository, err) < 0)
        return -1;
    return registry_open(domain, repository, &credentials, &options, ret, err);
}

// In Docker's words, which leave out where Go's HTTP client met them.
static int translate(struct error *err)
{
    static const char *const refusals[] = { "no basic auth credentials", "unauthorized: ", "denied: " };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const char *at = strstr(err->message, refusals[i]);
        if (at && (err->kind == ERROR_DENIED || err->kind == ERROR_UNAUTHORISED)) {
            memmove(err->message, at, strlen(at) + 1);
            break;
        }
    }
    return -1;
}

// --- the image under way
static void read_stored_manifest(struct push *push)
{
    struct error ignored;
    if (!push->image->manifest_digest)
        return;
    if (content_get(push->images->store, push->image->manifest_digest, &push->stored_bytes, &ignored) == 0 &&
        oci_document_parse(push->stored_bytes.ptr, push->stored_bytes.len, NULL, &push->stored, &ignored) ==
            0)
        push->has_stored = push->stored.kind == OCI_DOCUMENT_MANIFEST &&
                           push->stored.count == strv_len(push->image->diff_ids);
}

static size_t first_of(char *const *diff_ids, size_t index)
{
    size_t i = 0;
    while (!streq(diff_ids[i], diff_ids[index]))
        i++;
    return i;
}

static int plan_layer(struct push *push, size_t index, struct error *err)
{
    struct push_layer *layer = &push->layers[index];
    struct layer_info info;
    layer->diff_id = push->image->diff_ids[index];
    layer->twin = first_of(push->image->diff_ids, index);
    memcpy(layer->short_id, layer->diff_id + strlen("sha256:"), sizeof layer->short_id - 1);
    if (layer_get(push->images->store, layer->diff_id, &info, err) < 0)
        return -1;
    layer->tar_bytes = info.tar_bytes;
    blob_known(push->images->store, layer->diff_id, &layer->known, &layer->known_n);
    if (push->has_stored)
        layer->wanted = &push->stored.descriptors[index];
    return 0;
}

static int plan(struct push *push, struct error *err)
{
    read_stored_manifest(push);
    push->count = strv_len(push->image->diff_ids);
    push->layers = xcalloc(push->count + 1, sizeof *push->layers);
    for (size_t i = 0; i < push->count; i++)
        if (plan_layer(push, i, err) < 0)
            return -1;
    return 0;
}

// --- the steps of one tag
static char **mount_sources(const struct push *push)
{
    enum { SOURCES_MAX = 10 };
    char **sources = NULL;
    size_t n = strlen(push->reference.domain);
    for (size_t i = 0; i < push->count; i++)
        for (size_t k = 0; k < push->layers[i].known_n; k++)
            for (char **place = push->layers[i].known[k].places; place && *place; place++)
                if (strncmp(*place, push->reference.domain, n) == 0 && (*place)[n] == '/' &&
                    !streq(*place + n + 1, push->reference.repository) &&
                    !strv_contains(sources, *place + n + 1) && strv_len(sources) < SOURCES_MAX)
                    strv_push(&sources, *place + n + 1);
    return sources;
}

static int open_target(struct push *push, struct error *err)
{
    CLEANUP(strv_freep) char **sources = mount_sources(push);
    if (push->repository)
        return 0;
    if (push_open(push, push->reference.domain, push->reference.repository, true, sources, &push->repository,
                  err) < 0)
        return -1;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int r = compress_pool_new(cores > 0 ? (unsigned)cores : 1, &push->pool);
    return r < 0 ? error_errno(err, r, "cannot start a thread to compress") : 0;
}

static int push_config(struct push *push, struct error *err)
{
    CLEANUP(str_done) struct str config = STR_INIT;
    struct registry_upload *upload;
    int r = registry_blob_stat(push->repository, push->image->id, NULL, err);
    if (r != 0)
        return r < 0 ? -1 : 0;
    if (content_get(push->images->store, push->image->id, &config, err) < 0 ||
        registry_upload_begin(push->repository, NULL, NULL, NULL, &upload, err) < 0)
        return -1;
    r = registry_upload_finish(upload, config.ptr, config.len, push->image->id, err);
    registry_upload_close(upload);
    return r;
}

static void share_with_twins(struct push *push)
{
    for (size_t i = 0; i < push->count; i++) {
        struct push_layer *layer = &push->layers[i];
        const struct push_layer *twin = &push->layers[layer->twin];
        if (twin == layer)
            continue;
        layer->blob = twin->blob;
        layer->blob.media_type = xstrdup(twin->blob.media_type);
    }
}

static int finish(struct push *push, const char *bytes, size_t n, struct error *err)
{
    char digest[DIGEST_LEN + 1];
    CLEANUP(json_cleanup) json_t *aux = json_object();
    if (content_put(push->images->store, bytes, n, digest, err) < 0)
        return -1;
    CLEANUP(cleanup_free)
    char *repo_digest = xasprintf("%s/%s@%s", push->reference.domain, push->reference.repository, digest);
    if (image_note_push(push->images, push->image->id, digest, repo_digest, err) < 0)
        return -1;
    CLEANUP(cleanup_free)
    char *status = xasprintf("%s: digest: %s size: %zu", push->reference.tag, digest, n);
    push_report(push, NULL, status, 0, 0);
    json_set_string(aux, "Tag", push->reference.tag);
    json_set_string(aux, "Digest", digest);
    json_set_int(aux, "Size", (int64_t)n);
    report(push, &(struct progress){ .aux = aux });
    CLEANUP(cleanup_free) char *familiar = reference_familiar(&push->reference);
    image_emit(push->images, "push", familiar, push->familiar_name, push->image->config);
    return 0;
}

static int push_image(struct push *push, struct error *err)
{
    CLEANUP(str_done) struct str manifest = STR_INIT;
    const char *type;
    if (plan(push, err) < 0 || open_target(push, err) < 0 || push_layers(push, err) < 0 ||
        push_config(push, err) < 0)
        return -1;
    share_with_twins(push);
    if (push_manifest(push, &manifest, &type, err) < 0 ||
        registry_manifest_put(push->repository, push->reference.tag, type, manifest.ptr, manifest.len, err) <
            0)
        return -1;
    return finish(push, manifest.ptr, manifest.len, err);
}

static int push_tag(struct push *push, const char *tag, struct error *err)
{
    layers_done(push);
    free_and_strdup(&push->reference.tag, tag);
    CLEANUP(cleanup_free) char *full = reference_full(&push->reference);
    CLEANUP(cleanup_free) char *familiar = reference_familiar(&push->reference);
    if (image_get(push->images, full, &push->image, err) < 0)
        return err->kind == ERROR_NOT_FOUND
                   ? error_set(err, ERROR_NOT_FOUND, "tag does not exist: %s", familiar)
                   : -1;
    return push_image(push, err);
}

// --- all of it
struct tag_search {
    const char *prefix; // "domain/repository:"
    char **tags;
};

static int collect_tag(void *context, const char *key, const json_t *document)
{
    struct tag_search *search = context;
    (void)document;
    if (str_has_prefix(key, search->prefix))
        strv_push(&search->tags, key + strlen(search->prefix));
    return 0;
}

static int local_tags(struct push *push, char ***ret, struct error *err)
{
    CLEANUP(cleanup_free)
    char *prefix = xasprintf("%s/%s:", push->reference.domain, push->reference.repository);
    struct tag_search search = { prefix, NULL };
    if (meta_each(push->images->store, META_TAGS, collect_tag, &search, err) < 0) {
        strv_free(search.tags);
        return -1;
    }
    *ret = search.tags;
    return 0;
}

static int push_all(struct push *push, const char *tag, struct error *err)
{
    CLEANUP(strv_freep) char **tags = NULL;
    CLEANUP(cleanup_free)
    char *head = xasprintf("The push refers to repository [%s/%s]", push->reference.domain,
                           push->reference.repository);
    push_report(push, NULL, head, 0, 0);
    if (local_tags(push, &tags, err) < 0)
        return -1;
    if (!tags)
        return error_set(err, ERROR_NOT_FOUND, "An image does not exist locally with the tag: %s",
                         push->familiar_name);
    if (tag)
        return push_tag(push, tag, err);
    for (size_t i = 0; tags[i]; i++)
        if (push_tag(push, tags[i], err) < 0)
            return -1;
    return 0;
}

int image_push(struct image_service *images, const char *name, const char *tag,
               const struct image_push_options *options, const struct registry_auth *auth,
               const struct progress_sink *progress, struct error *err)
{
    CLEANUP(push_done) struct push push;
    int r = push_init(&push, images, name, options, auth, progress, err);
    if (r < 0)
        return -1;
    CLEANUP(cleanup_free) char *own_tag = xstrdup(tag ? tag : push.reference.tag);
    image_acquire_begin(images);
    r = push_all(&push, own_tag, err);
    if (r < 0)
        translate(err);
    if (r < 0)
        image_acquire_failed(images); // a manifest that was stored but not recorded
    image_acquire_end(images);
    malloc_trim(0); // what the workers' arenas held
    return r;
}
