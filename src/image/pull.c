// Theory of operation. reference -> registry -> manifest (through an index to this platform's) ->
// configuration -> layers -> record. Each step is checked against a digest of the step before; the first
// digest is the registry's word for a tag, or the user's own. Nothing is recorded before everything is there:
// until image_register, whatever was brought is unreferenced and the end of the acquire bracket collects it.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/place.h"
#include "image/pull_internal.h"
#include "image/signature.h"
#include "store/content.h"

#include <fcntl.h>
#include <malloc.h>
#include <string.h>

enum { PASSWORD_MAX = 64 * 1024 };

// --- the pull as an object
bool pull_is_stopped(void *context)
{
    struct pull *pull = context;
    return atomic_load(&pull->is_stopped) || atomic_load(&pull->is_gone);
}

void pull_report(struct pull *pull, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct progress progress = {
        .id = id, .status = status, .current = (int64_t)current, .total = (int64_t)total
    };
    if (!pull->sink || !pull->sink->report || pull_is_stopped(pull))
        return;
    pthread_mutex_lock(&pull->report_lock);
    if (pull->sink->report(pull->sink->context, &progress) < 0)
        atomic_store(&pull->is_gone, true);
    pthread_mutex_unlock(&pull->report_lock);
}

// Everything that one source said: the next one is asked afresh. Layers that it gave are in the store and stay there.
static void forget_source(struct pull *pull)
{
    registry_close(TAKE_PTR(pull->repository));
    registry_manifest_done(&pull->manifest_bytes);
    oci_document_done(&pull->manifest);
    str_done(&pull->config_bytes);
    json_decref(TAKE_PTR(pull->config));
    strv_free(TAKE_PTR(pull->diff_ids));
    free(TAKE_PTR(pull->layers));
    free(TAKE_PTR(pull->missing));
    pull->missing_count = pull->next_layer = 0;
    pull->has_failed = false;
    atomic_store(&pull->is_stopped, false);
}

static void pull_done(struct pull *pull)
{
    forget_source(pull);
    strv_free(pull->tags);
    reference_done(&pull->reference);
    oci_platform_done(&pull->platform);
    free(pull->familiar);
    free(pull->familiar_name);
    pthread_cond_destroy(&pull->changed);
    pthread_mutex_destroy(&pull->lock);
    pthread_mutex_destroy(&pull->report_lock);
}

static int pull_init(struct pull *pull, struct image_service *images, const char *reference,
                     const char *platform, const struct progress_sink *sink, struct error *err)
{
    *pull = (struct pull){
        .images = images,
        .sink = sink,
        .tells_status = true,
        .manifest_bytes.bytes = STR_INIT,
        .config_bytes = STR_INIT,
    };
    pthread_mutex_init(&pull->lock, NULL);
    pthread_mutex_init(&pull->report_lock, NULL);
    pthread_cond_init(&pull->changed, NULL);
    pull->has_platform_wish = !str_is_empty(platform);
    if (pull->has_platform_wish && oci_platform_parse(platform, &pull->platform, err) < 0)
        return -1;
    if (!pull->has_platform_wish)
        oci_platform_host(&pull->platform);
    if (reference_parse(reference, 1, &pull->reference, err) < 0)
        return -1;
    pull->familiar = reference_familiar(&pull->reference);
    pull->familiar_name = reference_familiar_name(&pull->reference);
    return 0;
}

// What the registry said, in the words in which Docker passes it on.
static int translate(const struct pull *pull, struct error *err)
{
    bool is_refused =
        str_has_prefix(err->message, "denied:") || str_has_prefix(err->message, "unauthorized:");
    if (str_has_prefix(err->message, "manifest unknown:"))
        return error_wrap(err, "manifest for %s not found", pull->familiar);
    if (str_has_prefix(err->message, "name unknown:"))
        return error_wrap(err, "repository %s not found", pull->familiar_name);
    if ((err->kind == ERROR_DENIED || err->kind == ERROR_UNAUTHORISED) && is_refused) {
        err->kind = ERROR_NOT_FOUND; // Docker does not tell the two apart either
        return error_wrap(
            err, "pull access denied for %s, repository does not exist or may require 'docker login'",
            pull->familiar_name);
    }
    return -1;
}

