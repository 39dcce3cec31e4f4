// The mounts of an update: volumes made and held before anything is mounted, and let go of when it is over.
#include "container/update.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

static bool is_same_bind(const struct bind_mount *a, const struct bind_mount *b)
{
    if (!streq(a->target, b->target))
        return false;
    CLEANUP(json_cleanup) json_t *left = mounts_document_of(a), *right = mounts_document_of(b);
    return json_equal(left, right);
}

struct bind_mount *update_binds_without(const struct container_config *a, const struct container_config *b,
                                        size_t *ret_count)
{
    struct bind_mount *rest = xcalloc(a->bind_count + 1, sizeof *rest);
    *ret_count = 0;
    for (size_t i = 0; i < a->bind_count; i++) {
        bool is_there = false;
        for (size_t k = 0; k < b->bind_count && !is_there; k++)
            is_there = is_same_bind(&a->binds[i], &b->binds[k]);
        if (!is_there)
            rest[(*ret_count)++] = a->binds[i];
    }
    return rest;
}

struct tmpfs_mount *update_tmpfs_without(const struct container_config *a, const struct container_config *b,
                                         size_t *ret_count)
{
    struct tmpfs_mount *rest = xcalloc(a->tmpfs_count + 1, sizeof *rest);
    *ret_count = 0;
    for (size_t i = 0; i < a->tmpfs_count; i++) {
        bool is_there = false;
        for (size_t k = 0; k < b->tmpfs_count && !is_there; k++)
            is_there = streq(a->tmpfs[i].target, b->tmpfs[k].target) &&
                       streq(a->tmpfs[i].options, b->tmpfs[k].options);
        if (!is_there)
            rest[(*ret_count)++] = a->tmpfs[i];
    }
    return rest;
}

bool update_has_volume(const struct container_config *config, const char *volume)
{
    for (size_t i = 0; i < config->bind_count; i++)
        if (config->binds[i].volume && streq(config->binds[i].volume, volume))
            return true;
    return false;
}

json_t *update_mounts_document(const struct container_config *config)
{
    json_t *document = json_array();
    for (size_t i = 0; i < config->bind_count; i++)
        json_array_append_new(document, mounts_document_of(&config->binds[i]));
    return document;
}

// What the container has and is not to lose; parsing gave HostConfig's alone.
static void keep_mounts(const struct container_config *now, const struct update_wish *wish,
                        struct container_config *fresh)
{
    for (size_t i = 0; i < fresh->bind_count; i++)
        bind_mount_done(&fresh->binds[i]);
    fresh->binds = xreallocarray(fresh->binds, now->bind_count + wish->added_count + 1, sizeof *fresh->binds);
    fresh->bind_count = 0;
    for (size_t i = 0; i < now->bind_count; i++)
        if (!strv_contains(wish->removed_targets, now->binds[i].target))
            fresh->binds[fresh->bind_count++] = bind_mount_copy(&now->binds[i]);
}

static bool is_volume_known(struct container *c, const char *name)
{
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    struct error ignored;
    return name && volume_get(c->service->options.volumes, name, &info, &ignored) == 0;
}

int update_mounts_resolve(struct container *c, struct update_wish *wish, struct container_config *fresh,
                          struct error *err)
{
    keep_mounts(&c->config, wish, fresh);
    for (size_t i = 0; i < wish->added_count; i++) {
        struct bind_mount *b = &fresh->binds[fresh->bind_count];
        *b = bind_mount_copy(&wish->added[i]);
        bool is_new = b->is_volume && !is_volume_known(c, b->volume);
        fresh->bind_count++;
        int r = mounts_prepare(c, b, 1, err);
        if (is_new && b->volume)
            strv_push(&wish->made_volumes, b->volume);
        if (r < 0)
            return -1;
    }
    return 0;
}

void update_mounts_settle(struct container *c, const struct container_config *from,
                          const struct container_config *to, const struct update_wish *wish, bool is_failed)
{
    struct volume_service *volumes = c->service->options.volumes;
    struct error ignored;
    size_t count;
    CLEANUP(cleanup_free) struct bind_mount *gone = update_binds_without(from, to, &count);
    for (size_t i = 0; i < count; i++) {
        const char *volume = gone[i].volume;
        if (!volume || update_has_volume(to, volume))
            continue;
        volume_release(volumes, volume, c->id);
        if (is_failed && strv_contains(wish->made_volumes, volume))
            (void)volume_remove(volumes, volume, true, &ignored); // unless somebody has taken to it meanwhile
    }
}
