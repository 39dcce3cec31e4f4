// Tars made on the spot, and a store below /tmp, for the tests of store/ and image/.
#pragma once

#include "test.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/tar.h"
#include "store/layer.h"
#include "store/store.h"

#include <string.h>
#include <unistd.h>

struct memory {
    const char *bytes;
    size_t n, at, step; // step: at most this many bytes per read, 0: all
};

static inline ssize_t memory_read(void *context, void *buffer, size_t n)
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

static inline struct reader memory_reader(struct memory *m)
{
    return (struct reader){ memory_read, m };
}

// Append one entry. data may be NULL.
static inline void tar_add(struct str *tar, enum tar_type type, const char *path, const char *link,
                           const char *data)
{
    char *p = xstrdup(path), *l = xstrdup(link ? link : "");
    struct tar_entry e = { .type = type,
                           .path = p,
                           .link = l,
                           .mode = type == TAR_DIRECTORY ? 0755 : 0644,
                           .uid = 7,
                           .gid = 8,
                           .size = data ? strlen(data) : 0,
                           .mtime_ns = 1234567890123456789 };
    struct writer to = writer_to_str(tar);
    assert_int_equal(tar_write_header(to, &e), 0);
    if (data) {
        str_append(tar, data);
        tar_write_padding(to, e.size);
    }
    free(p);
    free(l);
}

static inline int unpack_text(struct store *store, const struct str *tar, const char *expected,
                              struct layer_info *info, struct error *err)
{
    struct memory m = { tar->ptr, tar->len, 0, 0 };
    return layer_unpack(store, memory_reader(&m), expected, NULL, info, err);
}

static inline void needs_root(void)
{
    if (geteuid() != 0)
        skip();
}
