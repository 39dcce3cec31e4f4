#include "registry/client/referrers.h"

#include "base/mem.h"
#include "registry/client/session.h"

static int get_native(struct registry_repository *repository, const char *digest, struct str *ret,
                      struct error *err)
{
    char *headers[] = { (char[]){ "Accept: " OCI_MEDIA_INDEX }, NULL };
    CLEANUP(cleanup_free) char *path = xasprintf("/v2/%s/referrers/%s", repository->name, digest);
    struct transfer *transfer = session_take_transfer(repository);
    int r = session_get(repository, transfer, path, headers, 0, err);
    // Something else may answer on that path: only an index is believed to be one.
    if (r == 0 && (!transfer->content_type || !str_has_prefix(transfer->content_type, OCI_MEDIA_INDEX)))
        r = error_set(err, ERROR_NOT_FOUND, "no referrers API");
    if (r == 0)
        r = transfer_read_all(transfer, OCI_DOCUMENT_MAX_BYTES, ret, err);
    session_give_transfer(repository, transfer);
    return r;
}

int registry_referrers_get(struct registry_repository *repository, const char *digest, struct str *ret,
                           bool *ret_is_native, struct error *err)
{
    CLEANUP(registry_manifest_done) struct registry_manifest manifest = { .bytes = STR_INIT };
    *ret_is_native = get_native(repository, digest, ret, err) == 0;
    if (*ret_is_native)
        return 0;
    if (err->kind != ERROR_NOT_FOUND)
        return -1;
    str_clear(ret);
    CLEANUP(cleanup_free) char *tag = xasprintf("sha256-%s", digest + 7);
    if (registry_manifest_get(repository, tag, &manifest, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? 0 : -1;
    str_append_n(ret, manifest.bytes.ptr, manifest.bytes.len);
    return 0;
}
