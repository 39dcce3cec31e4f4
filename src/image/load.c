// Theory of operation. The archive is read once, front to back, whatever its order: every file that looks like a layer
// (compressed, or a tar) is unpacked into the store at once, before it is known which image wants it; every small other file
// is kept in memory as a document, up to a ceiling. When the archive ends, manifest.json (docker save) or index.json (OCI
// layout) says which documents and layers make an image. Layers nobody names are collected at the end of the acquire
// bracket. So memory is bounded and nothing is staged twice.
//
// Names in the archive are keys of a map and never become paths.
#include "image/image_internal.h"

#include "base/map.h"
#include "base/mem.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "codec/sha256.h"
#include "codec/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

enum {
    DOCUMENTS_MAX_BYTES = 32 << 20,
    READINGS_MAX_BYTES = 128 << 20,
    READING_COST = 16 << 10, // of any document, however small
    FILES_MAX = 100000,
    LINK_DEPTH_MAX = 4,
    INDEX_DEPTH_MAX = 3,
    PEEK = TAR_BLOCK
};

struct archived { // one file of the archive
    char *link;   // it is a link to this name, or NULL
    char *bytes;  // a document, or NULL
    size_t n;
    char diff_id[DIGEST_LEN + 1]; // a layer, or ""
};

struct load {
    struct image_service *images;
    struct tar_reader *tar;
    const struct progress_sink *progress;
    struct map files; // cleaned name -> struct archived
    size_t document_bytes, read_bytes;
    char **loaded; // strv of tags or ids
    struct error *err;
};

// --- one file's payload as a reader
struct payload {
    struct tar_reader *tar;
    char peek[PEEK];
    size_t peek_at, peek_n;
    const char *rest; // borrowed from the tar reader
    size_t rest_n;
    struct sha256 *hash; // of what was read, or NULL
};

static ssize_t payload_some(struct payload *p, void *buffer, size_t n)
{
    if (p->rest_n == 0) {
        const void *at;
        ssize_t k = tar_reader_data(p->tar, &at);
        if (k <= 0)
            return k;
        p->rest = at;
        p->rest_n = (size_t)k;
    }
    size_t k = p->rest_n < n ? p->rest_n : n;
    memcpy(buffer, p->rest, k);
    p->rest += k;
    p->rest_n -= k;
    return (ssize_t)k;
}

static ssize_t read_payload(void *context, void *buffer, size_t n)
{
    struct payload *p = context;
    ssize_t k;
    if (p->peek_at < p->peek_n) {
        k = (ssize_t)(p->peek_n - p->peek_at < n ? p->peek_n - p->peek_at : n);
        memcpy(buffer, p->peek + p->peek_at, (size_t)k);
        p->peek_at += (size_t)k;
    } else {
        k = payload_some(p, buffer, n);
    }
    if (k > 0 && p->hash)
        sha256_update(p->hash, buffer, (size_t)k);
    return k;
}

static int fill_peek(struct payload *p)
{
    while (p->peek_n < PEEK) {
        ssize_t k = payload_some(p, p->peek + p->peek_n, PEEK - p->peek_n);
        if (k < 0)
            return (int)k;
        if (k == 0)
            break;
        p->peek_n += (size_t)k;
    }
    return 0;
}

// --- reading the archive
static int archive_error(struct load *l, int r)
{
    const char *problem = tar_reader_problem(l->tar);
    return problem ? error_set(l->err, ERROR_INVALID, "invalid archive: %s", problem)
                   : error_errno(l->err, r, "read archive");
}

static bool looks_like_layer(const struct payload *p)
{
    const char *b = p->peek;
    if (p->peek_n >= 4 && (memcmp(b, "\x1f\x8b", 2) == 0 || memcmp(b, "\x28\xb5\x2f\xfd", 4) == 0))
        return true;
    if (p->peek_n < TAR_BLOCK)
        return false;
    if (memcmp(b + 257, "ustar", 5) == 0)
        return true;
    for (size_t i = 0; i < TAR_BLOCK; i++) // a layer without entries begins with the end mark
        if (b[i])
            return false;
    return true;
}

