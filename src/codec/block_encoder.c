// Theory of operation. A block is filled by the encoder's thread, queued at the pool, compressed by any of the pool's threads and
// taken back by the encoder in the order in which it was filled. Blocks belong to the pool: an encoder that finds none free
// drains its own oldest one, and only one that holds none waits for others, so no set of encoders can wait for each other in a
// ring. The checksum of gzip is taken by the encoder's thread as bytes arrive: it costs next to nothing and needs no combining.
#include "codec/block_encoder.h"

#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

// Deflate in stored blocks, the worst case, needs 5 bytes for each 65535; zstd's own bound is smaller.
enum {
    BLOCK_ROOM = COMPRESS_BLOCK_BYTES + COMPRESS_BLOCK_BYTES / 256 + 4096,
    LEVEL_BUFFER_BYTES = ISAL_DEF_LVL3_DEFAULT,
    THREAD_STACK = 256 * 1024,
};

struct block {
    struct block *next;  // in the pool's free list or queue
    struct block *later; // in its encoder's line
    enum compression compression;
    int level;
    size_t in_n, out_n;
    bool is_done;
    int failed; // -errno
    uint8_t *in, *out;
};

struct compress_pool {
    pthread_mutex_t lock; // guards everything below
    pthread_cond_t has_work, changed;
    struct block *free, *queue, *queue_end;
    unsigned block_count, blocks_max;
    bool is_closing;
    unsigned thread_count;
    pthread_t *threads;
};

struct block_encoder {
    struct compress_pool *pool;
    struct writer to;
    enum compression compression;
    int level;
    struct block *filling, *oldest, *newest; // oldest .. newest: at the pool
    uint32_t crc;
    uint64_t bytes;
    bool has_begun;
};

// --- one block
struct tools { // one thread's
    struct isal_zstream deflate;
    uint8_t *level_buffer;
    ZSTD_CCtx *zstd;
};

static int deflate_block(struct tools *tools, struct block *block)
{
    struct isal_zstream *s = &tools->deflate;
    isal_deflate_stateless_init(s);
    s->level = (uint32_t)block->level;
    s->level_buf = tools->level_buffer;
    s->level_buf_size = LEVEL_BUFFER_BYTES;
    s->gzip_flag = IGZIP_DEFLATE;
    s->flush = FULL_FLUSH;
    s->end_of_stream = 0;
    s->next_in = block->in;
    s->avail_in = (uint32_t)block->in_n;
    s->next_out = block->out;
    s->avail_out = BLOCK_ROOM;
    if (isal_deflate_stateless(s) != COMP_OK)
        return -EIO;
    block->out_n = BLOCK_ROOM - s->avail_out;
    return 0;
}

