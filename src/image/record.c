// Theory of operation. An image is a record (META_IMAGES) under its id, the digest of its configuration; the configuration
// and the manifest are documents in content/, its layers are in the store by diff id. Tags are records of their own
// (META_TAGS, by full reference). What no image record names is garbage: image_sweep collects it, except while something
// is being acquired, since a layer that is there may be needed by an image about to be registered.
//
// A record with "lingers" belongs to an image removed by force while a stopped container still needs its layers: it has no
// name, is in no list, and goes when the container has gone.
#include "image/image_internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/blobs.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

// --- configuration
static bool is_string_or_absent(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return !v || json_is_string(v);
}

int image_config_parse(const void *bytes, size_t n, json_t **ret_config, char ***ret_diff_ids,
                       struct error *err)
{
    json_t *config CLEANUP(json_cleanup) = NULL;
    char **diff_ids CLEANUP(strv_freep) = NULL;
    if (n > IMAGE_DOCUMENT_MAX)
        return error_set(err, ERROR_INVALID, "invalid image configuration: %zu bytes are more than %d", n,
                         (int)IMAGE_DOCUMENT_MAX);
    if (json_parse(bytes, n, &config, err) < 0)
        return error_wrap(err, "invalid image configuration");
    const json_t *ids = json_get_array(json_get_object(config, "rootfs"), "diff_ids");
    if (!json_is_object(config) || !ids || !is_string_or_absent(config, "os") ||
        !is_string_or_absent(config, "architecture"))
        return error_set(err, ERROR_INVALID, "invalid image configuration: no root file system in it");
    if (json_array_size(ids) > IMAGE_LAYERS_MAX)
        return error_set(err, ERROR_INVALID, "invalid image configuration: more than %d layers",
                         (int)IMAGE_LAYERS_MAX);
    diff_ids = xcalloc(1, sizeof *diff_ids);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!digest_is_valid(id))
            return error_set(err, ERROR_INVALID, "invalid image configuration: invalid digest \"%.100s\"",
                             id ? id : "");
        strv_push(&diff_ids, id);
    }
    *ret_config = TAKE_PTR(config);
    *ret_diff_ids = TAKE_PTR(diff_ids);
    return 0;
}

// --- reading
void image_free(struct image *image)
{
    if (!image)
        return;
    strv_free(image->tags);
    strv_free(image->repo_digests);
    strv_free(image->diff_ids);
    free(image->manifest_digest);
    json_decref(image->config);
    free(image);
}

void image_freep(struct image **image)
{
    image_free(*image);
}

struct tag_search {
    const char *id;
    char **tags;
};

static int collect_tag(void *context, const char *key, const json_t *document)
{
    struct tag_search *search = context;
    struct reference reference;
    struct error ignored;
    if (!streq(json_get_string(document, "id", ""), search->id) ||
        reference_parse(key, 0, &reference, &ignored) < 0)
        return 0;
    strv_take(&search->tags, reference_familiar(&reference));
    reference_done(&reference);
    return 0;
}

static void add_familiar_digests(struct image *image, const json_t *record)
{
    char **digests CLEANUP(strv_freep) = json_get_strv(record, "repoDigests");
    for (size_t i = 0; digests && digests[i]; i++) {
        struct reference reference;
        struct error ignored;
        if (reference_parse(digests[i], 0, &reference, &ignored) < 0)
            continue;
        strv_take(&image->repo_digests, reference_familiar(&reference));
        reference_done(&reference);
    }
}

