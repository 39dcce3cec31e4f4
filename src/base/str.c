#include "base/str.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

char str_empty[1];

void str_init(struct str *s, size_t max)
{
    *s = STR_INIT;
    s->max = max;
}

void str_done(struct str *s)
{
    if (s->cap)
        free(s->ptr);
    *s = STR_INIT;
}

void str_clear(struct str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->cap)
        s->ptr[0] = 0;
}

char *str_take(struct str *s)
{
    char *text = s->cap ? s->ptr : xstrdup("");
    *s = STR_INIT;
    return text;
}

char *str_reserve(struct str *s, size_t n)
{
    size_t need;
    if (__builtin_add_overflow(s->len, n, &need) || (s->max && need > s->max)) {
        s->failed = true;
        return NULL;
    }
    if (need + 1 > s->cap) {
        size_t cap = s->cap ? s->cap : 64;
        while (cap < need + 1)
            cap *= 2;
        s->ptr = xrealloc(s->cap ? s->ptr : NULL, cap);
        s->cap = cap;
        s->ptr[s->len] = 0;
    }
    return s->ptr + s->len;
}

void str_added(struct str *s, size_t m)
{
    s->len += m;
    s->ptr[s->len] = 0;
}

void str_append_n(struct str *s, const void *bytes, size_t n)
{
    if (s->failed || n == 0)
        return;
    char *at = str_reserve(s, n);
    if (!at)
        return;
    memcpy(at, bytes, n);
    str_added(s, n);
}

void str_append(struct str *s, const char *text)
{
    str_append_n(s, text, strlen(text));
}

void str_append_char(struct str *s, char c)
{
    str_append_n(s, &c, 1);
}

void str_vappendf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n <= 0 || s->failed)
        return;
    char *at = str_reserve(s, (size_t)n);
    if (!at)
        return;
    vsnprintf(at, (size_t)n + 1, fmt, ap);
    s->len += (size_t)n;
}

void str_appendf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    str_vappendf(s, fmt, ap);
    va_end(ap);
}

void str_consume(struct str *s, size_t n)
{
    if (n == 0)
        return;
    memmove(s->ptr, s->ptr + n, s->len - n);
    s->len -= n;
    s->ptr[s->len] = 0;
}

bool streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

const char *path_last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool str_is_empty(const char *s)
{
    return !s || !*s;
}

size_t strv_len(char *const *v)
{
    size_t n = 0;
    while (v && v[n])
        n++;
    return n;
}

void strv_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

void strv_freep(char ***v)
{
    strv_free(*v);
}

char **strv_copy(char *const *v)
{
    size_t n = strv_len(v);
    char **copy = xcalloc(n + 1, sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(v[i]);
    return copy;
}

void strv_take(char ***v, char *s)
{
    size_t n = strv_len(*v);
    *v = xreallocarray(*v, n + 2, sizeof **v);
    (*v)[n] = s;
    (*v)[n + 1] = NULL;
}

void strv_push(char ***v, const char *s)
{
    strv_take(v, xstrdup(s));
}

bool strv_contains(char *const *v, const char *s)
{
    for (size_t i = 0; v && v[i]; i++)
        if (strcmp(v[i], s) == 0)
            return true;
    return false;
}

void strv_remove(char **v, const char *s)
{
    size_t kept = 0;
    for (size_t i = 0; v && v[i]; i++) {
        if (strcmp(v[i], s) == 0)
            free(v[i]);
        else
            v[kept++] = v[i];
    }
    if (v)
        v[kept] = NULL;
}

char **strv_split(const char *s, const char *separators, bool keep_empty)
{
    char **v = xcalloc(1, sizeof *v);
    for (;;) {
        size_t n = strcspn(s, separators);
        if (n || keep_empty)
            strv_take(&v, xstrndup(s, n));
        if (!s[n])
            return v;
        s += n + 1;
    }
}

char *strv_join(char *const *v, const char *separator)
{
    struct str s = STR_INIT;
    for (size_t i = 0; v && v[i]; i++) {
        if (i)
            str_append(&s, separator);
        str_append(&s, v[i]);
    }
    return str_take(&s);
}
