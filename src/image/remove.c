// Theory of operation. The rules are those of Docker's `DELETE /images/{name}`:
//
// By reference: the reference goes. When it was the only one and a container was made from the image, that needs force.
// When the repository has no other tag, its digests go too. If nothing refers to the image any more it is deleted as well,
// unless a container uses it: then it stays, untagged.
// By id: all references go and the image with them; several repositories, or a stopped container, need force; a running
// container forbids it.
#include "image/image_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "store/meta.h"

#include <string.h>

struct removal {
    struct image_service *images;
    char id[DIGEST_LEN + 1];
    bool is_forced;
    json_t *report;
    struct image *image; // as it is now; reloaded after each change
    struct error *err;
};

static int reload(struct removal *r)
{
    image_free(r->image);
    r->image = NULL;
    return image_load_what_is_there(r->images, r->id, &r->image, r->err);
}

static size_t reference_count(const struct image *image)
{
    return strv_len(image->tags) + strv_len(image->repo_digests);
}

static char *repository_of(const char *familiar)
{
    struct reference reference;
    struct error ignored;
    if (reference_parse(familiar, 0, &reference, &ignored) < 0)
        return xstrdup(familiar);
    char *name = reference_familiar_name(&reference);
    reference_done(&reference);
    return name;
}

// At most one reference; or one tag and digests, all of one repository.
static bool has_single_reference(const struct image *image)
{
    size_t tags = strv_len(image->tags);
    if (reference_count(image) <= 1)
        return true;
    if (tags > 1)
        return false;
    char *name CLEANUP(cleanup_free) = repository_of(tags ? image->tags[0] : image->repo_digests[0]);
    for (size_t i = 0; image->repo_digests && image->repo_digests[i]; i++) {
        char *other CLEANUP(cleanup_free) = repository_of(image->repo_digests[i]);
        if (!streq(name, other))
            return false;
    }
    return true;
}

static bool used_by(struct removal *r, char container[65], bool *ret_is_running)
{
    const struct image_options *o = &r->images->options;
    return o->is_in_use && o->is_in_use(o->is_in_use_context, r->id, container, ret_is_running);
}

static void untagged(struct removal *r, const char *familiar)
{
    json_array_append_new(r->report, json_pack("{s:s}", "Untagged", familiar));
    image_emit(r->images, "untag", r->id, r->id, r->image->config);
}

static int remove_tag(struct removal *r, const char *familiar)
{
    struct reference reference;
    if (reference_parse(familiar, 1, &reference, r->err) < 0)
        return -1;
    char *full CLEANUP(cleanup_free) = reference_full(&reference);
    reference_done(&reference);
    if (meta_delete(r->images->store, META_TAGS, full, r->err) < 0)
        return -1;
    untagged(r, familiar);
    return 0;
}

// Drop the digests of one repository (NULL: of all), or just one digest reference.
static int remove_digests(struct removal *r, const char *repository, const char *only)
{
    json_t *record CLEANUP(json_cleanup) = NULL, *kept CLEANUP(json_cleanup) = json_array();
    if (meta_get(r->images->store, META_IMAGES, r->id, &record, r->err) < 0)
        return -1;
    char **digests CLEANUP(strv_freep) = json_get_strv(record, "repoDigests");
    for (size_t i = 0; digests && digests[i]; i++) {
        struct reference reference;
        if (reference_parse(digests[i], 0, &reference, r->err) < 0)
            continue;
        char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
        char *name CLEANUP(cleanup_free) = reference_familiar_name(&reference);
        reference_done(&reference);
        if (only ? streq(only, familiar) : !repository || streq(repository, name))
            untagged(r, familiar);
        else
            json_array_append_new(kept, json_string(digests[i]));
    }
    json_object_set(record, "repoDigests", kept);
    return image_put_record(r->images, r->id, record, r->err);
}

