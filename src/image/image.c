#include "image/image.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"
#include "image/signature.h"
#include "store/content.h"
#include "store/meta.h"

#include <string.h>

// Images whose layers or configuration are gone (a machine crash between data and record) are dropped, with their tags.
static bool is_whole(struct image_service *images, const struct image *image)
{
    for (size_t i = 0; image->diff_ids && image->diff_ids[i]; i++)
        if (!layer_has(images->store, image->diff_ids[i]))
            return false;
    return content_has(images->store, image->id);
}

static int drop_tag_without_image(void *context, const char *key, const json_t *document)
{
    struct image_service *images = context;
    json_t *record CLEANUP(json_cleanup) = NULL;
    struct error err;
    if (meta_get(images->store, META_IMAGES, json_get_string(document, "id", ""), &record, &err) < 0 &&
        err.kind == ERROR_NOT_FOUND)
        (void)meta_delete(images->store, META_TAGS, key, &err);
    return 0;
}

static int recover(struct image_service *images, struct error *err)
{
    char **ids CLEANUP(strv_freep) = NULL;
    if (image_ids(images, true, &ids, err) < 0)
        return -1;
    for (size_t i = 0; ids && ids[i]; i++) {
        struct image *image CLEANUP(image_freep) = NULL;
        if (image_load_summary(images, ids[i], &image, err) < 0)
            return -1;
        if (is_whole(images, image))
            continue;
        log_debug("dropping damaged image %s", ids[i]);
        if (meta_delete(images->store, META_IMAGES, ids[i], err) < 0)
            return -1;
    }
    return meta_each(images->store, META_TAGS, drop_tag_without_image, images, err);
}

int image_service_open(struct store *store, const struct image_options *options, struct image_service **ret,
                       struct error *err)
{
    struct image_service *images = NEW(struct image_service);
    images->store = store;
    images->options = *options;
    images->options.insecure_registries = strv_copy(options->insecure_registries);
    pthread_mutex_init(&images->lock, NULL);
    pthread_mutex_init(&images->use_lock, NULL);
    pull_claims_init(&images->claims);
    if ((options->signature_policy && image_policy_check(options->signature_policy, err) < 0) ||
        recover(images, err) < 0) {
        image_service_close(images);
        return -1;
    }
    image_sweep(images, NULL, NULL);
    *ret = images;
    return 0;
}

void image_service_close(struct image_service *images)
{
    if (!images)
        return;
    strv_free(images->options.insecure_registries);
    pull_claims_done(&images->claims);
    pthread_mutex_destroy(&images->lock);
    image_uses_done(images);
    pthread_mutex_destroy(&images->use_lock);
    free(images);
}

void image_emit(struct image_service *images, const char *action, const char *actor_id, const char *name,
                const json_t *config)
{
    enum { ATTRIBUTES_MAX = 64 };
    struct event_attribute attributes[ATTRIBUTES_MAX];
    unsigned n = 0;
    const char *key;
    json_t *value, *labels = json_get_object(json_get_object(config, "config"), "Labels");
    if (!images->options.events.emit)
        return;
    json_object_foreach(labels, key, value)
    {
        if (n < ATTRIBUTES_MAX - 1 && json_is_string(value))
            attributes[n++] = (struct event_attribute){ key, json_string_value(value) };
    }
    attributes[n++] = (struct event_attribute){ "name", name };
    struct event event = { .type = "image",
                           .action = action,
                           .actor_id = actor_id,
                           .attributes = attributes,
                           .attribute_count = n };
    images->options.events.emit(images->options.events.context, &event);
}

// --- names
static int no_such_image(const char *name, struct error *err)
{
    struct reference reference;
    struct error ignored;
    if (reference_parse(name, 1, &reference, &ignored) < 0)
        return error_set(err, ERROR_NOT_FOUND, "No such image: %.300s", name);
    char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
    reference_done(&reference);
    return error_set(err, ERROR_NOT_FOUND, "No such image: %s", familiar);
}

// A full id also finds an image that lingers for a container.
static bool find_id(struct image_service *images, const char *hex, char ret_id[static DIGEST_LEN + 1])
{
    char id[DIGEST_LEN + 1];
    json_t *record CLEANUP(json_cleanup) = NULL;
    struct error ignored;
    memcpy(id, "sha256:", 7);
    memcpy(id + 7, hex, ID_LEN + 1);
    if (meta_get(images->store, META_IMAGES, id, &record, &ignored) < 0)
        return false;
    memcpy(ret_id, id, sizeof id);
    return true;
}

static int find_tag(struct image_service *images, const struct reference *reference,
                    char ret_id[static DIGEST_LEN + 1])
{
    json_t *tag CLEANUP(json_cleanup) = NULL;
    struct error ignored;
    char *full CLEANUP(cleanup_free) = reference_full(reference);
    if (meta_get(images->store, META_TAGS, full, &tag, &ignored) < 0)
        return -1;
    const char *id = json_get_string(tag, "id", "");
    if (!digest_is_valid(id))
        return -1;
    memcpy(ret_id, id, DIGEST_LEN + 1);
    return 0;
}

