// Theory of operation. Files of one size, a block at least, are candidates. Of these, those with the very same extents share
// already and stand together; one of each such family is hashed; families with equal contents become one, member by member, by
// FIDEDUPERANGE, in which the kernel compares byte by byte itself: the hash only says what is worth the try.
#include "store/dedup.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/sha256.h"
#include "kernel/extents.h"
#include "store/layer.h"
#include "store/meta.h"
#include "store/store_internal.h"
#include "store/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { SIZE_MIN = 4096, AT_ONCE = 16 << 20, BUFFER = 128 * 1024, DEPTH_MAX = 512 };

struct candidate {
    uint64_t size, inode, blocks;
    char *path; // below the layer's fs
    uint32_t layer;
    char *extents, *contents; // hashes in hex; NULL: not known
};

struct dedup_layer {
    char diff_id[DIGEST_LEN + 1];
    int fd; // of its fs
    bool is_new, is_touched;
};

struct dedup {
    struct store *store;
    struct dedup_layer *layers;
    size_t layer_count;
    struct candidate *list;
    size_t count, room;
    bool is_dry;
    char *buffer;
    struct dedup_result *result;
    struct error *err;
};

// --- what there is
static int add_layer(void *context, const char *key, const json_t *document)
{
    struct dedup *d = context;
    char *path CLEANUP(cleanup_free) = digest_is_valid(key) ? layer_relative_path(key) : NULL;
    int fd = path ? openat(d->store->layers_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return 0;
    d->layers = xreallocarray(d->layers, d->layer_count + 1, sizeof *d->layers);
    struct dedup_layer *layer = &d->layers[d->layer_count++];
    *layer = (struct dedup_layer){ .fd = fd, .is_new = !json_get_bool(document, "isDeduped", false) };
    memcpy(layer->diff_id, key, DIGEST_LEN + 1);
    return 0;
}

static void add_file(struct dedup *d, uint32_t layer, const char *path, const struct stat *st)
{
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 1024;
        d->list = xreallocarray(d->list, d->room, sizeof *d->list);
    }
    d->list[d->count++] = (struct candidate){ .size = (uint64_t)st->st_size,
                                              .inode = st->st_ino,
                                              .blocks = (uint64_t)st->st_blocks,
                                              .path = xstrdup(path),
                                              .layer = layer };
}

static void add_directory(struct dedup *d, uint32_t layer, int parent, const char *name, struct str *path,
                          unsigned depth)
{
    DIR *dir = depth < DEPTH_MAX ? dir_open_at(parent, name) : NULL;
    for (struct dirent *e; dir && (e = dir_next(dir));) {
        struct stat st;
        size_t n = path->len;
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        str_appendf(path, "%s%s", n ? "/" : "", e->d_name);
        if (S_ISDIR(st.st_mode))
            add_directory(d, layer, dirfd(dir), e->d_name, path, depth + 1);
        else if (S_ISREG(st.st_mode) && st.st_size >= SIZE_MIN && st.st_blocks > 0)
            add_file(d, layer, path->ptr, &st);
        path->len = n;
        path->ptr[n] = 0;
    }
    if (dir)
        closedir(dir);
}

