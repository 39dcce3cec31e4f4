// Theory of operation. A document is judged by three witnesses: the transport's content type, its own
// mediaType and the members it has. They must agree (security R11): a document read as a manifest by one tool
// and as an index by another is how a signature is made to cover the wrong image (CVE-2021-41190). Sizes are
// bounded before the parser sees the bytes, depth by json_parse, counts here. Members nobody asked for are
// ignored, as the specifications demand.
#include "oci/image.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>
#include <sys/utsname.h>

bool oci_digest_is_valid(const char *digest)
{
    return digest && strlen(digest) == OCI_DIGEST_LEN && str_has_prefix(digest, "sha256:") &&
           strspn(digest + 7, "0123456789abcdef") == 64;
}

static void descriptor_done(struct oci_descriptor *descriptor)
{
    free(descriptor->media_type);
    oci_platform_done(&descriptor->platform);
    *descriptor = (struct oci_descriptor){ 0 };
}

void oci_document_done(struct oci_document *document)
{
    free(document->media_type);
    descriptor_done(&document->config);
    for (size_t i = 0; i < document->count; i++)
        descriptor_done(&document->descriptors[i]);
    free(document->descriptors);
    *document = (struct oci_document){ 0 };
}

// --- platforms
static const char *plain_architecture(const char *name)
{
    static const char *const others[][2] = { { "x86_64", "amd64" },  { "x86-64", "amd64" },
                                             { "aarch64", "arm64" }, { "armhf", "arm" },
                                             { "armv7l", "arm" },    { "i386", "386" },
                                             { "i686", "386" } };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (streq(name, others[i][0]))
            return others[i][1];
    return name;
}

// The variant that an architecture without one stands for.
static const char *plain_variant(const struct oci_platform *platform)
{
    if (!str_is_empty(platform->variant))
        return platform->variant;
    return streq(platform->architecture, "arm64")   ? "v8"
           : streq(platform->architecture, "arm")   ? "v7"
           : streq(platform->architecture, "amd64") ? "v1"
                                                    : "";
}

void oci_platform_done(struct oci_platform *platform)
{
    free(platform->os);
    free(platform->architecture);
    free(platform->variant);
    *platform = (struct oci_platform){ 0 };
}

void oci_platform_host(struct oci_platform *ret)
{
    struct utsname name;
    const char *machine = uname(&name) == 0 ? name.machine : "x86_64";
    const char *architecture = plain_architecture(machine);
    *ret = (struct oci_platform){ .os = xstrdup("linux"),
                                  .architecture = xstrdup(architecture),
                                  .variant = streq(architecture, "arm64") ? xstrdup("v8") : NULL };
}

static bool is_platform_word(const char *word)
{
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && n < 64 && word[n] == '\0';
}

int oci_platform_parse(const char *text, struct oci_platform *ret, struct error *err)
{
    CLEANUP(strv_freep) char **words = strv_split(text, "/", true);
    size_t n = strv_len(words);
    bool is_fine = n >= 1 && n <= 3;
    for (size_t i = 0; i < n; i++)
        is_fine = is_fine && is_platform_word(words[i]);
    if (!is_fine)
        return error_set(err, ERROR_INVALID,
                         "\"%s\": unknown operating system or architecture: invalid argument", text);
    struct oci_platform host;
    oci_platform_host(&host);
    // One word alone names the system, or the architecture on this system.
    bool is_architecture = n == 1 && !streq(words[0], "linux") && !streq(words[0], "windows");
    const char *architecture = is_architecture ? words[0] : n > 1 ? words[1] : host.architecture;
    *ret = (struct oci_platform){ .os = xstrdup(is_architecture ? "linux" : words[0]),
                                  .architecture = xstrdup(plain_architecture(architecture)),
                                  .variant = n > 2 ? xstrdup(words[2]) : NULL };
    oci_platform_done(&host);
    return 0;
}

char *oci_platform_text(const struct oci_platform *platform)
{
    const char *variant = str_is_empty(platform->variant) ? NULL : platform->variant;
    return xasprintf("%s/%s%s%s", platform->os, platform->architecture, variant ? "/" : "",
                     variant ? variant : "");
}

