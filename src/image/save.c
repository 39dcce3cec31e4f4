// Theory of operation. One archive, two readings: manifest.json lists the images for `docker load`, index.json with
// oci-layout lists them for OCI tools; both name the same blobs. Layers are their very tars, so their digest is the diff id.
// Equal images and names in equal order give equal bytes: times are zero, owners root, order fixed.
#include "image/image_internal.h"

#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/tar.h"
#include "store/meta.h"

#include <errno.h>
#include <string.h>

static const char index_type[] = "application/vnd.oci.image.index.v1+json";
static const char manifest_type[] = "application/vnd.oci.image.manifest.v1+json";
static const char config_type[] = "application/vnd.oci.image.config.v1+json";
static const char layer_type[] = "application/vnd.oci.image.layer.v1.tar";

struct saved {
    char id[DIGEST_LEN + 1];
    char **tags; // full
};

struct save {
    struct image_service *images;
    struct writer to;
    struct saved *list;
    size_t len;
    struct map written; // digests of blobs in the archive
    json_t *index, *manifests;
    struct error *err;
};

// --- what to save
static struct saved *add_image(struct save *s, const char *id)
{
    for (size_t i = 0; i < s->len; i++)
        if (streq(s->list[i].id, id))
            return &s->list[i];
    s->list = xreallocarray(s->list, s->len + 1, sizeof *s->list);
    struct saved *saved = &s->list[s->len++];
    memcpy(saved->id, id, DIGEST_LEN + 1);
    saved->tags = NULL;
    return saved;
}

static void add_tag(struct save *s, const char *id, const char *full)
{
    struct saved *saved = add_image(s, id);
    if (!strv_contains(saved->tags, full))
        strv_push(&saved->tags, full);
}

struct repository_walk {
    struct save *save;
    char *prefix; // "docker.io/library/busybox:"
    bool found;
};

static int visit_tag(void *context, const char *key, const json_t *document)
{
    struct repository_walk *walk = context;
    const char *id = json_get_string(document, "id", "");
    if (str_has_prefix(key, walk->prefix) && digest_is_valid(id)) {
        add_tag(walk->save, id, key);
        walk->found = true;
    }
    return 0;
}

// A repository without tag stands for all its tags, as in Docker.
static int add_repository(struct save *s, const struct reference *reference, bool *ret_found)
{
    struct repository_walk walk = { s, xasprintf("%s/%s:", reference->domain, reference->repository), false };
    int r = meta_each(s->images->store, META_TAGS, visit_tag, &walk, s->err);
    free(walk.prefix);
    *ret_found = walk.found;
    return r;
}

static int add_name_locked(struct save *s, const char *name)
{
    char id[DIGEST_LEN + 1];
    bool is_id, found = false;
    struct reference reference = { 0 };
    struct error ignored;
    bool is_reference = reference_parse(name, 0, &reference, &ignored) == 0;
    if (is_reference && !reference.tag && !reference.digest && add_repository(s, &reference, &found) < 0) {
        reference_done(&reference);
        return -1;
    }
    int r = found ? 0 : image_resolve_locked(s->images, name, id, &is_id, s->err);
    if (r == 0 && !found) {
        add_image(s, id);
        if (!is_id && reference.tag && !reference.digest) {
            char *full CLEANUP(cleanup_free) = reference_full(&reference);
            add_tag(s, id, full);
        }
    }
    reference_done(&reference);
    return r;
}

// --- writing
static int write_failed(struct save *s, int r)
{
    return error_errno(s->err, r, "write archive");
}

static int write_entry(struct save *s, enum tar_type type, const char *path, uint64_t size)
{
    struct tar_entry e = {
        .type = type, .path = xstrdup(path), .mode = type == TAR_DIRECTORY ? 0755 : 0644, .size = size
    };
    int r = tar_write_header(s->to, &e);
    free(e.path);
    return r < 0 ? write_failed(s, r) : 0;
}

static int write_file(struct save *s, const char *path, const void *bytes, size_t n)
{
    if (write_entry(s, TAR_REGULAR, path, n) < 0)
        return -1;
    int r = s->to.write(s->to.context, bytes, n);
    if (r == 0)
        r = tar_write_padding(s->to, n);
    return r < 0 ? write_failed(s, r) : 0;
}

static int write_json(struct save *s, const char *path, const json_t *document)
{
    char *text CLEANUP(cleanup_free) = json_text(document);
    return write_file(s, path, text, strlen(text));
}

static bool is_new(struct save *s, const char *digest)
{
    return !map_put(&s->written, digest, s);
}

static int write_blob(struct save *s, const char *digest, const void *bytes, size_t n)
{
    char *path CLEANUP(cleanup_free) = xasprintf("blobs/sha256/%s", digest_hex(digest));
    return is_new(s, digest) ? write_file(s, path, bytes, n) : 0;
}

static int write_layer(struct save *s, const char *diff_id, uint64_t *ret_bytes)
{
    struct layer_info info;
    char *path CLEANUP(cleanup_free) = xasprintf("blobs/sha256/%s", digest_hex(diff_id));
    if (layer_get(s->images->store, diff_id, &info, s->err) < 0)
        return -1;
    *ret_bytes = info.tar_bytes;
    if (!is_new(s, diff_id))
        return 0;
    if (write_entry(s, TAR_REGULAR, path, info.tar_bytes) < 0 ||
        layer_pack(s->images->store, diff_id, s->to, s->err) < 0)
        return -1;
    int r = tar_write_padding(s->to, info.tar_bytes);
    return r < 0 ? write_failed(s, r) : 0;
}

