// The walker over a tar stream: what goes to `raw` and the payload taken are together the stream, byte for byte; sizes, pieces of
// sparse files and numbers of attributes are within their bounds; memory is bounded, whatever the headers claim.
#include "codec/tar.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
    const uint8_t *bytes;
    size_t n, at;
};

static ssize_t source_read(void *context, void *buffer, size_t n)
{
    struct source *s = context;
    n = n < s->n - s->at ? n : s->n - s->at;
    memcpy(buffer, s->bytes + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

// Right checksums take the fuzzer past them.
static void set_checksums(uint8_t *tar, size_t size)
{
    for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
        uint8_t *h = tar + at;
        unsigned sum = 0;
        if (memcmp(h + 257, "ustar", 5) != 0)
            continue;
        memset(h + 148, ' ', 8);
        for (int i = 0; i < TAR_BLOCK; i++)
            sum += h[i];
        for (int i = 5; i >= 0; i--, sum >>= 3)
            h[148 + i] = (uint8_t)('0' + (sum & 7));
        h[154] = 0;
    }
}

static void check_extents(const struct tar_entry *e)
{
    uint64_t end = 0, sum = 0;
    if (!e->is_sparse)
        return;
    if (e->extent_count > TAR_EXTENTS_MAX)
        abort();
    for (size_t i = 0; i < e->extent_count; i++) {
        const struct tar_extent *x = &e->extents[i];
        if (x->offset < end || x->length > e->size || x->offset > e->size - x->length)
            abort();
        end = x->offset + x->length;
        sum += x->length;
    }
    if (sum != e->payload)
        abort();
}

static void check_entry(const struct tar_entry *e)
{
    if (!e->path || !e->link || e->type >= TAR_TYPE_COUNT || (e->mode & ~07777u) ||
        strlen(e->path) > TAR_PAX_MAX || (e->xattr_count && !e->xattrs))
        abort();
    check_extents(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(cleanup_free) uint8_t *tar = xmemdup(data, size);
    CLEANUP(str_done) struct str seen = STR_INIT;
    set_checksums(tar, size);
    struct source source = { tar, size, 0 };
    CLEANUP(tar_reader_freep)
    struct tar_reader *reader = tar_reader_new((struct reader){ source_read, &source }, writer_to_str(&seen));
    const struct tar_entry *entry;
    int r;
    for (unsigned i = 0; (r = tar_reader_next(reader, &entry)) > 0; i++) {
        const void *at;
        ssize_t n;
        check_entry(entry);
        while (i % 3 != 0 &&
               (n = tar_reader_data(reader, &at)) > 0) // the rest is skipped, which gives it to raw
            str_append_n(&seen, at, (size_t)n);
    }
    if (r < 0 && !tar_reader_problem(reader))
        abort(); // neither side fails by itself
    if (r == 0 && (seen.len != size || memcmp(seen.ptr, tar, size) != 0))
        abort();
    return 0;
}