bool oci_platform_matches(const struct oci_platform *wanted, const struct oci_platform *offered)
{
    if (!streq(wanted->os, offered->os) || !streq(wanted->architecture, offered->architecture))
        return false;
    const char *w = plain_variant(wanted), *o = plain_variant(offered);
    if (streq(w, o))
        return true;
    // "v6" runs where "v7" is wanted. Only one-digit variants have an order.
    return w[0] == 'v' && o[0] == 'v' && strlen(w) == 2 && strlen(o) == 2 && o[1] >= '1' && o[1] < w[1];
}

const struct oci_descriptor *oci_index_choose(const struct oci_document *index,
                                              const struct oci_platform *wanted)
{
    const struct oci_descriptor *best = NULL;
    for (size_t i = 0; i < index->count; i++) {
        const struct oci_descriptor *entry = &index->descriptors[i];
        if (!entry->has_platform || !oci_platform_matches(wanted, &entry->platform))
            continue;
        if (!best || strcmp(plain_variant(&entry->platform), plain_variant(&best->platform)) > 0)
            best = entry;
    }
    // An index of one image need not say what that image is for; its configuration does.
    return best                                                       ? best
           : index->count == 1 && !index->descriptors[0].has_platform ? &index->descriptors[0]
                                                                      : NULL;
}

// --- parsing
static bool is_index_type(const char *type)
{
    return streq(type, OCI_MEDIA_INDEX) || streq(type, DOCKER_MEDIA_INDEX);
}

static bool is_manifest_type(const char *type)
{
    return streq(type, OCI_MEDIA_MANIFEST) || streq(type, DOCKER_MEDIA_MANIFEST);
}

static bool is_schema1_type(const char *type)
{
    return type && str_has_prefix(type, "application/vnd.docker.distribution.manifest.v1+");
}

static bool is_layer_type(const char *type)
{
    static const char *const types[] = { OCI_MEDIA_LAYER,
                                         OCI_MEDIA_LAYER "+gzip",
                                         OCI_MEDIA_LAYER "+zstd",
                                         DOCKER_MEDIA_LAYER,
                                         DOCKER_MEDIA_LAYER ".gzip",
                                         DOCKER_MEDIA_LAYER ".zstd",
                                         DOCKER_MEDIA_LAYER "+zstd",
                                         "application/vnd.oci.image.layer.nondistributable.v1.tar",
                                         "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                                         "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                                         "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (streq(type, types[i]))
            return true;
    return false;
}

static void parse_platform(const json_t *json, struct oci_descriptor *ret)
{
    const json_t *platform = json_get_object(json, "platform");
    const char *os = json_get_string(platform, "os", NULL),
               *architecture = json_get_string(platform, "architecture", NULL);
    if (!os || !architecture)
        return;
    ret->has_platform = true;
    ret->platform = (struct oci_platform){ .os = xstrdup(os),
                                           .architecture = xstrdup(plain_architecture(architecture)),
                                           .variant = xstrdup(json_get_string(platform, "variant", NULL)) };
}

static int parse_descriptor(const json_t *json, const char *what, struct oci_descriptor *ret,
                            struct error *err)
{
    const char *digest = json_get_string(json, "digest", NULL);
    const json_t *size = json_object_get(json, "size");
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "invalid manifest: %s is not a descriptor", what);
    if (!oci_digest_is_valid(digest))
        return error_set(err, ERROR_INVALID, "invalid manifest: %s has no valid sha256 digest", what);
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return error_set(err, ERROR_INVALID, "invalid manifest: %s has no valid size", what);
    *ret = (struct oci_descriptor){ .media_type = xstrdup(json_get_string(json, "mediaType", NULL)),
                                    .size_bytes = (uint64_t)json_integer_value(size) };
    memcpy(ret->digest, digest, OCI_DIGEST_LEN);
    parse_platform(json, ret);
    return 0;
}