int image_load_summary(struct image_service *images, const char *id, struct image **ret, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    if (meta_get(images->store, META_IMAGES, id, &record, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? error_set(err, ERROR_NOT_FOUND, "No such image: %s", id) : -1;
    struct tag_search search = { id, NULL };
    if (meta_each(images->store, META_TAGS, collect_tag, &search, err) < 0) {
        strv_free(search.tags);
        return -1;
    }
    struct image *image = NEW(struct image);
    memcpy(image->id, id, DIGEST_LEN + 1);
    image->tags = search.tags;
    add_familiar_digests(image, record);
    image->manifest_digest = xstrdup(json_get_string(record, "manifest", NULL));
    image->diff_ids = json_get_strv(record, "diffIds");
    image->created_ns = json_get_int(record, "created", 0);
    image->last_tagged_ns = json_get_int(record, "lastTagged", 0);
    image->added_ns = json_get_int(record, "added", 0);
    image->last_used_ns = json_get_int(record, "lastUsed", 0);
    image->size_bytes = (uint64_t)json_get_int(record, "size", 0);
    *ret = image;
    return 0;
}

int image_load_record(struct image_service *images, const char *id, struct image **ret, struct error *err)
{
    struct image *image CLEANUP(image_freep) = NULL;
    struct str text CLEANUP(str_done) = STR_INIT;
    if (image_load_summary(images, id, &image, err) < 0)
        return -1;
    if (content_get(images->store, id, &text, err) < 0 ||
        json_parse(text.ptr, text.len, &image->config, err) < 0)
        return error_wrap(err, "image %s", id);
    *ret = TAKE_PTR(image);
    return 0;
}

int image_load_what_is_there(struct image_service *images, const char *id, struct image **ret,
                             struct error *err)
{
    if (image_load_record(images, id, ret, err) == 0)
        return 0;
    log_warn("%s", err->message);
    return image_load_summary(images, id, ret, err);
}

struct id_list {
    char **ids;
    bool with_lingering;
};

static int collect_id(void *context, const char *key, const json_t *document)
{
    struct id_list *list = context;
    if (digest_is_valid(key) && (list->with_lingering || !json_get_bool(document, "lingers", false)))
        strv_push(&list->ids, key);
    return 0;
}

int image_ids(struct image_service *images, bool with_lingering, char ***ret, struct error *err)
{
    struct id_list list = { .with_lingering = with_lingering };
    if (meta_each(images->store, META_IMAGES, collect_id, &list, err) < 0) {
        strv_free(list.ids);
        return -1;
    }
    *ret = list.ids;
    return 0;
}

// --- registering
int image_put_record(struct image_service *images, const char *id, const json_t *record, struct error *err)
{
    return meta_put(images->store, META_IMAGES, id, record, err);
}

static int sum_layers(struct image_service *images, char *const *diff_ids, uint64_t *ret, struct error *err)
{
    uint64_t total = 0;
    for (size_t i = 0; diff_ids[i]; i++) {
        struct layer_info info;
        if (layer_get(images->store, diff_ids[i], &info, err) < 0)
            return error_set(err, ERROR_INVALID, "invalid image: layer %s is missing", diff_ids[i]);
        total += info.size_bytes;
    }
    *ret = total;
    return 0;
}

static json_t *new_record(const json_t *config, char *const *diff_ids, uint64_t size)
{
    int64_t created = 0;
    (void)time_parse_rfc3339(json_get_string(config, "created", ""), &created);
    json_t *record = json_object();
    json_object_set_new(record, "diffIds", json_from_strv(diff_ids));
    json_set_int(record, "size", (int64_t)size);
    json_set_int(record, "created", created);
    json_set_int(record, "added", time_now_ns());
    json_set_int(record, "lastTagged", 0);
    return record;
}

static void add_digest(json_t *record, const char *repo_digest)
{
    char **digests CLEANUP(strv_freep) = json_get_strv(record, "repoDigests");
    if (repo_digest && !strv_contains(digests, repo_digest))
        strv_push(&digests, repo_digest);
    json_object_set_new(record, "repoDigests", json_from_strv(digests));
}

int image_tag_locked(struct image_service *images, const struct reference *reference, const char *id,
                     struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    struct reference name = { .domain = reference->domain,
                              .repository = reference->repository,
                              .tag = reference->tag };
    char *full CLEANUP(cleanup_free) = reference_full(&name);
    if (meta_get(images->store, META_IMAGES, id, &record, err) < 0)
        return -1;
    json_set_int(record, "lastTagged", time_now_ns());
    json_t *tag CLEANUP(json_cleanup) = json_object();
    json_set_string(tag, "id", id);
    return meta_put(images->store, META_IMAGES, id, record, err) < 0
               ? -1
               : meta_put(images->store, META_TAGS, full, tag, err);
}

static int record_image(struct image_service *images, const struct image_registration *g,
                        const json_t *config, char *const *diff_ids, const char *id, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    uint64_t size;
    if (sum_layers(images, diff_ids, &size, err) < 0)
        return -1;
    if (meta_get(images->store, META_IMAGES, id, &record, err) < 0) {
        if (err->kind != ERROR_NOT_FOUND)
            return -1;
        record = new_record(config, diff_ids, size);
    }
    json_object_del(record, "lingers");
    if (g->manifest_digest)
        json_set_string(record, "manifest", g->manifest_digest);
    add_digest(record, g->repo_digest);
    if (meta_put(images->store, META_IMAGES, id, record, err) < 0)
        return -1;
    return g->tag && g->tag->tag ? image_tag_locked(images, g->tag, id, err) : 0;
}

int image_register(struct image_service *images, const struct image_registration *g,
                   char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    json_t *config CLEANUP(json_cleanup) = NULL;
    char **diff_ids CLEANUP(strv_freep) = NULL;
    char id[DIGEST_LEN + 1];
    if (image_config_parse(g->config, g->config_n, &config, &diff_ids, err) < 0 ||
        content_put(images->store, g->config, g->config_n, id, err) < 0)
        return -1;
    pthread_mutex_lock(&images->lock);
    int r = meta_begin(images->store, err);
    if (r == 0) {
        r = record_image(images, g, config, diff_ids, id, err);
        if (r == 0)
            r = meta_commit(images->store, err);
        else
            meta_rollback(images->store);
    }
    pthread_mutex_unlock(&images->lock);
    if (r < 0 || meta_sync(images->store, err) < 0)
        return -1;
    memcpy(ret_id, id, sizeof id);
    return 0;
}

int image_note_push(struct image_service *images, const char *id, const char *manifest_digest,
                    const char *repo_digest, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    pthread_mutex_lock(&images->lock);
    int r = meta_get(images->store, META_IMAGES, id, &record, err);
    if (r == 0) {
        if (!json_get_string(record, "manifest", NULL))
            json_set_string(record, "manifest", manifest_digest);
        add_digest(record, repo_digest);
        r = meta_put(images->store, META_IMAGES, id, record, err);
    }
    pthread_mutex_unlock(&images->lock);
    return r;
}

// --- collecting
void image_acquire_begin(struct image_service *images)
{
    pthread_mutex_lock(&images->lock);
    images->acquiring++;
    pthread_mutex_unlock(&images->lock);
}

void image_acquire_end(struct image_service *images)
{
    pthread_mutex_lock(&images->lock);
    bool sweeps = --images->acquiring == 0 && images->wants_sweep;
    pthread_mutex_unlock(&images->lock);
    if (sweeps)
        image_sweep(images, NULL, NULL);
}

void image_acquire_failed(struct image_service *images)
{
    pthread_mutex_lock(&images->lock);
    images->wants_sweep = true;
    pthread_mutex_unlock(&images->lock);
}

struct needed {
    struct map keys; // diff ids and document digests
};

static int note_needed(void *context, const char *key, const json_t *document)
{
    struct needed *needed = context;
    char **diff_ids CLEANUP(strv_freep) = json_get_strv(document, "diffIds");
    const char *manifest = json_get_string(document, "manifest", NULL);
    map_put(&needed->keys, key, needed);
    if (manifest)
        map_put(&needed->keys, manifest, needed);
    for (size_t i = 0; diff_ids && diff_ids[i]; i++)
        map_put(&needed->keys, diff_ids[i], needed);
    return 0;
}

struct garbage {
    const struct needed *needed;
    char **layers;
};

static int note_garbage(void *context, const char *key, const json_t *document)
{
    struct garbage *garbage = context;
    (void)document;
    if (!map_get(&garbage->needed->keys, key))
        strv_push(&garbage->layers, key);
    return 0;
}

// Bytes that came free on disk.
static uint64_t delete_documents(struct image_service *images, const struct needed *needed)
{
    uint64_t bytes = 0;
    DIR *d = dir_open_at(store_root_fd(images->store), "blobs/sha256");
    for (struct dirent *e; d && (e = dir_next(d));) {
        char *digest CLEANUP(cleanup_free) = xasprintf("sha256:%s", e->d_name);
        if (digest_is_valid(digest) && !map_get(&needed->keys, digest)) {
            uint64_t n = content_disk_bytes(images->store, digest);
            bytes += unlinkat(dirfd(d), e->d_name, 0) == 0 ? n : 0;
        } else if (str_has_suffix(e->d_name, ".tmp")) // a write that a crash cut short
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    return bytes;
}

// Records go and directories get out of sight while the lock is held, so that no one finds a layer that is about to go;
// their data is removed after.
static char **retire_garbage(struct image_service *images, json_t *report, uint64_t *ret_bytes)
{
    struct needed needed = { MAP_INIT };
    struct garbage garbage = { &needed, NULL };
    struct error err;
    char **doomed = NULL, *one;
    if (meta_each(images->store, META_IMAGES, note_needed, &needed, &err) == 0 &&
        meta_each(images->store, META_LAYERS, note_garbage, &garbage, &err) == 0) {
        for (size_t i = 0; garbage.layers && garbage.layers[i]; i++) {
            if (layer_retire(images->store, garbage.layers[i], &one, &err) < 0) {
                log_debug("%s", err.message);
                continue;
            }
            strv_take(&doomed, one);
            blob_forget(images->store, garbage.layers[i]);
            if (report)
                json_array_append_new(report, json_pack("{s:s}", "Deleted", garbage.layers[i]));
        }
        uint64_t bytes = delete_documents(images, &needed);
        if (ret_bytes)
            *ret_bytes += bytes;
    }
    strv_free(garbage.layers);
    map_done(&needed.keys);
    return doomed;
}

void image_sweep(struct image_service *images, json_t *report, uint64_t *ret_bytes)
{
    char **doomed = NULL;
    pthread_mutex_lock(&images->lock);
    images->wants_sweep = images->acquiring > 0;
    if (!images->wants_sweep)
        doomed = retire_garbage(images, report, ret_bytes);
    pthread_mutex_unlock(&images->lock);
    if (ret_bytes)
        *ret_bytes += store_doomed_bytes(images->store, doomed);
    for (size_t i = 0; doomed && doomed[i]; i++) {
        struct error err;
        if (layer_discard(images->store, doomed[i], &err) < 0)
            log_debug("%s", err.message);
    }
    free(doomed); // the names went to layer_discard
}
