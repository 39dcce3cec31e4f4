// Artifacts and referrers (skiff's own).
#include "api/registry_auth.h"
#include "api/request.h"
#include "base/mem.h"
#include "http/http.h"
#include "image/artifact.h"

static const struct registry_auth *auth_or_none(const struct registry_auth *auth)
{
    return registry_auth_is_anonymous(auth) ? NULL : auth;
}

int api_artifact_list(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    CLEANUP(cleanup_free) char *type = request_get(request, "type");
    json_t *list = NULL;
    if (registry_auth_read(request, &auth, err) < 0 ||
        artifact_list(request->engine->images, request->name, str_is_empty(type) ? NULL : type,
                      auth_or_none(&auth), &list, err) < 0)
        return -1;
    return respond_json(request, 200, list);
}

int api_artifact_attach(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    CLEANUP(cleanup_free)
    char *type = request_get(request, "type"), *media_type = request_get(request, "mediaType");
    CLEANUP(strv_freep) char **annotations = http_query_get_all(request->query, "annotation");
    const struct artifact_attachment attachment = { .name = request->name,
                                                    .type = type ? type : "",
                                                    .annotations = annotations,
                                                    .files = http_exchange_body(request->http),
                                                    .media_type =
                                                        str_is_empty(media_type) ? NULL : media_type };
    char digest[DIGEST_LEN + 1];
    if (registry_auth_read(request, &auth, err) < 0 ||
        artifact_attach(request->engine->images, &attachment, auth_or_none(&auth), digest, err) < 0)
        return -1;
    json_t *document = json_object();
    json_set_string(document, "Digest", digest);
    return respond_json(request, 201, document);
}

int api_artifact_pull(struct request *request, struct error *err)
{
    CLEANUP(registry_auth_done) struct registry_auth auth = { 0 };
    struct lazy_stream stream = { .request = request };
    if (registry_auth_read(request, &auth, err) < 0)
        return -1;
    return artifact_pull(request->engine->images, request->name, auth_or_none(&auth),
                         lazy_stream_writer(&stream), err);
}
