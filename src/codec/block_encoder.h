// Compression by blocks on many cores: the input is cut into blocks that know nothing of each other, threads compress them,
// and they come out in order as one stream that every decoder takes. gzip: one member whose deflate blocks end at byte
// borders (RFC 1951 3.2.4, RFC 1952); zstd: one frame a block (RFC 8878 3.1). Equal input, format and level give equal bytes,
// whatever the number of threads. Costs some 2 % of size against one piece.
#pragma once

#include "base/stream.h"
#include "codec/compress.h"

// Threads and buffers that all encoders of one job share: at most COMPRESS_POOL_BLOCKS_MAX blocks are in memory at once, each with
// its input and its output, so the job's memory is bounded however many encoders it has.
enum { COMPRESS_POOL_BLOCKS_MAX = 24, COMPRESS_BLOCK_BYTES = 512 * 1024 };

struct compress_pool;

// `threads` of them (at least 1). 0, or -errno when no thread could be started.
int compress_pool_new(unsigned threads, struct compress_pool **ret);
// Every encoder must have been freed. NULL is fine.
void compress_pool_free(struct compress_pool *pool);

// The levels a format knows: gzip 1 to 3 (ISA-L's), zstd 1 to 19. 0 stands for the format's default.
enum { GZIP_LEVEL_DEFAULT = 1, GZIP_LEVEL_MAX = 3, ZSTD_LEVEL_DEFAULT = 3, ZSTD_LEVEL_MAX = 19 };

struct block_encoder;

// Compress into `to` (borrowed until block_encoder_free), which is written by the thread that writes to the encoder. One thread
// at a time per encoder.
struct block_encoder *block_encoder_new(struct compress_pool *pool, enum compression compression, int level,
                                        struct writer to);
struct writer block_encoder_writer(struct block_encoder *encoder);
// Write what is held back and the end mark. 0 or -errno. Nothing may be written afterwards.
int block_encoder_finish(struct block_encoder *encoder);
// Waits for the blocks that are being compressed. NULL is fine.
void block_encoder_free(struct block_encoder *encoder);
void block_encoder_freep(struct block_encoder **encoder);
