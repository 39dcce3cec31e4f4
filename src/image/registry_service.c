#include "image/registry_service.h"

#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"
#include "image/place.h"
#include "oci/image.h"
#include "registry/client/account.h"

#include <string.h>

// --- login
// "https://index.docker.io/v1/" -> "docker.io", "https://host:1/x" -> "host:1". Owned.
static char *domain_of(const char *server)
{
    const char *scheme = strstr(server, "://"), *host = scheme ? scheme + 3 : server;
    size_t n = strcspn(host, "/");
    bool is_hub = n == 0 || (n == strlen("index.docker.io") && strncmp(host, "index.docker.io", n) == 0) ||
                  (n == strlen("registry-1.docker.io") && strncmp(host, "registry-1.docker.io", n) == 0);
    return is_hub ? xstrdup("docker.io") : xstrndup(host, n);
}

int image_registry_login(struct image_service *images, const char *server, const struct registry_auth *auth,
                         char **ret_identity_token, struct error *err)
{
    CLEANUP(cleanup_free) char *domain = domain_of(server ? server : "");
    struct registry_credentials credentials = image_place_credentials(auth);
    struct registry_options options = image_place_options(images);
    *ret_identity_token = NULL;
    return registry_login(domain, &credentials, &options, ret_identity_token, err);
}

// --- search
// "host/words" -> host, words; what stands before the slash is a host when it looks like one. Owned.
static char *split_term(const char *term, const char **ret_words)
{
    const char *slash = strchr(term, '/');
    size_t n = slash ? (size_t)(slash - term) : 0;
    CLEANUP(cleanup_free) char *first = xstrndup(term, n);
    *ret_words = term;
    if (n == 0 || !(strpbrk(first, ".:") || streq(first, "localhost")))
        return xstrdup("docker.io");
    *ret_words = slash + 1;
    return streq(first, "index.docker.io") ? xstrdup("docker.io") : TAKE_PTR(first);
}

static bool is_wanted(const struct image_search *search, const json_t *result)
{
    bool is_official = json_get_bool(result, "is_official", false);
    bool is_automated = json_get_bool(result, "is_automated", false);
    return (search->is_official < 0 || is_official == search->is_official) &&
           (search->is_automated < 0 || is_automated == search->is_automated) &&
           json_get_int(result, "star_count", 0) >= search->min_stars;
}

// Only the members that the API has, of the types that it gives them.
static json_t *clean_result(const json_t *result)
{
    json_t *clean = json_object();
    json_set_int(clean, "star_count", json_get_int(result, "star_count", 0));
    json_set_bool(clean, "is_official", json_get_bool(result, "is_official", false));
    json_set_string(clean, "name", json_get_string(result, "name", ""));
    json_set_bool(clean, "is_automated", json_get_bool(result, "is_automated", false));
    json_set_string(clean, "description", json_get_string(result, "description", ""));
    return clean;
}

int image_registry_search(struct image_service *images, const struct image_search *search,
                          const struct registry_auth *auth, json_t **ret, struct error *err)
{
    const char *words;
    CLEANUP(cleanup_free) char *domain = split_term(search->term, &words);
    CLEANUP(str_done) struct str answer = STR_INIT;
    CLEANUP(json_cleanup) json_t *document = NULL;
    struct registry_credentials credentials = image_place_credentials(auth);
    struct registry_options options = image_place_options(images);
    if (registry_search(domain, words, search->limit, &credentials, &options, &answer, err) < 0)
        return -1;
    if (json_parse(answer.ptr, answer.len, &document, err) < 0)
        return error_wrap(err, "error decoding registry search results");
    *ret = json_array();
    size_t i;
    json_t *result;
    json_array_foreach(json_get_array(document, "results"), i, result)
    {
        if (is_wanted(search, result))
            json_array_append_new(*ret, clean_result(result));
    }
    return 0;
}

// --- inspect
static json_t *platform_json(const char *os, const char *architecture, const char *variant)
{
    json_t *platform = json_object();
    json_set_string(platform, "architecture", architecture ? architecture : "");
    json_set_string(platform, "os", os ? os : "");
    if (!str_is_empty(variant))
        json_set_string(platform, "variant", variant);
    return platform;
}

static json_t *index_platforms(const struct oci_document *index)
{
    json_t *platforms = json_array();
    for (size_t i = 0; i < index->count; i++) {
        const struct oci_platform *p = &index->descriptors[i].platform;
        if (index->descriptors[i].has_platform)
            json_array_append_new(platforms, platform_json(p->os, p->architecture, p->variant));
    }
    return platforms;
}

static int config_platform(struct registry_repository *repository, const struct oci_document *manifest,
                           json_t **ret, struct error *err)
{
    CLEANUP(str_done) struct str bytes = STR_INIT;
    CLEANUP(json_cleanup) json_t *config = NULL;
    if (registry_blob_get(repository, &manifest->config, &bytes, err) < 0 ||
        json_parse(bytes.ptr, bytes.len, &config, err) < 0)
        return -1;
    *ret = json_array();
    const char *os = json_get_string(config, "os", NULL);
    if (os)
        json_array_append_new(*ret, platform_json(os, json_get_string(config, "architecture", NULL),
                                                  json_get_string(config, "variant", NULL)));
    return 0;
}

static int inspect(struct registry_repository *repository, const char *name, json_t **ret, struct error *err)
{
    CLEANUP(registry_manifest_done) struct registry_manifest bytes = { .bytes = STR_INIT };
    CLEANUP(oci_document_done) struct oci_document document = { 0 };
    json_t *platforms = NULL;
    if (registry_manifest_get(repository, name, &bytes, err) < 0 ||
        oci_document_parse(bytes.bytes.ptr, bytes.bytes.len, bytes.media_type, &document, err) < 0)
        return -1;
    if (document.kind == OCI_DOCUMENT_INDEX)
        platforms = index_platforms(&document);
    else if (config_platform(repository, &document, &platforms, err) < 0)
        return -1;
    json_t *descriptor = json_object();
    json_set_string(descriptor, "mediaType", document.media_type);
    json_set_string(descriptor, "digest", bytes.digest);
    json_set_int(descriptor, "size", (int64_t)bytes.bytes.len);
    *ret = json_object();
    json_object_set_new(*ret, "Descriptor", descriptor);
    json_object_set_new(*ret, "Platforms", platforms);
    return 0;
}

int image_registry_inspect(struct image_service *images, const char *name, const struct registry_auth *auth,
                           json_t **ret, struct error *err)
{
    CLEANUP(reference_done) struct reference reference = { 0 };
    struct registry_credentials credentials = image_place_credentials(auth);
    struct registry_options options = image_place_options(images);
    struct registry_repository *repository = NULL;
    if (reference_parse(name, 1, &reference, err) < 0 ||
        image_place_check(images, reference.domain, reference.repository, err) < 0 ||
        registry_open(reference.domain, reference.repository, &credentials, &options, &repository, err) < 0)
        return -1;
    int r = inspect(repository, reference.digest ? reference.digest : reference.tag, ret, err);
    registry_close(repository);
    return r;
}
