#include "cli/options.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t table_len(const struct option *table)
{
    size_t n = 0;
    while (table && table[n].name)
        n++;
    return n;
}

static struct option_value *value_of(const struct options *options, const char *name)
{
    for (size_t i = 0; options->table && options->table[i].name; i++)
        if (streq(options->table[i].name, name))
            return &options->values[i];
    return NULL;
}

static const struct option *option_of(const struct options *options, const char *name)
{
    for (size_t i = 0; options->table && options->table[i].name; i++)
        if (streq(options->table[i].name, name))
            return &options->table[i];
    return NULL;
}

int options_invalid(const struct options *options, const char *name, const char *value, struct error *err,
                    const char *fmt, ...)
{
    const struct option *option = option_of(options, name);
    struct str why CLEANUP(str_done) = STR_INIT;
    char shown[64];
    va_list ap;
    va_start(ap, fmt);
    str_vappendf(&why, fmt, ap);
    va_end(ap);
    if (option && option->letter)
        snprintf(shown, sizeof shown, "-%c, --%s", option->letter, name);
    else
        snprintf(shown, sizeof shown, "--%s", name);
    return error_set(err, ERROR_INVALID, "invalid argument \"%s\" for \"%s\" flag: %s", value, shown,
                     why.ptr);
}

bool decimal_parse(const char *text, int64_t *ret)
{
    int64_t whole = 0, fraction = 0, unit = NS_PER_S;
    size_t i = 0, digits = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++, digits++) {
        if (whole > INT32_MAX)
            return false;
        whole = whole * 10 + (text[i] - '0');
    }
    if (text[i] == '.')
        for (i++; text[i] >= '0' && text[i] <= '9'; i++, digits++) {
            unit /= 10;
            if (unit == 0 && text[i] != '0')
                return false;
            fraction += (text[i] - '0') * unit;
        }
    if (text[i] || digits == 0)
        return false;
    *ret = whole * NS_PER_S + fraction;
    return true;
}

static bool parse_bool(const char *s, int64_t *ret)
{
    static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
    static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (streq(s, yes[i]) || streq(s, no[i])) {
            *ret = streq(s, yes[i]);
            return true;
        }
    }
    return false;
}

