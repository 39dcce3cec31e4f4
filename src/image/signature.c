// Theory of operation. Every byte of a signature is foreign until a key of the policy has signed it: the payload is compared with the
// image only after that. All requirements of the scope that fits best must be met, one after the other; each needs one signature by
// one of its keys over a payload that names this digest and this identity.
#include "image/signature.h"

#include "base/file.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "codec/signature.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define PAYLOAD_TYPE  "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIGNATURE_KEY "dev.cosignproject.cosign/signature"
enum {
    POLICY_MAX_BYTES = 1 << 20,
    KEY_MAX_BYTES = 64 << 10,
    SIGNATURES_MAX = 64,
    PAYLOAD_MAX_BYTES = 64 << 10
};

// --- keys
static int add_key(struct public_key ***keys, size_t *count, const char *pem, size_t n, struct error *err)
{
    struct public_key *key;
    if (public_key_parse(pem, n, &key, err) < 0)
        return -1;
    *keys = xreallocarray(*keys, *count + 1, sizeof **keys);
    (*keys)[(*count)++] = key;
    return 0;
}

struct keys {
    struct public_key **list;
    size_t count;
};

static void keys_done(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        public_key_free(keys->list[i]);
    free(keys->list);
}

static int add_key_file(struct keys *keys, const char *path, struct error *err)
{
    struct str pem CLEANUP(str_done) = STR_INIT;
    int r = file_read_at(AT_FDCWD, path, KEY_MAX_BYTES, &pem);
    if (r < 0)
        return error_errno(err, r, "read key %s", path);
    return add_key(&keys->list, &keys->count, pem.ptr, pem.len, err) < 0 ? error_wrap(err, "key %s", path)
                                                                         : 0;
}

static int add_key_data(struct keys *keys, const char *text, struct error *err)
{
    struct str pem CLEANUP(str_done) = STR_INIT;
    if (!base64_decode(&pem, text))
        return error_set(err, ERROR_INVALID, "keyData: bad base64");
    return add_key(&keys->list, &keys->count, pem.ptr, pem.len, err) < 0 ? error_wrap(err, "keyData") : 0;
}

static int read_keys(const json_t *requirement, struct keys *keys, struct error *err)
{
    static const struct {
        const char *one, *several;
        int (*add)(struct keys *keys, const char *text, struct error *err);
    } sources[] = { { "keyPath", "keyPaths", add_key_file }, { "keyData", "keyDatas", add_key_data } };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const char *one = json_get_string(requirement, sources[i].one, NULL);
        char **several CLEANUP(strv_freep) = json_get_strv(requirement, sources[i].several);
        if (one && sources[i].add(keys, one, err) < 0)
            return -1;
        for (size_t k = 0; several && several[k]; k++)
            if (sources[i].add(keys, several[k], err) < 0)
                return -1;
    }
    return keys->count ? 0 : error_set(err, ERROR_INVALID, "sigstoreSigned without keyPath or keyData");
}

// --- the policy
static int check_members(const json_t *object, const char *const *known, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (known[i] && !streq(known[i], key))
            i++;
        if (!known[i])
            return error_set(err, ERROR_UNSUPPORTED, "\"%.100s\" is not offered by this version of skiff",
                             key);
    }
    return 0;
}

static int check_identity(const json_t *identity, struct error *err)
{
    static const char *const known[] = { "matchRepoDigestOrExact", "matchExact",      "matchRepository",
                                         "exactReference",         "exactRepository", NULL };
    const char *type = json_get_string(identity, "type", "matchRepoDigestOrExact");
    for (size_t i = 0; known[i]; i++)
        if (streq(known[i], type))
            return 0;
    return error_set(err, ERROR_UNSUPPORTED,
                     "signedIdentity \"%.100s\" is not offered by this version of skiff", type);
}

