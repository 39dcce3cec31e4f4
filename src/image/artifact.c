#include "image/artifact.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/sha256.h"
#include "codec/tar.h"
#include "image/place.h"
#include "registry/client/referrers.h"
#include "registry/client/upload.h"

#include <limits.h>
#include <string.h>

#define EMPTY_TYPE   "application/vnd.oci.empty.v1+json"
#define EMPTY_DIGEST "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of "{}"
#define TITLE        "org.opencontainers.image.title"
enum { PIECE_BYTES = 4 << 20, FILES_MAX = 1000 };

// --- the subject
struct subject {
    struct reference reference;
    struct registry_repository *repository;
    struct registry_manifest manifest;
};

static void subject_done(struct subject *s)
{
    reference_done(&s->reference);
    registry_close(s->repository);
    registry_manifest_done(&s->manifest);
}

static int open_subject(struct image_service *images, const char *name, const struct registry_auth *auth,
                        bool is_push, struct subject *ret, struct error *err)
{
    ret->manifest.bytes = STR_INIT;
    if (reference_parse(name, 1, &ret->reference, err) < 0 ||
        image_place_open(images, &ret->reference, auth, is_push, NULL, &ret->repository, err) < 0)
        return -1;
    const char *which = ret->reference.digest ? ret->reference.digest : ret->reference.tag;
    return registry_manifest_get(ret->repository, which, &ret->manifest, err);
}

// type and title may be a registry's or a client's: what is no UTF-8 is left out.
static json_t *describe(const char *type, const char *digest, size_t n)
{
    json_t *descriptor = json_object();
    json_set_string(descriptor, "mediaType", type);
    json_set_string(descriptor, "digest", digest);
    json_set_int(descriptor, "size", (int64_t)n);
    return descriptor;
}

static int parse_index(const struct str *text, json_t **ret, struct error *err)
{
    if (text->len == 0) {
        *ret = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", OCI_MEDIA_INDEX, "manifests");
        return 0;
    }
    if (json_parse(text->ptr, text->len, ret, err) < 0)
        return error_wrap(err, "index of referrers");
    if (json_get_array(*ret, "manifests"))
        return 0;
    json_decref(*ret);
    return error_set(err, ERROR_INVALID, "index of referrers: no manifests in it");
}

// --- list
int artifact_list(struct image_service *images, const char *name, const char *type,
                  const struct registry_auth *auth, json_t **ret, struct error *err)
{
    CLEANUP(subject_done) struct subject s = { 0 };
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *index CLEANUP(json_cleanup) = NULL;
    bool is_native;
    if (open_subject(images, name, auth, false, &s, err) < 0 ||
        registry_referrers_get(s.repository, s.manifest.digest, &text, &is_native, err) < 0 ||
        parse_index(&text, &index, err) < 0)
        return -1;
    json_t *list = json_array(), *item;
    size_t i;
    json_array_foreach(json_get_array(index, "manifests"), i, item)
    {
        const char *its_type = json_get_string(item, "artifactType", "");
        if (!oci_digest_is_valid(json_get_string(item, "digest", "")) || (type && !streq(type, its_type)))
            continue;
        json_t *annotations = json_get_object(item, "annotations"), *shown = json_object();
        json_set_string(shown, "Digest", json_get_string(item, "digest", ""));
        json_set_string(shown, "MediaType", json_get_string(item, "mediaType", ""));
        json_set_string(shown, "ArtifactType", its_type);
        json_set_int(shown, "Size", json_get_int(item, "size", 0));
        json_object_set_new(shown, "Annotations", annotations ? json_deep_copy(annotations) : json_object());
        json_array_append_new(list, shown);
    }
    *ret = list;
    return 0;
}

// --- attach: one file, in pieces, hashed as it goes
static int send_rest(struct registry_upload *upload, struct str *piece, struct sha256 *hash,
                     char digest[static DIGEST_LEN + 1], struct error *err)
{
    memcpy(digest, "sha256:", 7);
    sha256_final_hex(hash, digest + 7);
    return registry_upload_finish(upload, piece->ptr, piece->len, digest, err);
}

