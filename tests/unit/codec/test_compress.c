#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/compress.h"
#include "codec/sha256.h"

#include <errno.h>
#include <string.h>

struct memory {
    const char *bytes;
    size_t n, at, step;
};

static ssize_t memory_read(void *context, void *buffer, size_t n)
{
    struct memory *m = context;
    size_t left = m->n - m->at;
    n = n < left ? n : left;
    if (m->step && n > m->step)
        n = m->step;
    memcpy(buffer, m->bytes + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static void compress(enum compression how, const struct str *plain, struct str *out)
{
    struct encoder *e CLEANUP(encoder_freep) = encoder_new(how, writer_to_str(out));
    struct writer w = encoder_writer(e);
    for (size_t at = 0; at < plain->len; at += 77777)
        assert_int_equal(
            w.write(w.context, plain->ptr + at, plain->len - at < 77777 ? plain->len - at : 77777), 0);
    assert_int_equal(encoder_finish(e), 0);
}

// The plain bytes, or -errno with *problem.
static int expand(const char *bytes, size_t n, size_t step, struct str *out, const char **problem)
{
    struct memory m = { bytes, n, 0, step };
    struct decoder *d CLEANUP(decoder_freep) = NULL;
    int r = decoder_new((struct reader){ memory_read, &m }, &d);
    if (r == 0)
        r = reader_read_all(decoder_reader(d), 1 << 26, out);
    *problem = d ? decoder_problem(d) : NULL;
    return r;
}

static void fill(struct str *plain, size_t n)
{
    unsigned x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1103515245 + 12345;
        str_append_char(plain, (char)(x >> 16 & 31));
    }
}

static void all_formats_come_back(void **state)
{
    (void)state;
    const size_t sizes[] = { 0, 1, 100, 70000, 1000003 };
    const char *problem;
    for (size_t i = 0; i < 5; i++)
        for (enum compression how = COMPRESSION_NONE; how < COMPRESSION_COUNT; how++)
            for (size_t step = 0; step <= 4096; step += 4096) {
                struct str plain CLEANUP(str_done) = STR_INIT, packed CLEANUP(str_done) = STR_INIT,
                                 out CLEANUP(str_done) = STR_INIT;
                fill(&plain, sizes[i]);
                compress(how, &plain, &packed);
                assert_int_equal(expand(packed.ptr, packed.len, step, &out, &problem), 0);
                assert_null(problem);
                assert_int_equal(out.len, plain.len);
                assert_memory_equal(out.ptr, plain.ptr, plain.len);
            }
}

static void members_follow_each_other(void **state)
{
    (void)state;
    const char *problem;
    for (enum compression how = COMPRESSION_GZIP; how < COMPRESSION_COUNT; how++) {
        struct str plain CLEANUP(str_done) = STR_INIT, packed CLEANUP(str_done) = STR_INIT,
                         out CLEANUP(str_done) = STR_INIT;
        str_append(&plain, "one two ");
        compress(how, &plain, &packed);
        compress(how, &plain, &packed);
        assert_int_equal(expand(packed.ptr, packed.len, 1, &out, &problem), 0);
        assert_string_equal(out.ptr, "one two one two ");
    }
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    const char *problem;
    for (enum compression how = COMPRESSION_GZIP; how < COMPRESSION_COUNT; how++) {
        struct str plain CLEANUP(str_done) = STR_INIT, packed CLEANUP(str_done) = STR_INIT;
        fill(&plain, 500);
        compress(how, &plain, &packed);
        for (size_t n = 5; n < packed.len; n++) {
            struct str out CLEANUP(str_done) = STR_INIT;
            assert_int_equal(expand(packed.ptr, n, 0, &out, &problem), -EBADMSG);
            assert_string_equal(problem, "unexpected EOF");
        }
        packed.ptr[packed.len / 2] ^= 0x55;
        struct str out CLEANUP(str_done) = STR_INIT;
        assert_int_equal(expand(packed.ptr, packed.len, 0, &out, &problem), -EBADMSG);
        assert_non_null(problem);
    }
}

static void other_formats_are_named(void **state)
{
    (void)state;
    const char *problem;
    struct str out CLEANUP(str_done) = STR_INIT;
    assert_int_equal(expand("\xfd"
                            "7zXZ\0\0\0",
                            8, 0, &out, &problem),
                     -EPROTONOSUPPORT);
    assert_string_equal(problem, "xz compression is not supported");
    assert_int_equal(expand("BZh91AY&SY", 10, 0, &out, &problem), -EPROTONOSUPPORT);
}

static void digest_is_the_standard_one(void **state)
{
    (void)state;
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_hex("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_formats_come_back),      cmocka_unit_test(members_follow_each_other),
        cmocka_unit_test(every_cut_is_noticed),       cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(digest_is_the_standard_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