// --- manifest
static int fetch_chosen(struct pull *pull, const struct oci_descriptor *chosen, struct error *err)
{
    struct oci_document manifest = { 0 };
    registry_manifest_done(&pull->manifest_bytes);
    if (registry_manifest_get(pull->repository, chosen->digest, &pull->manifest_bytes, err) < 0)
        return translate(pull, err);
    if (pull->manifest_bytes.bytes.len != chosen->size_bytes)
        return error_set(err, ERROR_INVALID, "manifest %s is %zu bytes, its index says %llu", chosen->digest,
                         pull->manifest_bytes.bytes.len, (unsigned long long)chosen->size_bytes);
    if (oci_document_parse(pull->manifest_bytes.bytes.ptr, pull->manifest_bytes.bytes.len,
                           chosen->media_type ? chosen->media_type : pull->manifest_bytes.media_type,
                           &manifest, err) < 0)
        return -1;
    if (manifest.kind != OCI_DOCUMENT_MANIFEST) {
        oci_document_done(&manifest);
        return error_set(err, ERROR_INVALID, "invalid manifest: an index within an index");
    }
    pull->manifest = manifest;
    return 0;
}

// Layers that their licence keeps out of registries (Windows' base images) are somewhere else, at an address of the manifest's
// choice, which nobody vouches for.
static int refuse_foreign_layers(const struct pull *pull, struct error *err)
{
    for (size_t i = 0; i < pull->manifest.count; i++) {
        const struct oci_descriptor *layer = &pull->manifest.descriptors[i];
        if (layer->media_type &&
            (strstr(layer->media_type, ".nondistributable.") || strstr(layer->media_type, ".foreign.")))
            return error_set(err, ERROR_UNSUPPORTED,
                             "layer %s is foreign (%s): layers that may not be distributed are not supported",
                             layer->digest, layer->media_type);
    }
    return 0;
}

static int fetch_manifest(struct pull *pull, struct error *err)
{
    CLEANUP(oci_document_done) struct oci_document top = { 0 };
    const char *name = pull->reference.digest ? pull->reference.digest : pull->reference.tag;
    if (registry_manifest_get(pull->repository, name, &pull->manifest_bytes, err) < 0)
        return translate(pull, err);
    if (oci_document_parse(pull->manifest_bytes.bytes.ptr, pull->manifest_bytes.bytes.len,
                           pull->manifest_bytes.media_type, &top, err) < 0)
        return -1;
    memcpy(pull->top_digest, pull->manifest_bytes.digest, sizeof pull->top_digest);
    if (top.kind == OCI_DOCUMENT_MANIFEST) {
        pull->manifest = top;
        top = (struct oci_document){ 0 };
    } else {
        const struct oci_descriptor *chosen = oci_index_choose(&top, &pull->platform);
        CLEANUP(cleanup_free) char *wanted = oci_platform_text(&pull->platform);
        if (!chosen)
            return error_set(err, ERROR_NOT_FOUND,
                             "no matching manifest for %s in the manifest list entries: no match for "
                             "platform in manifest: "
                             "not found",
                             wanted);
        if (fetch_chosen(pull, chosen, err) < 0)
            return -1;
    }
    memcpy(pull->manifest_digest, pull->manifest_bytes.digest, sizeof pull->manifest_digest);
    return refuse_foreign_layers(pull, err);
}

static int check_signatures(struct pull *pull, struct error *err)
{
    const struct image_to_verify image = { .reference = &pull->reference,
                                           .repository = pull->repository,
                                           .top_digest = pull->top_digest,
                                           .manifest_digest = pull->manifest_digest };
    const char *policy = pull->images->options.signature_policy;
    return policy ? image_policy_verify(policy, &image, err) : 0;
}

// --- configuration
static int check_platform(const struct pull *pull, struct error *err)
{
    const char *os = json_get_string(pull->config, "os", NULL);
    const char *architecture = json_get_string(pull->config, "architecture", NULL);
    const char *variant = json_get_string(pull->config, "variant", NULL);
    if (!str_is_empty(os) && !streq(os, "linux"))
        return error_set(err, ERROR_INVALID, "image operating system \"%s\" cannot be used on this platform",
                         os);
    if (!pull->has_platform_wish || str_is_empty(os) || str_is_empty(architecture))
        return 0;
    CLEANUP(oci_platform_done)
    struct oci_platform offered = { .os = xstrdup(os),
                                    .architecture = xstrdup(architecture),
                                    .variant = xstrdup(variant) };
    if (oci_platform_matches(&pull->platform, &offered))
        return 0;
    CLEANUP(cleanup_free)
    char *found = oci_platform_text(&offered), *wanted = oci_platform_text(&pull->platform);
    return error_set(
        err, ERROR_NOT_FOUND,
        "image with reference %s was found but its platform (%s) does not match the specified platform (%s)",
        pull->familiar, found, wanted);
}

