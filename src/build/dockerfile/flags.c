#include "build/dockerfile/flags.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>
#include <strings.h>

enum { FLAGS_MAX = 16 }; // of a table

static int unknown_flag(const char *name, const struct flag *table, struct error *err)
{
    const char *names[FLAGS_MAX + 1] = { 0 };
    for (size_t i = 0; i < FLAGS_MAX && table[i].name; i++)
        names[i] = table[i].name;
    (void)error_set(err, ERROR_INVALID, "unknown flag: --%s", name);
    dockerfile_error_suggest(err, name, names);
    return -1;
}

static int read_bool(const char *name, const char *value, bool *ret, struct error *err)
{
    if (value && !*value)
        return error_set(err, ERROR_INVALID, "missing a value on flag: --%s", name);
    if (!value || strcasecmp(value, "true") == 0)
        *ret = true;
    else if (strcasecmp(value, "false") == 0)
        *ret = false;
    else
        return error_set(err, ERROR_INVALID, "expecting boolean value for flag --%s, not: %s", name, value);
    return 0;
}

// value: NULL without '='.
static int keep(const struct flag *flag, const char *value, struct error *err)
{
    bool yes = false;
    if (flag->type == FLAG_BOOL || flag->type == FLAG_CHOICE) {
        if (read_bool(flag->name, value, &yes, err) < 0)
            return -1;
        if (flag->type == FLAG_BOOL)
            *(bool *)flag->place = yes;
        else
            *(enum dockerfile_choice *)flag->place = yes ? DOCKERFILE_YES : DOCKERFILE_NO;
        return 0;
    }
    if (!value)
        return error_set(err, ERROR_INVALID, "missing a value on flag: --%s", flag->name);
    if (flag->type == FLAG_TEXTS)
        strv_push(flag->place, value);
    else
        free_and_strdup(flag->place, value);
    return 0;
}

int flags_read(char *const *flags, const struct flag *table, struct error *err)
{
    bool is_used[FLAGS_MAX] = { 0 };
    for (; flags && *flags; flags++) {
        const char *equals = strchr(*flags, '=');
        char *name CLEANUP(cleanup_free) =
            xstrndup(*flags + 2, equals ? (size_t)(equals - *flags) - 2 : strlen(*flags) - 2);
        size_t i = 0;
        while (table[i].name && !streq(table[i].name, name))
            i++;
        if (!table[i].name)
            return unknown_flag(name, table, err);
        if (is_used[i] && table[i].type != FLAG_TEXTS)
            return error_set(err, ERROR_INVALID, "duplicate flag specified: --%s", name);
        is_used[i] = true;
        if (keep(&table[i], equals ? equals + 1 : NULL, err) < 0)
            return -1;
    }
    return 0;
}
