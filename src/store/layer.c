// Theory of operation. A layer is unpacked into tmp/<random>/{fs,split,extra}, synced once, renamed to layers/<hex>, and
// only then recorded; whatever fails before leaves a staging folder that is removed at once, or by the next start. The
// digest is taken from the very bytes that are applied, and compared before the rename.
#include "store/layer.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "codec/sha256.h"
#include "store/meta.h"
#include "store/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A reader that hashes what passes, up to a limit: headers and padding are stored too, so it is the tar's length that counts.
struct hashing {
    struct reader from;
    struct sha256 *hash;
    uint64_t bytes, max_bytes; // max_bytes 0: no limit
};

static bool is_too_long(const struct hashing *h)
{
    return h->max_bytes && h->bytes > h->max_bytes;
}

static ssize_t read_hashing(void *context, void *buffer, size_t n)
{
    struct hashing *h = context;
    ssize_t k = h->from.read(h->from.context, buffer, n);
    if (k > 0) {
        sha256_update(h->hash, buffer, (size_t)k);
        h->bytes += (uint64_t)k;
    }
    return is_too_long(h) ? -EFBIG : k;
}

void staging_remove(struct staging *s)
{
    s->fd = fd_close(s->fd);
    if (s->name)
        (void)dir_remove_all_at(s->store->tmp_fd, s->name);
    free(s->name);
    s->name = NULL;
}