static int parse_list(const json_t *list, const char *what, size_t max, struct oci_document *ret,
                      struct error *err)
{
    size_t n = json_array_size(list);
    if (n > max)
        return error_set(err, ERROR_INVALID, "invalid manifest: %zu %ss, at most %zu can be", n, what, max);
    ret->descriptors = xcalloc(n + 1, sizeof *ret->descriptors);
    for (size_t i = 0; i < n; i++, ret->count++)
        if (parse_descriptor(json_array_get(list, i), what, &ret->descriptors[i], err) < 0)
            return -1;
    return 0;
}

// The content type without parameters ("; charset=..."), NULL when it says nothing of images (a plain-text or
// generic type).
static char *bare_type(const char *content_type)
{
    if (!content_type || !str_has_prefix(content_type, "application/vnd."))
        return NULL;
    return xstrndup(content_type, strcspn(content_type, "; \t\r\n"));
}

static int no_schema1(struct error *err)
{
    return error_set(
        err, ERROR_UNSUPPORTED,
        "image manifest version 2, schema 1 is not supported: push the image again with a current tool");
}

// What the three witnesses say together. *ret_type: owned.
static int judge(const json_t *json, const char *content_type, enum oci_document_kind *ret_kind,
                 char **ret_type, struct error *err)
{
    CLEANUP(cleanup_free) char *outside = bare_type(content_type);
    const char *inside = json_get_string(json, "mediaType", NULL);
    bool has_list = json_object_get(json, "manifests") != NULL;
    bool has_image = json_object_get(json, "layers") != NULL || json_object_get(json, "config") != NULL;
    if (is_schema1_type(outside) || is_schema1_type(inside) || json_get_int(json, "schemaVersion", 2) == 1)
        return no_schema1(err);
    if (json_get_int(json, "schemaVersion", 0) != 2)
        return error_set(err, ERROR_INVALID, "invalid manifest: schemaVersion is not 2");
    if (has_list && has_image)
        return error_set(err, ERROR_INVALID,
                         "invalid manifest: it has the members of an image and of an index");
    if (!has_list && !has_image)
        return error_set(err, ERROR_INVALID, "invalid manifest: neither an image nor an index");
    if (json_object_get(json, "fsLayers") || json_object_get(json, "history"))
        return error_set(err, ERROR_INVALID, "invalid manifest: it has members of schema 1");
    if (inside && outside && !streq(inside, outside))
        return error_set(err, ERROR_INVALID, "invalid manifest: it says it is %s, the registry says %s",
                         inside, outside);
    const char *type = inside ? inside : outside ? outside : has_list ? OCI_MEDIA_INDEX : OCI_MEDIA_MANIFEST;
    if (!is_index_type(type) && !is_manifest_type(type))
        return error_set(err, ERROR_UNSUPPORTED, "unsupported manifest media type %s", type);
    if (is_index_type(type) != has_list)
        return error_set(err, ERROR_INVALID, "invalid manifest: its members are not those of %s", type);
    *ret_kind = has_list ? OCI_DOCUMENT_INDEX : OCI_DOCUMENT_MANIFEST;
    *ret_type = xstrdup(type);
    return 0;
}

static int parse_manifest(const json_t *json, struct oci_document *ret, struct error *err)
{
    if (parse_descriptor(json_object_get(json, "config"), "config", &ret->config, err) < 0)
        return -1;
    if (!json_get_array(json, "layers"))
        return error_set(err, ERROR_INVALID, "invalid manifest: layers is not a list");
    const char *type = ret->config.media_type;
    if (!streq(type, OCI_MEDIA_CONFIG) && !streq(type, DOCKER_MEDIA_CONFIG))
        return error_set(err, ERROR_UNSUPPORTED, "unsupported media type %s: not a container image",
                         type ? type : "(none)");
    if (parse_list(json_get_array(json, "layers"), "layer", OCI_LAYERS_MAX, ret, err) < 0)
        return -1;
    for (size_t i = 0; i < ret->count; i++)
        if (!is_layer_type(ret->descriptors[i].media_type))
            return error_set(err, ERROR_UNSUPPORTED, "unsupported layer media type %s",
                             ret->descriptors[i].media_type ? ret->descriptors[i].media_type : "(none)");
    return 0;
}

