// Theory of operation. One buffer in front of the stream. A header block, what extends it ('L', 'K', pax 'x', sparse maps)
// and padding are passed to `raw` as they are consumed; payload is either given out by tar_reader_data or, when the caller
// goes on without it, passed to `raw` too. So at every moment raw + payload given out = the stream so far.
//
// Bounds: a pax header, a long name and a sparse map have ceilings (tar.h); numbers are range-checked; nothing in a header
// makes memory be taken beyond those ceilings. Types that carry no data (links, devices, directories, fifos) have none,
// whatever their size field says, as archive/tar of Go (and so Docker) reads them.
#include "codec/tar.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum { BUFFER_BYTES = 256 * 1024 };

struct pax {
    char *path, *link, *sparse_name, *sparse_map;
    bool has_size, has_uid, has_gid, has_mtime, has_sparse_size, is_sparse_1;
    uint64_t size, sparse_size;
    uint32_t uid, gid;
    int64_t mtime_ns;
};

struct tar_reader {
    struct reader from;
    struct writer raw;
    const char *problem;
    char *buffer;
    size_t at, len;
    bool at_end;        // of the stream
    bool is_done;       // the end mark was seen
    uint64_t data_left; // payload of the current entry not yet taken
    uint64_t padding;   // after it
    struct tar_entry entry;
    struct pax pax;
    char *long_path, *long_link;
};

static int bad(struct tar_reader *t, const char *problem)
{
    if (!t->problem)
        t->problem = problem;
    return -EBADMSG;
}

// --- the buffer
static int fill(struct tar_reader *t, size_t need)
{
    if (t->len - t->at >= need)
        return 0;
    memmove(t->buffer, t->buffer + t->at, t->len - t->at);
    t->len -= t->at;
    t->at = 0;
    while (t->len < need && !t->at_end) {
        ssize_t n = t->from.read(t->from.context, t->buffer + t->len, BUFFER_BYTES - t->len);
        if (n < 0)
            return (int)n;
        t->at_end = n == 0;
        t->len += (size_t)n;
    }
    return 0;
}

static int to_raw(struct tar_reader *t, const void *bytes, size_t n)
{
    return t->raw.write && n ? t->raw.write(t->raw.context, bytes, n) : 0;
}

// Pass n bytes of the stream to raw.
static int skip(struct tar_reader *t, uint64_t n)
{
    while (n > 0) {
        int r = fill(t, 1);
        if (r < 0)
            return r;
        size_t k = t->len - t->at;
        if (k == 0)
            return bad(t, "unexpected EOF");
        if (k > n)
            k = (size_t)n;
        r = to_raw(t, t->buffer + t->at, k);
        if (r < 0)
            return r;
        t->at += k;
        n -= k;
    }
    return 0;
}

// The next block, also passed to raw; borrowed until the next fill. NULL block: the stream ended before it.
static int next_block(struct tar_reader *t, const char **ret)
{
    int r = fill(t, TAR_BLOCK);
    if (r < 0)
        return r;
    *ret = NULL;
    if (t->len == t->at)
        return 0;
    if (t->len - t->at < TAR_BLOCK)
        return bad(t, "unexpected EOF");
    *ret = t->buffer + t->at;
    t->at += TAR_BLOCK;
    return to_raw(t, *ret, TAR_BLOCK);
}

static int need_block(struct tar_reader *t, const char **ret)
{
    int r = next_block(t, ret);
    return r < 0 ? r : *ret ? 0 : bad(t, "unexpected EOF");
}

