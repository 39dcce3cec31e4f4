// Theory of operation. A layer never changes, so its blocks are counted once and kept in its record ("disk"). Only deduplication
// makes layers share blocks; it marks them ("isShared"), and what marked layers have is counted stretch by stretch of the disk.
#include "store/usage.h"

#include "base/fd.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/extents.h"
#include "kernel/tree_size.h"
#include "store/content.h"
#include "store/layer.h"
#include "store/meta.h"
#include "store/store_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct measured { // one layer
    char diff_id[DIGEST_LEN + 1];
    uint64_t bytes; // that are in no extent of the table
    size_t *groups; // those that have it, each once
    size_t group_count;
};

struct usage {
    struct store *store;
    struct usage_group *groups;
    size_t group_count;
    struct measured *layers;
    size_t layer_count;
    struct map by_id; // diff id -> index + 1
    struct extents extents;
    struct usage_total *total;
    bool *is_hit; // by group; of the stretch that is being counted
};

static int open_layer(struct store *store, const char *diff_id)
{
    return openat(store->layers_fd, digest_hex(diff_id), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

// The record is changed only while it is there: a layer that is being removed does not come back.
static int change_record(struct store *store, const char *diff_id, void (*change)(json_t *record, uint64_t n),
                         uint64_t n, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    pthread_mutex_lock(&store->layer_lock);
    int r = meta_get(store, META_LAYERS, diff_id, &record, err);
    if (r == 0) {
        change(record, n);
        r = meta_put(store, META_LAYERS, diff_id, record, err);
    }
    pthread_mutex_unlock(&store->layer_lock);
    return r;
}

static void set_disk(json_t *record, uint64_t bytes)
{
    json_set_int(record, "disk", (int64_t)bytes);
}

static void set_deduped(json_t *record, uint64_t is_shared)
{
    json_set_bool(record, "isDeduped", true);
    if (is_shared)
        json_set_bool(record, "isShared", true);
}

int layer_mark_deduped(struct store *store, const char *diff_id, bool is_shared, struct error *err)
{
    return change_record(store, diff_id, set_deduped, is_shared, err);
}

static int measure(struct usage *u, struct measured *layer, struct error *err)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    if (meta_get(u->store, META_LAYERS, layer->diff_id, &record, err) < 0)
        return err->kind == ERROR_NOT_FOUND ? 0 : -1;
    bool is_shared = json_get_bool(record, "isShared", false);
    int64_t known = json_get_int(record, "disk", -1);
    if (known >= 0 && !is_shared) {
        layer->bytes = (uint64_t)known;
        return 0;
    }
    int fd CLEANUP(cleanup_close) = open_layer(u->store, layer->diff_id);
    if (fd < 0)
        return 0;
    if (is_shared) {
        extents_add_tree(&u->extents, fd, (uint32_t)(layer - u->layers), &layer->bytes);
        return 0;
    }
    layer->bytes = tree_disk_bytes(fd);
    struct error ignored; // it is measured again then
    (void)change_record(u->store, layer->diff_id, set_disk, layer->bytes, &ignored);
    return 0;
}

static struct measured *enter_layer(struct usage *u, const char *diff_id)
{
    size_t index = (size_t)(uintptr_t)map_get(&u->by_id, diff_id);
    if (index)
        return &u->layers[index - 1];
    u->layers = xreallocarray(u->layers, u->layer_count + 1, sizeof *u->layers);
    struct measured *layer = &u->layers[u->layer_count++];
    *layer = (struct measured){ 0 };
    memcpy(layer->diff_id, diff_id, DIGEST_LEN + 1);
    map_put(&u->by_id, diff_id, (void *)(uintptr_t)u->layer_count);
    return layer;
}

static void enter_groups(struct usage *u)
{
    for (size_t g = 0; g < u->group_count; g++) {
        char *const *ids = u->groups[g].diff_ids;
        u->groups[g].bytes = u->groups[g].shared_bytes = 0;
        for (size_t i = 0; ids && ids[i]; i++) {
            if (!digest_is_valid(ids[i]))
                continue;
            struct measured *layer = enter_layer(u, ids[i]);
            if (layer->group_count && layer->groups[layer->group_count - 1] == g)
                continue; // an image may have a layer twice
            layer->groups = xreallocarray(layer->groups, layer->group_count + 1, sizeof *layer->groups);
            layer->groups[layer->group_count++] = g;
        }
    }
}

// Bytes that all groups marked in is_hit have; the marks are taken back.
static void count_bytes(struct usage *u, uint64_t bytes)
{
    size_t hits = 0;
    bool is_held = false;
    for (size_t g = 0; g < u->group_count; g++) {
        hits += u->is_hit[g];
        is_held |= u->is_hit[g] && u->groups[g].is_held;
    }
    for (size_t g = 0; g < u->group_count; g++) {
        if (u->is_hit[g]) {
            u->groups[g].bytes += bytes;
            u->groups[g].shared_bytes += hits > 1 ? bytes : 0;
        }
        u->is_hit[g] = false;
    }
    u->total->bytes += bytes;
    u->total->reclaimable_bytes += is_held ? 0 : bytes;
}

static void hit_groups(struct usage *u, const struct measured *layer)
{
    for (size_t i = 0; i < layer->group_count; i++)
        u->is_hit[layer->groups[i]] = true;
}

static void count_stretch(void *context, uint64_t length, const uint32_t *owners, size_t count)
{
    struct usage *u = context;
    for (size_t i = 0; i < count; i++)
        hit_groups(u, &u->layers[owners[i]]);
    count_bytes(u, length);
}

static void count_documents(struct usage *u)
{
    struct map counted CLEANUP(map_done) = MAP_INIT;
    for (size_t g = 0; g < u->group_count; g++)
        for (size_t i = 0; u->groups[g].digests && u->groups[g].digests[i]; i++) {
            if (map_put(&counted, u->groups[g].digests[i], u))
                continue;
            for (size_t other = g; other < u->group_count; other++)
                u->is_hit[other] = strv_contains(u->groups[other].digests, u->groups[g].digests[i]);
            count_bytes(u, content_disk_bytes(u->store, u->groups[g].digests[i]));
        }
}

static void usage_done(struct usage *u)
{
    for (size_t i = 0; i < u->layer_count; i++)
        free(u->layers[i].groups);
    free(u->layers);
    free(u->is_hit);
    map_done(&u->by_id);
    extents_done(&u->extents);
}

int store_usage(struct store *store, struct usage_group *groups, size_t count, struct usage_total *ret,
                struct error *err)
{
    struct usage u CLEANUP(usage_done) = { .store = store,
                                           .groups = groups,
                                           .group_count = count,
                                           .by_id = MAP_INIT,
                                           .total = ret,
                                           .is_hit = xcalloc(count + 1, sizeof(bool)) };
    *ret = (struct usage_total){ 0 };
    enter_groups(&u);
    for (size_t i = 0; i < u.layer_count; i++)
        if (measure(&u, &u.layers[i], err) < 0)
            return -1;
    for (size_t i = 0; i < u.layer_count; i++) {
        hit_groups(&u, &u.layers[i]);
        count_bytes(&u, u.layers[i].bytes);
    }
    extents_each(&u.extents, count_stretch, &u);
    count_documents(&u);
    return 0;
}

// --- what a removal brings
enum { OWNER_DOOMED, OWNER_STAYS };

struct remaining {
    struct store *store;
    struct extents extents;
    uint64_t freed;
};

static int add_shared_layer(void *context, const char *key, const json_t *document)
{
    struct remaining *r = context;
    uint64_t ignored;
    if (!json_get_bool(document, "isShared", false) || !digest_is_valid(key))
        return 0;
    int fd CLEANUP(cleanup_close) = open_layer(r->store, key);
    if (fd >= 0)
        extents_add_tree(&r->extents, fd, OWNER_STAYS, &ignored);
    return 0;
}

static void count_doomed(void *context, uint64_t length, const uint32_t *owners, size_t count)
{
    struct remaining *r = context;
    r->freed += count == 1 && owners[0] == OWNER_DOOMED ? length : 0;
}

uint64_t store_doomed_bytes(struct store *store, char *const *doomed)
{
    struct remaining r = { .store = store };
    struct error ignored;
    bool can_share = extents_can_share(store->root_fd);
    for (size_t i = 0; doomed && doomed[i]; i++) {
        uint64_t bytes = 0;
        int fd CLEANUP(cleanup_close) =
            openat(store->tmp_fd, doomed[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && can_share)
            extents_add_tree(&r.extents, fd, OWNER_DOOMED, &bytes);
        else if (fd >= 0)
            bytes = tree_disk_bytes(fd);
        r.freed += bytes;
    }
    if (r.extents.count)
        (void)meta_each(store, META_LAYERS, add_shared_layer, &r, &ignored);
    extents_each(&r.extents, count_doomed, &r);
    extents_done(&r.extents);
    return r.freed;
}

uint64_t content_disk_bytes(struct store *store, const char *digest)
{
    struct stat st;
    return digest_is_valid(digest) && fstatat(store->blobs_fd, digest_hex(digest), &st, 0) == 0
               ? (uint64_t)st.st_blocks * 512
               : 0;
}
