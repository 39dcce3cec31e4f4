// Manifest lists (skiff's own: Docker's client keeps them itself).
#include "api/registry_auth.h"
#include "api/request.h"
#include "base/mem.h"
#include "image/manifest_list.h"

static const struct registry_auth *auth_or_none(const struct registry_auth *auth)
{
    return registry_auth_is_anonymous(auth) ? NULL : auth;
}

int api_manifest_inspect(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    json_t *document = NULL;
    if (registry_auth_read(request, &auth, err) < 0 ||
        manifest_inspect(request->engine->images, request->name, request_flag(request, "verbose", false),
                         auth_or_none(&auth), &document, err) < 0)
        return -1;
    return respond_json(request, 200, document);
}

int api_manifest_create(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    CLEANUP(json_cleanup) json_t *body = NULL;
    if (request_json(request, true, &body, err) < 0 || registry_auth_read(request, &auth, err) < 0)
        return -1;
    CLEANUP(strv_freep) char **members = json_get_strv(body, "Manifests");
    if (!strv_len(members))
        return error_set(err, ERROR_INVALID, "Manifests: at least one is wanted");
    if (manifest_list_create(request->engine->images, request->name, members,
                             json_get_bool(body, "Amend", false), auth_or_none(&auth), err) < 0)
        return -1;
    return respond_empty(request, 201);
}

int api_manifest_annotate(struct request *request, struct error *err)
{
    CLEANUP(json_cleanup) json_t *body = NULL;
    if (request_json(request, true, &body, err) < 0)
        return -1;
    CLEANUP(strv_freep) char **features = json_get_strv(body, "OSFeatures");
    CLEANUP(strv_freep) char **annotations = json_get_strv(body, "Annotations");
    const struct manifest_annotation annotation = { .os = json_get_string(body, "OS", NULL),
                                                    .architecture =
                                                        json_get_string(body, "Architecture", NULL),
                                                    .variant = json_get_string(body, "Variant", NULL),
                                                    .os_version = json_get_string(body, "OSVersion", NULL),
                                                    .os_features = features,
                                                    .annotations = annotations };
    if (manifest_list_annotate(request->engine->images, request->name, json_get_string(body, "Manifest", ""),
                               &annotation, err) < 0)
        return -1;
    return respond_empty(request, 204);
}

int api_manifest_push(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    CLEANUP(strv_freep) char **pushed = NULL;
    char digest[DIGEST_LEN + 1];
    if (registry_auth_read(request, &auth, err) < 0 ||
        manifest_list_push(request->engine->images, request->name, request_flag(request, "purge", false),
                           auth_or_none(&auth), digest, &pushed, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Digest", digest);
    json_object_set_new(document, "Pushed", json_from_strv(pushed));
    return respond_json(request, 200, document);
}

int api_manifest_remove(struct request *request, struct error *err)
{
    return manifest_list_remove(request->engine->images, request->name, err) < 0
               ? -1
               : respond_empty(request, 204);
}