static uint64_t padding_of(uint64_t n)
{
    return (TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK;
}

// The payload of an extension header, NUL-terminated.
static int read_extension(struct tar_reader *t, uint64_t size, size_t max, struct str *out)
{
    if (size > max)
        return bad(t, "tar: an extended header is too large");
    for (uint64_t left = size; left > 0;) {
        int r = fill(t, 1);
        if (r < 0)
            return r;
        size_t k = t->len - t->at < left ? t->len - t->at : (size_t)left;
        if (k == 0)
            return bad(t, "unexpected EOF");
        str_append_n(out, t->buffer + t->at, k);
        r = to_raw(t, t->buffer + t->at, k);
        if (r < 0)
            return r;
        t->at += k;
        left -= k;
    }
    return skip(t, padding_of(size));
}

// --- numbers
// Octal with leading blanks, ended by blank or NUL; or base-256 when the first byte's high bit is set (negative ones, which
// only times may be, have 0xff in front).
static bool parse_number(const char *field, size_t n, int64_t *ret)
{
    const unsigned char *p = (const unsigned char *)field;
    if (p[0] & 0x80) {
        bool is_negative = p[0] & 0x40;
        uint64_t v = is_negative ? UINT64_MAX : 0;
        for (size_t i = 0; i < n; i++) {
            unsigned char c = i == 0 && !is_negative ? p[i] & 0x7f : p[i];
            if (v >> 55 != (is_negative ? 0x1ff : 0)) // the next shift must not lose a digit or the sign
                return false;
            v = v << 8 | c;
        }
        *ret = (int64_t)v;
        return (*ret < 0) == is_negative;
    }
    uint64_t v = 0;
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == 0))
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
        if (v >> 60)
            return false;
        v = v << 3 | (uint64_t)(p[i] - '0');
    }
    for (; i < n; i++)
        if (p[i] != ' ' && p[i] != 0)
            return false;
    *ret = (int64_t)v;
    return true;
}

static bool parse_size(const char *field, size_t n, uint64_t *ret)
{
    int64_t v;
    if (!parse_number(field, n, &v) || v < 0)
        return false;
    *ret = (uint64_t)v;
    return true;
}

