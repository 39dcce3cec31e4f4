#include "codec/compress.h"

#include "base/mem.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdint.h>
#include <zstd.h>

enum { OUTPUT_BYTES = 128 * 1024, GZIP_LEVEL = 1, ZSTD_LEVEL = 1 };

struct encoder {
    struct writer to;
    enum compression compression;
    struct isal_zstream *deflate;
    ZSTD_CStream *zstd;
    uint8_t *level_buffer, *out;
};

struct encoder *encoder_new(enum compression compression, struct writer to)
{
    struct encoder *e = NEW(struct encoder);
    e->to = to;
    e->compression = compression;
    if (compression == COMPRESSION_NONE)
        return e;
    e->out = xmalloc(OUTPUT_BYTES);
    if (compression == COMPRESSION_GZIP) {
        e->deflate = NEW(struct isal_zstream);
        isal_deflate_init(e->deflate);
        e->level_buffer = xmalloc(ISAL_DEF_LVL1_DEFAULT);
        e->deflate->level = GZIP_LEVEL;
        e->deflate->level_buf = e->level_buffer;
        e->deflate->level_buf_size = ISAL_DEF_LVL1_DEFAULT;
        e->deflate->gzip_flag = IGZIP_GZIP;
    } else {
        e->zstd = ZSTD_createCStream();
        if (!e->zstd)
            abort();
        ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_checksumFlag, 1);
    }
    return e;
}

static int put(struct encoder *e, size_t n)
{
    return n ? e->to.write(e->to.context, e->out, n) : 0;
}

static int deflate_some(struct encoder *e, const void *bytes, size_t n, bool is_last)
{
    struct isal_zstream *s = e->deflate;
    s->next_in = (uint8_t *)(uintptr_t)bytes;
    s->avail_in = (uint32_t)n;
    s->end_of_stream = is_last;
    do {
        s->next_out = e->out;
        s->avail_out = OUTPUT_BYTES;
        if (isal_deflate(s) != COMP_OK)
            return -EIO;
        int r = put(e, OUTPUT_BYTES - s->avail_out);
        if (r < 0)
            return r;
    } while (is_last ? s->internal_state.state != ZSTATE_END : s->avail_in > 0 || s->avail_out == 0);
    return 0;
}

static int zstd_some(struct encoder *e, const void *bytes, size_t n, bool is_last)
{
    ZSTD_inBuffer in = { bytes, n, 0 };
    for (;;) {
        ZSTD_outBuffer out = { e->out, OUTPUT_BYTES, 0 };
        size_t left = ZSTD_compressStream2(e->zstd, &out, &in, is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -EIO;
        int r = put(e, out.pos);
        if (r < 0)
            return r;
        if (is_last ? left == 0 : in.pos == in.size)
            return 0;
    }
}

static int write_encoder(void *context, const void *bytes, size_t n)
{
    struct encoder *e = context;
    const uint8_t *p = bytes;
    if (e->compression == COMPRESSION_NONE)
        return e->to.write(e->to.context, bytes, n);
    while (n > 0) {
        size_t k = n < (1u << 30) ? n : 1u << 30; // ISA-L counts in 32 bits
        int r = e->compression == COMPRESSION_GZIP ? deflate_some(e, p, k, false) : zstd_some(e, p, k, false);
        if (r < 0)
            return r;
        p += k;
        n -= k;
    }
    return 0;
}

struct writer encoder_writer(struct encoder *e)
{
    return (struct writer){ write_encoder, e };
}

int encoder_finish(struct encoder *e)
{
    switch (e->compression) {
    case COMPRESSION_GZIP:
        return deflate_some(e, "", 0, true);
    case COMPRESSION_ZSTD:
        return zstd_some(e, "", 0, true);
    default:
        return 0;
    }
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    ZSTD_freeCStream(e->zstd);
    free(e->deflate);
    free(e->level_buffer);
    free(e->out);
    free(e);
}

void encoder_freep(struct encoder **e)
{
    encoder_free(*e);
}
