// What a registry says before it is trusted: challenges, token answers, error documents. Whatever becomes a
// header must fit in one line.
#include "registry/client/auth.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct auth_challenge challenge = { 0 };
    CLEANUP(cleanup_free) char *text = xstrndup((const char *)data, size), *token = NULL, *code = NULL;
    auth_challenge_read(text, &challenge);
    auth_challenge_read(text, &challenge);
    auth_challenge_done(&challenge);
    CLEANUP(cleanup_free) char *words = auth_error_text((const char *)data, size, &code);
    if (words && strpbrk(words, "\r\n\033"))
        abort();
    if (auth_token_parse((const char *)data, size, &token, NULL, &err) == 0) {
        CLEANUP(cleanup_free) char *header = auth_bearer(token);
        if (header && strpbrk(header + 7, "\r\n "))
            abort();
    }
    return 0;
}