static int by_size(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int by_extents(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int r = strcmp(x->extents, y->extents);
    return r ? r : x->inode < y->inode ? -1 : x->inode > y->inode;
}

// --- one file
static int open_file(const struct dedup *d, const struct candidate *c)
{
    return open_beneath(d->layers[c->layer].fd, c->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

static char *final_hex(struct sha256 *hash)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_final_hex(hash, hex);
    return xstrdup(hex);
}

// The places of its contents on disk, as a hash; two files without any in common have different ones.
static void note_extents(const struct dedup *d, struct candidate *c)
{
    struct extents extents = { 0 };
    int fd CLEANUP(cleanup_close) = d->result->can_share ? open_file(d, c) : FD_NONE;
    if (fd >= 0)
        extents_add_file(&extents, fd, 0);
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    for (size_t i = 0; i < extents.count; i++)
        sha256_update(hash, &extents.list[i], sizeof extents.list[i]);
    if (extents.count == 0)
        sha256_update(hash, &c->inode, sizeof c->inode);
    c->extents = final_hex(hash);
    extents_done(&extents);
}

static int note_contents(struct dedup *d, struct candidate *c)
{
    int fd CLEANUP(cleanup_close) = open_file(d, c);
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    ssize_t n;
    if (fd < 0)
        return fd;
    while ((n = fd_read_full(fd, d->buffer, BUFFER)) > 0)
        sha256_update(hash, d->buffer, (size_t)n);
    if (n < 0)
        return (int)n;
    c->contents = final_hex(hash);
    return 0;
}

// 1: `to` has the blocks of `from` now; 0: they differ; -errno.
static int share(struct dedup *d, const struct candidate *from, const struct candidate *to)
{
    int source CLEANUP(cleanup_close) = open_file(d, from), target CLEANUP(cleanup_close) = open_file(d, to);
    union {
        struct file_dedupe_range head; // with its one target behind it
        char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
    } ask = { .room = { 0 } };
    struct file_dedupe_range_info *info = &ask.head.info[0];
    ask.head.dest_count = 1;
    info->dest_fd = target;
    if (source < 0 || target < 0)
        return source < 0 ? source : target;
    for (uint64_t at = 0; at < from->size; at += info->bytes_deduped) {
        ask.head.src_offset = info->dest_offset = at;
        ask.head.src_length = from->size - at < AT_ONCE ? from->size - at : AT_ONCE;
        info->bytes_deduped = 0;
        info->status = 0;
        if (ioctl(source, FIDEDUPERANGE, &ask) < 0)
            return -errno;
        if (info->status < 0)
            return info->status;
        if (info->status == FILE_DEDUPE_RANGE_DIFFERS || info->bytes_deduped == 0)
            return 0;
    }
    return 1;
}

// --- families: list[from .. to) have the same extents
struct family {
    struct candidate *members;
    size_t count;
};

static int unite(struct dedup *d, struct family *into, struct family *other)
{
    for (size_t i = 0; i < other->count; i++) {
        int r = d->is_dry ? 1 : share(d, &into->members[0], &other->members[i]);
        if (r == -EOPNOTSUPP || r == -ENOTTY || r == -EINVAL)
            return error_set(
                d->err, ERROR_UNSUPPORTED,
                "the file system below %s (%s) was made without reflink: its files cannot share blocks",
                d->store->root, d->result->file_system);
        if (r < 0)
            log_debug("share %s: %s", other->members[i].path, strerrordesc_np(-r));
        if (r <= 0)
            return 0;
        d->result->files++;
        d->layers[other->members[i].layer].is_touched = d->layers[into->members[0].layer].is_touched = true;
    }
    d->result->saved_bytes += other->members[0].blocks * 512; // the last of them has left its former blocks
    return 0;
}

static int unite_families(struct dedup *d, struct family *families, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (note_contents(d, &families[i].members[0]) < 0)
            log_debug("read %s: left out", families[i].members[0].path);
    for (size_t i = 1; i < count; i++)
        for (size_t k = 0; k < i; k++) {
            const char *contents = families[i].members[0].contents;
            if (!contents || !streq(contents, families[k].members[0].contents))
                continue;
            if (unite(d, &families[k], &families[i]) < 0)
                return -1;
            free_and_strdup(&families[i].members[0].contents, NULL); // no longer a family of its own
            break;
        }
    return 0;
}

// Files of one size.
static int look_at_group(struct dedup *d, struct candidate *list, size_t count)
{
    bool has_new = false;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        has_new |= d->layers[list[i].layer].is_new;
    if (count < 2 || !has_new)
        return 0;
    for (size_t i = 0; i < count; i++)
        note_extents(d, &list[i]);
    qsort(list, count, sizeof *list, by_extents);
    struct family *families CLEANUP(cleanup_free) = xcalloc(count, sizeof *families);
    for (size_t i = 0; i < count; i++) {
        if (n == 0 || !streq(families[n - 1].members[0].extents, list[i].extents))
            families[n++] = (struct family){ &list[i], 0 };
        families[n - 1].count++;
    }
    return n < 2 ? 0 : unite_families(d, families, n);
}

static int look_at_all(struct dedup *d)
{
    struct str path CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; i < d->layer_count; i++)
        add_directory(d, (uint32_t)i, d->layers[i].fd, ".", &path, 0);
    if (d->count)
        qsort(d->list, d->count, sizeof *d->list, by_size);
    size_t n = 0; // names of one inode stand beside each other: one of them counts
    for (size_t i = 0; i < d->count; i++) {
        if (n && d->list[n - 1].inode == d->list[i].inode)
            free(d->list[i].path);
        else
            d->list[n++] = d->list[i];
    }
    d->count = n;
    for (size_t i = 0, end; i < d->count; i = end) {
        for (end = i + 1; end < d->count && d->list[end].size == d->list[i].size; end++)
            ;
        if (look_at_group(d, &d->list[i], end - i) < 0)
            return -1;
    }
    return 0;
}

// --- all of it
static const char *file_system_name(int fd)
{
    static const struct {
        long type;
        const char *name;
    } known[] = { { 0xef53, "ext4" },          { 0x58465342, "xfs" },
                  { 0x9123683e, "btrfs" },     { 0x01021994, "tmpfs" },
                  { 0x794c7630, "overlayfs" }, { 0xf2f52010, "f2fs" },
                  { 0x2fc12fc1, "zfs" },       { 0x6969, "nfs" } };
    struct statfs fs;
    for (size_t i = 0; fstatfs(fd, &fs) == 0 && i < sizeof known / sizeof *known; i++)
        if (fs.f_type == known[i].type)
            return known[i].name;
    return "of another kind";
}

static int record_results(struct dedup *d)
{
    for (size_t i = 0; i < d->layer_count; i++)
        if (layer_mark_deduped(d->store, d->layers[i].diff_id, d->layers[i].is_touched, d->err) < 0)
            return -1;
    return 0;
}

static void dedup_done(struct dedup *d)
{
    for (size_t i = 0; i < d->layer_count; i++)
        fd_close(d->layers[i].fd);
    for (size_t i = 0; i < d->count; i++) {
        free(d->list[i].path);
        free(d->list[i].extents);
        free(d->list[i].contents);
    }
    free(d->layers);
    free(d->list);
    free(d->buffer);
}

int store_dedup(struct store *store, bool is_dry, struct dedup_result *ret, struct error *err)
{
    *ret = (struct dedup_result){ .file_system = file_system_name(store->root_fd),
                                  .can_share = extents_can_share(store->root_fd) };
    if (!ret->can_share && !is_dry)
        return error_set(err, ERROR_UNSUPPORTED,
                         "the file system below %s (%s) cannot share blocks between files: xfs and btrfs can",
                         store->root, ret->file_system);
    struct dedup d CLEANUP(dedup_done) = {
        .store = store, .is_dry = is_dry, .buffer = xmalloc(BUFFER), .result = ret, .err = err
    };
    if (meta_each(store, META_LAYERS, add_layer, &d, err) < 0 || look_at_all(&d) < 0)
        return -1;
    return is_dry ? 0 : record_results(&d);
}