static int send_file(struct registry_repository *to, struct tar_reader *tar,
                     char digest[static DIGEST_LEN + 1], struct error *err)
{
    struct registry_upload *upload = NULL;
    struct str piece CLEANUP(str_done) = STR_INIT;
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    const void *bytes;
    ssize_t n;
    if (registry_upload_begin(to, NULL, NULL, NULL, &upload, err) < 0)
        return -1;
    uint64_t least = registry_upload_piece_min(upload);
    int r = 0;
    while (r == 0 && (n = tar_reader_data(tar, &bytes)) > 0) {
        sha256_update(hash, bytes, (size_t)n);
        if (piece.len >= PIECE_BYTES && piece.len >= least) {
            r = registry_upload_piece(upload, piece.ptr, piece.len, err);
            str_clear(&piece);
        }
        str_append_n(&piece, bytes, (size_t)n);
    }
    if (r == 0 && n < 0)
        r = error_set(err, ERROR_INVALID, "invalid archive: %s",
                      tar_reader_problem(tar) ? tar_reader_problem(tar) : "cut short");
    if (r == 0)
        r = send_rest(upload, &piece, hash, digest, err);
    registry_upload_close(upload);
    return r;
}

static int send_files(struct registry_repository *to, const struct artifact_attachment *a, json_t *layers,
                      struct error *err)
{
    struct tar_reader *tar CLEANUP(tar_reader_freep) = tar_reader_new(a->files, (struct writer){ 0 });
    const struct tar_entry *entry;
    int r;
    while ((r = tar_reader_next(tar, &entry)) == 1) {
        char digest[DIGEST_LEN + 1];
        if (entry->type != TAR_REGULAR)
            continue;
        if (json_array_size(layers) == FILES_MAX)
            return error_set(err, ERROR_INVALID, "more than %d files", (int)FILES_MAX);
        char *title CLEANUP(cleanup_free) = xstrdup(path_last_name(entry->path));
        uint64_t size = entry->size;
        if (send_file(to, tar, digest, err) < 0)
            return -1;
        json_t *layer = describe(a->media_type ? a->media_type : "application/octet-stream", digest, size);
        json_t *annotations = json_object();
        json_set_text(annotations, TITLE, title);
        json_object_set_new(layer, "annotations", annotations);
        json_array_append_new(layers, layer);
    }
    return r < 0 ? error_set(err, ERROR_INVALID, "invalid archive: %s",
                             tar_reader_problem(tar) ? tar_reader_problem(tar) : "cut short")
                 : 0;
}

static json_t *make_annotations(char *const *pairs)
{
    char now[TIME_TEXT_MAX];
    json_t *annotations = json_object();
    time_format_rfc3339(time_now_ns(), now);
    json_set_string(annotations, "org.opencontainers.image.created", now);
    for (size_t i = 0; pairs && pairs[i]; i++) {
        const char *equals = strchr(pairs[i], '=');
        char *key CLEANUP(cleanup_free) =
            xstrndup(pairs[i], equals ? (size_t)(equals - pairs[i]) : strlen(pairs[i]));
        json_set_string(annotations, key, equals ? equals + 1 : "");
    }
    return annotations;
}

static json_t *make_manifest(const struct subject *s, const struct artifact_attachment *a, json_t *layers)
{
    const char *type = s->manifest.media_type ? s->manifest.media_type : OCI_MEDIA_MANIFEST;
    json_t *manifest = json_object();
    json_set_int(manifest, "schemaVersion", 2);
    json_set_string(manifest, "mediaType", OCI_MEDIA_MANIFEST);
    json_set_string(manifest, "artifactType", a->type);
    json_object_set_new(manifest, "config", describe(EMPTY_TYPE, EMPTY_DIGEST, 2));
    json_object_set(manifest, "layers", layers);
    json_object_set_new(manifest, "subject", describe(type, s->manifest.digest, s->manifest.bytes.len));
    json_object_set_new(manifest, "annotations", make_annotations(a->annotations));
    return manifest;
}

// The registry does not know by itself what refers to the subject: its index is a tag that whoever attaches keeps.
static int update_index(const struct subject *s, const struct str *text, const json_t *manifest,
                        const char *digest, size_t n, struct error *err)
{
    json_t *index CLEANUP(json_cleanup) = NULL;
    if (parse_index(text, &index, err) < 0)
        return -1;
    json_t *descriptor = describe(OCI_MEDIA_MANIFEST, digest, n);
    json_object_set(descriptor, "artifactType", json_object_get(manifest, "artifactType"));
    json_object_set(descriptor, "annotations", json_object_get(manifest, "annotations"));
    json_array_append_new(json_get_array(index, "manifests"), descriptor);
    char *tag CLEANUP(cleanup_free) = xasprintf("sha256-%s", s->manifest.digest + 7);
    char *bytes CLEANUP(cleanup_free) = json_text(index);
    return registry_manifest_put(s->repository, tag, OCI_MEDIA_INDEX, bytes, strlen(bytes), err);
}

