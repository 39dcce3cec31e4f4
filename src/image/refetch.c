#include "image/refetch.h"

#include "base/mem.h"
#include "image/place.h"
#include "oci/image.h"
#include "store/fsck.h"

#include <string.h>

struct origin {
    struct registry_repository *repository;
    struct oci_document manifest;
};

static void origin_done(struct origin *origin)
{
    registry_close(origin->repository);
    oci_document_done(&origin->manifest);
}

static int open_repository(struct image_service *images, const char *repo_digest,
                           struct registry_repository **ret, struct error *err)
{
    struct reference reference;
    if (reference_parse(repo_digest, 0, &reference, err) < 0)
        return -1;
    int r = image_place_open(images, &reference, NULL, false, NULL, ret, err);
    reference_done(&reference);
    return r;
}

static int read_manifest(struct image_service *images, const struct image *image, struct origin *origin,
                         struct error *err)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    if (content_get(images->store, image->manifest_digest, &text, err) < 0)
        return -1;
    return oci_document_parse(text.ptr, text.len, NULL, &origin->manifest, err);
}

// Try one repository after the other; the last one's word is the error.
static int each_origin(struct image_service *images, const struct image *image,
                       int (*fetch)(struct origin *origin, void *context, struct error *err), void *context,
                       bool needs_manifest, struct error *err)
{
    if (!image->manifest_digest || !strv_len(image->repo_digests))
        return error_set(err, ERROR_NOT_FOUND, "no registry is known that has it");
    for (size_t i = 0; image->repo_digests[i]; i++) {
        CLEANUP(origin_done) struct origin origin = { 0 };
        if (needs_manifest && read_manifest(images, image, &origin, err) < 0)
            return -1;
        if (open_repository(images, image->repo_digests[i], &origin.repository, err) == 0 &&
            fetch(&origin, context, err) == 0)
            return 0;
    }
    return -1;
}

struct layer_fetch {
    struct image_service *images;
    const struct image *image;
    size_t index;
    bool keeps_old;
};

static int fetch_layer(struct origin *origin, void *context, struct error *err)
{
    const struct layer_fetch *f = context;
    const struct layer_limits limits = f->images->options.layer_limits;
    struct registry_blob *blob = NULL;
    if (origin->manifest.kind != OCI_DOCUMENT_MANIFEST ||
        origin->manifest.count != strv_len(f->image->diff_ids))
        return error_set(err, ERROR_INVALID, "the manifest does not match the image");
    if (registry_blob_open(origin->repository, &origin->manifest.descriptors[f->index], &blob, err) < 0)
        return -1;
    int r = layer_replace(f->images->store, registry_blob_reader(blob), f->image->diff_ids[f->index], &limits,
                          f->keeps_old, err);
    if (r < 0 && registry_blob_error(blob))
        *err = *registry_blob_error(blob);
    registry_blob_close(blob);
    return r;
}

int image_refetch_layer(struct image_service *images, const struct image *image, size_t index, bool keeps_old,
                        struct error *err)
{
    struct layer_fetch fetch = { images, image, index, keeps_old };
    return each_origin(images, image, fetch_layer, &fetch, true, err);
}

struct document_fetch {
    struct image_service *images;
    const char *digest;
};

static int fetch_config(struct origin *origin, void *context, struct error *err)
{
    const struct document_fetch *f = context;
    CLEANUP(str_done) struct str text = STR_INIT;
    if (registry_blob_get(origin->repository, &origin->manifest.config, &text, err) < 0)
        return -1;
    return content_replace(f->images->store, f->digest, text.ptr, text.len, err);
}

static int fetch_manifest(struct origin *origin, void *context, struct error *err)
{
    const struct document_fetch *f = context;
    CLEANUP(registry_manifest_done) struct registry_manifest manifest = { .bytes = STR_INIT };
    if (registry_manifest_get(origin->repository, f->digest, &manifest, err) < 0)
        return -1;
    return content_replace(f->images->store, f->digest, manifest.bytes.ptr, manifest.bytes.len, err);
}

int image_refetch_document(struct image_service *images, const struct image *image, const char *digest,
                           struct error *err)
{
    struct document_fetch fetch = { images, digest };
    bool is_config = streq(digest, image->id);
    return each_origin(images, image, is_config ? fetch_config : fetch_manifest, &fetch, is_config, err);
}