static char *clean_name(const char *name)
{
    while (str_has_prefix(name, "./"))
        name += 2;
    return xstrdup(name);
}

// "../def/layer.tar" as seen from "abc/layer.tar". Only the form that docker save wrote is of use; anything else finds nothing.
static char *link_target(const char *name, const char *link, bool is_hard)
{
    const char *slash = strrchr(name, '/');
    if (is_hard || !slash)
        return clean_name(link);
    if (str_has_prefix(link, "../"))
        return xstrdup(link + 3);
    return xasprintf("%.*s/%s", (int)(slash - name), name, link);
}

static int take_layer(struct load *l, struct payload *p, const char *name, struct archived *file)
{
    struct layer_info info;
    struct sha256 *hash CLEANUP(sha256_freep) = NULL;
    char hex[SHA256_HEX_LEN + 1];
    bool is_blob = str_has_prefix(name, "blobs/sha256/");
    if (is_blob)
        p->hash = hash = sha256_new();
    if (layer_unpack(l->images->store, (struct reader){ read_payload, p }, NULL,
                     &l->images->options.layer_limits, &info, l->err) < 0)
        return tar_reader_problem(l->tar) ? archive_error(l, 0) : -1;
    if (is_blob) {
        sha256_final_hex(hash, hex);
        if (!streq(hex, name + strlen("blobs/sha256/")))
            return error_set(l->err, ERROR_INVALID, "invalid archive: digest mismatch: %.120s is sha256:%s",
                             name, hex);
    }
    memcpy(file->diff_id, info.diff_id, sizeof file->diff_id);
    return 0;
}

// What is kept in memory until the archive's end: documents, and the files' names.
static int note_kept(struct load *l, size_t n)
{
    l->document_bytes += n;
    return l->document_bytes <= DOCUMENTS_MAX_BYTES
               ? 0
               : error_set(l->err, ERROR_INVALID, "invalid archive: more than %d bytes of documents",
                           (int)DOCUMENTS_MAX_BYTES);
}

static int take_document(struct load *l, struct payload *p, uint64_t size, struct archived *file)
{
    if (size > IMAGE_DOCUMENT_MAX)
        return 0; // of no use to us; missed only if a manifest names it
    if (note_kept(l, (size_t)size) < 0)
        return -1;
    struct str s CLEANUP(str_done) = STR_INIT;
    int r = reader_read_all((struct reader){ read_payload, p }, IMAGE_DOCUMENT_MAX, &s);
    if (r < 0)
        return archive_error(l, r);
    file->n = s.len;
    file->bytes = str_take(&s);
    return 0;
}

static void archived_free(struct archived *file)
{
    if (!file)
        return;
    free(file->link);
    free(file->bytes);
    free(file);
}

static int take_file(struct load *l, const struct tar_entry *e)
{
    char *name CLEANUP(cleanup_free) = clean_name(e->path);
    struct payload *p CLEANUP(cleanup_free) = NEW(struct payload);
    p->tar = l->tar;
    if (l->files.len >= FILES_MAX)
        return error_set(l->err, ERROR_INVALID, "invalid archive: more than %d files", (int)FILES_MAX);
    if (note_kept(l, strlen(e->path) + strlen(e->link)) < 0)
        return -1;
    struct archived *file = NEW(struct archived);
    archived_free(map_put(&l->files, name, file));
    if (e->type == TAR_SYMLINK || e->type == TAR_HARDLINK) {
        file->link = link_target(name, e->link, e->type == TAR_HARDLINK);
        return 0;
    }
    int r = fill_peek(p);
    if (r < 0)
        return archive_error(l, r);
    return looks_like_layer(p) ? take_layer(l, p, name, file) : take_document(l, p, e->size, file);
}

