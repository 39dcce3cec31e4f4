#include "image/manifest_list.h"

#include "base/mem.h"
#include "codec/json.h"
#include "image/place.h"
#include "registry/client/upload.h"
#include "store/meta.h"

#include <string.h>

// Credentials go to the registry they are for, whichever others the members are in.
struct access {
    const struct registry_auth *auth; // NULL: none
    const char *domain;
};

// --- one manifest of a registry
struct found {
    struct reference reference;
    struct registry_repository *repository;
    struct registry_manifest manifest;
    struct oci_document document;
};

static void found_done(struct found *f)
{
    reference_done(&f->reference);
    registry_close(f->repository);
    registry_manifest_done(&f->manifest);
    oci_document_done(&f->document);
}

static int no_such_manifest(const struct reference *reference, const char *what, struct error *err)
{
    char *full CLEANUP(cleanup_free) = reference_full(reference);
    return error_set(err, ERROR_NOT_FOUND, "%s: %s", what, full);
}

static const struct registry_auth *auth_for(const struct access *access, const struct reference *reference)
{
    return streq(access->domain, reference->domain) ? access->auth : NULL;
}

// Also what is no container image is found; then the document has nothing but its kind.
static int find_any(struct image_service *images, const char *name, const struct access *access,
                    struct found *ret, struct error *err)
{
    ret->manifest.bytes = STR_INIT;
    if (reference_parse(name, 1, &ret->reference, err) < 0 ||
        image_place_open(images, &ret->reference, auth_for(access, &ret->reference), false, NULL,
                         &ret->repository, err) < 0)
        return -1;
    const char *which = ret->reference.digest ? ret->reference.digest : ret->reference.tag;
    if (registry_manifest_get(ret->repository, which, &ret->manifest, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? no_such_manifest(&ret->reference, "no such manifest", err) : -1;
    int r = oci_document_parse(ret->manifest.bytes.ptr, ret->manifest.bytes.len, ret->manifest.media_type,
                               &ret->document, err);
    return r < 0 && err->kind == ERROR_UNSUPPORTED ? 0 : r;
}

static int find(struct image_service *images, const char *name, const struct access *access,
                struct found *ret, struct error *err)
{
    if (find_any(images, name, access, ret, err) < 0)
        return -1;
    return ret->document.media_type ? 0
                                    : oci_document_parse(ret->manifest.bytes.ptr, ret->manifest.bytes.len,
                                                         ret->manifest.media_type, &ret->document, err);
}

// What the configuration says of it.
static int read_platform(const struct found *f, json_t **ret, struct error *err)
{
    static const char *const keys[] = { "architecture", "os", "os.version", "variant" };
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *config CLEANUP(json_cleanup) = NULL, *platform = json_object();
    if (registry_blob_get(f->repository, &f->document.config, &text, err) < 0 ||
        json_parse(text.ptr, text.len, &config, err) < 0) {
        json_decref(platform);
        return -1;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!str_is_empty(json_get_string(config, keys[i], NULL)))
            json_set_string(platform, keys[i], json_get_string(config, keys[i], ""));
    if (json_get_array(config, "os.features"))
        json_object_set(platform, "os.features", json_get_array(config, "os.features"));
    *ret = platform;
    return 0;
}

// --- records: {"members": [{"ref","descriptor"}]}
static int read_list(struct image_service *images, const struct reference *reference, json_t **ret,
                     struct error *err)
{
    char *full CLEANUP(cleanup_free) = reference_full(reference);
    return meta_get(images->store, META_MANIFESTS, full, ret, err);
}

static int write_list(struct image_service *images, const struct reference *reference, const json_t *list,
                      struct error *err)
{
    char *full CLEANUP(cleanup_free) = reference_full(reference);
    return meta_put(images->store, META_MANIFESTS, full, list, err);
}

static json_t *find_member(const json_t *list, const char *ref)
{
    const json_t *members = json_get_array(list, "members");
    for (size_t i = 0; i < json_array_size(members); i++)
        if (streq(json_get_string(json_array_get(members, i), "ref", ""), ref))
            return json_array_get(members, i);
    return NULL;
}

static json_t *describe(const struct found *f)
{
    return json_pack("{s:s, s:s, s:I}", "mediaType", f->document.media_type, "digest", f->manifest.digest,
                     "size", (json_int_t)f->manifest.bytes.len);
}

static int add_member(struct image_service *images, json_t *list, const char *name,
                      const struct access *access, struct error *err)
{
    CLEANUP(found_done) struct found f = { 0 };
    json_t *platform = NULL;
    if (find(images, name, access, &f, err) < 0)
        return -1;
    char *full CLEANUP(cleanup_free) = reference_full(&f.reference);
    if (f.document.kind != OCI_DOCUMENT_MANIFEST)
        return error_set(err, ERROR_INVALID, "%s is a manifest list", full);
    if (read_platform(&f, &platform, err) < 0)
        return -1;
    json_t *descriptor = describe(&f), *member = find_member(list, full);
    json_object_set_new(descriptor, "platform", platform);
    if (!member) {
        member = json_object();
        json_set_string(member, "ref", full);
        json_array_append_new(json_get_array(list, "members"), member);
    }
    json_object_set_new(member, "descriptor", descriptor);
    return 0;
}

int manifest_list_create(struct image_service *images, const char *name, char *const *members, bool amends,
                         const struct registry_auth *auth, struct error *err)
{
    CLEANUP(reference_done) struct reference reference = { 0 };
    json_t *list CLEANUP(json_cleanup) = NULL;
    struct error absent;
    if (reference_parse(name, 1, &reference, err) < 0)
        return -1;
    const struct access access = { auth, reference.domain };
    if (read_list(images, &reference, &list, &absent) == 0 && !amends)
        return error_set(err, ERROR_CONFLICT,
                         "refusing to amend an existing manifest list with no --amend flag");
    if (!list)
        list = json_pack("{s:[]}", "members");
    for (size_t i = 0; members[i]; i++)
        if (add_member(images, list, members[i], &access, err) < 0)
            return -1;
    return write_list(images, &reference, list, err);
}

int manifest_list_remove(struct image_service *images, const char *name, struct error *err)
{
    CLEANUP(reference_done) struct reference reference = { 0 };
    json_t *list CLEANUP(json_cleanup) = NULL;
    if (reference_parse(name, 1, &reference, err) < 0)
        return -1;
    if (read_list(images, &reference, &list, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? no_such_manifest(&reference, "No such manifest", err) : -1;
    char *full CLEANUP(cleanup_free) = reference_full(&reference);
    return meta_delete(images->store, META_MANIFESTS, full, err);
}

// --- annotate
static void set_annotations(json_t *descriptor, char *const *pairs)
{
    json_t *annotations = json_get_object(descriptor, "annotations");
    if (!annotations) {
        annotations = json_object();
        json_object_set_new(descriptor, "annotations", annotations);
    }
    for (size_t i = 0; pairs[i]; i++) {
        const char *equals = strchr(pairs[i], '=');
        char *key CLEANUP(cleanup_free) =
            xstrndup(pairs[i], equals ? (size_t)(equals - pairs[i]) : strlen(pairs[i]));
        json_set_string(annotations, key, equals ? equals + 1 : "");
    }
}

static int change_member(json_t *member, const struct manifest_annotation *a, struct error *err)
{
    json_t *descriptor = json_get_object(member, "descriptor"),
           *platform = json_get_object(descriptor, "platform");
    const struct {
        const char *key, *value;
    } texts[] = { { "os", a->os },
                  { "architecture", a->architecture },
                  { "variant", a->variant },
                  { "os.version", a->os_version } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!str_is_empty(texts[i].value))
            json_set_string(platform, texts[i].key, texts[i].value);
    if (strv_len(a->os_features))
        json_object_set_new(platform, "os.features", json_from_strv(a->os_features));
    if (strv_len(a->annotations))
        set_annotations(descriptor, a->annotations);
    if (str_is_empty(json_get_string(platform, "os", "")) ||
        str_is_empty(json_get_string(platform, "architecture", "")))
        return error_set(err, ERROR_INVALID,
                         "manifest entry for image has unsupported os/arch combination: %s/%s",
                         json_get_string(platform, "os", ""), json_get_string(platform, "architecture", ""));
    return 0;
}

int manifest_list_annotate(struct image_service *images, const char *name, const char *member_name,
                           const struct manifest_annotation *annotation, struct error *err)
{
    CLEANUP(reference_done) struct reference reference = { 0 };
    CLEANUP(reference_done) struct reference of_member = { 0 };
    json_t *list CLEANUP(json_cleanup) = NULL;
    if (reference_parse(name, 1, &reference, err) < 0 || reference_parse(member_name, 1, &of_member, err) < 0)
        return -1;
    if (read_list(images, &reference, &list, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? no_such_manifest(&reference, "No such manifest", err) : -1;
    char *full CLEANUP(cleanup_free) = reference_full(&of_member);
    json_t *member = find_member(list, full);
    if (!member)
        return error_set(err, ERROR_NOT_FOUND, "manifest for image %s does not exist in %s", member_name,
                         name);
    return change_member(member, annotation, err) < 0 ? -1 : write_list(images, &reference, list, err);
}

// --- the document
static bool is_oci(const json_t *list)
{
    const json_t *members = json_get_array(list, "members");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *descriptor = json_get_object(json_array_get(members, i), "descriptor");
        if (!streq(json_get_string(descriptor, "mediaType", ""), OCI_MEDIA_MANIFEST))
            return false;
    }
    return true;
}

static json_t *make_document(const json_t *list)
{
    json_t *manifests = json_array();
    const json_t *members = json_get_array(list, "members");
    for (size_t i = 0; i < json_array_size(members); i++)
        json_array_append(manifests, json_get_object(json_array_get(members, i), "descriptor"));
    return json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                     is_oci(list) ? OCI_MEDIA_INDEX : DOCKER_MEDIA_INDEX, "manifests", manifests);
}

// --- push

// The member's manifest is in the list's repository afterwards.
static int push_member(struct image_service *images, const struct reference *target,
                       struct registry_repository *to, const json_t *member, const struct access *access,
                       char ***pushed, struct error *err)
{
    CLEANUP(found_done) struct found f = { 0 };
    const char *ref = json_get_string(member, "ref", "");
    const char *digest = json_get_string(json_get_object(member, "descriptor"), "digest", "");
    if (find(images, ref, access, &f, err) < 0)
        return -1;
    if (!streq(f.manifest.digest, digest))
        return error_set(err, ERROR_CONFLICT, "%s is another manifest than when it was added: %s", ref,
                         f.manifest.digest);
    if (streq(f.reference.repository, target->repository))
        return 0;
    const char *from = f.reference.repository;
    if (image_place_copy_blob(f.repository, from, to, &f.document.config, err) < 0)
        return -1;
    for (size_t i = 0; i < f.document.count; i++)
        if (image_place_copy_blob(f.repository, from, to, &f.document.descriptors[i], err) < 0)
            return -1;
    if (registry_manifest_put(to, digest, f.document.media_type, f.manifest.bytes.ptr, f.manifest.bytes.len,
                              err) < 0)
        return -1;
    strv_take(pushed, xasprintf("%s/%s@%s", target->domain, target->repository, digest));
    return 0;
}

// The repositories that members come from; all of the target's registry.
static int collect_sources(const struct reference *target, const json_t *list, char ***ret, struct error *err)
{
    const json_t *members = json_get_array(list, "members");
    for (size_t i = 0; i < json_array_size(members); i++) {
        CLEANUP(reference_done) struct reference source = { 0 };
        if (reference_parse(json_get_string(json_array_get(members, i), "ref", ""), 1, &source, err) < 0)
            return -1;
        if (!streq(source.domain, target->domain))
            return error_set(
                err, ERROR_INVALID,
                "cannot use source images from a different registry than the target image: %s != %s",
                source.domain, target->domain);
        if (!strv_contains(*ret, source.repository))
            strv_push(ret, source.repository);
    }
    return 0;
}

static int push_list(struct image_service *images, const struct reference *reference, const json_t *list,
                     const struct access *access, char ret_digest[static DIGEST_LEN + 1], char ***pushed,
                     struct error *err)
{
    char **sources CLEANUP(strv_freep) = NULL;
    struct registry_repository *to = NULL;
    const json_t *members = json_get_array(list, "members");
    json_t *document CLEANUP(json_cleanup) = make_document(list);
    char *text CLEANUP(cleanup_free) = json_text(document);
    if (collect_sources(reference, list, &sources, err) < 0 ||
        image_place_open(images, reference, auth_for(access, reference), true, sources, &to, err) < 0)
        return -1;
    int r = 0;
    for (size_t i = 0; r == 0 && i < json_array_size(members); i++)
        r = push_member(images, reference, to, json_array_get(members, i), access, pushed, err);
    if (r == 0)
        r = registry_manifest_put(to, reference->tag, json_get_string(document, "mediaType", ""), text,
                                  strlen(text), err);
    registry_close(to);
    digest_of(text, strlen(text), ret_digest);
    return r;
}

int manifest_list_push(struct image_service *images, const char *name, bool purges,
                       const struct registry_auth *auth, char ret_digest[static DIGEST_LEN + 1],
                       char ***ret_pushed, struct error *err)
{
    CLEANUP(reference_done) struct reference reference = { 0 };
    json_t *list CLEANUP(json_cleanup) = NULL;
    char **pushed CLEANUP(strv_freep) = NULL;
    if (reference_parse(name, 1, &reference, err) < 0)
        return -1;
    if (reference.digest)
        return error_set(err, ERROR_INVALID, "a manifest list is pushed to a tag, not to a digest");
    if (read_list(images, &reference, &list, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? error_set(err, ERROR_NOT_FOUND, "%s not found", name) : -1;
    const struct access access = { auth, reference.domain };
    if (push_list(images, &reference, list, &access, ret_digest, &pushed, err) < 0)
        return -1;
    *ret_pushed = TAKE_PTR(pushed);
    return purges ? manifest_list_remove(images, name, err) : 0;
}

// --- inspect
static json_t *describe_found(const struct found *f, const json_t *platform)
{
    json_t *document = NULL, *description = json_object();
    struct error ignored;
    char *full CLEANUP(cleanup_free) = reference_full(&f->reference);
    (void)json_parse(f->manifest.bytes.ptr, f->manifest.bytes.len, &document, &ignored);
    json_set_string(description, "Ref", full);
    json_set_string(description, "MediaType",
                    f->document.media_type ? f->document.media_type : f->manifest.media_type);
    json_set_string(description, "Digest", f->manifest.digest);
    json_set_int(description, "Size", (int64_t)f->manifest.bytes.len);
    if (platform)
        json_object_set(description, "Platform", (json_t *)(uintptr_t)platform);
    json_object_set_new(description, "Document", document ? document : json_null());
    return description;
}

// Each of a list by its digest, in the repository that it is said to be in.
static int describe_members(struct image_service *images, const json_t *manifests,
                            const struct reference *place, const json_t *members, const struct access *access,
                            json_t *into, struct error *err)
{
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        CLEANUP(found_done) struct found f = { 0 };
        const json_t *descriptor = json_array_get(manifests, i);
        const char *ref = json_get_string(json_array_get(members, i), "ref", NULL);
        char *name CLEANUP(cleanup_free) = ref ? xstrdup(ref)
                                               : xasprintf("%s/%s@%s", place->domain, place->repository,
                                                           json_get_string(descriptor, "digest", ""));
        if (find_any(images, name, access, &f, err) < 0)
            return -1;
        json_array_append_new(into, describe_found(&f, json_get_object(descriptor, "platform")));
    }
    return 0;
}

static int inspect_local(struct image_service *images, const struct reference *reference, const json_t *list,
                         bool is_verbose, const struct access *access, json_t **ret, struct error *err)
{
    json_t *description CLEANUP(json_cleanup) = json_object(), *document = make_document(list),
                        *members = json_array();
    char *full CLEANUP(cleanup_free) = reference_full(reference),
               *text CLEANUP(cleanup_free) = json_text(document);
    char digest[DIGEST_LEN + 1];
    digest_of(text, strlen(text), digest);
    json_set_string(description, "Ref", full);
    json_set_string(description, "MediaType", json_get_string(document, "mediaType", ""));
    json_set_string(description, "Digest", digest);
    json_set_int(description, "Size", (int64_t)strlen(text));
    json_object_set_new(description, "Document", document);
    json_set_bool(description, "IsLocal", true);
    json_object_set_new(description, "Members", members);
    if (is_verbose && describe_members(images, json_get_array(document, "manifests"), reference,
                                       json_get_array(list, "members"), access, members, err) < 0)
        return -1;
    *ret = TAKE_PTR(description);
    return 0;
}

int manifest_inspect(struct image_service *images, const char *name, bool is_verbose,
                     const struct registry_auth *auth, json_t **ret, struct error *err)
{
    CLEANUP(found_done) struct found f = { 0 };
    CLEANUP(reference_done) struct reference reference = { 0 };
    json_t *list CLEANUP(json_cleanup) = NULL, *description CLEANUP(json_cleanup) = NULL;
    struct error absent;
    if (reference_parse(name, 1, &reference, err) < 0)
        return -1;
    const struct access access = { auth, reference.domain };
    if (read_list(images, &reference, &list, &absent) == 0)
        return inspect_local(images, &reference, list, is_verbose, &access, ret, err);
    if (find_any(images, name, &access, &f, err) < 0)
        return -1;
    json_t *platform CLEANUP(json_cleanup) = NULL, *members = json_array();
    if (is_verbose && f.document.media_type && f.document.kind == OCI_DOCUMENT_MANIFEST &&
        read_platform(&f, &platform, err) < 0) {
        json_decref(members);
        return -1;
    }
    description = describe_found(&f, platform);
    json_set_bool(description, "IsLocal", false);
    json_object_set_new(description, "Members", members);
    const json_t *manifests = json_get_array(json_object_get(description, "Document"), "manifests");
    if (is_verbose && describe_members(images, manifests, &reference, NULL, &access, members, err) < 0)
        return -1;
    *ret = TAKE_PTR(description);
    return 0;
}
