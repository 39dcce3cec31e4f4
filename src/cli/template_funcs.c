#include "cli/template_funcs.h"

#include "base/mem.h"
#include "cli/human.h"
#include "cli/template.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

json_t *template_keep(struct template_call *call, json_t *value)
{
    json_array_append_new(call->pool, value);
    return value;
}

int template_fail(struct template_call *call, const char *fmt, ...)
{
    char why[ERROR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return error_set(call->err, ERROR_INVALID, "template parsing error: template: :1: executing \"\" %s",
                     why);
}

bool template_is_true(const json_t *value)
{
    if (!value)
        return false;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return json_real_value(value) < 0 || json_real_value(value) > 0;
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
    case JSON_NULL:
        return false;
    }
    return false;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **template_sorted_keys(const json_t *object)
{
    const char **keys = xcalloc(json_object_size(object) + 1, sizeof *keys), *key;
    json_t *value;
    size_t n = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) keys[n++] = key;
    qsort(keys, n, sizeof *keys, compare_keys);
    return keys;
}

static void append_object(struct str *out, const json_t *object)
{
    const char **keys CLEANUP(cleanup_free) = template_sorted_keys(object);
    str_append(out, "map[");
    for (size_t i = 0; keys[i]; i++) {
        str_appendf(out, "%s%s:", i ? " " : "", keys[i]);
        template_append_value(out, json_object_get(object, keys[i]));
    }
    str_append(out, "]");
}

void template_append_value(struct str *out, const json_t *value)
{
    if (!value) {
        str_append(out, "<no value>");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        append_object(out, value);
        break;
    case JSON_ARRAY:
        str_append(out, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            str_append(out, i ? " " : "");
            template_append_value(out, json_array_get(value, i));
        }
        str_append(out, "]");
        break;
    case JSON_STRING:
        str_append_n(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        str_appendf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        str_appendf(out, "%.15g", json_real_value(value));
        break;
    case JSON_TRUE:
        str_append(out, "true");
        break;
    case JSON_FALSE:
        str_append(out, "false");
        break;
    case JSON_NULL:
        str_append(out, "<nil>");
        break;
    }
}

void template_append_json(struct str *out, const json_t *value, bool sorts_keys, bool escapes_html)
{
    char *text CLEANUP(cleanup_free) =
        value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | (sorts_keys ? JSON_SORT_KEYS : 0)) : NULL;
    if (!text) {
        str_append(out, "null");
        return;
    }
    if (!escapes_html) {
        str_append(out, text);
        return;
    }
    for (const char *p = text; *p; p++) {
        if (*p == '<' || *p == '>' || *p == '&')
            str_appendf(out, "\\u%04x", (unsigned)*p);
        else
            str_append_char(out, *p);
    }
}

static json_t *keep_text(struct template_call *call, struct str *text)
{
    json_t *value = json_stringn_nocheck(text->ptr, text->len);
    str_done(text);
    return template_keep(call, value);
}

static char *text_of(const json_t *value)
{
    struct str text = STR_INIT;
    template_append_value(&text, value);
    return str_take(&text);
}

static int call_json(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    struct str text = STR_INIT;
    (void)n;
    template_append_json(&text, args[0], call->escapes_html, call->escapes_html);
    *ret = keep_text(call, &text);
    return 0;
}

static int call_join(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    struct str text = STR_INIT;
    (void)n;
    if (args[0] && !json_is_array(args[0]) && !json_is_null(args[0]))
        return template_fail(call, "at <join>: wrong type for value; expected []string");
    for (size_t i = 0; i < json_array_size(args[0]); i++) {
        if (i)
            template_append_value(&text, args[1]);
        template_append_value(&text, json_array_get(args[0], i));
    }
    *ret = keep_text(call, &text);
    return 0;
}

static int call_split(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    char *text CLEANUP(cleanup_free) = text_of(args[0]);
    char *separator CLEANUP(cleanup_free) = text_of(args[1]);
    json_t *list = json_array();
    size_t width = strlen(separator);
    (void)n;
    const char *from = text, *hit;
    while (width && (hit = strstr(from, separator))) {
        json_array_append_new(list, json_stringn_nocheck(from, (size_t)(hit - from)));
        from = hit + width;
    }
    json_array_append_new(list, json_string_nocheck(from));
    *ret = template_keep(call, list);
    return 0;
}

static json_t *change_case(struct template_call *call, json_t *value, char how)
{
    char *text CLEANUP(cleanup_free) = text_of(value);
    bool starts_word = true;
    for (char *p = text; *p; p++) {
        bool up = how == 'u' || (how == 't' && starts_word);
        starts_word = *p == ' ';
        if (up)
            *p = (char)toupper((unsigned char)*p);
        else if (how == 'l')
            *p = (char)tolower((unsigned char)*p);
    }
    return template_keep(call, json_string_nocheck(text));
}

