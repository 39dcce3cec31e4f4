#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/block_encoder.h"
#include "codec/compress.h"

#include <errno.h>
#include <string.h>

static void fill(struct str *plain, size_t n, unsigned mask)
{
    unsigned x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1103515245 + 12345;
        str_append_char(plain, (char)(x >> 16 & mask));
    }
}

static void compress(struct compress_pool *pool, enum compression how, int level, const struct str *plain,
                     size_t step, struct str *out)
{
    struct block_encoder *e CLEANUP(block_encoder_freep) =
        block_encoder_new(pool, how, level, writer_to_str(out));
    struct writer w = block_encoder_writer(e);
    for (size_t at = 0; at < plain->len; at += step)
        assert_int_equal(w.write(w.context, plain->ptr + at, plain->len - at < step ? plain->len - at : step),
                         0);
    assert_int_equal(block_encoder_finish(e), 0);
}

struct memory {
    const struct str *bytes;
    size_t at;
};

static ssize_t memory_read(void *context, void *buffer, size_t n)
{
    struct memory *m = context;
    size_t left = m->bytes->len - m->at;
    n = n < left ? n : left;
    memcpy(buffer, m->bytes->ptr + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static void assert_comes_back(const struct str *packed, const struct str *plain)
{
    struct memory m = { packed, 0 };
    struct decoder *d CLEANUP(decoder_freep) = NULL;
    struct str out CLEANUP(str_done) = STR_INIT;
    assert_int_equal(decoder_new((struct reader){ memory_read, &m }, &d), 0);
    assert_int_equal(reader_read_all(decoder_reader(d), 1 << 26, &out), 0);
    assert_int_equal(out.len, plain->len);
    assert_memory_equal(out.ptr, plain->ptr, plain->len);
}

static void every_size_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,
                                    1,
                                    COMPRESS_BLOCK_BYTES - 1,
                                    COMPRESS_BLOCK_BYTES,
                                    COMPRESS_BLOCK_BYTES + 1,
                                    5 * COMPRESS_BLOCK_BYTES + 77 };
    static const unsigned masks[] = { 31, 255 }; // text-like, and noise that only stored blocks hold
    struct compress_pool *pool = NULL;
    assert_int_equal(compress_pool_new(2, &pool), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < 2; k++) {
            struct str plain CLEANUP(str_done) = STR_INIT;
            fill(&plain, sizes[i], masks[k]);
            for (int how = COMPRESSION_GZIP; how <= COMPRESSION_ZSTD; how++)
                for (int level = 1; level <= GZIP_LEVEL_MAX; level++) {
                    struct str packed CLEANUP(str_done) = STR_INIT;
                    compress(pool, (enum compression)how, level, &plain, 77777, &packed);
                    assert_comes_back(&packed, &plain);
                    assert_true(packed.len < plain.len + plain.len / 256 + 4096);
                }
        }
    compress_pool_free(pool);
}

static void bytes_do_not_depend_on_threads_or_pieces(void **state)
{
    (void)state;
    struct str plain CLEANUP(str_done) = STR_INIT, first CLEANUP(str_done) = STR_INIT;
    fill(&plain, 9 * COMPRESS_BLOCK_BYTES + 5, 31);
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        struct str packed CLEANUP(str_done) = STR_INIT;
        struct compress_pool *pool = NULL;
        assert_int_equal(compress_pool_new(threads, &pool), 0);
        compress(pool, COMPRESSION_GZIP, 0, &plain, 1000 * threads + 1, &packed);
        compress_pool_free(pool);
        if (threads == 1)
            str_append_n(&first, packed.ptr, packed.len);
        assert_int_equal(packed.len, first.len);
        assert_memory_equal(packed.ptr, first.ptr, first.len);
    }
}

static int refuse(void *context, const void *bytes, size_t n)
{
    size_t *left = context;
    (void)bytes;
    if (n > *left)
        return -EPIPE;
    *left -= n;
    return 0;
}

// A receiver that goes away midway: the error comes back, and freeing waits for what is under way.
static void a_receiver_that_goes_away(void **state)
{
    (void)state;
    struct str plain CLEANUP(str_done) = STR_INIT;
    struct compress_pool *pool = NULL;
    size_t left = COMPRESS_BLOCK_BYTES;
    fill(&plain, 40 * COMPRESS_BLOCK_BYTES, 255);
    assert_int_equal(compress_pool_new(2, &pool), 0);
    struct block_encoder *e = block_encoder_new(pool, COMPRESSION_GZIP, 0, (struct writer){ refuse, &left });
    struct writer w = block_encoder_writer(e);
    assert_int_equal(w.write(w.context, plain.ptr, plain.len), -EPIPE);
    block_encoder_free(e);
    struct str packed CLEANUP(str_done) = STR_INIT;
    compress(pool, COMPRESSION_GZIP, 0, &plain, plain.len, &packed); // every block came back to the pool
    assert_comes_back(&packed, &plain);
    compress_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_comes_back),
        cmocka_unit_test(bytes_do_not_depend_on_threads_or_pieces),
        cmocka_unit_test(a_receiver_that_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