static int find_digest(struct image_service *images, const struct reference *reference,
                       char ret_id[static DIGEST_LEN + 1])
{
    struct error ignored;
    char **ids CLEANUP(strv_freep) = NULL;
    struct reference by_digest = *reference;
    by_digest.tag = NULL;
    char *wanted CLEANUP(cleanup_free) = reference_familiar(&by_digest);
    if (image_ids(images, false, &ids, &ignored) < 0)
        return -1;
    for (size_t i = 0; ids && ids[i]; i++) {
        struct image *image CLEANUP(image_freep) = NULL;
        if (image_load_summary(images, ids[i], &image, &ignored) == 0 &&
            strv_contains(image->repo_digests, wanted)) {
            memcpy(ret_id, ids[i], DIGEST_LEN + 1);
            return 0;
        }
    }
    return -1;
}

static int find_prefix(struct image_service *images, const char *prefix, char ret_id[static DIGEST_LEN + 1],
                       struct error *err)
{
    char **ids CLEANUP(strv_freep) = NULL;
    const char *found = NULL;
    if (image_ids(images, false, &ids, err) < 0)
        return -1;
    for (size_t i = 0; ids && ids[i]; i++) {
        if (!str_has_prefix(digest_hex(ids[i]), prefix))
            continue;
        if (found)
            return no_such_image(prefix, err); // ambiguous: Docker says the same
        found = ids[i];
    }
    if (!found)
        return no_such_image(prefix, err);
    memcpy(ret_id, found, DIGEST_LEN + 1);
    return 0;
}

int image_resolve_locked(struct image_service *images, const char *name, char ret_id[static DIGEST_LEN + 1],
                         bool *ret_is_id, struct error *err)
{
    const char *hex = str_has_prefix(name, "sha256:") ? name + 7 : name;
    struct reference reference;
    *ret_is_id = true;
    if (id_is_full(hex) && find_id(images, hex, ret_id))
        return 0;
    if (hex == name && !id_is_full(name)) {
        if (reference_parse(name, 1, &reference, err) < 0)
            return -1;
        int r =
            reference.digest ? find_digest(images, &reference, ret_id) : find_tag(images, &reference, ret_id);
        reference_done(&reference);
        if (r == 0) {
            *ret_is_id = false;
            return 0;
        }
    }
    return id_is_prefix(hex) ? find_prefix(images, hex, ret_id, err) : no_such_image(name, err);
}

int image_get(struct image_service *images, const char *name, struct image **ret, struct error *err)
{
    char id[DIGEST_LEN + 1];
    bool is_id;
    pthread_mutex_lock(&images->lock);
    int r = image_resolve_locked(images, name, id, &is_id, err);
    if (r == 0)
        r = image_load_record(images, id, ret, err);
    pthread_mutex_unlock(&images->lock);
    return r;
}

// --- list
static int newest_first(const void *a, const void *b)
{
    const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;
    if (x->created_ns != y->created_ns)
        return x->created_ns < y->created_ns ? 1 : -1;
    return strcmp(x->id, y->id);
}

int image_list(struct image_service *images, struct image ***ret, struct error *err)
{
    char **ids CLEANUP(strv_freep) = NULL;
    int r = 0;
    size_t n = 0;
    pthread_mutex_lock(&images->lock);
    r = image_ids(images, false, &ids, err);
    struct image **list = xcalloc(strv_len(ids) + 1, sizeof *list);
    for (size_t i = 0; r == 0 && ids && ids[i]; i++)
        r = image_load_what_is_there(images, ids[i], &list[n++], err);
    pthread_mutex_unlock(&images->lock);
    if (r < 0) {
        image_list_free(list);
        return r;
    }
    qsort(list, n, sizeof *list, newest_first);
    *ret = list;
    return 0;
}

void image_list_free(struct image **list)
{
    for (size_t i = 0; list && list[i]; i++)
        image_free(list[i]);
    free(list);
}

// --- tag
int image_tag(struct image_service *images, const char *name, const char *new_reference, struct error *err)
{
    char id[DIGEST_LEN + 1];
    bool is_id;
    struct reference reference;
    struct image *image CLEANUP(image_freep) = NULL;
    if (reference_parse(new_reference, 1, &reference, err) < 0)
        return -1;
    if (reference.digest) {
        reference_done(&reference);
        return error_set(err, ERROR_INVALID, "refusing to create a tag with a digest reference");
    }
    pthread_mutex_lock(&images->lock);
    int r = image_resolve_locked(images, name, id, &is_id, err);
    if (r == 0)
        r = image_tag_locked(images, &reference, id, err);
    if (r == 0)
        r = image_load_record(images, id, &image, err);
    pthread_mutex_unlock(&images->lock);
    char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
    reference_done(&reference);
    if (r == 0)
        r = meta_sync(images->store, err); // a name that was confirmed survives a power cut
    if (r == 0)
        image_emit(images, "tag", id, familiar, image->config);
    return r;
}
