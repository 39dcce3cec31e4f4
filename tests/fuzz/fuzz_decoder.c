// Decoding does not depend on how the bytes arrive or in what pieces they are asked for, stops for good at the first error, and
// says what was wrong.
#include "codec/compress.h"

#include "base/mem.h"
#include "codec/sha256.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_MAX = 1 << 20 }; // a small input may stand for gigabytes

struct source {
    const uint8_t *bytes;
    size_t n, at, piece;
};

static ssize_t source_read(void *context, void *buffer, size_t n)
{
    struct source *s = context;
    n = n < s->piece ? n : s->piece;
    n = n < s->n - s->at ? n : s->n - s->at;
    memcpy(buffer, s->bytes + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

struct outcome {
    char digest[SHA256_HEX_LEN + 1];
    size_t bytes;
    int result; // 0, or what ended it
};

static void decode(const uint8_t *data, size_t size, size_t input_piece, size_t output_piece,
                   struct outcome *ret)
{
    struct source source = { data, size, 0, input_piece };
    CLEANUP(decoder_freep) struct decoder *decoder = NULL;
    CLEANUP(sha256_freep) struct sha256 *hash = sha256_new();
    CLEANUP(cleanup_free) char *buffer = xmalloc(output_piece);
    if (decoder_new((struct reader){ source_read, &source }, &decoder) < 0)
        abort(); // memory cannot fail
    struct reader from = decoder_reader(decoder);
    ssize_t n = 0;
    *ret = (struct outcome){ 0 };
    while (ret->bytes < OUTPUT_MAX) {
        size_t wanted = OUTPUT_MAX - ret->bytes < output_piece ? OUTPUT_MAX - ret->bytes : output_piece;
        n = from.read(from.context, buffer, wanted);
        if (n <= 0)
            break;
        if ((size_t)n > wanted)
            abort();
        sha256_update(hash, buffer, (size_t)n);
        ret->bytes += (size_t)n;
    }
    ret->result = n < 0 ? (int)n : 0;
    sha256_final_hex(hash, ret->digest);
    if (ret->result < 0 &&
        (!decoder_problem(decoder) || from.read(from.context, buffer, output_piece) != ret->result))
        abort();
    if (decoder_compression(decoder) == COMPRESSION_NONE && ret->result == 0 && size <= OUTPUT_MAX &&
        ret->bytes != size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, pieces;
    decode(data, size, SIZE_MAX, 1 << 16, &whole);
    decode(data, size, 7, 509, &pieces);
    // How much comes out before an error may differ; whether there is one, and what a good stream holds, may not.
    if (whole.bytes < OUTPUT_MAX && pieces.bytes < OUTPUT_MAX && whole.result != pieces.result)
        abort();
    if (whole.result == 0 && pieces.result == 0 && strcmp(whole.digest, pieces.digest) != 0)
        abort();
    return 0;
}