static bool parse_u32_field(const char *field, size_t n, uint32_t *ret)
{
    int64_t v;
    if (!parse_number(field, n, &v) || v < 0 || v > UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

// "-12.345678901": seconds with a fraction.
static bool parse_pax_time(const char *text, int64_t *ret_ns)
{
    const char *dot = strchr(text, '.');
    char *whole CLEANUP(cleanup_free) = dot ? xstrndup(text, (size_t)(dot - text)) : xstrdup(text);
    int64_t seconds, ns = 0, unit = 100000000;
    if (!parse_i64(whole, -9000000000, 9000000000, &seconds))
        return false;
    for (const char *p = dot ? dot + 1 : ""; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        ns += unit * (*p - '0');
        unit /= 10;
    }
    *ret_ns = seconds * 1000000000 + (whole[0] == '-' ? -ns : ns);
    return true;
}

// --- entry and pax state
static void pax_done(struct pax *p)
{
    free(p->path);
    free(p->link);
    free(p->sparse_name);
    free(p->sparse_map);
    *p = (struct pax){ 0 };
}

static void entry_done(struct tar_entry *e)
{
    free(e->path);
    free(e->link);
    for (size_t i = 0; i < e->xattr_count; i++) {
        free(e->xattrs[i].name);
        free(e->xattrs[i].value);
    }
    free(e->xattrs);
    free(e->extents);
    *e = (struct tar_entry){ 0 };
}

static int add_extent(struct tar_reader *t, uint64_t offset, uint64_t length)
{
    struct tar_entry *e = &t->entry;
    uint64_t end;
    if (e->extent_count >= TAR_EXTENTS_MAX || __builtin_add_overflow(offset, length, &end) || end > INT64_MAX)
        return bad(t, "tar: invalid sparse map");
    if (e->extent_count) {
        const struct tar_extent *last = &e->extents[e->extent_count - 1];
        if (offset < last->offset + last->length)
            return bad(t, "tar: invalid sparse map");
    }
    if ((e->extent_count & (e->extent_count - 1)) == 0)
        e->extents = xreallocarray(e->extents, e->extent_count ? 2 * e->extent_count : 1, sizeof *e->extents);
    e->extents[e->extent_count++] = (struct tar_extent){ offset, length };
    return 0;
}

static void add_xattr(struct tar_entry *e, const char *name, const char *value, size_t n)
{
    e->xattrs = xreallocarray(e->xattrs, e->xattr_count + 1, sizeof *e->xattrs);
    e->xattrs[e->xattr_count++] = (struct tar_xattr){ xstrdup(name), xmemdup(value, n), n };
}

// --- pax records
static int pax_text(struct tar_reader *t, char **field, const char *value, size_t n)
{
    if (memchr(value, 0, n))
        return bad(t, "tar: NUL in a pax record");
    free(*field);
    *field = n ? xstrndup(value, n) : NULL;
    return 0;
}

static int pax_sparse(struct tar_reader *t, const char *key, const char *value, size_t n)
{
    struct pax *p = &t->pax;
    if (streq(key, "GNU.sparse.name"))
        return pax_text(t, &p->sparse_name, value, n);
    if (streq(key, "GNU.sparse.map"))
        return pax_text(t, &p->sparse_map, value, n);
    if (streq(key, "GNU.sparse.size") || streq(key, "GNU.sparse.realsize")) {
        p->has_sparse_size = parse_u64(value, INT64_MAX, &p->sparse_size);
        return p->has_sparse_size ? 0 : bad(t, "tar: invalid pax record");
    }
    if (streq(key, "GNU.sparse.major"))
        p->is_sparse_1 = streq(value, "1");
    // 0.0 repeats these two, once per piece; they become the map of 0.1
    if (streq(key, "GNU.sparse.offset") || streq(key, "GNU.sparse.numbytes")) {
        if (p->sparse_map && strlen(p->sparse_map) > TAR_PAX_MAX)
            return bad(t, "tar: invalid sparse map");
        char *longer = p->sparse_map ? xasprintf("%s,%s", p->sparse_map, value) : xstrdup(value);
        free(p->sparse_map);
        p->sparse_map = longer;
    }
    return 0;
}

static int pax_record(struct tar_reader *t, const char *key, const char *value, size_t n)
{
    static const char xattr_prefix[] = "SCHILY.xattr.";
    struct pax *p = &t->pax;
    bool ok = true;
    if (streq(key, "path"))
        return pax_text(t, &p->path, value, n);
    if (streq(key, "linkpath"))
        return pax_text(t, &p->link, value, n);
    if (str_has_prefix(key, "GNU.sparse."))
        return pax_sparse(t, key, value, n);
    if (str_has_prefix(key, xattr_prefix)) {
        add_xattr(&t->entry, key + strlen(xattr_prefix), value, n);
    } else if (n == 0) {
        return 0; // an empty value takes the record back
    } else if (streq(key, "size")) {
        ok = p->has_size = parse_u64(value, INT64_MAX, &p->size);
    } else if (streq(key, "uid")) {
        ok = p->has_uid = parse_u32(value, UINT32_MAX, &p->uid);
    } else if (streq(key, "gid")) {
        ok = p->has_gid = parse_u32(value, UINT32_MAX, &p->gid);
    } else if (streq(key, "mtime")) {
        ok = p->has_mtime = parse_pax_time(value, &p->mtime_ns);
    }
    return ok ? 0 : bad(t, "tar: invalid pax record");
}

// "LENGTH KEY=VALUE\n", LENGTH counting all of it.
static int parse_pax(struct tar_reader *t, char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        char *space = memchr(text + at, ' ', n - at);
        uint64_t length;
        if (!space)
            return bad(t, "tar: invalid pax record");
        *space = 0;
        if (!parse_u64(text + at, n - at, &length) || length < 5 || text[at + length - 1] != '\n' ||
            (size_t)(space + 1 - text) >= at + length)
            return bad(t, "tar: invalid pax record");
        char *end = text + at + length - 1, *key = space + 1;
        char *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals || equals == key)
            return bad(t, "tar: invalid pax record");
        *equals = *end = 0;
        int r = pax_record(t, key, equals + 1, (size_t)(end - equals - 1));
        if (r < 0)
            return r;
        at += length;
    }
    return 0;
}