static int remove_all_references(struct removal *r)
{
    for (size_t i = 0; r->image->tags && r->image->tags[i]; i++)
        if (remove_tag(r, r->image->tags[i]) < 0)
            return -1;
    return remove_digests(r, NULL, NULL);
}

static int conflict(struct removal *r, bool is_hard, const char *why, const char *container)
{
    return error_set(r->err, ERROR_CONFLICT, "conflict: unable to delete %.12s (%s) - %s%.12s",
                     digest_hex(r->id), is_hard ? "cannot be forced" : "must be forced", why, container);
}

static int check_containers(struct removal *r)
{
    char container[65] = "";
    bool is_running = false;
    if (!used_by(r, container, &is_running))
        return 0;
    if (is_running)
        return conflict(r, true, "image is being used by running container ", container);
    return r->is_forced ? 0 : conflict(r, false, "image is being used by stopped container ", container);
}

// The image itself. With a stopped container on it (force), its record stays for the container's sake, nameless.
static int delete_image(struct removal *r)
{
    char container[65] = "";
    bool is_running = false;
    struct store *store = r->images->store;
    if (used_by(r, container, &is_running)) {
        json_t *record CLEANUP(json_cleanup) = NULL;
        if (meta_get(store, META_IMAGES, r->id, &record, r->err) < 0)
            return -1;
        json_set_bool(record, "lingers", true);
        if (image_put_record(r->images, r->id, record, r->err) < 0)
            return -1;
    } else if (meta_delete(store, META_IMAGES, r->id, r->err) < 0) {
        return -1;
    }
    json_array_append_new(r->report, json_pack("{s:s}", "Deleted", r->id));
    image_emit(r->images, "delete", r->id, r->id, r->image->config);
    return 0;
}

static int remove_by_reference(struct removal *r, const char *name)
{
    char container[65] = "";
    bool is_running = false;
    struct reference reference;
    if (!r->is_forced && has_single_reference(r->image) && used_by(r, container, &is_running))
        return error_set(r->err, ERROR_CONFLICT,
                         "conflict: unable to remove repository reference \"%s\" (must force) - container "
                         "%.12s is using its "
                         "referenced image %.12s",
                         name, container, digest_hex(r->id));
    if (reference_parse(name, 1, &reference, r->err) < 0)
        return -1;
    if (reference.digest)
        free_and_strdup(&reference.tag, NULL);
    bool is_digest = reference.digest;
    char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
    char *repository CLEANUP(cleanup_free) = reference_familiar_name(&reference);
    reference_done(&reference);
    if ((is_digest ? remove_digests(r, NULL, familiar) : remove_tag(r, familiar)) < 0 || reload(r) < 0)
        return -1;
    bool has_sibling = is_digest;
    for (size_t i = 0; r->image->tags && r->image->tags[i]; i++) {
        char *other CLEANUP(cleanup_free) = repository_of(r->image->tags[i]);
        has_sibling |= streq(other, repository);
    }
    if (!has_sibling && (remove_digests(r, repository, NULL) < 0 || reload(r) < 0))
        return -1;
    if (reference_count(r->image) > 0)
        return 0;
    struct error ignored, *err = r->err;
    r->err = &ignored; // the reference is gone, which is success; the image may have to stay
    int used = check_containers(r);
    r->err = err;
    return used < 0 ? 0 : delete_image(r);
}

static int remove_by_id(struct removal *r)
{
    if (!r->is_forced && !has_single_reference(r->image))
        return conflict(r, false, "image is referenced in multiple repositories", "");
    if (check_containers(r) < 0 || remove_all_references(r) < 0 || reload(r) < 0)
        return -1;
    return delete_image(r);
}

static int remove_locked(struct removal *r, const char *name)
{
    bool is_id;
    if (image_resolve_locked(r->images, name, r->id, &is_id, r->err) < 0 || reload(r) < 0)
        return -1;
    if (meta_begin(r->images->store, r->err) < 0)
        return -1;
    int result = is_id ? remove_by_id(r) : remove_by_reference(r, name);
    if (result == 0)
        return meta_commit(r->images->store, r->err);
    meta_rollback(r->images->store);
    return result;
}