static int store(struct options *options, size_t at, const char *text, struct error *err)
{
    const struct option *option = &options->table[at];
    struct option_value *value = &options->values[at];
    int64_t number = 0;
    switch (option->kind) {
    case OPTION_BOOL:
        if (!parse_bool(text, &number))
            return options_invalid(options, option->name, text, err,
                                   "strconv.ParseBool: parsing \"%s\": invalid syntax", text);
        break;
    case OPTION_INT:
        if (!parse_i64(text, INT64_MIN, INT64_MAX, &number))
            return options_invalid(options, option->name, text, err,
                                   "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
        break;
    case OPTION_BYTES:
        if (streq(text, "-1"))
            number = -1;
        else if (!parse_size_bytes(text, &number))
            return options_invalid(options, option->name, text, err, "invalid size: '%s'", text);
        break;
    case OPTION_DURATION:
        if (!duration_parse(text, &number))
            return options_invalid(options, option->name, text, err, "time: invalid duration \"%s\"", text);
        break;
    case OPTION_DECIMAL:
        if (!decimal_parse(text, &number))
            return options_invalid(options, option->name, text, err,
                                   "failed to parse %s as a rational number", text);
        break;
    case OPTION_STRING:
    case OPTION_LIST:
    case OPTION_OPTIONAL:
    case OPTION_KIND_COUNT:
        break;
    }
    value->is_set = true;
    value->number = number;
    strv_push(&value->list, text);
    value->text = value->list[strv_len(value->list) - 1];
    return 0;
}

struct cursor {
    char *const *argv;
    size_t at;
    bool *help;
};

static int parse_long(struct options *options, struct cursor *cursor, const char *word, struct error *err)
{
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    if (n == 0 || word[0] == '-')
        return error_set(err, ERROR_INVALID, "bad flag syntax: --%s", word);
    for (size_t i = 0; options->table && options->table[i].name; i++) {
        if (strncmp(options->table[i].name, word, n) != 0 || options->table[i].name[n])
            continue;
        if (equals)
            return store(options, i, equals + 1, err);
        if (options->table[i].kind == OPTION_BOOL)
            return store(options, i, "true", err);
        if (options->table[i].kind == OPTION_OPTIONAL)
            return store(options, i, "yes", err);
        if (!cursor->argv[cursor->at])
            return error_set(err, ERROR_INVALID, "flag needs an argument: --%s", word);
        return store(options, i, cursor->argv[cursor->at++], err);
    }
    if (n == 4 && strncmp(word, "help", 4) == 0) {
        *cursor->help = true;
        return 0;
    }
    return error_set(err, ERROR_INVALID, "unknown flag: --%.*s", (int)n, word);
}

static int parse_letters(struct options *options, struct cursor *cursor, const char *bundle,
                         struct error *err)
{
    for (const char *p = bundle; *p;) {
        size_t i = 0;
        while (options->table && options->table[i].name && options->table[i].letter != *p)
            i++;
        if (!options->table || !options->table[i].name) {
            if (*p == 'h') {
                *cursor->help = true;
                return 0;
            }
            return error_set(err, ERROR_INVALID, "unknown shorthand flag: '%c' in -%s", *p, p);
        }
        char letter = *p++;
        if (*p == '=')
            return store(options, i, p + 1, err);
        if (options->table[i].kind == OPTION_BOOL) {
            if (store(options, i, "true", err) < 0)
                return -1;
            continue;
        }
        if (*p)
            return store(options, i, p, err);
        if (!cursor->argv[cursor->at])
            return error_set(err, ERROR_INVALID, "flag needs an argument: '%c' in -%c", letter, letter);
        return store(options, i, cursor->argv[cursor->at++], err);
    }
    return 0;
}

int options_parse(struct options *ret, const struct option *table, char *const *argv, bool stops_at_argument,
                  bool *help, struct error *err)
{
    struct cursor cursor = { argv, 0, help };
    *ret = (struct options){ .table = table, .values = xcalloc(table_len(table) + 1, sizeof *ret->values) };
    *help = false;
    while (argv[cursor.at] && !*help) {
        const char *word = argv[cursor.at++];
        int r = 0;
        if (streq(word, "--"))
            break;
        if (word[0] != '-' || !word[1]) {
            strv_push(&ret->arguments, word);
            if (stops_at_argument)
                break;
            continue;
        }
        r = word[1] == '-' ? parse_long(ret, &cursor, word + 2, err)
                           : parse_letters(ret, &cursor, word + 1, err);
        if (r < 0)
            return r;
    }
    while (argv[cursor.at])
        strv_push(&ret->arguments, argv[cursor.at++]);
    return 0;
}

void options_done(struct options *options)
{
    for (size_t i = 0, n = table_len(options->table); i < n && options->values; i++)
        strv_free(options->values[i].list);
    free(options->values);
    strv_free(options->arguments);
    *options = (struct options){ 0 };
}

bool options_has(const struct options *options, const char *name)
{
    const struct option_value *value = value_of(options, name);
    return value && value->is_set;
}

bool options_bool(const struct options *options, const char *name, bool otherwise)
{
    const struct option_value *value = value_of(options, name);
    return value && value->is_set ? value->number != 0 : otherwise;
}

const char *options_string(const struct options *options, const char *name, const char *otherwise)
{
    const struct option_value *value = value_of(options, name);
    return value && value->is_set ? value->text : otherwise;
}

int64_t options_number(const struct options *options, const char *name, int64_t otherwise)
{
    const struct option_value *value = value_of(options, name);
    return value && value->is_set ? value->number : otherwise;
}

char *const *options_list(const struct options *options, const char *name)
{
    static char *const none[] = { NULL };
    const struct option_value *value = value_of(options, name);
    return value && value->list ? value->list : none;
}