static int zstd_block(struct tools *tools, struct block *block)
{
    if (!tools->zstd && !(tools->zstd = ZSTD_createCCtx()))
        return -ENOMEM;
    ZSTD_CCtx_setParameter(tools->zstd, ZSTD_c_compressionLevel, block->level);
    ZSTD_CCtx_setParameter(tools->zstd, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(tools->zstd, block->out, BLOCK_ROOM, block->in, block->in_n);
    if (ZSTD_isError(n))
        return -EIO;
    block->out_n = n;
    return 0;
}

// --- the pool's threads
static struct block *take_work(struct compress_pool *pool)
{
    while (!pool->queue && !pool->is_closing)
        pthread_cond_wait(&pool->has_work, &pool->lock);
    struct block *block = pool->queue;
    if (block)
        pool->queue = block->next;
    return block;
}

static void *compress_thread(void *context)
{
    struct compress_pool *pool = context;
    struct tools tools = { .level_buffer = xmalloc(LEVEL_BUFFER_BYTES) };
    pthread_mutex_lock(&pool->lock);
    for (struct block *block; (block = take_work(pool));) {
        pthread_mutex_unlock(&pool->lock);
        block->failed =
            block->compression == COMPRESSION_ZSTD ? zstd_block(&tools, block) : deflate_block(&tools, block);
        pthread_mutex_lock(&pool->lock);
        block->is_done = true;
        pthread_cond_broadcast(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    ZSTD_freeCCtx(tools.zstd);
    free(tools.level_buffer);
    return NULL;
}

int compress_pool_new(unsigned threads, struct compress_pool **ret)
{
    struct compress_pool *pool = NEW(struct compress_pool);
    unsigned wanted = 2 * threads + 4;
    pool->blocks_max = wanted < COMPRESS_POOL_BLOCKS_MAX ? wanted : COMPRESS_POOL_BLOCKS_MAX;
    threads = threads < pool->blocks_max ? threads : pool->blocks_max;
    pool->threads = xcalloc(threads + 1, sizeof *pool->threads);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->has_work, NULL);
    pthread_cond_init(&pool->changed, NULL);
    int r = 0;
    while (r == 0 && pool->thread_count < (threads ? threads : 1)) {
        r = thread_start(&pool->threads[pool->thread_count], THREAD_STACK, compress_thread, pool);
        pool->thread_count += r == 0;
    }
    if (pool->thread_count == 0) {
        compress_pool_free(pool);
        return r;
    }
    *ret = pool;
    return 0;
}

void compress_pool_free(struct compress_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_closing = true;
    pthread_cond_broadcast(&pool->has_work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    for (struct block *block; (block = pool->free);) {
        pool->free = block->next;
        free(block->in);
        free(block->out);
        free(block);
    }
    pthread_cond_destroy(&pool->has_work);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

// A block nobody uses, or NULL; lock held.
static struct block *take_free(struct compress_pool *pool)
{
    struct block *block = pool->free;
    if (block) {
        pool->free = block->next;
        block->in_n = 0;
    } else if (pool->block_count < pool->blocks_max) {
        block = NEW(struct block);
        block->in = xmalloc(COMPRESS_BLOCK_BYTES);
        block->out = xmalloc(BLOCK_ROOM);
        pool->block_count++;
    }
    return block;
}

static void give_back(struct compress_pool *pool, struct block *block)
{
    pthread_mutex_lock(&pool->lock);
    block->next = pool->free;
    pool->free = block;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

// --- encoders
struct block_encoder *block_encoder_new(struct compress_pool *pool, enum compression compression, int level,
                                        struct writer to)
{
    struct block_encoder *e = NEW(struct block_encoder);
    e->pool = pool;
    e->to = to;
    e->compression = compression;
    e->level = level ? level : compression == COMPRESSION_ZSTD ? ZSTD_LEVEL_DEFAULT : GZIP_LEVEL_DEFAULT;
    return e;
}

static int put(struct block_encoder *e, const void *bytes, size_t n)
{
    return e->to.write(e->to.context, bytes, n);
}

// A fixed head: no name, no time, so that equal layers have equal digests.
static int begin(struct block_encoder *e)
{
    static const uint8_t head[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff };
    e->has_begun = true;
    return e->compression == COMPRESSION_GZIP ? put(e, head, sizeof head) : 0;
}

static struct block *take_oldest(struct block_encoder *e)
{
    struct block *block = e->oldest;
    pthread_mutex_lock(&e->pool->lock);
    while (!block->is_done)
        pthread_cond_wait(&e->pool->changed, &e->pool->lock);
    pthread_mutex_unlock(&e->pool->lock);
    e->oldest = block->later;
    if (!e->oldest)
        e->newest = NULL;
    return block;
}

// Write the oldest block out and give it back.
static int drain_one(struct block_encoder *e)
{
    struct block *block = take_oldest(e);
    int r = block->failed;
    if (r == 0)
        r = put(e, block->out, block->out_n);
    give_back(e->pool, block);
    return r;
}

static bool oldest_is_done(struct block_encoder *e)
{
    pthread_mutex_lock(&e->pool->lock);
    bool is_done = e->oldest && e->oldest->is_done;
    pthread_mutex_unlock(&e->pool->lock);
    return is_done;
}

static int need_block(struct block_encoder *e)
{
    while (!e->filling) {
        int r = 0;
        pthread_mutex_lock(&e->pool->lock);
        while (!(e->filling = take_free(e->pool)) && !e->oldest)
            pthread_cond_wait(&e->pool->changed, &e->pool->lock);
        pthread_mutex_unlock(&e->pool->lock);
        if (!e->filling && (r = drain_one(e)) < 0)
            return r;
    }
    return 0;
}

static void submit(struct block_encoder *e)
{
    struct compress_pool *pool = e->pool;
    struct block *block = TAKE_PTR(e->filling);
    block->compression = e->compression;
    block->level = e->level;
    block->is_done = false;
    block->next = block->later = NULL;
    *(e->newest ? &e->newest->later : &e->oldest) = block;
    e->newest = block;
    pthread_mutex_lock(&pool->lock);
    *(pool->queue ? &pool->queue_end->next : &pool->queue) = block;
    pool->queue_end = block;
    pthread_cond_signal(&pool->has_work);
    pthread_mutex_unlock(&pool->lock);
}

static int take(struct block_encoder *e, const uint8_t **bytes, size_t *n)
{
    int r = need_block(e);
    if (r < 0)
        return r;
    struct block *block = e->filling;
    size_t room = COMPRESS_BLOCK_BYTES - block->in_n, k = *n < room ? *n : room;
    memcpy(block->in + block->in_n, *bytes, k);
    block->in_n += k;
    *bytes += k;
    *n -= k;
    if (block->in_n == COMPRESS_BLOCK_BYTES)
        submit(e);
    return 0;
}

static int write_block_encoder(void *context, const void *bytes, size_t n)
{
    struct block_encoder *e = context;
    const uint8_t *p = bytes;
    int r = e->has_begun ? 0 : begin(e);
    if (e->compression == COMPRESSION_GZIP)
        e->crc = crc32_gzip_refl(e->crc, bytes, n);
    e->bytes += n;
    while (r == 0 && n > 0)
        r = take(e, &p, &n);
    while (r == 0 && oldest_is_done(e))
        r = drain_one(e);
    return r;
}

struct writer block_encoder_writer(struct block_encoder *e)
{
    return (struct writer){ write_block_encoder, e };
}

// An empty last block, checksum and length; zstd's frames need no end, but an empty input needs one frame.
static int end(struct block_encoder *e)
{
    static const uint8_t empty_frame[9] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0 };
    if (e->compression == COMPRESSION_ZSTD)
        return e->bytes ? 0 : put(e, empty_frame, sizeof empty_frame);
    uint8_t tail[10] = { 3, 0 };
    for (int i = 0; i < 4; i++) {
        tail[2 + i] = (uint8_t)(e->crc >> 8 * i);
        tail[6 + i] = (uint8_t)(e->bytes >> 8 * i);
    }
    return put(e, tail, sizeof tail);
}

int block_encoder_finish(struct block_encoder *e)
{
    int r = e->has_begun ? 0 : begin(e);
    if (e->filling && e->filling->in_n)
        submit(e);
    while (r == 0 && e->oldest)
        r = drain_one(e);
    return r == 0 ? end(e) : r;
}

void block_encoder_free(struct block_encoder *e)
{
    if (!e)
        return;
    while (e->oldest)
        give_back(e->pool, take_oldest(e));
    if (e->filling)
        give_back(e->pool, e->filling);
    free(e);
}

void block_encoder_freep(struct block_encoder **e)
{
    block_encoder_free(*e);
}