static int check_requirement(const json_t *requirement, struct error *err)
{
    static const char *const plain[] = { "type", NULL };
    static const char *const signed_members[] = { "type",     "keyPath",        "keyPaths", "keyData",
                                                  "keyDatas", "signedIdentity", NULL };
    struct keys keys CLEANUP(keys_done) = { 0 };
    const char *type = json_get_string(requirement, "type", "");
    if (streq(type, "insecureAcceptAnything") || streq(type, "reject"))
        return check_members(requirement, plain, err);
    if (!streq(type, "sigstoreSigned"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "requirement \"%.100s\" is not offered by this version of skiff", type);
    if (check_members(requirement, signed_members, err) < 0 ||
        check_identity(json_get_object(requirement, "signedIdentity"), err) < 0)
        return -1;
    return read_keys(requirement, &keys, err);
}

static int check_requirements(const char *scope, const json_t *requirements, struct error *err)
{
    if (json_array_size(requirements) == 0)
        return error_set(err, ERROR_INVALID, "scope \"%.200s\": a list of requirements is wanted", scope);
    for (size_t i = 0; i < json_array_size(requirements); i++)
        if (check_requirement(json_array_get(requirements, i), err) < 0)
            return error_wrap(err, "scope \"%.200s\"", scope);
    return 0;
}

static int check_policy(const json_t *policy, struct error *err)
{
    static const char *const top[] = { "default", "transports", NULL };
    const char *scope;
    json_t *requirements;
    if (!json_is_object(policy) || check_members(policy, top, err) < 0)
        return json_is_object(policy) ? -1 : error_set(err, ERROR_INVALID, "not a JSON object");
    if (check_requirements("default", json_get_array(policy, "default"), err) < 0)
        return -1;
    const json_t *docker = json_get_object(json_get_object(policy, "transports"), "docker");
    json_object_foreach((json_t *)(uintptr_t)docker, scope, requirements)
    {
        if (check_requirements(scope, requirements, err) < 0)
            return -1;
    }
    return 0;
}

static int read_policy(const char *path, json_t **ret, struct error *err)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    json_t *policy CLEANUP(json_cleanup) = NULL;
    int r = file_read_at(AT_FDCWD, path, POLICY_MAX_BYTES, &text);
    if (r < 0)
        return error_errno(err, r, "read signature policy %s", path);
    if (json_parse(text.ptr, text.len, &policy, err) < 0 || check_policy(policy, err) < 0)
        return error_wrap(err, "signature policy %s", path);
    *ret = TAKE_PTR(policy);
    return 0;
}

int image_policy_check(const char *path, struct error *err)
{
    json_t *policy = NULL;
    int r = read_policy(path, &policy, err);
    json_decref(policy);
    return r;
}

// --- which requirements

// "*.b.c" and "*.c" for "a.b.c", the longest first.
static json_t *wildcard_scope(const json_t *docker, const char *domain)
{
    for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.')) {
        char *scope CLEANUP(cleanup_free) = xasprintf("*%s", dot);
        json_t *found = json_get_array(docker, scope);
        if (found)
            return found;
    }
    return NULL;
}

static const json_t *find_requirements(const json_t *policy, const struct reference *reference)
{
    const json_t *docker = json_get_object(json_get_object(policy, "transports"), "docker");
    char *scope CLEANUP(cleanup_free) = reference_full(reference);
    char *name CLEANUP(cleanup_free) = xasprintf("%s/%s", reference->domain, reference->repository);
    json_t *found = json_get_array(docker, scope);
    for (char *slash = name; !found && slash;) { // the repository and its parents, down to the registry
        found = json_get_array(docker, name);
        slash = strrchr(name, '/');
        if (slash)
            *slash = 0;
    }
    if (!found)
        found = wildcard_scope(docker, reference->domain);
    if (!found)
        found = json_get_array(docker, "");
    return found ? found : json_get_array(policy, "default");
}

// --- one signature
static bool identity_matches(const json_t *requirement, const struct reference *wanted,
                             const char *signed_name)
{
    const json_t *identity = json_get_object(requirement, "signedIdentity");
    const char *type = json_get_string(identity, "type", "matchRepoDigestOrExact");
    struct reference claimed, other = { 0 };
    struct error ignored;
    if (reference_parse(signed_name, 0, &claimed, &ignored) < 0)
        return false;
    bool is_exact_type = streq(type, "exactReference") || streq(type, "exactRepository");
    const char *other_name =
        json_get_string(identity, streq(type, "exactReference") ? "dockerReference" : "dockerRepository", "");
    const struct reference *target = wanted;
    bool is_fine = true;
    if (is_exact_type) {
        is_fine = reference_parse(other_name, 0, &other, &ignored) == 0;
        target = &other;
    }
    bool same_repository =
        is_fine && streq(claimed.domain, target->domain) && streq(claimed.repository, target->repository);
    bool same_tag = same_repository && claimed.tag && streq(claimed.tag, target->tag);
    bool by_digest = streq(type, "matchRepoDigestOrExact") && !target->tag;
    bool by_repository = streq(type, "matchRepository") || streq(type, "exactRepository") || by_digest;
    reference_done(&claimed);
    reference_done(&other);
    return by_repository ? same_repository : same_tag;
}

static bool payload_matches(const struct str *payload, const json_t *requirement,
                            const struct image_to_verify *image)
{
    json_t *document CLEANUP(json_cleanup) = NULL;
    struct error ignored;
    if (json_parse(payload->ptr, payload->len, &document, &ignored) < 0)
        return false;
    const json_t *critical = json_get_object(document, "critical");
    const char *digest = json_get_string(json_get_object(critical, "image"), "docker-manifest-digest", "");
    if (!streq(json_get_string(critical, "type", ""), "cosign container image signature") ||
        (!streq(digest, image->top_digest) && !streq(digest, image->manifest_digest)))
        return false;
    return identity_matches(requirement, image->reference,
                            json_get_string(json_get_object(critical, "identity"), "docker-reference", ""));
}

struct signed_payload {
    struct str bytes, signature;
};

static void payloads_done(struct signed_payload **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        str_done(&(*list)[i].bytes);
        str_done(&(*list)[i].signature);
    }
    free(*list);
}

