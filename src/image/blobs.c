// A record: {"blobs":[{"digest","size","mediaType","made","at":["localhost:5000/a/b", ...]}, ...]}, the latest last, both lists
// bounded: the oldest go.
#include "image/blobs.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "store/meta.h"

#include <string.h>

enum { BLOBS_MAX = 8, PLACES_MAX = 32 };

static json_t *find_blob(const json_t *blobs, const char *digest, size_t *ret_index)
{
    size_t i;
    json_t *blob;
    json_array_foreach(blobs, i, blob)
    {
        if (streq(json_get_string(blob, "digest", ""), digest)) {
            *ret_index = i;
            return json_incref(blob);
        }
    }
    return NULL;
}

static void add_place(json_t *blob, const char *place)
{
    char **places CLEANUP(strv_freep) = json_get_strv(blob, "at");
    strv_remove(places, place);
    strv_push(&places, place);
    size_t n = strv_len(places);
    json_object_set_new(blob, "at", json_from_strv(n > PLACES_MAX ? places + (n - PLACES_MAX) : places));
}

// Add or move to the end.
static void add_blob(json_t *record, const struct oci_descriptor *d, const char *place, bool is_made_here)
{
    json_t *blobs = json_get_array(record, "blobs");
    size_t index = 0;
    if (!blobs) {
        blobs = json_array();
        json_object_set_new(record, "blobs", blobs);
    }
    json_t *blob = find_blob(blobs, d->digest, &index);
    if (blob) {
        json_array_remove(blobs, index);
    } else {
        blob = json_object();
        json_set_string(blob, "digest", d->digest);
        json_set_int(blob, "size", (int64_t)d->size_bytes);
        json_set_string(blob, "mediaType", d->media_type);
        json_set_bool(blob, "made", is_made_here);
    }
    add_place(blob, place);
    json_array_append_new(blobs, blob);
    if (json_array_size(blobs) > BLOBS_MAX)
        json_array_remove(blobs, 0);
}

static int note(struct store *store, const char *diff_id, const struct oci_descriptor *descriptor,
                const char *place, bool is_made_here, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    if (meta_get(store, META_BLOBS, diff_id, &record, err) < 0) {
        if (err->kind != ERROR_NOT_FOUND)
            return -1;
        record = json_object();
    }
    add_blob(record, descriptor, place, is_made_here);
    return meta_put(store, META_BLOBS, diff_id, record, err);
}

void blob_note(struct store *store, const char *diff_id, const struct oci_descriptor *descriptor,
               const char *domain, const char *repository, bool is_made_here)
{
    struct error err;
    char *place CLEANUP(cleanup_free) = xasprintf("%s/%s", domain, repository);
    int r = meta_begin(store, &err);
    if (r == 0) {
        r = note(store, diff_id, descriptor, place, is_made_here, &err);
        if (r == 0)
            r = meta_commit(store, &err);
        else
            meta_rollback(store);
    }
    if (r < 0)
        log_debug("blob of layer %s is not remembered: %s", diff_id, err.message);
}

static bool read_blob(const json_t *from, struct known_blob *to)
{
    const char *digest = json_get_string(from, "digest", NULL);
    if (!oci_digest_is_valid(digest))
        return false;
    memcpy(to->descriptor.digest, digest, OCI_DIGEST_LEN + 1);
    to->descriptor.size_bytes = (uint64_t)json_get_int(from, "size", 0);
    to->descriptor.media_type = xstrdup(json_get_string(from, "mediaType", NULL));
    to->places = json_get_strv(from, "at");
    to->is_made_here = json_get_bool(from, "made", false);
    return true;
}

void blob_known(struct store *store, const char *diff_id, struct known_blob **ret, size_t *ret_n)
{
    struct error ignored;
    json_t *record CLEANUP(json_cleanup) = NULL;
    *ret = NULL;
    *ret_n = 0;
    if (meta_get(store, META_BLOBS, diff_id, &record, &ignored) < 0)
        return;
    const json_t *blobs = json_get_array(record, "blobs");
    size_t n = json_array_size(blobs);
    *ret = xcalloc(n + 1, sizeof **ret);
    for (size_t i = n; i-- > 0;)
        *ret_n += read_blob(json_array_get(blobs, i), &(*ret)[*ret_n]);
}

void known_blobs_free(struct known_blob *blobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(blobs[i].descriptor.media_type);
        strv_free(blobs[i].places);
    }
    free(blobs);
}

void blob_forget(struct store *store, const char *diff_id)
{
    struct error err;
    if (meta_delete(store, META_BLOBS, diff_id, &err) < 0)
        log_debug("%s", err.message);
}

void blob_note_place(struct store *store, const char *diff_id, const char *digest, const char *domain,
                     const char *repository)
{
    struct known_blob *known;
    size_t n;
    blob_known(store, diff_id, &known, &n);
    for (size_t i = 0; i < n; i++)
        if (streq(known[i].descriptor.digest, digest))
            blob_note(store, diff_id, &known[i].descriptor, domain, repository, known[i].is_made_here);
    known_blobs_free(known, n);
}
