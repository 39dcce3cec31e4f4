// Theory of operation. One buffer of input in front of the source; `step` of the format turns input into output until
// either side runs dry. Magic bytes are read into the same buffer, so nothing is ever pushed back. The end of the source is
// lawful only between two members.
#include "codec/compress.h"

#include "base/mem.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

enum { INPUT_BYTES = 256 * 1024, MAGIC_BYTES = 6, HEADER_BYTES = 4096 };

struct decoder {
    struct reader from;
    enum compression compression;
    struct inflate_state *inflate;
    ZSTD_DStream *zstd;
    const char *problem;
    size_t at, len; // unread input is buffer[at..len)
    bool at_source_end, is_inside_member;
    int failed; // sticky -errno
    uint8_t *buffer;
};

// The header of a member or frame goes to its library in one piece. Given the rest of one alone, libzstd takes it for a frame of
// its own where the bytes look like one, and forgets the first; and ISA-L finds its checksum (FHCRC) wrong.
static size_t wanted_input(const struct decoder *d)
{
    return d->compression != COMPRESSION_NONE && !d->is_inside_member ? HEADER_BYTES : 1;
}

static int fill(struct decoder *d)
{
    size_t wanted = wanted_input(d);
    if (d->len - d->at >= wanted || d->at_source_end)
        return 0;
    memmove(d->buffer, d->buffer + d->at, d->len - d->at);
    d->len -= d->at;
    d->at = 0;
    while (d->len < wanted && !d->at_source_end) {
        ssize_t n = d->from.read(d->from.context, d->buffer + d->len, INPUT_BYTES - d->len);
        if (n < 0)
            return (int)n;
        d->len += (size_t)n;
        d->at_source_end = n == 0;
    }
    return 0;
}

static int read_magic(struct decoder *d)
{
    while (d->len < MAGIC_BYTES) {
        ssize_t n = d->from.read(d->from.context, d->buffer + d->len, MAGIC_BYTES - d->len);
        if (n < 0)
            return (int)n;
        if (n == 0) {
            d->at_source_end = true;
            break;
        }
        d->len += (size_t)n;
    }
    return 0;
}

static bool begins(const struct decoder *d, const char *magic, size_t n)
{
    return d->len - d->at >= n && memcmp(d->buffer + d->at, magic, n) == 0;
}

static int detect(struct decoder *d)
{
    int r = read_magic(d);
    if (r < 0)
        return r;
    if (begins(d, "\x1f\x8b", 2)) {
        d->compression = COMPRESSION_GZIP;
        d->inflate = NEW(struct inflate_state);
        isal_inflate_init(d->inflate);
        d->inflate->crc_flag = ISAL_GZIP;
    } else if (begins(d, "\x28\xb5\x2f\xfd", 4) ||
               (begins(d, "", 0) && d->len >= 4 && (d->buffer[0] & 0xf0) == 0x50 &&
                memcmp(d->buffer + 1, "\x2a\x4d\x18", 3) == 0)) {
        d->compression = COMPRESSION_ZSTD;
        d->zstd = ZSTD_createDStream();
        if (!d->zstd)
            return -ENOMEM;
        ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax,
                               27); // 128 MiB: what zstd itself takes without --long
    } else if (begins(d,
                      "\xfd"
                      "7zXZ",
                      6)) {
        d->problem = "xz compression is not supported";
        d->failed = -EPROTONOSUPPORT;
    } else if (begins(d, "BZh", 3)) {
        d->problem = "bzip2 compression is not supported";
        d->failed = -EPROTONOSUPPORT;
    }
    return 0;
}

int decoder_new(struct reader from, struct decoder **ret)
{
    struct decoder *d CLEANUP(decoder_freep) = NEW(struct decoder);
    d->from = from;
    d->buffer = xmalloc(INPUT_BYTES);
    int r = detect(d);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(d);
    return 0;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    ZSTD_freeDStream(d->zstd);
    free(d->inflate);
    free(d->buffer);
    free(d);
}

void decoder_freep(struct decoder **d)
{
    decoder_free(*d);
}

static int corrupt(struct decoder *d, const char *problem)
{
    d->problem = problem;
    return -EBADMSG;
}

static const char *inflate_problem(int r)
{
    switch (r) {
    case ISAL_INCORRECT_CHECKSUM:
        return "gzip: invalid checksum";
    case ISAL_INVALID_WRAPPER:
    case ISAL_UNSUPPORTED_METHOD:
        return "gzip: invalid header";
    default:
        return "gzip: corrupt data";
    }
}

static ssize_t step_gzip(struct decoder *d, uint8_t *out, size_t n)
{
    struct inflate_state *s = d->inflate;
    if (!d->is_inside_member && d->len - d->at > 0) {
        if (s->block_state == ISAL_BLOCK_FINISH) {
            isal_inflate_reset(s);
            s->crc_flag = ISAL_GZIP;
        }
        d->is_inside_member = true;
    }
    s->next_in = d->buffer + d->at;
    s->avail_in = (uint32_t)(d->len - d->at);
    s->next_out = out;
    s->avail_out = (uint32_t)n;
    int r = isal_inflate(s);
    d->at = d->len - s->avail_in;
    if (r < 0)
        return corrupt(d, inflate_problem(r));
    if (s->block_state == ISAL_BLOCK_FINISH)
        d->is_inside_member = false;
    return (ssize_t)(n - s->avail_out);
}

static ssize_t step_zstd(struct decoder *d, uint8_t *out, size_t n)
{
    ZSTD_inBuffer in = { d->buffer, d->len, d->at };
    ZSTD_outBuffer o = { out, n, 0 };
    size_t r = ZSTD_decompressStream(d->zstd, &o, &in);
    d->at = in.pos;
    if (ZSTD_isError(r))
        return corrupt(d, "zstd: corrupt data");
    d->is_inside_member = r != 0;
    return (ssize_t)o.pos;
}

static ssize_t step_none(struct decoder *d, uint8_t *out, size_t n)
{
    size_t k = d->len - d->at < n ? d->len - d->at : n;
    memcpy(out, d->buffer + d->at, k);
    d->at += k;
    return (ssize_t)k;
}

static ssize_t step(struct decoder *d, uint8_t *out, size_t n)
{
    switch (d->compression) {
    case COMPRESSION_GZIP:
        return step_gzip(d, out, n);
    case COMPRESSION_ZSTD:
        return step_zstd(d, out, n);
    default:
        return step_none(d, out, n);
    }
}

static ssize_t decode(struct decoder *d, void *buffer, size_t n)
{
    if (n > INT32_MAX)
        n = INT32_MAX;
    for (;;) {
        int r = fill(d);
        if (r < 0)
            return r;
        if (d->at_source_end && d->at == d->len && !d->is_inside_member)
            return 0;
        ssize_t k = step(d, buffer, n);
        if (k != 0)
            return k;
        if (d->at_source_end && d->at == d->len && d->is_inside_member)
            return corrupt(d, "unexpected EOF");
    }
}

static ssize_t read_decoder(void *context, void *buffer, size_t n)
{
    struct decoder *d = context;
    if (d->failed || n == 0)
        return d->failed;
    ssize_t k = decode(d, buffer, n);
    if (k < 0)
        d->failed = (int)k;
    return k;
}

struct reader decoder_reader(struct decoder *d)
{
    return (struct reader){ read_decoder, d };
}

enum compression decoder_compression(const struct decoder *d)
{
    return d->compression;
}

const char *decoder_problem(const struct decoder *d)
{
    return d->problem;
}
