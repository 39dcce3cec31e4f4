#include "codec/json.h"

#include "base/mem.h"

#include <string.h>

void json_cleanup(json_t **j)
{
    json_decref(*j);
}

// jansson bounds depth at 2,048; ours is tighter and is checked before any memory is taken.
static bool depth_is_fine(const char *text, size_t n)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return false;
        } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

int json_parse(const char *text, size_t n, json_t **ret, struct error *err)
{
    json_error_t at;
    if (!depth_is_fine(text, n))
        return error_set(err, ERROR_INVALID, "invalid JSON: nested deeper than %d levels", JSON_DEPTH_MAX);
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &at);
    if (!j)
        return error_set(err, ERROR_INVALID, "invalid JSON: line %d column %d: %s", at.line, at.column,
                         at.text);
    *ret = j;
    return 0;
}

char *json_text(const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? text : xstrdup("null");
}

static int append_piece(const char *text, size_t n, void *out)
{
    str_append_n(out, text, n);
    return 0;
}

void json_append(struct str *out, const json_t *j)
{
    (void)json_dump_callback(j, append_piece, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

const char *json_get_string(const json_t *object, const char *key, const char *otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool json_get_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

json_t *json_get_object(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_object(v) ? v : NULL;
}

json_t *json_get_array(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_array(v) ? v : NULL;
}

char **json_get_strv(const json_t *object, const char *key)
{
    const json_t *array = json_get_array(object, key);
    if (!array)
        return NULL;
    size_t n = json_array_size(array), used = 0;
    char **v = xcalloc(n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        if (json_is_string(item))
            v[used++] = xstrdup(json_string_value(item));
    }
    return v;
}

void json_set_string(json_t *object, const char *key, const char *value)
{
    json_object_set_new(object, key, value ? json_string(value) : json_null());
}

void json_set_text(json_t *object, const char *key, const char *bytes)
{
    json_t *v = json_string(bytes);
    if (!v) { // not UTF-8
        struct str quoted CLEANUP(str_done) = STR_INIT;
        struct error ignored;
        json_append_quoted(&quoted, bytes, strlen(bytes));
        if (json_parse(quoted.ptr, quoted.len, &v, &ignored) < 0)
            v = json_null();
    }
    json_object_set_new(object, key, v);
}

void json_set_int(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, json_integer(value));
}

void json_set_bool(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

json_t *json_from_strv(char *const *v)
{
    json_t *array = json_array();
    for (size_t i = 0; v && v[i]; i++)
        json_array_append_new(array, json_string(v[i]));
    return array;
}

// Length of the UTF-8 sequence at s (1 to 4), or 0 when it is not one.
static size_t utf8_length(const unsigned char *s, size_t n)
{
    size_t k = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    if (k == 0 || k > n)
        return 0;
    for (size_t i = 1; i < k; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return k;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void append_control(struct str *out, unsigned char c)
{
    switch (c) {
    case '"':
        str_append(out, "\\\"");
        break;
    case '\\':
        str_append(out, "\\\\");
        break;
    case '\n':
        str_append(out, "\\n");
        break;
    case '\r':
        str_append(out, "\\r");
        break;
    case '\t':
        str_append(out, "\\t");
        break;
    default:
        str_appendf(out, "\\u%04x", c);
    }
}

void json_append_quoted(struct str *out, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t plain = 0;
    while (plain < n && is_plain(s[plain]))
        plain++;
    char *at = plain == n ? str_reserve(out, n + 2) : NULL;
    if (at) { // nearly always: in one piece
        at[0] = at[n + 1] = '"';
        memcpy(at + 1, text, n);
        str_added(out, n + 2);
        return;
    }
    str_append_char(out, '"');
    for (size_t i = 0; i < n;) {
        size_t run = 0;
        while (i + run < n && is_plain(s[i + run]))
            run++;
        str_append_n(out, s + i, run);
        i += run;
        if (i == n)
            break;
        if (s[i] < 0x80) {
            append_control(out, s[i++]);
            continue;
        }
        size_t k = utf8_length(s + i, n - i);
        if (k)
            str_append_n(out, s + i, k);
        else
            str_append(out, "\xef\xbf\xbd");
        i += k ? k : 1;
    }
    str_append_char(out, '"');
}
