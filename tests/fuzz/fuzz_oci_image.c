// An image document that is taken must be emitted and taken again as the same; a configuration's diff ids are
// digests.
#include "oci/image.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const char *text, size_t size)
{
    struct error err;
    CLEANUP(json_cleanup) json_t *json = NULL;
    CLEANUP(strv_freep) char **ids = NULL;
    if (json_parse(text, size, &json, &err) < 0 || oci_config_diff_ids(json, &ids, &err) < 0)
        return;
    for (size_t i = 0; ids && ids[i]; i++)
        if (!oci_digest_is_valid(ids[i]))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    CLEANUP(oci_document_done) struct oci_document first = { 0 }, second = { 0 };
    check_config((const char *)data, size);
    if (oci_document_parse((const char *)data, size, NULL, &first, &err) < 0)
        return 0;
    CLEANUP(json_cleanup) json_t *json = oci_document_emit(&first);
    CLEANUP(cleanup_free) char *text = json_text(json);
    if (oci_document_parse(text, strlen(text), first.media_type, &second, &err) < 0)
        abort();
    CLEANUP(json_cleanup) json_t *again = oci_document_emit(&second);
    if (!json_equal(json, again))
        abort();
    return 0;
}