static int call_lower(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)n;
    *ret = change_case(call, args[0], 'l');
    return 0;
}

static int call_upper(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)n;
    *ret = change_case(call, args[0], 'u');
    return 0;
}

static int call_title(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)n;
    *ret = change_case(call, args[0], 't');
    return 0;
}

// pad TEXT BEFORE AFTER: spaces around what is not empty.
static int call_pad(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    char *text CLEANUP(cleanup_free) = text_of(args[0]);
    struct str out = STR_INIT;
    (void)n;
    if (text[0])
        str_appendf(&out, "%*s%s%*s", (int)json_integer_value(args[1]), "", text,
                    (int)json_integer_value(args[2]), "");
    *ret = keep_text(call, &out);
    return 0;
}

static int call_truncate(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    char *text CLEANUP(cleanup_free) = text_of(args[0]);
    json_int_t width = json_integer_value(args[1]);
    (void)n;
    if (width >= 0 && strlen(text) > (size_t)width)
        text[width] = '\0';
    *ret = template_keep(call, json_string(text));
    if (!*ret)
        return template_fail(call, "at <truncate>: cuts a character");
    return 0;
}

static int call_print(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    struct str out = STR_INIT;
    for (size_t i = 0; i < n; i++) {
        if (i && !json_is_string(args[i - 1]) && !json_is_string(args[i]))
            str_append_char(&out, ' ');
        template_append_value(&out, args[i]);
    }
    *ret = keep_text(call, &out);
    return 0;
}

static int call_println(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    struct str out = STR_INIT;
    for (size_t i = 0; i < n; i++) {
        str_append(&out, i ? " " : "");
        template_append_value(&out, args[i]);
    }
    str_append_char(&out, '\n');
    *ret = keep_text(call, &out);
    return 0;
}

// One conversion of printf: flags, width, precision, verb. Returns what follows it.
static const char *print_verb(struct str *out, const char *spec, const json_t *value)
{
    bool left = false;
    size_t width = 0, precision = SIZE_MAX;
    for (; *spec == '-' || *spec == '+' || *spec == '0' || *spec == ' ' || *spec == '#'; spec++)
        left |= *spec == '-';
    for (; isdigit((unsigned char)*spec) && width < 1000; spec++)
        width = width * 10 + (size_t)(*spec - '0');
    if (*spec == '.')
        for (spec++, precision = 0; isdigit((unsigned char)*spec) && precision < 1000; spec++)
            precision = precision * 10 + (size_t)(*spec - '0');
    struct str text CLEANUP(str_done) = STR_INIT;
    if (*spec == 'q')
        template_append_json(&text, value, false, false);
    else if (*spec == 'x' && json_is_integer(value))
        str_appendf(&text, "%llx", (unsigned long long)json_integer_value(value));
    else if ((*spec == 'f' || *spec == 'g') && json_is_number(value))
        str_appendf(&text, "%.*f", precision == SIZE_MAX ? 6 : (int)precision, json_number_value(value));
    else
        template_append_value(&text, value);
    size_t n = *spec == 's' && precision < text.len ? precision : text.len;
    size_t shown = human_width(text.ptr, n);
    if (!left && width > shown)
        str_appendf(out, "%*s", (int)(width - shown), "");
    str_append_n(out, text.ptr, n);
    if (left && width > shown)
        str_appendf(out, "%*s", (int)(width - shown), "");
    return *spec ? spec + 1 : spec;
}

static int call_printf(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    struct str out = STR_INIT;
    size_t next = 1;
    if (!json_is_string(args[0]))
        return template_fail(call, "at <printf>: wrong type for value; expected string");
    for (const char *p = json_string_value(args[0]); *p;) {
        if (*p != '%') {
            str_append_char(&out, *p++);
        } else if (p[1] == '%') {
            str_append_char(&out, '%');
            p += 2;
        } else if (next < n) {
            p = print_verb(&out, p + 1, args[next++]);
        } else {
            str_append(&out, "%!(MISSING)");
            p += p[1] ? 2 : 1;
        }
    }
    *ret = keep_text(call, &out);
    return 0;
}

static int call_len(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    size_t length = 0;
    (void)n;
    if (json_is_string(args[0]))
        length = json_string_length(args[0]);
    else if (json_is_array(args[0]))
        length = json_array_size(args[0]);
    else if (json_is_object(args[0]))
        length = json_object_size(args[0]);
    else if (args[0] && !json_is_null(args[0]))
        return template_fail(call, "at <len>: error calling len: len of a plain value");
    *ret = template_keep(call, json_integer((json_int_t)length));
    return 0;
}