static int parse_index(const json_t *json, struct oci_document *ret, struct error *err)
{
    const json_t *list = json_get_array(json, "manifests");
    if (!list)
        return error_set(err, ERROR_INVALID, "invalid manifest: manifests is not a list");
    return parse_list(list, "manifest", OCI_INDEX_ENTRIES_MAX, ret, err);
}

int oci_document_parse(const char *bytes, size_t n, const char *content_type, struct oci_document *ret,
                       struct error *err)
{
    CLEANUP(json_cleanup) json_t *json = NULL;
    if (n > OCI_DOCUMENT_MAX_BYTES)
        return error_set(err, ERROR_INVALID, "invalid manifest: larger than %d bytes",
                         OCI_DOCUMENT_MAX_BYTES);
    if (json_parse(bytes, n, &json, err) < 0)
        return error_wrap(err, "invalid manifest");
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "invalid manifest: not an object");
    CLEANUP(oci_document_done) struct oci_document document = { 0 };
    if (judge(json, content_type, &document.kind, &document.media_type, err) < 0)
        return -1;
    int r = document.kind == OCI_DOCUMENT_INDEX ? parse_index(json, &document, err)
                                                : parse_manifest(json, &document, err);
    if (r < 0)
        return -1;
    *ret = document;
    document = (struct oci_document){ 0 };
    return 0;
}

int oci_config_diff_ids(const json_t *config, char ***ret, struct error *err)
{
    const json_t *rootfs = json_get_object(config, "rootfs"), *ids = json_get_array(rootfs, "diff_ids");
    if (!json_is_object(config) || !streq(json_get_string(rootfs, "type", "layers"), "layers") ||
        (json_object_get(rootfs, "diff_ids") && !json_is_null(json_object_get(rootfs, "diff_ids")) && !ids))
        return error_set(err, ERROR_INVALID, "invalid image configuration: no rootfs of layers");
    size_t n = json_array_size(ids);
    if (n > OCI_LAYERS_MAX)
        return error_set(err, ERROR_INVALID, "invalid image configuration: %zu layers, at most %d can be", n,
                         OCI_LAYERS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!oci_digest_is_valid(json_string_value(json_array_get(ids, i))))
            return error_set(err, ERROR_INVALID,
                             "invalid image configuration: diff id %zu is not a sha256 digest", i);
    char **list = NULL;
    for (size_t i = 0; i < n; i++)
        strv_push(&list, json_string_value(json_array_get(ids, i)));
    *ret = list;
    return 0;
}

// --- emitting
json_t *oci_descriptor_emit(const struct oci_descriptor *descriptor)
{
    json_t *json = json_object();
    if (descriptor->media_type)
        json_set_string(json, "mediaType", descriptor->media_type);
    json_set_string(json, "digest", descriptor->digest);
    json_set_int(json, "size", (int64_t)descriptor->size_bytes);
    if (descriptor->has_platform) {
        json_t *platform = json_object();
        json_set_string(platform, "architecture", descriptor->platform.architecture);
        json_set_string(platform, "os", descriptor->platform.os);
        if (descriptor->platform.variant)
            json_set_string(platform, "variant", descriptor->platform.variant);
        json_object_set_new(json, "platform", platform);
    }
    return json;
}

json_t *oci_document_emit(const struct oci_document *document)
{
    bool is_index = document->kind == OCI_DOCUMENT_INDEX;
    json_t *json = json_object(), *list = json_array();
    json_set_int(json, "schemaVersion", 2);
    json_set_string(json, "mediaType", document->media_type);
    if (!is_index)
        json_object_set_new(json, "config", oci_descriptor_emit(&document->config));
    for (size_t i = 0; i < document->count; i++)
        json_array_append_new(list, oci_descriptor_emit(&document->descriptors[i]));
    json_object_set_new(json, is_index ? "manifests" : "layers", list);
    return json;
}