static int read_archive(struct load *l)
{
    const struct tar_entry *e;
    for (;;) {
        int r = tar_reader_next(l->tar, &e);
        if (r < 0)
            return archive_error(l, r);
        if (r == 0)
            return 0;
        if ((e->type == TAR_REGULAR || e->type == TAR_SYMLINK || e->type == TAR_HARDLINK) &&
            take_file(l, e) < 0)
            return -1;
    }
}

static const struct archived *find_file(const struct load *l, const char *name)
{
    char *clean CLEANUP(cleanup_free) = clean_name(name);
    const struct archived *file = map_get(&l->files, clean);
    for (int i = 0; file && file->link && i < LINK_DEPTH_MAX; i++)
        file = map_get(&l->files, file->link);
    return file && !file->link ? file : NULL;
}

// An index may name one document again and again, and a manifest one configuration: what is read of them is bounded, too.
static int note_reading(struct load *l, size_t n)
{
    l->read_bytes += n + READING_COST;
    return l->read_bytes <= READINGS_MAX_BYTES
               ? 0
               : error_set(l->err, ERROR_INVALID,
                           "invalid archive: its documents name one another too often");
}

static int need_document(struct load *l, const char *name, const struct archived **ret)
{
    const struct archived *file = name ? find_file(l, name) : NULL;
    if (!file || !file->bytes)
        return error_set(l->err, ERROR_INVALID, "invalid archive: \"%.200s\" is missing or not a document",
                         name ? name : "");
    *ret = file;
    return note_reading(l, file->n);
}

// --- images
static int say_loaded(struct load *l, const char *what, const char *name)
{
    char *line CLEANUP(cleanup_free) = xasprintf("%s: %s\n", what, name);
    struct progress progress = { .stream = line };
    strv_push(&l->loaded, name);
    if (l->progress && l->progress->report && l->progress->report(l->progress->context, &progress) < 0)
        return error_set(l->err, ERROR_CANCELLED, "load cancelled");
    return 0;
}

// Layers as the archive has them against what the configuration says; one that is not in the archive may be in the store.
static int check_layers(struct load *l, char *const *diff_ids, char *const *layer_names)
{
    size_t n = strv_len(diff_ids);
    if (n != strv_len(layer_names))
        return error_set(l->err, ERROR_INVALID,
                         "invalid manifest, layers length mismatch: expected %zu, got %zu", n,
                         strv_len(layer_names));
    for (size_t i = 0; i < n; i++) {
        const struct archived *file = find_file(l, layer_names[i]);
        if (file && *file->diff_id && !streq(file->diff_id, diff_ids[i]))
            return error_set(l->err, ERROR_INVALID,
                             "invalid diffID for layer %zu: expected \"%s\", got \"%s\"", i, diff_ids[i],
                             file->diff_id);
        if ((!file || !*file->diff_id) && !layer_has(l->images->store, diff_ids[i]))
            return error_set(l->err, ERROR_INVALID, "invalid archive: layer \"%.200s\" is missing",
                             layer_names[i]);
    }
    return 0;
}

static int register_tagged(struct load *l, struct image_registration *g, const json_t *config,
                           char *const *tags)
{
    char id[DIGEST_LEN + 1];
    size_t tagged = 0;
    if (image_register(l->images, g, id, l->err) < 0)
        return -1;
    for (size_t i = 0; tags && tags[i]; i++) {
        struct reference reference;
        if (reference_parse(tags[i], 1, &reference, l->err) < 0)
            return error_wrap(l->err, "invalid tag \"%.200s\"", tags[i]);
        g->tag = &reference;
        int r = note_reading(l, g->config_n);
        if (r == 0 && reference.tag)
            r = image_register(l->images, g, id, l->err);
        char *familiar CLEANUP(cleanup_free) = reference_familiar(&reference);
        reference_done(&reference);
        if (r < 0 || say_loaded(l, "Loaded image", familiar) < 0)
            return -1;
        tagged++;
    }
    image_emit(l->images, "load", id, id, config);
    return tagged ? 0 : say_loaded(l, "Loaded image ID", id);
}