static json_t *descriptor(const char *type, const char *digest, uint64_t size)
{
    return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)size);
}

static void list_in_index(struct save *s, const struct saved *saved, const char *digest, size_t n)
{
    for (size_t i = 0; i == 0 || (saved->tags && saved->tags[i]); i++) {
        json_t *item = descriptor(manifest_type, digest, n);
        if (saved->tags) {
            const char *tag = strrchr(saved->tags[i], ':') + 1;
            json_object_set_new(item, "annotations",
                                json_pack("{s:s, s:s}", "io.containerd.image.name", saved->tags[i],
                                          "org.opencontainers.image.ref.name", tag));
        }
        json_array_append_new(s->index, item);
    }
}

static void list_in_manifests(struct save *s, const struct saved *saved, char *const *diff_ids)
{
    json_t *tags = saved->tags ? json_array() : json_null(), *layers = json_array();
    for (size_t i = 0; saved->tags && saved->tags[i]; i++) {
        struct reference reference;
        struct error ignored;
        if (reference_parse(saved->tags[i], 0, &reference, &ignored) < 0)
            continue;
        char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
        json_array_append_new(tags, json_string(familiar));
        reference_done(&reference);
    }
    for (size_t i = 0; diff_ids[i]; i++)
        json_array_append_new(layers, json_sprintf("blobs/sha256/%s", digest_hex(diff_ids[i])));
    json_t *item = json_object();
    json_object_set_new(item, "Config", json_sprintf("blobs/sha256/%s", digest_hex(saved->id)));
    json_object_set_new(item, "RepoTags", tags);
    json_object_set_new(item, "Layers", layers);
    json_array_append_new(s->manifests, item);
}

static int save_image(struct save *s, const struct saved *saved)
{
    struct image *image CLEANUP(image_freep) = NULL;
    struct str config CLEANUP(str_done) = STR_INIT;
    char digest[DIGEST_LEN + 1];
    if (image_load_record(s->images, saved->id, &image, s->err) < 0 ||
        content_get(s->images->store, saved->id, &config, s->err) < 0 ||
        write_blob(s, saved->id, config.ptr, config.len) < 0)
        return -1;
    json_t *manifest CLEANUP(json_cleanup) =
        json_pack("{s:i, s:s, s:o, s:[]}", "schemaVersion", 2, "mediaType", manifest_type, "config",
                  descriptor(config_type, saved->id, config.len), "layers");
    for (size_t i = 0; image->diff_ids[i]; i++) {
        uint64_t n;
        if (write_layer(s, image->diff_ids[i], &n) < 0)
            return -1;
        json_array_append_new(json_get_array(manifest, "layers"),
                              descriptor(layer_type, image->diff_ids[i], n));
    }
    char *text CLEANUP(cleanup_free) = json_text(manifest);
    digest_of(text, strlen(text), digest);
    if (write_blob(s, digest, text, strlen(text)) < 0)
        return -1;
    list_in_index(s, saved, digest, strlen(text));
    list_in_manifests(s, saved, image->diff_ids);
    image_emit(s->images, "save", saved->id, saved->id, image->config);
    return 0;
}

static int save_all(struct save *s)
{
    if (write_entry(s, TAR_DIRECTORY, "blobs/", 0) < 0 ||
        write_entry(s, TAR_DIRECTORY, "blobs/sha256/", 0) < 0)
        return -1;
    for (size_t i = 0; i < s->len; i++)
        if (save_image(s, &s->list[i]) < 0)
            return -1;
    json_t *layout CLEANUP(json_cleanup) = json_pack("{s:s}", "imageLayoutVersion", "1.0.0");
    json_t *index CLEANUP(json_cleanup) =
        json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", index_type, "manifests", s->index);
    if (write_json(s, "index.json", index) < 0 || write_json(s, "manifest.json", s->manifests) < 0 ||
        write_json(s, "oci-layout", layout) < 0)
        return -1;
    int r = tar_write_end(s->to);
    return r < 0 ? write_failed(s, r) : 0;
}

// The acquire bracket keeps the layers from being collected while they are read.
int image_save(struct image_service *images, char *const *names, struct writer to, struct error *err)
{
    struct save s = { .images = images,
                      .to = to,
                      .written = MAP_INIT,
                      .index = json_array(),
                      .manifests = json_array(),
                      .err = err };
    int r = 0;
    image_acquire_begin(images);
    pthread_mutex_lock(&images->lock);
    for (size_t i = 0; r == 0 && names[i]; i++)
        r = add_name_locked(&s, names[i]);
    pthread_mutex_unlock(&images->lock);
    if (r == 0)
        r = save_all(&s);
    image_acquire_end(images);
    for (size_t i = 0; i < s.len; i++)
        strv_free(s.list[i].tags);
    free(s.list);
    map_done(&s.written);
    json_decref(s.index);
    json_decref(s.manifests);
    return r;
}
