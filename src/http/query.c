// Query strings and percent-encoding (RFC 3986 2.1, and '+' for a space as HTML forms have it).
#include "http/http.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool http_url_decode(struct str *out, const char *text, size_t n, bool plus_is_space)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '%') {
            if (n - i < 3)
                return false;
            int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0 ||
                (high == 0 && low == 0)) // a NUL would end the string for C and not for us
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        str_append_char(out, c);
    }
    return true;
}

void http_url_encode(struct str *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                        strchr("-._~", *p);
        if (is_plain)
            str_append_char(out, (char)*p);
        else
            str_appendf(out, "%%%02X", *p);
    }
}

// Visit the decoded values of `name`; stops after the first unless `all`.
static void collect(const char *query, const char *name, bool all, char ***ret)
{
    for (const char *at = query; at && *at; at += *at == '&') {
        size_t n = strcspn(at, "&");
        const char *equals = memchr(at, '=', n);
        size_t key_size = equals ? (size_t)(equals - at) : n;
        struct str key = STR_INIT, value = STR_INIT;
        bool is_fine = http_url_decode(&key, at, key_size, true) &&
                       (!equals || http_url_decode(&value, equals + 1, n - key_size - 1, true));
        bool is_it = is_fine && key.len == strlen(name) && memcmp(key.ptr, name, key.len) == 0;
        str_done(&key);
        if (is_it)
            strv_take(ret, str_take(&value));
        str_done(&value);
        if (is_it && !all)
            return;
        at += n;
    }
}

char *http_query_get(const char *query, const char *name)
{
    char **values = NULL;
    collect(query, name, false, &values);
    char *value = values ? values[0] : NULL;
    free(values);
    return value;
}

char **http_query_get_all(const char *query, const char *name)
{
    char **values = NULL;
    collect(query, name, true, &values);
    return values;
}

bool http_query_is_valid(const char *query)
{
    for (const char *p = query; *p; p++)
        if (*p == '%' && (hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0 || (p[1] == '0' && p[2] == '0')))
            return false;
    return true;
}

bool http_query_bool(const char *query, const char *name, bool otherwise)
{
    CLEANUP(cleanup_free) char *value = http_query_get(query, name);
    if (!value)
        return otherwise;
    static const char *const false_values[] = { "", "0", "no", "false", "none" };
    for (size_t i = 0; i < sizeof false_values / sizeof *false_values; i++)
        if (strcasecmp(value, false_values[i]) == 0)
            return false;
    return true;
}