// --- fetching them
static int fetch_payload(const struct image_to_verify *image, const json_t *layer, struct signed_payload *ret,
                         struct error *err)
{
    const char *digest = json_get_string(layer, "digest", "");
    int64_t size = json_get_int(layer, "size", -1);
    struct oci_descriptor descriptor = { .size_bytes = (uint64_t)size };
    if (!oci_digest_is_valid(digest) || size < 0 || size > PAYLOAD_MAX_BYTES)
        return error_set(err, ERROR_INVALID, "a signature's payload is malformed or larger than %d bytes",
                         (int)PAYLOAD_MAX_BYTES);
    memcpy(descriptor.digest, digest, OCI_DIGEST_LEN + 1);
    const char *text = json_get_string(json_get_object(layer, "annotations"), SIGNATURE_KEY, "");
    if (!base64_decode(&ret->signature, text))
        str_clear(&ret->signature);
    return registry_blob_get(image->repository, &descriptor, &ret->bytes, err);
}

// Of one digest; there being none is no error.
static int fetch_payloads(const struct image_to_verify *image, const char *digest,
                          struct signed_payload **list, size_t *count, struct error *err)
{
    CLEANUP(registry_manifest_done) struct registry_manifest manifest = { .bytes = STR_INIT };
    json_t *document CLEANUP(json_cleanup) = NULL;
    char *tag CLEANUP(cleanup_free) = xasprintf("sha256-%s.sig", digest + 7);
    if (registry_manifest_get(image->repository, tag, &manifest, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? 0 : -1;
    if (json_parse(manifest.bytes.ptr, manifest.bytes.len, &document, err) < 0)
        return error_wrap(err, "signatures of %s", digest);
    const json_t *layers = json_get_array(document, "layers");
    for (size_t i = 0; i < json_array_size(layers) && *count < SIGNATURES_MAX; i++) {
        const json_t *layer = json_array_get(layers, i);
        if (!streq(json_get_string(layer, "mediaType", ""), PAYLOAD_TYPE))
            continue;
        *list = xreallocarray(*list, *count + 1, sizeof **list);
        struct signed_payload *payload = &(*list)[(*count)++];
        *payload = (struct signed_payload){ STR_INIT, STR_INIT };
        if (fetch_payload(image, layer, payload, err) < 0)
            return error_wrap(err, "signatures of %s", digest);
    }
    return 0;
}

// --- the verdict
static int refuse(const struct image_to_verify *image, const char *why, struct error *err)
{
    char *name CLEANUP(cleanup_free) = reference_familiar(image->reference);
    return error_set(err, ERROR_DENIED, "%s is refused by the signature policy: %s", name, why);
}

static bool is_signed_by_one(const struct keys *keys, const struct signed_payload *payload)
{
    for (size_t i = 0; i < keys->count; i++)
        if (public_key_has_signed(keys->list[i], payload->bytes.ptr, payload->bytes.len,
                                  payload->signature.ptr, payload->signature.len))
            return true;
    return false;
}

static int verify_requirement(const json_t *requirement, const struct image_to_verify *image,
                              const struct signed_payload *list, size_t count, struct error *err)
{
    struct keys keys CLEANUP(keys_done) = { 0 };
    size_t by_key = 0;
    if (read_keys(requirement, &keys, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!is_signed_by_one(&keys, &list[i]))
            continue;
        by_key++;
        if (payload_matches(&list[i].bytes, requirement, image))
            return 0;
    }
    return refuse(image,
                  count == 0 ? "it has no signature"
                  : by_key   ? "what its signatures are of is another image or name"
                             : "no signature is by a key of the policy",
                  err);
}

static int verify_requirements(const json_t *requirements, const struct image_to_verify *image,
                               struct error *err)
{
    struct signed_payload *list = NULL;
    size_t count = 0;
    int r = fetch_payloads(image, image->top_digest, &list, &count, err);
    if (r == 0 && !streq(image->top_digest, image->manifest_digest))
        r = fetch_payloads(image, image->manifest_digest, &list, &count, err);
    for (size_t i = 0; r == 0 && i < json_array_size(requirements); i++) {
        const json_t *requirement = json_array_get(requirements, i);
        if (streq(json_get_string(requirement, "type", ""), "sigstoreSigned"))
            r = verify_requirement(requirement, image, list, count, err);
    }
    payloads_done(&list, count);
    return r;
}

int image_policy_verify(const char *path, const struct image_to_verify *image, struct error *err)
{
    json_t *policy CLEANUP(json_cleanup) = NULL;
    if (read_policy(path, &policy, err) < 0)
        return -1;
    const json_t *requirements = find_requirements(policy, image->reference);
    bool needs_signature = false;
    for (size_t i = 0; i < json_array_size(requirements); i++) {
        const char *type = json_get_string(json_array_get(requirements, i), "type", "");
        if (streq(type, "reject"))
            return refuse(image, "its place is rejected", err);
        needs_signature |= streq(type, "sigstoreSigned");
    }
    return needs_signature ? verify_requirements(requirements, image, err) : 0;
}