// --- sparse maps
// Old GNU: four pieces in the header, 21 in each extension block.
static int old_sparse_pieces(struct tar_reader *t, const char *at, int count)
{
    for (int i = 0; i < count; i++, at += 24) {
        uint64_t offset, length;
        if (at[0] == 0)
            break;
        if (!parse_size(at, 12, &offset) || !parse_size(at + 12, 12, &length))
            return bad(t, "tar: invalid sparse map");
        int r = add_extent(t, offset, length);
        if (r < 0)
            return r;
    }
    return 0;
}

static int old_sparse(struct tar_reader *t, const char *header)
{
    bool goes_on = header[482];
    if (!parse_size(header + 483, 12, &t->entry.size))
        return bad(t, "tar: invalid sparse map");
    int r = old_sparse_pieces(t, header + 386, 4);
    while (r == 0 && goes_on) {
        const char *block;
        r = need_block(t, &block);
        if (r < 0)
            return r;
        goes_on = block[504];
        r = old_sparse_pieces(t, block, 21);
    }
    t->entry.is_sparse = true;
    return r;
}

static int map_sparse(struct tar_reader *t)
{
    char **v CLEANUP(strv_freep) = strv_split(t->pax.sparse_map, ",", false);
    for (size_t i = 0; v[i]; i += 2) {
        uint64_t offset, length;
        if (!v[i + 1] || !parse_u64(v[i], INT64_MAX, &offset) || !parse_u64(v[i + 1], INT64_MAX, &length))
            return bad(t, "tar: invalid sparse map");
        int r = add_extent(t, offset, length);
        if (r < 0)
            return r;
    }
    return 0;
}

// One decimal line of a 1.0 map, which stands in front of the payload; *block moves on when it is used up.
static int sparse_1_number(struct tar_reader *t, const char **block, size_t *at, uint64_t *ret)
{
    uint64_t v = 0;
    for (int digits = 0;; digits++) {
        if (*at == TAR_BLOCK) {
            if (t->data_left < TAR_BLOCK)
                return bad(t, "tar: invalid sparse map");
            int r = need_block(t, block);
            if (r < 0)
                return r;
            t->data_left -= TAR_BLOCK;
            *at = 0;
        }
        char c = (*block)[(*at)++];
        if (c == '\n' && digits > 0)
            break;
        if (c < '0' || c > '9' || digits > 18)
            return bad(t, "tar: invalid sparse map");
        v = v * 10 + (uint64_t)(c - '0');
    }
    *ret = v;
    return 0;
}

static int sparse_1(struct tar_reader *t)
{
    const char *block = NULL;
    size_t at = TAR_BLOCK;
    uint64_t count;
    int r = sparse_1_number(t, &block, &at, &count);
    for (uint64_t i = 0; r == 0 && i < count; i++) {
        uint64_t offset, length;
        if ((r = sparse_1_number(t, &block, &at, &offset)) < 0 ||
            (r = sparse_1_number(t, &block, &at, &length)) < 0)
            break;
        r = add_extent(t, offset, length);
    }
    return r;
}

static int finish_sparse(struct tar_reader *t)
{
    struct tar_entry *e = &t->entry;
    uint64_t total = 0;
    for (size_t i = 0; i < e->extent_count; i++) {
        total += e->extents[i].length; // each below 2^63 and ascending without overlap: no overflow
        if (e->extents[i].offset + e->extents[i].length > e->size)
            return bad(t, "tar: invalid sparse map");
    }
    if (total != t->data_left)
        return bad(t, "tar: invalid sparse map");
    return 0;
}

static int pax_sparse_map(struct tar_reader *t)
{
    struct pax *p = &t->pax;
    if (!p->is_sparse_1 && !p->sparse_map)
        return 0;
    if (!p->has_sparse_size)
        return bad(t, "tar: invalid sparse map");
    t->entry.is_sparse = true;
    t->entry.size = p->sparse_size;
    return p->is_sparse_1 ? sparse_1(t) : map_sparse(t);
}

