// Theory of operation. A snapshot of the records is taken inside an acquire bracket, so that nothing named by it is collected
// while it is read. Documents are read whole; layers are rebuilt as tars, several at once, and hashed against their diff ids:
// the split file and the files together prove each other. What is damaged is then repaired one by one. What no image names is
// garbage: it is only reported, and the end of the bracket collects it when repairs are wanted.
#include "image/fsck.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/thread.h"
#include "codec/json.h"
#include "image/image_internal.h"
#include "image/refetch.h"
#include "store/meta.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS_MAX = 4, WORKER_STACK = 1 << 20 };
#define PROGRESS_EVERY_NS (100 * NS_PER_MS)

struct checked_layer {
    char diff_id[DIGEST_LEN + 1];
    uint64_t tar_bytes;
    char *problem; // owned; NULL: none
};

struct fsck {
    struct image_service *images;
    const struct fsck_options *options;
    const struct fsck_sink *sink;
    struct image **list; // summaries, NULL-terminated; those that linger included
    struct checked_layer *layers;
    size_t layer_count;
    struct map damaged; // ids of images that stay so

    pthread_mutex_t lock; // guards the rest, and the sink
    size_t next_layer;
    uint64_t bytes, all_bytes;
    int64_t told_ns;
    bool is_stopped;
};

// --- telling
static void tell(struct fsck *f, const struct fsck_finding *finding)
{
    pthread_mutex_lock(&f->lock);
    f->sink->found(f->sink->context, finding);
    pthread_mutex_unlock(&f->lock);
}

static int note_bytes(void *context, const void *bytes, size_t n)
{
    struct fsck *f = context;
    int64_t now = time_monotonic_ns();
    (void)bytes;
    pthread_mutex_lock(&f->lock);
    f->bytes += n;
    if (now - f->told_ns >= PROGRESS_EVERY_NS) {
        f->told_ns = now;
        f->is_stopped |= f->sink->progress(f->sink->context, f->bytes, f->all_bytes) < 0;
    }
    bool is_stopped = f->is_stopped;
    pthread_mutex_unlock(&f->lock);
    return is_stopped ? -ECANCELED : 0;
}

// The name by which people know it.
static const char *name_of(const struct image *image)
{
    return strv_len(image->tags) ? image->tags[0] : image->id;
}

// --- the snapshot
static int load_images(struct fsck *f, struct error *err)
{
    CLEANUP(strv_freep) char **ids = NULL;
    size_t n = 0;
    if (image_ids(f->images, true, &ids, err) < 0)
        return -1;
    f->list = xcalloc(strv_len(ids) + 1, sizeof *f->list);
    for (size_t i = 0; ids && ids[i]; i++) {
        struct error gone;
        if (image_load_summary(f->images, ids[i], &f->list[n], &gone) == 0)
            n++;
        else if (gone.kind != ERROR_NOT_FOUND) // removed meanwhile
            return *err = gone, -1;
    }
    return 0;
}

static int add_layer(void *context, const char *key, const json_t *document)
{
    struct fsck *f = context;
    if (!digest_is_valid(key))
        return 0;
    f->layers = xreallocarray(f->layers, f->layer_count + 1, sizeof *f->layers);
    struct checked_layer *layer = &f->layers[f->layer_count++];
    *layer = (struct checked_layer){ .tar_bytes = (uint64_t)json_get_int(document, "tarSize", 0) };
    memcpy(layer->diff_id, key, DIGEST_LEN + 1);
    f->all_bytes += layer->tar_bytes;
    return 0;
}

static struct checked_layer *find_layer(const struct fsck *f, const char *diff_id)
{
    for (size_t i = 0; i < f->layer_count; i++)
        if (streq(f->layers[i].diff_id, diff_id))
            return &f->layers[i];
    return NULL;
}

// A layer that an image names and no record has is as bad as a damaged one.
static void add_missing_layers(struct fsck *f)
{
    for (size_t i = 0; f->list[i]; i++)
        for (size_t k = 0; f->list[i]->diff_ids && f->list[i]->diff_ids[k]; k++)
            if (!find_layer(f, f->list[i]->diff_ids[k])) {
                add_layer(f, f->list[i]->diff_ids[k], NULL);
                f->layers[f->layer_count - 1].problem = xstrdup("the layer is missing");
            }
}

// --- documents
static void mark_damaged(struct fsck *f, const struct image *image)
{
    map_put(&f->damaged, image->id, f);
}