static int call_index(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    json_t *value = args[0];
    for (size_t i = 1; i < n; i++) {
        if (json_is_array(value) && json_is_integer(args[i])) {
            json_int_t at = json_integer_value(args[i]);
            if (at < 0 || (size_t)at >= json_array_size(value))
                return template_fail(call, "at <index>: error calling index: index out of range: %lld",
                                     (long long)at);
            value = json_array_get(value, (size_t)at);
        } else if (json_is_object(value) && json_is_string(args[i])) {
            json_t *found = json_object_get(value, json_string_value(args[i]));
            value = found ? found : template_keep(call, json_string(""));
        } else if (json_is_null(value) && json_is_string(args[i])) {
            value = template_keep(call, json_string(""));
        } else {
            return template_fail(call, "at <index>: error calling index: index of untyped nil");
        }
    }
    *ret = value;
    return 0;
}

static int call_slice(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    if (!json_is_string(args[0]))
        return template_fail(call, "at <slice>: can't slice this value");
    json_int_t length = (json_int_t)json_string_length(args[0]);
    json_int_t from = n > 1 ? json_integer_value(args[1]) : 0,
               to = n > 2 ? json_integer_value(args[2]) : length;
    if (from < 0 || to > length || from > to)
        return template_fail(call, "at <slice>: error calling slice: index out of range");
    *ret = template_keep(call, json_stringn_nocheck(json_string_value(args[0]) + from, (size_t)(to - from)));
    return 0;
}

// -1, 0, 1; numbers by value, everything else by its text.
static int compare(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return x < y ? -1 : x > y ? 1 : 0;
    }
    char *x CLEANUP(cleanup_free) = text_of(a);
    char *y CLEANUP(cleanup_free) = text_of(b);
    int r = strcmp(x, y);
    return r < 0 ? -1 : r > 0;
}

static int call_eq(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    bool equal = false;
    for (size_t i = 1; i < n; i++)
        equal |= compare(args[0], args[i]) == 0;
    *ret = template_keep(call, json_boolean(equal));
    return 0;
}

#define COMPARISON(name, test)                                                                \
    static int call_##name(struct template_call *call, json_t **args, size_t n, json_t **ret) \
    {                                                                                         \
        int order = compare(args[0], args[1]);                                                \
        (void)n;                                                                              \
        *ret = template_keep(call, json_boolean(test));                                       \
        return 0;                                                                             \
    }
COMPARISON(ne, order != 0)
COMPARISON(lt, order < 0)
COMPARISON(le, order <= 0)
COMPARISON(gt, order > 0)
COMPARISON(ge, order >= 0)

static int call_and(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)call;
    *ret = args[n - 1];
    for (size_t i = 0; i < n; i++)
        if (!template_is_true(args[i])) {
            *ret = args[i];
            break;
        }
    return 0;
}

static int call_or(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)call;
    *ret = args[n - 1];
    for (size_t i = 0; i < n; i++)
        if (template_is_true(args[i])) {
            *ret = args[i];
            break;
        }
    return 0;
}

static int call_not(struct template_call *call, json_t **args, size_t n, json_t **ret)
{
    (void)n;
    *ret = template_keep(call, json_boolean(!template_is_true(args[0])));
    return 0;
}

static const struct {
    const char *name;
    size_t min, max;
    int (*call)(struct template_call *call, json_t **args, size_t n, json_t **ret);
} functions[] = {
    { "json", 1, 1, call_json },      { "join", 2, 2, call_join },
    { "split", 2, 2, call_split },    { "lower", 1, 1, call_lower },
    { "upper", 1, 1, call_upper },    { "title", 1, 1, call_title },
    { "pad", 3, 3, call_pad },        { "truncate", 2, 2, call_truncate },
    { "print", 0, 99, call_print },   { "println", 0, 99, call_println },
    { "printf", 1, 99, call_printf }, { "len", 1, 1, call_len },
    { "index", 1, 99, call_index },   { "slice", 1, 3, call_slice },
    { "eq", 2, 99, call_eq },         { "ne", 2, 2, call_ne },
    { "lt", 2, 2, call_lt },          { "le", 2, 2, call_le },
    { "gt", 2, 2, call_gt },          { "ge", 2, 2, call_ge },
    { "and", 1, 99, call_and },       { "or", 1, 99, call_or },
    { "not", 1, 1, call_not },
};

int template_apply(struct template_call *call, const char *name, json_t **args, size_t n, json_t **ret)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!streq(functions[i].name, name))
            continue;
        if (n < functions[i].min || n > functions[i].max)
            return template_fail(call, "at <%s>: wrong number of args for %s: want %zu got %zu", name, name,
                                 functions[i].min, n);
        return functions[i].call(call, args, n, ret);
    }
    return error_set(call->err, ERROR_INVALID,
                     "template parsing error: template: :1: function \"%s\" not defined", name);
}
