#include "image/place.h"

#include "base/mem.h"
#include "oci/registries.h"
#include "registry/client/upload.h"

struct registry_credentials image_place_credentials(const struct registry_auth *auth)
{
    if (!auth)
        return (struct registry_credentials){ 0 };
    return (struct registry_credentials){ .username = auth->username,
                                          .password = auth->password,
                                          .identity_token = auth->identity_token,
                                          .registry_token = auth->registry_token };
}

struct registry_options image_place_options(const struct image_service *images)
{
    return (struct registry_options){ .insecure = images->options.insecure_registries,
                                      .certificates_root = "/etc/docker/certs.d" };
}

int image_place_check(const struct image_service *images, const char *domain, const char *repository,
                      struct error *err)
{
    const struct registry_rules *rules = images->options.registries;
    if (!rules || !registry_rules_forbid(rules, domain, repository))
        return 0;
    return error_set(err, ERROR_DENIED,
                     "%s/%s refused: the registry is blocked by this engine's configuration", domain,
                     repository);
}

int image_place_open(struct image_service *images, const struct reference *reference,
                     const struct registry_auth *auth, bool is_push, char *const *mount_from,
                     struct registry_repository **ret, struct error *err)
{
    const struct registry_credentials credentials = image_place_credentials(auth);
    struct registry_options options = image_place_options(images);
    options.is_push = is_push;
    options.mount_from = mount_from;
    if (image_place_check(images, reference->domain, reference->repository, err) < 0)
        return -1;
    return registry_open(reference->domain, reference->repository, &credentials, &options, ret, err);
}

static int send_blob(struct registry_repository *from, struct registry_upload *upload,
                     const struct oci_descriptor *descriptor, struct error *err)
{
    struct registry_blob *blob = NULL;
    if (registry_blob_open(from, descriptor, &blob, err) < 0)
        return -1;
    const struct reader stream = registry_blob_reader(blob);
    int r = registry_upload_whole(upload, &stream, descriptor->size_bytes, descriptor->digest, err);
    if (r < 0 && registry_blob_error(blob))
        *err = *registry_blob_error(blob);
    registry_blob_close(blob);
    return r;
}

int image_place_copy_blob(struct registry_repository *from, const char *from_name,
                          struct registry_repository *to, const struct oci_descriptor *blob,
                          struct error *err)
{
    struct registry_upload *upload = NULL;
    int r = registry_blob_stat(to, blob->digest, NULL, err);
    if (r != 0)
        return r < 0 ? -1 : 0;
    if (registry_upload_begin(to, blob->digest, from_name, NULL, &upload, err) < 0)
        return -1;
    r = upload ? send_blob(from, upload, blob, err) : 0;
    registry_upload_close(upload);
    return r;
}

int image_place_put_blob(struct registry_repository *to, const char *digest, const void *bytes, size_t n,
                         struct error *err)
{
    struct registry_upload *upload = NULL;
    int r = registry_blob_stat(to, digest, NULL, err);
    if (r != 0)
        return r < 0 ? -1 : 0;
    if (registry_upload_begin(to, NULL, NULL, NULL, &upload, err) < 0)
        return -1;
    r = registry_upload_finish(upload, bytes, n, digest, err);
    registry_upload_close(upload);
    return r;
}
