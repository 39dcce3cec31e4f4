// Theory of operation. reference -> registry -> manifest (through an index to this platform's) ->
// configuration -> layers -> record. Each step is checked against a digest of the step before; the first
// digest is the registry's word for a tag, or the user's own. Nothing is recorded before everything is there:
// until image_register, whatever was brought is unreferenced and the end of the acquire bracket collects it.
#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/pull_internal.h"
#include "image/signature.h"
#include "store/content.h"

#include <malloc.h>
#include <string.h>

// --- the pull as an object
static bool is_stopped(void *context)
{
    struct pull *pull = context;
    return atomic_load(&pull->is_stopped);
}

void pull_report(struct pull *pull, const char *id, const char *status, uint64_t current, uint64_t total)
{
    struct progress progress = {
        .id = id, .status = status, .current = (int64_t)current, .total = (int64_t)total
    };
    if (!pull->sink || !pull->sink->report || atomic_load(&pull->is_stopped))
        return;
    pthread_mutex_lock(&pull->report_lock);
    if (pull->sink->report(pull->sink->context, &progress) < 0)
        atomic_store(&pull->is_stopped, true);
    pthread_mutex_unlock(&pull->report_lock);
}

static void pull_done(struct pull *pull)
{
    registry_close(pull->repository);
    reference_done(&pull->reference);
    oci_platform_done(&pull->platform);
    registry_manifest_done(&pull->manifest_bytes);
    oci_document_done(&pull->manifest);
    str_done(&pull->config_bytes);
    json_decref(pull->config);
    strv_free(pull->diff_ids);
    free(pull->layers);
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
        .images = images, .sink = sink, .manifest_bytes.bytes = STR_INIT, .config_bytes = STR_INIT
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
    return 0;
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
static int open_repository(struct pull *pull, const struct registry_auth *auth, struct error *err)
{
    struct registry_credentials credentials = { 0 };
    struct registry_options options = { .insecure = pull->images->options.insecure_registries,
                                        .certificates_root = "/etc/docker/certs.d",
                                        .is_cancelled = is_stopped,
                                        .context = pull };
    if (auth)
        credentials = (struct registry_credentials){ .username = auth->username,
                                                     .password = auth->password,
                                                     .identity_token = auth->identity_token,
                                                     .registry_token = auth->registry_token };
    if (registry_open(pull->reference.domain, pull->reference.repository, &credentials, &options,
                      &pull->repository, err) < 0)
        return translate(pull, err);
    return 0;
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

static int pull_all(struct pull *pull, const struct registry_auth *auth, struct error *err)
{
    CLEANUP(cleanup_free) char *full = reference_full(&pull->reference);
    CLEANUP(cleanup_free) char *status = NULL;
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
    bool is_newer = !is_known(pull, full);
    if (pull_layers(pull, is_known(pull, pull->manifest.config.digest), err) < 0)
        return -1;
    if (atomic_load(&pull->is_stopped))
        return error_set(err, ERROR_CANCELLED, "context canceled");
    if (record(pull, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *digest = xasprintf("Digest: %s", pull->top_digest);
    pull_report(pull, NULL, digest, 0, 0);
    status = xasprintf("Status: %s %s", is_newer ? "Downloaded newer image for" : "Image is up to date for",
                       pull->familiar);
    pull_report(pull, NULL, status, 0, 0);
    image_emit(pull->images, "pull", pull->familiar, pull->familiar_name, pull->config);
    return 0;
}

// What a failed pull brought is nobody's.
static void ask_for_sweep(struct image_service *images)
{
    pthread_mutex_lock(&images->lock);
    images->wants_sweep = true;
    pthread_mutex_unlock(&images->lock);
}

int image_pull(struct image_service *images, const char *reference, const char *platform,
               const struct registry_auth *auth, const struct progress_sink *progress, struct error *err)
{
    CLEANUP(pull_done) struct pull pull;
    if (pull_init(&pull, images, reference, platform, progress, err) < 0)
        return -1;
    image_acquire_begin(images);
    int r = pull_all(&pull, auth, err);
    if (r < 0)
        ask_for_sweep(images);
    image_acquire_end(images);
    malloc_trim(0); // what the workers' arenas held; an engine is small between its pulls
    return r;
}