// Images that linger for a container which has gone meanwhile.
static void forget_lingering(struct image_service *images)
{
    char **all CLEANUP(strv_freep) = NULL, **visible CLEANUP(strv_freep) = NULL;
    struct error err;
    if (image_ids(images, true, &all, &err) < 0 || image_ids(images, false, &visible, &err) < 0)
        return;
    for (size_t i = 0; all && all[i]; i++) {
        char container[65];
        bool is_running;
        const struct image_options *o = &images->options;
        if (!strv_contains(visible, all[i]) &&
            !(o->is_in_use && o->is_in_use(o->is_in_use_context, all[i], container, &is_running)) &&
            meta_delete(images->store, META_IMAGES, all[i], &err) < 0)
            log_debug("%s", err.message);
    }
}

int image_remove(struct image_service *images, const char *name, bool is_forced, json_t **ret_report,
                 struct error *err)
{
    struct removal r = { .images = images, .is_forced = is_forced, .report = json_array(), .err = err };
    pthread_mutex_lock(&images->lock);
    int result = remove_locked(&r, name);
    if (result == 0)
        forget_lingering(images);
    pthread_mutex_unlock(&images->lock);
    image_free(r.image);
    if (result < 0) {
        json_decref(r.report);
        return result;
    }
    image_sweep(images, r.report, NULL);
    *ret_report = r.report;
    return 0;
}

struct prune {
    bool all_unused;
    image_keeper *keeps;
    void *context;
};

static int prune_one(struct removal *r, const struct prune *prune)
{
    char container[65];
    bool is_running;
    if (reload(r) < 0)
        return -1;
    if ((strv_len(r->image->tags) > 0 && !prune->all_unused) || used_by(r, container, &is_running) ||
        (prune->keeps && prune->keeps(prune->context, r->image)))
        return 0;
    if (meta_begin(r->images->store, r->err) < 0)
        return -1;
    if (remove_all_references(r) == 0 && reload(r) == 0 && delete_image(r) == 0)
        return meta_commit(r->images->store, r->err);
    meta_rollback(r->images->store);
    return -1;
}

int image_prune(struct image_service *images, bool all_unused, image_keeper *keeps, void *context,
                json_t **ret_report, uint64_t *ret_bytes, struct error *err)
{
    const struct prune prune = { .all_unused = all_unused, .keeps = keeps, .context = context };
    char **ids CLEANUP(strv_freep) = NULL;
    struct removal r = { .images = images, .report = json_array(), .err = err };
    uint64_t bytes = 0;
    pthread_mutex_lock(&images->lock);
    forget_lingering(images);
    int result = image_ids(images, false, &ids, err);
    for (size_t i = 0; result == 0 && ids && ids[i]; i++) {
        memcpy(r.id, ids[i], DIGEST_LEN + 1);
        result = prune_one(&r, &prune);
    }
    pthread_mutex_unlock(&images->lock);
    image_free(r.image);
    image_sweep(images, r.report, &bytes);
    if (result < 0) {
        json_decref(r.report);
        return result;
    }
    *ret_report = r.report;
    *ret_bytes = bytes;
    return 0;
}

int image_remove_if_unused(struct image_service *images, const char *id, json_t *report, bool *ret_is_removed,
                           struct error *err)
{
    const struct prune all = { .all_unused = true };
    struct removal r = { .images = images, .report = report, .err = err };
    size_t before = json_array_size(report);
    memcpy(r.id, id, DIGEST_LEN + 1);
    pthread_mutex_lock(&images->lock);
    int result = prune_one(&r, &all);
    pthread_mutex_unlock(&images->lock);
    image_free(r.image);
    *ret_is_removed = json_array_size(report) > before;
    return result;
}