static int fetch_config(struct pull *pull, struct error *err)
{
    if (registry_blob_get(pull->repository, &pull->manifest.config, &pull->config_bytes, err) < 0)
        return translate(pull, err);
    if (image_config_parse(pull->config_bytes.ptr, pull->config_bytes.len, &pull->config, &pull->diff_ids,
                           err) < 0)
        return -1;
    if (strv_len(pull->diff_ids) != pull->manifest.count)
        return error_set(err, ERROR_INVALID, "layers from manifest don't match image configuration");
    return check_platform(pull, err);
}

// --- all of it
// A mirror gets the credentials that are configured for it, and never those that the client gave for the registry.
static int mirror_credentials(const struct registry_mirror *mirror, struct registry_credentials *ret,
                              struct str *password, struct error *err)
{
    if (!mirror->username)
        return 0;
    int r = file_read_at(AT_FDCWD, mirror->password_file, PASSWORD_MAX, password);
    if (r < 0)
        return error_errno(err, r, "password file of mirror %s", mirror->url);
    password->ptr[strcspn(password->ptr, "\r\n")] = '\0';
    *ret = (struct registry_credentials){ .username = mirror->username, .password = password->ptr };
    return 0;
}

static int open_repository(struct pull *pull, const struct registry_auth *auth, struct error *err)
{
    CLEANUP(str_done) struct str password = STR_INIT;
    struct registry_credentials credentials = { 0 };
    struct registry_options options = image_place_options(pull->images);
    options.mirror_url = pull->mirror ? pull->mirror->url : NULL;
    options.is_cancelled = pull_is_stopped;
    options.context = pull;
    if (pull->mirror && mirror_credentials(pull->mirror, &credentials, &password, err) < 0)
        return -1;
    if (!pull->mirror)
        credentials = image_place_credentials(auth);
    int r = registry_open(pull->reference.domain, pull->reference.repository, &credentials, &options,
                          &pull->repository, err);
    if (password.len)
        explicit_bzero(password.ptr, password.len);
    return r < 0 ? translate(pull, err) : 0;
}

// Is the image known already, by id / is it what the reference stands for already?
static bool is_known(struct pull *pull, const char *name)
{
    struct error ignored;
    CLEANUP(image_freep) struct image *image = NULL;
    return image_get(pull->images, name, &image, &ignored) == 0 &&
           streq(image->id, pull->manifest.config.digest);
}

static int record(struct pull *pull, struct error *err)
{
    char digest[DIGEST_LEN + 1], id[DIGEST_LEN + 1];
    CLEANUP(cleanup_free)
    char *repo_digest =
        xasprintf("%s/%s@%s", pull->reference.domain, pull->reference.repository, pull->top_digest);
    struct image_registration registration = { .config = pull->config_bytes.ptr,
                                               .config_n = pull->config_bytes.len,
                                               .manifest_digest = pull->manifest_digest,
                                               .repo_digest = repo_digest,
                                               .tag = pull->reference.digest ? NULL : &pull->reference };
    if (content_put(pull->images->store, pull->manifest_bytes.bytes.ptr, pull->manifest_bytes.bytes.len,
                    digest, err) < 0)
        return -1;
    return image_register(pull->images, &registration, id, err);
}

static void report_status(struct pull *pull, const char *name, bool is_newer)
{
    CLEANUP(cleanup_free)
    char *status =
        xasprintf("Status: %s %s", is_newer ? "Downloaded newer image for" : "Image is up to date for", name);
    pull_report(pull, NULL, status, 0, 0);
}