int artifact_attach(struct image_service *images, const struct artifact_attachment *a,
                    const struct registry_auth *auth, char ret_digest[static DIGEST_LEN + 1],
                    struct error *err)
{
    CLEANUP(subject_done) struct subject s = { 0 };
    struct str before CLEANUP(str_done) = STR_INIT;
    bool is_native;
    if (!strchr(a->type, '/'))
        return error_set(err, ERROR_INVALID, "invalid artifact type \"%.100s\": a media type is wanted",
                         a->type);
    json_t *layers CLEANUP(json_cleanup) = json_array();
    if (open_subject(images, a->name, auth, true, &s, err) < 0 ||
        registry_referrers_get(s.repository, s.manifest.digest, &before, &is_native, err) < 0 ||
        image_place_put_blob(s.repository, EMPTY_DIGEST, "{}", 2, err) < 0 ||
        send_files(s.repository, a, layers, err) < 0)
        return -1;
    if (json_array_size(layers) == 0) // the specification wants one
        json_array_append_new(layers, describe(EMPTY_TYPE, EMPTY_DIGEST, 2));
    json_t *manifest CLEANUP(json_cleanup) = make_manifest(&s, a, layers);
    char *bytes CLEANUP(cleanup_free) = json_text(manifest);
    digest_of(bytes, strlen(bytes), ret_digest);
    if (registry_manifest_put(s.repository, ret_digest, OCI_MEDIA_MANIFEST, bytes, strlen(bytes), err) < 0)
        return -1;
    return is_native ? 0 : update_index(&s, &before, manifest, ret_digest, strlen(bytes), err);
}

// --- pull
static char *file_name(const json_t *layer)
{
    const char *digest = json_get_string(layer, "digest", "");
    const char *name = path_last_name(json_get_string(json_get_object(layer, "annotations"), TITLE, ""));
    if (!*name || streq(name, ".") || streq(name, "..") || strlen(name) > NAME_MAX)
        name = digest + 7;
    return xstrdup(name);
}

static int write_layer(const struct subject *s, const json_t *layer, struct writer to, struct error *err)
{
    const char *digest = json_get_string(layer, "digest", "");
    int64_t size = json_get_int(layer, "size", -1);
    struct registry_blob *blob = NULL;
    struct oci_descriptor descriptor = { .size_bytes = (uint64_t)size };
    if (!oci_digest_is_valid(digest) || size < 0)
        return error_set(err, ERROR_INVALID, "invalid manifest: a layer without digest or size");
    memcpy(descriptor.digest, digest, OCI_DIGEST_LEN + 1);
    char *name CLEANUP(cleanup_free) = file_name(layer);
    const struct tar_entry entry = {
        .type = TAR_REGULAR, .path = name, .link = (char[]){ "" }, .mode = 0644, .size = (uint64_t)size
    };
    if (registry_blob_open(s->repository, &descriptor, &blob, err) < 0)
        return -1;
    int r = tar_write_header(to, &entry);
    ssize_t n = r < 0 ? r : stream_copy(registry_blob_reader(blob), to);
    if (n >= 0)
        r = tar_write_padding(to, (uint64_t)size);
    if (registry_blob_error(blob)) {
        *err = *registry_blob_error(blob);
        r = -1;
    } else if (n < 0 || r < 0) {
        r = error_errno(err, n < 0 ? (int)n : r, "write archive");
    }
    registry_blob_close(blob);
    return r;
}

int artifact_pull(struct image_service *images, const char *name, const struct registry_auth *auth,
                  struct writer to, struct error *err)
{
    CLEANUP(subject_done) struct subject s = { 0 };
    json_t *manifest CLEANUP(json_cleanup) = NULL;
    if (open_subject(images, name, auth, false, &s, err) < 0 ||
        json_parse(s.manifest.bytes.ptr, s.manifest.bytes.len, &manifest, err) < 0)
        return -1;
    const json_t *layers = json_get_array(manifest, "layers");
    if (!layers)
        return error_set(err, ERROR_INVALID, "%s is no artifact: it has no layers", name);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        if (!streq(json_get_string(layer, "mediaType", ""), EMPTY_TYPE) &&
            write_layer(&s, layer, to, err) < 0)
            return -1;
    }
    int r = tar_write_end(to);
    return r < 0 ? error_errno(err, r, "write archive") : 0;
}