static void check_document(struct fsck *f, const struct image *image, const char *digest, const char *what)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    struct error err;
    if (content_get(f->images->store, digest, &text, &err) == 0)
        return;
    char *needed_by[] = { xstrdup(name_of(image)), NULL };
    CLEANUP(cleanup_free) char *problem = xasprintf("the %s: %s", what, err.message), *action = NULL;
    struct fsck_finding finding = {
        .kind = "document", .id = digest, .problem = problem, .needed_by = needed_by
    };
    if (f->options->repairs) {
        finding.is_repaired = image_refetch_document(f->images, image, digest, &err) == 0;
        action = finding.is_repaired ? xstrdup("fetched again")
                                     : xasprintf("cannot be fetched again: %s", err.message);
        finding.action = action;
    }
    if (!finding.is_repaired && streq(digest, image->id)) // without its manifest an image still runs
        mark_damaged(f, image);
    tell(f, &finding);
    free(needed_by[0]);
}

static void check_documents(struct fsck *f)
{
    for (size_t i = 0; f->list[i]; i++) {
        const struct image *image = f->list[i];
        if (image->manifest_digest) // first: the configuration is fetched by it
            check_document(f, image, image->manifest_digest, "manifest");
        check_document(f, image, image->id, "configuration");
    }
}

// --- layers
static void check_layer(struct fsck *f, struct checked_layer *layer)
{
    struct error err;
    int r = f->options->is_quick
                ? layer_check_quickly(f->images->store, layer->diff_id, &err)
                : layer_pack(f->images->store, layer->diff_id, (struct writer){ note_bytes, f }, &err);
    if (f->options->is_quick)
        (void)note_bytes(f, NULL, layer->tar_bytes);
    if (r < 0 && err.kind != ERROR_CANCELLED)
        layer->problem = xstrdup(err.message);
}

static void *check_layers(void *context)
{
    struct fsck *f = context;
    for (;;) {
        pthread_mutex_lock(&f->lock);
        struct checked_layer *layer =
            !f->is_stopped && f->next_layer < f->layer_count ? &f->layers[f->next_layer++] : NULL;
        pthread_mutex_unlock(&f->lock);
        if (!layer)
            return NULL;
        if (!layer->problem)
            check_layer(f, layer);
    }
}

