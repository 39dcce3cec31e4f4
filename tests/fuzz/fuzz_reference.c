// A reference that parses must print and parse again to itself, in full and in familiar form.
#include "base/mem.h"
#include "base/str.h"
#include "image/reference.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_come_back(const struct reference *reference, char *text)
{
    struct reference again;
    struct error err;
    if (reference_parse(text, 0, &again, &err) < 0 || !streq(again.domain, reference->domain) ||
        !streq(again.repository, reference->repository) || !streq(again.tag, reference->tag) ||
        !streq(again.digest, reference->digest))
        abort();
    reference_done(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reference reference;
    struct error err;
    char *text CLEANUP(cleanup_free) = xstrndup((const char *)data, size);
    if (reference_parse(text, size & 1, &reference, &err) < 0)
        return 0;
    must_come_back(&reference, reference_full(&reference));
    reference_done(&reference);
    return 0;
}
