#include "codec/tar.h"

#include "base/mem.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const char zeros[TAR_BLOCK * 2];

// n - 1 octal digits and a NUL; false when the value does not fit.
static bool put_octal(char *field, size_t n, uint64_t v)
{
    for (size_t i = n - 1; i-- > 0; v >>= 3)
        field[i] = (char)('0' + (v & 7));
    field[n - 1] = 0;
    return v == 0;
}

static void pax_append(struct str *pax, const char *key, const char *value, size_t n)
{
    size_t body = strlen(key) + n + 3, length = body + 1; // " key=value\n" and at least one digit
    for (size_t digits = 1, limit = 10;; digits++, limit *= 10) {
        length = body + digits;
        if (length < limit)
            break;
    }
    str_appendf(pax, "%zu %s=", length, key);
    str_append_n(pax, value, n);
    str_append_char(pax, '\n');
}

static void seal(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    h[155] = ' ';
}

static void put_magic(char *h)
{
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
}

static void put_text(struct str *pax, char *field, const char *key, const char *value)
{
    size_t n = strlen(value);
    if (n > 100)
        pax_append(pax, key, value, n);
    memcpy(field, value, n < 100 ? n : 100);
}

static void put_number(struct str *pax, char *field, size_t n, const char *key, uint64_t v)
{
    if (put_octal(field, n, v))
        return;
    char text[24];
    int k = snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    pax_append(pax, key, text, (size_t)k);
    put_octal(field, n, 0);
}

static void put_mtime(struct str *pax, char *field, int64_t ns)
{
    int64_t s = ns / 1000000000, rest = ns % 1000000000;
    if (rest < 0) {
        s--;
        rest += 1000000000;
    }
    if (s >= 0 && rest == 0 && put_octal(field, 12, (uint64_t)s))
        return;
    char text[48];
    int k;
    if (s < 0 && rest > 0) // -1.5 is written as such, not as -2 + 0.5
        k = snprintf(text, sizeof text, "-%lld.%09lld", (long long)(-s - 1), (long long)(1000000000 - rest));
    else
        k = rest ? snprintf(text, sizeof text, "%lld.%09lld", (long long)s, (long long)rest)
                 : snprintf(text, sizeof text, "%lld", (long long)s);
    pax_append(pax, "mtime", text, (size_t)k);
    put_octal(field, 12, s > 0 ? (uint64_t)s : 0);
}

static int write_pax(struct writer to, const struct str *pax)
{
    char h[TAR_BLOCK] = "PaxHeaders/entry";
    put_octal(h + 100, 8, 0644);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, pax->len);
    put_octal(h + 136, 12, 0);
    h[156] = 'x';
    put_magic(h);
    seal(h);
    int r = to.write(to.context, h, sizeof h);
    if (r == 0)
        r = to.write(to.context, pax->ptr, pax->len);
    return r < 0 ? r : tar_write_padding(to, pax->len);
}

int tar_write_header(struct writer to, const struct tar_entry *e)
{
    static const char types[] = { '0', '1', '2', '3', '4', '5', '6', '0' };
    _Static_assert(sizeof types == TAR_TYPE_COUNT, "every type has its letter");
    struct str pax CLEANUP(str_done) = STR_INIT;
    char h[TAR_BLOCK] = { 0 };
    put_text(&pax, h, "path", e->path);
    put_octal(h + 100, 8, e->mode);
    put_number(&pax, h + 108, 8, "uid", e->uid);
    put_number(&pax, h + 116, 8, "gid", e->gid);
    put_number(&pax, h + 124, 12, "size", e->type == TAR_REGULAR ? e->size : 0);
    put_mtime(&pax, h + 136, e->mtime_ns);
    h[156] = types[e->type];
    if (e->link)
        put_text(&pax, h + 157, "linkpath", e->link);
    put_magic(h);
    put_octal(h + 329, 8, e->major);
    put_octal(h + 337, 8, e->minor);
    for (size_t i = 0; i < e->xattr_count; i++) {
        char *key CLEANUP(cleanup_free) = xasprintf("SCHILY.xattr.%s", e->xattrs[i].name);
        pax_append(&pax, key, e->xattrs[i].value, e->xattrs[i].value_n);
    }
    seal(h);
    int r = pax.len ? write_pax(to, &pax) : 0;
    return r < 0 ? r : to.write(to.context, h, sizeof h);
}

int tar_write_padding(struct writer to, uint64_t size)
{
    size_t n = (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
    return n ? to.write(to.context, zeros, n) : 0;
}

int tar_write_end(struct writer to)
{
    return to.write(to.context, zeros, sizeof zeros);
}
