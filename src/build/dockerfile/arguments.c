#include "build/dockerfile/arguments.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/word_list.h"
#include "codec/json.h"

#include <ctype.h>
#include <string.h>

static const char white_space[] = " \t\v\f\r\n";

char *arguments_trimmed(const char *s, size_t n)
{
    while (n && isspace((unsigned char)*s)) {
        s++;
        n--;
    }
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    return xstrndup(s, n);
}

// --- flags

// One flag, unquoted, from s on; *ret_end is where it ended.
static char *read_flag(const char *s, char escape, const char **ret_end)
{
    struct str flag CLEANUP(str_done) = STR_INIT;
    char quote = 0;
    for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
        if (quote ? *s == quote : *s == '\'' || *s == '"') {
            quote = quote ? 0 : *s;
            continue;
        }
        if (*s == escape) {
            if (!s[1])
                continue; // nothing to escape at the end
            s++;
        }
        str_append_char(&flag, *s);
    }
    *ret_end = s;
    return str_take(&flag);
}

// Flags up to the first word that is none, or past "--". What is left.
static const char *read_flags(const char *s, char escape, struct word_list *flags)
{
    for (;;) {
        const char *end;
        s += strspn(s, white_space);
        if (!str_has_prefix(s, "--"))
            return s;
        char *flag = read_flag(s, escape, &end);
        s = end;
        if (streq(flag, "--")) {
            free(flag);
            return s;
        }
        word_list_take(flags, flag);
    }
}

void arguments_split_statement(const char *statement, char escape, char **ret_keyword, char ***ret_flags,
                               char **ret_rest)
{
    const char *s = statement + strspn(statement, white_space);
    size_t n = strcspn(s, white_space);
    *ret_keyword = xstrndup(s, n);
    struct word_list flags = { 0 };
    s = read_flags(s + n, escape, &flags);
    *ret_flags = flags.words;
    *ret_rest = arguments_trimmed(s, strlen(s));
}

// --- words

// One word with its quotes and escapes, from s on.
static char *read_word(const char *s, char escape, const char **ret_end)
{
    struct str word CLEANUP(str_done) = STR_INIT;
    char quote = 0;
    for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
        if (*s == escape && quote != '\'') {
            if (!s[1])
                continue;
            str_append_char(&word, *s++);
        } else if (quote ? *s == quote : *s == '\'' || *s == '"') {
            quote = quote ? 0 : *s;
        }
        str_append_char(&word, *s);
    }
    *ret_end = s;
    return str_take(&word);
}

char **arguments_words(const char *rest, char escape)
{
    struct word_list words = { 0 };
    const char *s = rest + strspn(rest, white_space);
    while (*s) {
        char *word CLEANUP(cleanup_free) = read_word(s, escape, &s);
        if (*word)
            word_list_take(&words, TAKE_PTR(word));
        s += strspn(s, white_space);
    }
    return words.words;
}

char **arguments_plain_words(const char *rest)
{
    struct word_list words = { 0 };
    for (const char *s = rest + strspn(rest, white_space); *s; s += strspn(s, white_space)) {
        size_t n = strcspn(s, white_space);
        word_list_take(&words, xstrndup(s, n));
        s += n;
    }
    return words.words;
}

// --- JSON

int arguments_json(const char *rest, bool *ret_is_json, char ***ret, struct error *err)
{
    json_t *array CLEANUP(json_cleanup) = NULL;
    struct error not_json;
    struct word_list strings = { 0 };
    json_t *element;
    size_t i;
    *ret_is_json = false;
    const char *s = rest + strspn(rest, white_space);
    if (*s != '[' || json_parse(s, strlen(s), &array, &not_json) < 0)
        return 0;
    json_array_foreach(array, i, element)
    {
        if (!json_is_string(element)) {
            strv_free(strings.words);
            return error_set(err, ERROR_INVALID,
                             "when using JSON array syntax, arrays must be comprised of strings only");
        }
        word_list_take(&strings, xstrdup(json_string_value(element)));
    }
    *ret_is_json = true;
    *ret = strings.words;
    return 0;
}

// --- comma-separated values

// A field that begins with a quote; "" inside it is one quote. Where it ended, or NULL.
static const char *read_quoted_field(const char *s, struct str *field)
{
    for (s++; *s; s++) {
        if (*s == '"' && s[1] != '"')
            return s + 1;
        if (*s == '"')
            s++;
        str_append_char(field, *s);
    }
    return NULL;
}

int arguments_comma_separated(const char *text, char ***ret, struct error *err)
{
    char **fields CLEANUP(strv_freep) = NULL;
    for (const char *s = text;; s++) {
        struct str field CLEANUP(str_done) = STR_INIT;
        if (*s == '"') {
            s = read_quoted_field(s, &field);
            if (!s || (*s && *s != ','))
                return error_set(err, ERROR_INVALID, "extraneous or missing \" in quoted-field");
        } else {
            size_t n = strcspn(s, ",");
            if (memchr(s, '"', n))
                return error_set(err, ERROR_INVALID, "bare \" in non-quoted-field");
            str_append_n(&field, s, n);
            s += n;
        }
        strv_take(&fields, str_take(&field));
        if (!*s)
            break;
    }
    *ret = TAKE_PTR(fields);
    return 0;
}