static int load_image(struct load *l, const struct archived *config_file, char *const *layer_names,
                      char *const *tags, const char *manifest_digest)
{
    json_t *config CLEANUP(json_cleanup) = NULL;
    char **diff_ids CLEANUP(strv_freep) = NULL;
    struct image_registration g = { .config = config_file->bytes,
                                    .config_n = config_file->n,
                                    .manifest_digest = manifest_digest };
    if (image_config_parse(config_file->bytes, config_file->n, &config, &diff_ids, l->err) < 0 ||
        check_layers(l, diff_ids, layer_names) < 0)
        return -1;
    return register_tagged(l, &g, config, tags);
}

static int load_docker(struct load *l, const struct archived *manifest)
{
    json_t *list CLEANUP(json_cleanup) = NULL;
    if (json_parse(manifest->bytes, manifest->n, &list, l->err) < 0)
        return error_wrap(l->err, "manifest.json");
    if (!json_is_array(list))
        return error_set(l->err, ERROR_INVALID, "manifest.json: not a list of images");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        char **layers CLEANUP(strv_freep) = json_get_strv(item, "Layers"),
                      **tags CLEANUP(strv_freep) = json_get_strv(item, "RepoTags");
        const struct archived *config;
        if (need_document(l, json_get_string(item, "Config", NULL), &config) < 0 ||
            load_image(l, config, layers, tags, NULL) < 0)
            return -1;
    }
    return 0;
}

// --- OCI layout
// "sha256:<hex>" -> the document blobs/sha256/<hex>, verified.
static int need_blob(struct load *l, const char *digest, const struct archived **ret)
{
    char found[DIGEST_LEN + 1];
    if (!digest_is_valid(digest))
        return error_set(l->err, ERROR_INVALID, "invalid archive: invalid digest \"%.100s\"",
                         digest ? digest : "");
    char *name CLEANUP(cleanup_free) = xasprintf("blobs/sha256/%s", digest_hex(digest));
    if (need_document(l, name, ret) < 0)
        return -1;
    digest_of((*ret)->bytes, (*ret)->n, found);
    return streq(found, digest)
               ? 0
               : error_set(l->err, ERROR_INVALID, "invalid archive: digest mismatch: %s is %s", name, found);
}

static const char *machine_architecture(void)
{
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#else
    static struct utsname uts;
    return uname(&uts) == 0 ? uts.machine : "unknown";
#endif
}

static bool is_for_this_machine(const json_t *descriptor)
{
    const json_t *platform = json_get_object(descriptor, "platform");
    return !platform || (streq(json_get_string(platform, "os", "linux"), "linux") &&
                         streq(json_get_string(platform, "architecture", ""), machine_architecture()));
}

static void add_name(const json_t *descriptor, char ***tags)
{
    const json_t *annotations = json_get_object(descriptor, "annotations");
    const char *name = json_get_string(annotations, "io.containerd.image.name", NULL);
    const char *ref = json_get_string(annotations, "org.opencontainers.image.ref.name", NULL);
    if (!name && ref && strpbrk(ref, ":/")) // else it is a mere tag without a repository
        name = ref;
    if (name)
        strv_push(tags, name);
}

