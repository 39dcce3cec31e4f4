// Which manifest an image gets at the target. The one it came with, byte for byte, when every layer is there as the blob which
// that one names: so its digest stays what people know. Else a new one: Docker's schema 2, unless the image came with an OCI
// manifest or a layer is zstd, which schema 2 has no media type for.
#include "image/push_internal.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

static bool is_stored_manifest_true(const struct push *push)
{
    if (!push->has_stored || push->stored.count != push->count ||
        !streq(push->stored.config.digest, push->image->id))
        return false;
    for (size_t i = 0; i < push->count; i++)
        if (!streq(push->stored.descriptors[i].digest, push->layers[i].blob.digest))
            return false;
    return true;
}

static bool has_zstd(const struct push *push)
{
    for (size_t i = 0; i < push->count; i++)
        if (str_has_suffix(push->layers[i].blob.media_type, "zstd"))
            return true;
    return false;
}

static const char *layer_type(const char *blob_type, bool is_oci)
{
    if (str_has_suffix(blob_type, "zstd"))
        return OCI_MEDIA_LAYER "+zstd";
    if (str_has_suffix(blob_type, "gzip"))
        return is_oci ? OCI_MEDIA_LAYER "+gzip" : DOCKER_MEDIA_LAYER ".gzip";
    return is_oci ? OCI_MEDIA_LAYER : DOCKER_MEDIA_LAYER;
}

static json_t *new_manifest(const struct push *push, uint64_t config_bytes, bool is_oci)
{
    struct oci_document document = { .kind = OCI_DOCUMENT_MANIFEST, .count = push->count };
    document.media_type = xstrdup(is_oci ? OCI_MEDIA_MANIFEST : DOCKER_MEDIA_MANIFEST);
    document.config.media_type = xstrdup(is_oci ? OCI_MEDIA_CONFIG : DOCKER_MEDIA_CONFIG);
    document.config.size_bytes = config_bytes;
    memcpy(document.config.digest, push->image->id, sizeof document.config.digest);
    document.descriptors = xcalloc(push->count + 1, sizeof *document.descriptors);
    for (size_t i = 0; i < push->count; i++) {
        document.descriptors[i] = push->layers[i].blob;
        document.descriptors[i].media_type = xstrdup(layer_type(push->layers[i].blob.media_type, is_oci));
    }
    json_t *json = oci_document_emit(&document);
    oci_document_done(&document);
    return json;
}

int push_manifest(struct push *push, struct str *ret, const char **ret_type, struct error *err)
{
    if (is_stored_manifest_true(push)) {
        str_append_n(ret, push->stored_bytes.ptr, push->stored_bytes.len);
        *ret_type = push->stored.media_type;
        return 0;
    }
    CLEANUP(str_done) struct str config = STR_INIT;
    if (content_get(push->images->store, push->image->id, &config, err) < 0)
        return -1;
    bool is_oci = has_zstd(push) || (push->has_stored && streq(push->stored.media_type, OCI_MEDIA_MANIFEST));
    CLEANUP(json_cleanup) json_t *json = new_manifest(push, config.len, is_oci);
    json_append(ret, json);
    *ret_type = is_oci ? OCI_MEDIA_MANIFEST : DOCKER_MEDIA_MANIFEST;
    return 0;
}