int staging_make(struct store *store, struct staging *ret, struct error *err)
{
    char random[17];
    id_random_hex(random, 16);
    ret->store = store;
    ret->name = xasprintf("layer-%s", random);
    ret->fd = FD_NONE;
    if (mkdirat(store->tmp_fd, ret->name, 0711) < 0)
        return error_errno(err, errno, "make staging directory");
    ret->fd = openat(store->tmp_fd, ret->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (ret->fd < 0 || fchmod(ret->fd, 0711) < 0 || mkdirat(ret->fd, "fs", 0755) < 0 ||
        fchmodat(ret->fd, "fs", 0755, 0) < 0)
        return error_errno(err, errno, "make staging directory");
    return 0;
}

int layer_put_record(struct store *store, const struct layer_info *info, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = json_object();
    json_set_int(record, "size", (int64_t)info->size_bytes);
    json_set_int(record, "tarSize", (int64_t)info->tar_bytes);
    return meta_put(store, META_LAYERS, info->diff_id, record, err);
}

static int publish_locked(struct staging *s, const struct layer_info *info, struct error *err)
{
    struct store *store = s->store;
    if (layer_has(store, info->diff_id))
        return 0; // another one was quicker
    if (renameat(store->tmp_fd, s->name, store->layers_fd, digest_hex(info->diff_id)) < 0 ||
        fsync(store->layers_fd) < 0)
        return error_errno(err, errno, "move layer into place");
    free(s->name);
    s->name = NULL;
    return layer_put_record(store, info, err);
}

static int publish(struct staging *s, const struct layer_info *info, struct error *err)
{
    if (store_sync(s->store, err) < 0)
        return -1;
    pthread_mutex_lock(&s->store->layer_lock);
    int r = publish_locked(s, info, err);
    pthread_mutex_unlock(&s->store->layer_lock);
    return r;
}

static int check_digest(struct sha256 *hash, const char *expected, char ret[static DIGEST_LEN + 1],
                        struct error *err)
{
    char hex[SHA256_HEX_LEN + 1], digest[DIGEST_LEN + 1];
    sha256_final_hex(hash, hex);
    snprintf(digest, sizeof digest, "sha256:%s", hex);
    if (expected && !streq(expected, digest))
        return error_set(err, ERROR_INVALID, "layer digest mismatch: expected %s, got %s", expected, digest);
    memcpy(ret, digest, sizeof digest);
    return 0;
}

static int unpack_staged(struct staging *s, struct reader from, const struct layer_limits *limits,
                         struct layer_info *ret, struct error *err)
{
    struct split_writer *split CLEANUP(split_writer_freep) = NULL;
    int r = split_writer_new(s->fd, "split", &split);
    if (r < 0)
        return error_errno(err, r, "write layer");
    struct tar_reader *tar CLEANUP(tar_reader_freep) = tar_reader_new(from, split_raw(split));
    struct layer_tally tally;
    if (layer_apply(s->fd, tar, split, limits, &tally, err) < 0)
        return -1;
    r = split_finish(split);
    if (r < 0)
        return error_errno(err, r, "write layer");
    ret->size_bytes = tally.size_bytes;
    return 0;
}

static int read_to_end(struct reader from, struct error *err)
{
    char *buffer CLEANUP(cleanup_free) = xmalloc(1 << 17);
    ssize_t n;
    while ((n = from.read(from.context, buffer, 1 << 17)) > 0)
        ;
    return n < 0 ? error_errno(err, (int)n, "read layer") : 0;
}

static int unpack(struct store *store, struct decoder *decoder, const char *expected,
                  const struct layer_limits *limits, struct layer_info *ret, struct error *err)
{
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    struct hashing hashing = { .from = decoder_reader(decoder),
                               .hash = hash,
                               .max_bytes = limits ? limits->max_bytes : 0 };
    struct reader from = { read_hashing, &hashing };
    struct layer_info info = { 0 };
    if (expected && layer_has(store, expected)) {
        if (read_to_end(from, err) < 0 || check_digest(hash, expected, info.diff_id, err) < 0)
            return -1;
        return layer_get(store, expected, ret, err);
    }
    struct staging staging CLEANUP(staging_remove) = { .fd = FD_NONE };
    if (staging_make(store, &staging, err) < 0)
        return -1;
    if (unpack_staged(&staging, from, limits, &info, err) < 0)
        return is_too_long(&hashing)
                   ? error_set(err, ERROR_EXHAUSTED, "layer is larger than the limit of %llu bytes",
                               (unsigned long long)hashing.max_bytes)
                   : -1;
    if (check_digest(hash, expected, info.diff_id, err) < 0)
        return -1;
    info.tar_bytes = hashing.bytes;
    if (publish(&staging, &info, err) < 0)
        return -1;
    *ret = info;
    return 0;
}

int staging_fill(struct staging *s, struct reader stream, const char *expected,
                 const struct layer_limits *limits, struct layer_info *ret, struct error *err)
{
    struct decoder *decoder CLEANUP(decoder_freep) = NULL;
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    int r = decoder_new(stream, &decoder);
    if (r < 0)
        return error_errno(err, r, "read layer");
    struct hashing hashing = { decoder_reader(decoder), hash, 0 };
    if (unpack_staged(s, (struct reader){ read_hashing, &hashing }, limits, ret, err) < 0)
        return decoder_problem(decoder) ? error_set(err, ERROR_INVALID, "%s", decoder_problem(decoder)) : -1;
    ret->tar_bytes = hashing.bytes;
    return check_digest(hash, expected, ret->diff_id, err);
}

int layer_unpack(struct store *store, struct reader stream, const char *expected_diff_id,
                 const struct layer_limits *limits, struct layer_info *ret, struct error *err)
{
    struct decoder *decoder CLEANUP(decoder_freep) = NULL;
    if (expected_diff_id && !digest_is_valid(expected_diff_id))
        return error_set(err, ERROR_INVALID, "invalid digest \"%.100s\"", expected_diff_id);
    int r = decoder_new(stream, &decoder);
    if (r < 0)
        return error_errno(err, r, "read layer");
    if (unpack(store, decoder, expected_diff_id, limits, ret, err) == 0)
        return 0;
    if (decoder_problem(decoder)) // the cause behind whatever the layers above it said
        error_set(err, ERROR_INVALID, "%s", decoder_problem(decoder));
    return error_wrap(err, "failed to register layer");
}

bool layer_has(struct store *store, const char *diff_id)
{
    struct error ignored;
    struct layer_info info;
    return layer_get(store, diff_id, &info, &ignored) == 0;
}

int layer_get(struct store *store, const char *diff_id, struct layer_info *ret, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    if (!digest_is_valid(diff_id))
        return error_set(err, ERROR_INVALID, "invalid digest \"%.100s\"", diff_id);
    if (meta_get(store, META_LAYERS, diff_id, &record, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? error_set(err, ERROR_NOT_FOUND, "no such layer: %s", diff_id)
                                            : -1;
    memcpy(ret->diff_id, diff_id, DIGEST_LEN + 1);
    ret->size_bytes = (uint64_t)json_get_int(record, "size", 0);
    ret->tar_bytes = (uint64_t)json_get_int(record, "tarSize", 0);
    return 0;
}

// Hashes what is written, so that a damaged layer is noticed.
struct hashing_writer {
    struct writer to;
    struct sha256 *hash;
};

static int write_hashing(void *context, const void *bytes, size_t n)
{
    struct hashing_writer *h = context;
    sha256_update(h->hash, bytes, n);
    return h->to.write(h->to.context, bytes, n);
}

int layer_pack(struct store *store, const char *diff_id, struct writer to, struct error *err)
{
    struct layer_info info;
    char digest[DIGEST_LEN + 1];
    if (layer_get(store, diff_id, &info, err) < 0)
        return -1;
    int fd CLEANUP(cleanup_close) =
        openat(store->layers_fd, digest_hex(diff_id), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open layer %s", diff_id);
    struct sha256 *hash CLEANUP(sha256_freep) = sha256_new();
    struct hashing_writer hashing = { to, hash };
    if (split_replay(fd, (struct writer){ write_hashing, &hashing }, err) < 0)
        return error_wrap(err, "layer %s", diff_id);
    if (check_digest(hash, diff_id, digest, err) < 0)
        return error_set(err, ERROR_IO, "layer %s is damaged", diff_id);
    return 0;
}

// Out of sight in one step: into tmp/, which the next start empties.
int layer_retire_directory(struct store *store, const char *hex, char **ret_doomed, struct error *err)
{
    char random[17];
    id_random_hex(random, 16);
    char *doomed CLEANUP(cleanup_free) = xasprintf("doomed-%s", random);
    if (renameat(store->layers_fd, hex, store->tmp_fd, doomed) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove layer %s", hex);
    *ret_doomed = TAKE_PTR(doomed);
    return 0;
}

int layer_retire(struct store *store, const char *diff_id, char **ret_doomed, struct error *err)
{
    if (!digest_is_valid(diff_id))
        return error_set(err, ERROR_INVALID, "invalid digest \"%.100s\"", diff_id);
    pthread_mutex_lock(&store->layer_lock);
    int r = meta_delete(store, META_LAYERS, diff_id, err);
    if (r == 0)
        r = layer_retire_directory(store, digest_hex(diff_id), ret_doomed, err);
    pthread_mutex_unlock(&store->layer_lock);
    return r;
}

int layer_discard(struct store *store, char *doomed, struct error *err)
{
    int r = dir_remove_all_at(store->tmp_fd, doomed);
    if (r < 0)
        error_errno(err, r, "remove layer");
    free(doomed);
    return r;
}

int layer_delete(struct store *store, const char *diff_id, struct error *err)
{
    char *doomed;
    return layer_retire(store, diff_id, &doomed, err) < 0 ? -1 : layer_discard(store, doomed, err);
}

int layer_open(struct store *store, const char *diff_id, int *ret, struct error *err)
{
    struct layer_info info;
    if (layer_get(store, diff_id, &info, err) < 0)
        return -1;
    char *path CLEANUP(cleanup_free) = layer_relative_path(diff_id);
    *ret = openat(store->layers_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret < 0 ? error_errno(err, errno, "open layer %s", diff_id) : 0;
}

const char *layer_directory(struct store *store)
{
    return store->layer_dir;
}

char *layer_relative_path(const char *diff_id)
{
    return xasprintf("%s/fs", digest_hex(diff_id));
}

// --- recovery
struct recovery {
    struct map recorded; // hex -> itself, found on disk: removed from the map
};

static int note_layer(void *context, const char *key, const json_t *document)
{
    (void)document;
    struct recovery *recovery = context;
    if (digest_is_valid(key))
        map_put(&recovery->recorded, digest_hex(key), recovery);
    return 0;
}

static int remove_unrecorded(struct store *store, struct recovery *recovery, struct error *err)
{
    DIR *d = dir_open_at(store->layers_fd, ".");
    if (!d)
        return error_errno(err, errno, "read layers");
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || map_remove(&recovery->recorded, e->d_name))
            continue;
        log_debug("removing unrecorded layer %s", e->d_name);
        char *doomed;
        struct error ignored;
        if (layer_retire_directory(store, e->d_name, &doomed, &ignored) == 0)
            (void)layer_discard(store, doomed, &ignored);
    }
    closedir(d);
    return 0;
}

int layer_recover(struct store *store, struct error *err)
{
    struct recovery recovery = { MAP_INIT };
    int r = meta_each(store, META_LAYERS, note_layer, &recovery, err);
    if (r == 0)
        r = remove_unrecorded(store, &recovery, err);
    size_t at = 0;
    for (const struct map_entry *e; r == 0 && (e = map_next(&recovery.recorded, &at));) {
        char *diff_id CLEANUP(cleanup_free) = xasprintf("sha256:%s", e->key);
        log_debug("dropping record of missing layer %s", e->key);
        r = meta_delete(store, META_LAYERS, diff_id, err);
    }
    map_done(&recovery.recorded);
    return r;
}