static int load_manifest(struct load *l, const char *digest, const json_t *manifest, char *const *tags)
{
    const struct archived *config, *file;
    const json_t *layers = json_get_array(manifest, "layers");
    char **names CLEANUP(strv_freep) = xcalloc(1, sizeof *names);
    char stored[DIGEST_LEN + 1];
    if (need_blob(l, json_get_string(json_get_object(manifest, "config"), "digest", NULL), &config) < 0 ||
        need_blob(l, digest, &file) < 0 ||
        content_put(l->images->store, file->bytes, file->n, stored, l->err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const char *layer = json_get_string(json_array_get(layers, i), "digest", NULL);
        if (!digest_is_valid(layer))
            return error_set(l->err, ERROR_INVALID, "invalid archive: invalid digest \"%.100s\"",
                             layer ? layer : "");
        strv_take(&names, xasprintf("blobs/sha256/%s", digest_hex(layer)));
    }
    return load_image(l, config, names, tags, digest);
}

static int load_index(struct load *l, const json_t *index, char *const *tags, int depth);

static int load_descriptor(struct load *l, const json_t *descriptor, char *const *outer_tags, int depth)
{
    const char *digest = json_get_string(descriptor, "digest", NULL);
    const struct archived *file;
    json_t *document CLEANUP(json_cleanup) = NULL;
    char **tags CLEANUP(strv_freep) = strv_copy(outer_tags);
    add_name(descriptor, &tags);
    if (depth > INDEX_DEPTH_MAX)
        return error_set(l->err, ERROR_INVALID, "invalid archive: indexes nested deeper than %d",
                         (int)INDEX_DEPTH_MAX);
    if (need_blob(l, digest, &file) < 0 || json_parse(file->bytes, file->n, &document, l->err) < 0)
        return -1;
    return json_get_array(document, "manifests") ? load_index(l, document, tags, depth + 1)
                                                 : load_manifest(l, digest, document, tags);
}

static int load_index(struct load *l, const json_t *index, char *const *tags, int depth)
{
    const json_t *manifests = json_get_array(index, "manifests");
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *descriptor = json_array_get(manifests, i);
        if (is_for_this_machine(descriptor) && load_descriptor(l, descriptor, tags, depth) < 0)
            return -1;
    }
    return 0;
}

static int load_oci(struct load *l, const struct archived *file)
{
    json_t *index CLEANUP(json_cleanup) = NULL;
    if (json_parse(file->bytes, file->n, &index, l->err) < 0)
        return error_wrap(l->err, "index.json");
    return load_index(l, index, NULL, 0);
}

static int load_all(struct load *l)
{
    if (read_archive(l) < 0)
        return -1;
    const struct archived *manifest = find_file(l, "manifest.json"), *index = find_file(l, "index.json");
    if (!(manifest && manifest->bytes) && !(index && index->bytes))
        return error_set(l->err, ERROR_INVALID,
                         "invalid archive: neither manifest.json nor index.json is in it");
    if ((manifest && manifest->bytes ? load_docker(l, manifest) : load_oci(l, index)) < 0)
        return -1;
    return l->loaded ? 0
                     : error_set(l->err, ERROR_INVALID, "invalid archive: no image for this machine in it");
}

int image_load(struct image_service *images, struct reader archive, const struct progress_sink *progress,
               char ***ret_names, struct error *err)
{
    struct decoder *decoder CLEANUP(decoder_freep) = NULL;
    struct load l = { .images = images, .progress = progress, .files = MAP_INIT, .err = err };
    int r = decoder_new(archive, &decoder);
    if (r < 0)
        return error_errno(err, r, "read archive");
    struct tar_reader *tar CLEANUP(tar_reader_freep) =
        tar_reader_new(decoder_reader(decoder), (struct writer){ 0 });
    l.tar = tar;
    image_acquire_begin(images);
    r = load_all(&l);
    image_acquire_failed(images); // a good archive, too, may hold layers that no image of it wants
    image_acquire_end(images);
    if (r < 0 && decoder_problem(decoder))
        error_set(err, ERROR_INVALID, "invalid archive: %s", decoder_problem(decoder));
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&l.files, &at));)
        archived_free(e->value);
    map_done(&l.files);
    if (r < 0)
        strv_free(l.loaded);
    else
        *ret_names = l.loaded;
    return r;
}