static int pull_from_source(struct pull *pull, const struct registry_auth *auth, struct error *err)
{
    CLEANUP(cleanup_free) char *full = reference_full(&pull->reference);
    if (open_repository(pull, auth, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *from = xasprintf("Pulling from %s", pull->reference.repository);
    if (fetch_manifest(pull, err) < 0)
        return -1;
    if (check_signatures(pull, err) < 0)
        return -1;
    pull_report(pull, pull->reference.digest ? pull->reference.digest : pull->reference.tag, from, 0, 0);
    if (fetch_config(pull, err) < 0)
        return -1;
    pull->is_newer = !is_known(pull, full);
    if (pull_layers(pull, is_known(pull, pull->manifest.config.digest), err) < 0)
        return -1;
    if (pull_is_stopped(pull))
        return error_set(err, ERROR_CANCELLED, "context canceled");
    if (record(pull, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *digest = xasprintf("Digest: %s", pull->top_digest);
    pull_report(pull, NULL, digest, 0, 0);
    if (pull->tells_status)
        report_status(pull, pull->familiar, pull->is_newer);
    image_emit(pull->images, "pull", pull->familiar, pull->familiar_name, pull->config);
    return 0;
}

// --- sources
// Is it worth asking somebody else?
static bool is_the_sources_fault(const struct pull *pull, const struct error *err)
{
    return !atomic_load(&pull->is_gone) && err->kind != ERROR_CANCELLED && err->kind != ERROR_EXHAUSTED;
}

// Ask the mirrors in their order, then the registry itself.
static int from_sources(struct pull *pull,
                        int (*ask)(struct pull *pull, const struct registry_auth *auth, struct error *err),
                        const struct registry_auth *auth, struct error *err)
{
    const struct registry_rules *rules = pull->images->options.registries;
    const struct registry_rule *rule =
        rules ? registry_rules_find(rules, pull->reference.domain, pull->reference.repository) : NULL;
    if (image_place_check(pull->images, pull->reference.domain, pull->reference.repository, err) < 0)
        return -1;
    for (size_t i = 0; rule && i < rule->mirror_count; i++) {
        pull->mirror = &rule->mirrors[i];
        if (ask(pull, auth, err) == 0)
            return 0;
        if (!is_the_sources_fault(pull, err))
            return -1;
        log_debug("mirror %s does not give %s: %s", pull->mirror->url, pull->familiar, err->message);
        forget_source(pull);
    }
    pull->mirror = NULL;
    return ask(pull, auth, err);
}

// What a failed pull brought is nobody's.
static void ask_for_sweep(struct image_service *images)
{
    pthread_mutex_lock(&images->lock);
    images->wants_sweep = true;
    pthread_mutex_unlock(&images->lock);
}

// One reference. *ret_newer: see struct pull; may be NULL, then the end is told.
static int pull_reference(struct image_service *images, const char *reference, const char *platform,
                          const struct registry_auth *auth, const struct progress_sink *progress,
                          bool *ret_newer, struct error *err)
{
    CLEANUP(pull_done) struct pull pull;
    if (pull_init(&pull, images, reference, platform, progress, err) < 0)
        return -1;
    pull.tells_status = !ret_newer;
    image_acquire_begin(images);
    int r = from_sources(&pull, pull_from_source, auth, err);
    if (r < 0)
        ask_for_sweep(images);
    image_acquire_end(images);
    malloc_trim(0); // what the workers' arenas held; an engine is small between its pulls
    if (r == 0 && ret_newer)
        *ret_newer = pull.is_newer;
    return r;
}

int image_pull(struct image_service *images, const char *reference, const char *platform,
               const struct registry_auth *auth, const struct progress_sink *progress, struct error *err)
{
    return pull_reference(images, reference, platform, auth, progress, NULL, err);
}

static int list_tags(struct pull *pull, const struct registry_auth *auth, struct error *err)
{
    strv_free(TAKE_PTR(pull->tags));
    if (open_repository(pull, auth, err) < 0)
        return -1;
    return registry_tags(pull->repository, &pull->tags, err) < 0 ? translate(pull, err) : 0;
}

int image_pull_all(struct image_service *images, const char *name, const char *platform,
                   const struct registry_auth *auth, const struct progress_sink *progress, struct error *err)
{
    CLEANUP(pull_done) struct pull pull;
    bool any_newer = false;
    if (pull_init(&pull, images, name, platform, progress, err) < 0 ||
        from_sources(&pull, list_tags, auth, err) < 0)
        return -1;
    for (size_t i = 0; pull.tags && pull.tags[i]; i++) {
        CLEANUP(cleanup_free) char *reference = xasprintf("%s:%s", name, pull.tags[i]);
        bool is_newer = false;
        if (pull_reference(images, reference, platform, auth, progress, &is_newer, err) < 0)
            return -1;
        any_newer = any_newer || is_newer;
    }
    report_status(&pull, pull.familiar_name, any_newer);
    return 0;
}
