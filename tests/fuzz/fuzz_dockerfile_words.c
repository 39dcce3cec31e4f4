// The first byte chooses the rules, up to the first NUL is a variable's value, the rest the text. What has no character
// that means anything stays as it is, and trimming gives an end of the value.
#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/pattern.h"
#include "build/dockerfile/words.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_trim_to_an_end(const char *pattern, const char *value, bool greedy)
{
    struct str start CLEANUP(str_done) = STR_INIT, end CLEANUP(str_done) = STR_INIT;
    struct error err;
    if (pattern_trim_start(pattern, value, greedy, &end, &err) == 0 && !str_has_suffix(value, end.ptr))
        abort();
    if (pattern_trim_end(pattern, value, greedy, &start, &err) == 0 && !str_has_prefix(value, start.ptr))
        abort();
}

static void must_keep_plain_text(const char *text, const struct words_rules *rules, const char *expanded)
{
    const char special[] = { '$', '\'', '"', rules->escape, 0 };
    if (!strpbrk(text, special) && !streq(text, expanded))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *value CLEANUP(cleanup_free) = xstrndup((const char *)data + 1, size - 1);
    size_t at = strlen(value) + 2;
    char *text CLEANUP(cleanup_free) =
        xstrndup((const char *)data + (at < size ? at : size), at < size ? size - at : 0);
    char *variable CLEANUP(cleanup_free) = xasprintf("v=%s", value);
    char *values[] = { variable, (char[]){ "empty=" }, NULL };
    char **used CLEANUP(strv_freep) = NULL, **missing CLEANUP(strv_freep) = NULL,
                **words CLEANUP(strv_freep) = NULL;
    const struct words_rules rules = { .escape = data[0] & 1 ? '`' : '\\',
                                       .keeps_quotes = data[0] & 2,
                                       .keeps_escapes = data[0] & 4,
                                       .ignores_quotes = data[0] & 8,
                                       .keeps_unset = data[0] & 16,
                                       .values = values,
                                       .used = &used,
                                       .missing = &missing };
    char *expanded CLEANUP(cleanup_free) = NULL;
    struct error err;
    if (words_expand(text, &rules, &expanded, &err) == 0)
        must_keep_plain_text(text, &rules, expanded);
    (void)words_split(text, &rules, &words, &err);
    must_trim_to_an_end(text, value, data[0] & 32);
    return 0;
}
