// The registry client by hand: fetch DOMAIN REPOSITORY NAME [USER PASSWORD]. Prints the manifest's digest
// and, of an image, each blob's digest once it was read and verified; "ERROR kind: message" and exit 1
// otherwise. INSECURE, TIMEOUT_S, CANCEL_MS and IDENTITY_TOKEN in the environment.
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "registry/client/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int64_t cancel_at;

static bool is_cancelled(void *context)
{
    (void)context;
    return cancel_at && time_monotonic_ns() > cancel_at;
}

static int fetch_blob(struct registry_repository *repository, const struct oci_descriptor *descriptor,
                      struct error *err)
{
    struct registry_blob *blob;
    char bytes[4096];
    ssize_t n;
    if (registry_blob_open(repository, descriptor, &blob, err) < 0)
        return -1;
    struct reader reader = registry_blob_reader(blob);
    while ((n = reader.read(reader.context, bytes, sizeof bytes)) > 0)
        ;
    if (n < 0)
        *err = *registry_blob_error(blob);
    else
        printf("blob %s\n", descriptor->digest);
    registry_blob_close(blob);
    return n < 0 ? -1 : 0;
}

static int fetch_all(struct registry_repository *repository, const char *name, struct error *err)
{
    CLEANUP(registry_manifest_done) struct registry_manifest manifest = { .bytes = STR_INIT };
    CLEANUP(oci_document_done) struct oci_document document = { 0 };
    if (registry_manifest_get(repository, name, &manifest, err) < 0 ||
        oci_document_parse(manifest.bytes.ptr, manifest.bytes.len, manifest.media_type, &document, err) < 0)
        return -1;
    printf("manifest %s\n", manifest.digest);
    if (document.kind == OCI_DOCUMENT_INDEX)
        return 0;
    if (fetch_blob(repository, &document.config, err) < 0)
        return -1;
    for (size_t i = 0; i < document.count; i++)
        if (fetch_blob(repository, &document.descriptors[i], err) < 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6)
        return 2;
    struct error err = { 0 };
    uint32_t number = 0;
    struct registry_repository *repository = NULL;
    CLEANUP(strv_freep)
    char **insecure = getenv("INSECURE") ? strv_split(getenv("INSECURE"), ",", false) : NULL;
    struct registry_credentials credentials = { .username = argc > 4 ? argv[4] : NULL,
                                                .password = argc > 4 ? argv[5] : NULL,
                                                .identity_token = getenv("IDENTITY_TOKEN") };
    struct registry_options options = { .insecure = insecure,
                                        .certificates_root = getenv("CERTIFICATES"),
                                        .is_cancelled = is_cancelled };
    if (getenv("TIMEOUT_S") && parse_u32(getenv("TIMEOUT_S"), 60, &number))
        options.timeout_s = number;
    if (getenv("CANCEL_MS") && parse_u32(getenv("CANCEL_MS"), 60000, &number))
        cancel_at = time_monotonic_ns() + (int64_t)number * NS_PER_MS;
    int r = registry_open(argv[1], argv[2], &credentials, &options, &repository, &err);
    if (r == 0)
        r = fetch_all(repository, argv[3], &err);
    registry_close(repository);
    if (r < 0)
        printf("ERROR %s: %s\n", error_kind_name(err.kind), err.message);
    return r < 0;
}