static void check_all_layers(struct fsck *f)
{
    pthread_t threads[WORKERS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    long wanted = processors > WORKERS_MAX ? WORKERS_MAX : processors;
    int n = 0;
    while (n < wanted - 1 && thread_start(&threads[n], WORKER_STACK, check_layers, f) == 0)
        n++;
    check_layers(f); // this thread works as well
    while (n > 0)
        pthread_join(threads[--n], NULL);
}

static ssize_t index_of(const struct image *image, const char *diff_id)
{
    for (size_t i = 0; image->diff_ids && image->diff_ids[i]; i++)
        if (streq(image->diff_ids[i], diff_id))
            return (ssize_t)i;
    return -1;
}

struct users {
    char **names;     // of the images that need the layer
    char running[65]; // a container that runs on it, or ""
};

static void find_users(const struct fsck *f, const char *diff_id, struct users *ret)
{
    const struct image_options *o = &f->images->options;
    for (size_t i = 0; f->list[i]; i++) {
        char container[65] = "";
        bool is_running = false;
        if (index_of(f->list[i], diff_id) < 0)
            continue;
        strv_push(&ret->names, name_of(f->list[i]));
        if (o->is_in_use && o->is_in_use(o->is_in_use_context, f->list[i]->id, container, &is_running) &&
            is_running)
            memcpy(ret->running, container, sizeof ret->running);
    }
}

static bool refetch_layer(struct fsck *f, const char *diff_id, bool keeps_old, struct error *err)
{
    error_set(err, ERROR_NOT_FOUND, "no image needs it");
    for (size_t i = 0; f->list[i]; i++) {
        ssize_t index = index_of(f->list[i], diff_id);
        if (index >= 0 && image_refetch_layer(f->images, f->list[i], (size_t)index, keeps_old, err) == 0)
            return true;
    }
    return false;
}

static void report_layer(struct fsck *f, const struct checked_layer *layer)
{
    struct users users = { 0 };
    struct error err;
    CLEANUP(cleanup_free) char *action = NULL;
    find_users(f, layer->diff_id, &users);
    struct fsck_finding finding = {
        .kind = "layer", .id = layer->diff_id, .problem = layer->problem, .needed_by = users.names
    };
    if (f->options->repairs) {
        finding.is_repaired = refetch_layer(f, layer->diff_id, *users.running, &err);
        action =
            !finding.is_repaired ? xasprintf("cannot be fetched again: %s", err.message)
            : *users.running
                ? xasprintf("fetched again; container %.12s keeps the damaged copy until it is started again",
                            users.running)
                : xstrdup("fetched again");
        finding.action = action;
    }
    for (size_t i = 0; !finding.is_repaired && f->list[i]; i++)
        if (index_of(f->list[i], layer->diff_id) >= 0)
            mark_damaged(f, f->list[i]);
    tell(f, &finding);
    strv_free(users.names);
}

// --- what belongs to nothing
static void tell_orphan(struct fsck *f, const char *kind, const char *id, const char *problem,
                        bool is_removed)
{
    tell(f, &(struct fsck_finding){ .kind = kind,
                                    .id = id,
                                    .problem = problem,
                                    .action = is_removed ? "removed" : NULL,
                                    .is_repaired = is_removed });
}

static void note_needed(const struct fsck *f, struct map *needed)
{
    for (size_t i = 0; f->list[i]; i++) {
        map_put(needed, f->list[i]->id, needed);
        if (f->list[i]->manifest_digest)
            map_put(needed, f->list[i]->manifest_digest, needed);
        for (size_t k = 0; f->list[i]->diff_ids && f->list[i]->diff_ids[k]; k++)
            map_put(needed, f->list[i]->diff_ids[k], needed);
    }
}

static void list_unneeded(struct fsck *f, const struct map *needed, char ***ret)
{
    DIR *d = dir_open_at(store_root_fd(f->images->store), "blobs/sha256");
    for (struct dirent *e; d && (e = dir_next(d));) {
        char *digest = xasprintf("sha256:%s", e->d_name);
        if (digest_is_valid(digest) && !map_get(needed, digest))
            strv_push(ret, digest);
        free(digest);
    }
    if (d)
        closedir(d);
}

// Only while nobody else brings something in (what is on its way is named by no image yet) or has removed something, which
// goes with the end of the bracket.
static void find_unneeded(struct fsck *f)
{
    CLEANUP(map_done) struct map needed = MAP_INIT;
    CLEANUP(strv_freep) char **documents = NULL, **layers = NULL;
    struct error ignored;
    bool repairs = f->options->repairs;
    pthread_mutex_lock(&f->images->lock);
    bool is_alone = f->images->acquiring == 1 && !f->images->wants_sweep;
    if (is_alone) {
        struct image **before = f->list; // images that came since the first look count, too
        f->list = NULL;
        is_alone = load_images(f, &ignored) == 0;
        if (is_alone) {
            note_needed(f, &needed);
            list_unneeded(f, &needed, &documents);
        }
        image_list_free(f->list);
        f->list = before;
    }
    pthread_mutex_unlock(&f->images->lock);
    for (size_t i = 0; documents && documents[i]; i++)
        tell_orphan(f, "document", documents[i], "no image needs it", repairs);
    for (size_t i = 0; is_alone && i < f->layer_count; i++)
        if (!map_get(&needed, f->layers[i].diff_id))
            tell_orphan(f, "layer", f->layers[i].diff_id, "no image needs it", repairs);
    if (repairs)
        image_acquire_failed(f->images); // the end of the bracket collects them
    if (layer_strays(f->images->store, &layers, &ignored) < 0)
        return;
    for (size_t i = 0; layers && layers[i]; i++)
        tell_orphan(f, "layer", layers[i], "the directory is in no record",
                    repairs && layer_stray_remove(f->images->store, layers[i], &ignored) == 0);
}

static int check_tag(void *context, const char *key, const json_t *document)
{
    struct fsck *f = context;
    json_t *record = NULL;
    struct error err;
    if (meta_get(f->images->store, META_IMAGES, json_get_string(document, "id", ""), &record, &err) == 0)
        json_decref(record);
    else if (err.kind == ERROR_NOT_FOUND)
        tell_orphan(f, "tag", key, "its image is in no record",
                    f->options->repairs && meta_delete(f->images->store, META_TAGS, key, &err) == 0);
    return 0;
}

static void check_init_layer(struct fsck *f)
{
    struct error err, repair;
    if (layer_init_check(f->images->store, &err) == 0)
        return;
    bool is_repaired = f->options->repairs && layer_init_replace(f->images->store, &repair) == 0;
    tell(f, &(struct fsck_finding){
                .kind = "init layer",
                .id = layer_init_relative_path(),
                .problem = err.message,
                .action = is_repaired ? "made anew; what runs keeps the former one until it is started again"
                          : f->options->repairs ? repair.message
                                                : NULL,
                .is_repaired = is_repaired });
}

// --- dropping

static int delete_records(struct image_service *images, const struct image *image, struct error *err)
{
    for (size_t i = 0; image->tags && image->tags[i]; i++) {
        struct reference reference;
        if (reference_parse(image->tags[i], 1, &reference, err) < 0)
            return -1;
        CLEANUP(cleanup_free) char *full = reference_full(&reference);
        reference_done(&reference);
        if (meta_delete(images->store, META_TAGS, full, err) < 0)
            return -1;
    }
    return meta_delete(images->store, META_IMAGES, image->id, err);
}

// The image is taken out of the records whatever state its documents are in.
static int drop(struct image_service *images, const struct image *image, struct error *err)
{
    pthread_mutex_lock(&images->lock);
    int r = meta_begin(images->store, err);
    if (r == 0) {
        r = delete_records(images, image, err);
        if (r == 0)
            r = meta_commit(images->store, err);
        else
            meta_rollback(images->store);
    }
    pthread_mutex_unlock(&images->lock);
    if (r < 0)
        return r;
    for (size_t i = 0; image->tags && image->tags[i]; i++)
        image_emit(images, "untag", image->id, image->id, NULL);
    image_emit(images, "delete", image->id, image->id, NULL);
    return 0;
}

static void report_damaged(struct fsck *f, const struct image *image)
{
    const struct image_options *o = &f->images->options;
    char container[65] = "";
    bool is_running = false;
    struct error err;
    CLEANUP(cleanup_free) char *action = NULL;
    struct fsck_finding finding = { .kind = "image", .id = name_of(image), .problem = "it is damaged" };
    if (f->options->may_drop) {
        if (o->is_in_use && o->is_in_use(o->is_in_use_context, image->id, container, &is_running))
            action = xasprintf("stays: container %.12s is made from it", container);
        else if ((finding.is_repaired = drop(f->images, image, &err) == 0))
            action = xstrdup("removed");
        else
            action = xasprintf("cannot be removed: %s", err.message);
        finding.action = action;
        image_acquire_failed(f->images); // its layers go with the end of the bracket
    }
    tell(f, &finding);
}

// --- all of it
static int check_everything(struct fsck *f, struct error *err)
{
    if (load_images(f, err) < 0 || meta_each(f->images->store, META_LAYERS, add_layer, f, err) < 0)
        return -1;
    add_missing_layers(f);
    if (f->sink->progress(f->sink->context, 0, f->all_bytes) < 0)
        return error_set(err, ERROR_CANCELLED, "context canceled");
    check_init_layer(f);
    if (meta_each(f->images->store, META_TAGS, check_tag, f, err) < 0)
        return -1;
    check_documents(f);
    check_all_layers(f);
    for (size_t i = 0; i < f->layer_count; i++)
        if (f->layers[i].problem)
            report_layer(f, &f->layers[i]);
    for (size_t i = 0; f->list[i]; i++)
        if (map_get(&f->damaged, f->list[i]->id))
            report_damaged(f, f->list[i]);
    if (f->is_stopped)
        return error_set(err, ERROR_CANCELLED, "context canceled");
    find_unneeded(f);
    (void)f->sink->progress(f->sink->context, f->all_bytes, f->all_bytes);
    return 0;
}

int image_fsck(struct image_service *images, const struct fsck_options *options, const struct fsck_sink *sink,
               struct error *err)
{
    struct fsck f = { .images = images, .options = options, .sink = sink, .damaged = MAP_INIT };
    pthread_mutex_init(&f.lock, NULL);
    image_acquire_begin(images);
    int r = check_everything(&f, err);
    image_acquire_end(images);
    pthread_mutex_destroy(&f.lock);
    for (size_t i = 0; i < f.layer_count; i++)
        free(f.layers[i].problem);
    free(f.layers);
    map_done(&f.damaged);
    image_list_free(f.list);
    return r;
}