// --- headers
static bool is_zero(const char *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

static bool checksum_is_right(const char *header)
{
    int64_t stored, plain = 0, with_sign = 0;
    if (!parse_number(header + 148, 8, &stored))
        return false;
    for (int i = 0; i < TAR_BLOCK; i++) {
        char c = i >= 148 && i < 156 ? ' ' : header[i];
        plain += (unsigned char)c;
        with_sign += (signed char)c; // what some old tars did
    }
    return stored == plain || stored == with_sign;
}

static enum tar_type type_of(const char *header, const char *path)
{
    size_t n = strlen(path);
    switch (header[156]) {
    case 0:
    case '0':
        return n && path[n - 1] == '/' ? TAR_DIRECTORY : TAR_REGULAR;
    case '7':
    case 'S':
        return TAR_REGULAR;
    case '1':
        return TAR_HARDLINK;
    case '2':
        return TAR_SYMLINK;
    case '3':
        return TAR_CHAR;
    case '4':
        return TAR_BLOCK_DEVICE;
    case '5':
        return TAR_DIRECTORY;
    case '6':
        return TAR_FIFO;
    default:
        return TAR_OTHER;
    }
}

static char *header_path(const char *h)
{
    char *name = xstrndup(h, 100);
    if (memcmp(h + 257, "ustar\0", 6) != 0 || h[345] == 0)
        return name;
    char *prefix CLEANUP(cleanup_free) = xstrndup(h + 345, 155);
    char *whole = xasprintf("%s/%s", prefix, name);
    free(name);
    return whole;
}

static void take_names(struct tar_reader *t, const char *h)
{
    struct tar_entry *e = &t->entry;
    struct pax *p = &t->pax;
    e->path = p->sparse_name ? TAKE_PTR(p->sparse_name)
              : p->path      ? TAKE_PTR(p->path)
              : t->long_path ? TAKE_PTR(t->long_path)
                             : header_path(h);
    e->link = p->link ? TAKE_PTR(p->link) : t->long_link ? TAKE_PTR(t->long_link) : xstrndup(h + 157, 100);
}

static int take_numbers(struct tar_reader *t, const char *h, uint64_t size)
{
    struct tar_entry *e = &t->entry;
    const struct pax *p = &t->pax;
    int64_t mode, mtime;
    bool is_ustar = memcmp(h + 257, "ustar", 5) == 0;
    if (!parse_number(h + 100, 8, &mode) || !parse_number(h + 136, 12, &mtime))
        return bad(t, "invalid tar header");
    if ((!p->has_uid && !parse_u32_field(h + 108, 8, &e->uid)) ||
        (!p->has_gid && !parse_u32_field(h + 116, 8, &e->gid)))
        return bad(t, "invalid tar header");
    if (p->has_uid)
        e->uid = p->uid;
    if (p->has_gid)
        e->gid = p->gid;
    e->mode = (uint32_t)mode & 07777;
    if (!p->has_mtime && __builtin_mul_overflow(mtime, 1000000000, &e->mtime_ns))
        return bad(t, "invalid tar header");
    if (p->has_mtime)
        e->mtime_ns = p->mtime_ns;
    if (is_ustar && (e->type == TAR_CHAR || e->type == TAR_BLOCK_DEVICE) &&
        (!parse_u32_field(h + 329, 8, &e->major) || !parse_u32_field(h + 337, 8, &e->minor)))
        return bad(t, "invalid tar header");
    bool has_data = e->type == TAR_REGULAR || e->type == TAR_OTHER;
    e->size = t->data_left = has_data ? size : 0;
    t->padding = padding_of(t->data_left);
    return 0;
}

static int take_entry(struct tar_reader *t, const char *block, uint64_t size)
{
    char h[TAR_BLOCK]; // reading a sparse map moves the buffer
    memcpy(h, block, sizeof h);
    take_names(t, h);
    t->entry.type = type_of(h, t->entry.path);
    int r = take_numbers(t, h, t->pax.has_size ? t->pax.size : size);
    if (r == 0 && h[156] == 'S')
        r = old_sparse(t, h);
    else if (r == 0 && t->entry.type == TAR_REGULAR)
        r = pax_sparse_map(t);
    if (r == 0 && t->entry.is_sparse)
        r = finish_sparse(t);
    t->entry.payload = t->data_left;
    return r < 0 ? r : 1;
}

static int take_long_name(struct tar_reader *t, uint64_t size, char **field)
{
    struct str s CLEANUP(str_done) = STR_INIT;
    int r = read_extension(t, size, TAR_NAME_MAX, &s);
    if (r < 0)
        return r;
    free(*field);
    *field = xstrndup(s.ptr, s.len);
    return 0;
}

static int take_pax(struct tar_reader *t, uint64_t size, bool is_global)
{
    struct str s CLEANUP(str_done) = STR_INIT;
    int r = read_extension(t, size, TAR_PAX_MAX, &s);
    if (r < 0 || is_global)
        return r;
    pax_done(&t->pax);
    return parse_pax(t, s.ptr, s.len);
}

static int drain(struct tar_reader *t)
{
    t->is_done = true;
    for (;;) {
        int r = fill(t, 1);
        if (r < 0 || t->len == t->at)
            return r;
        r = to_raw(t, t->buffer + t->at, t->len - t->at);
        if (r < 0)
            return r;
        t->at = t->len;
    }
}

// After one zero block: a second, or the end of the stream.
static int finish(struct tar_reader *t)
{
    const char *block;
    int r = next_block(t, &block);
    if (r < 0)
        return r;
    if (block && !is_zero(block))
        return bad(t, "invalid tar header");
    return drain(t);
}

int tar_reader_next(struct tar_reader *t, const struct tar_entry **ret)
{
    if (t->problem)
        return -EBADMSG;
    if (t->is_done)
        return 0;
    int r = skip(t, t->data_left);
    if (r < 0 || (r = skip(t, t->padding)) < 0)
        return r;
    t->data_left = t->padding = 0;
    entry_done(&t->entry);
    pax_done(&t->pax);
    *ret = &t->entry;
    for (;;) {
        const char *h;
        uint64_t size;
        r = next_block(t, &h);
        if (r < 0)
            return r;
        if (!h)
            return drain(t);
        if (is_zero(h))
            return finish(t);
        if (!checksum_is_right(h) || !parse_size(h + 124, 12, &size))
            return bad(t, "invalid tar header");
        switch (h[156]) {
        case 'L':
            r = take_long_name(t, size, &t->long_path);
            break;
        case 'K':
            r = take_long_name(t, size, &t->long_link);
            break;
        case 'x':
        case 'X':
        case 'g':
            r = take_pax(t, size, h[156] == 'g');
            break;
        default:
            return take_entry(t, h, size);
        }
        if (r < 0)
            return r;
    }
}

ssize_t tar_reader_data(struct tar_reader *t, const void **ret)
{
    if (t->data_left == 0)
        return 0;
    int r = fill(t, 1);
    if (r < 0)
        return r;
    size_t k = t->len - t->at;
    if (k == 0)
        return bad(t, "unexpected EOF");
    if (k > t->data_left)
        k = (size_t)t->data_left;
    *ret = t->buffer + t->at;
    t->at += k;
    t->data_left -= k;
    return (ssize_t)k;
}

struct tar_reader *tar_reader_new(struct reader from, struct writer raw)
{
    struct tar_reader *t = NEW(struct tar_reader);
    t->from = from;
    t->raw = raw;
    t->buffer = xmalloc(BUFFER_BYTES);
    return t;
}

void tar_reader_free(struct tar_reader *t)
{
    if (!t)
        return;
    entry_done(&t->entry);
    pax_done(&t->pax);
    free(t->long_path);
    free(t->long_link);
    free(t->buffer);
    free(t);
}

void tar_reader_freep(struct tar_reader **t)
{
    tar_reader_free(*t);
}

const char *tar_reader_problem(const struct tar_reader *t)
{
    return t->problem;
}
