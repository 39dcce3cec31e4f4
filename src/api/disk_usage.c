#include "api/disk_usage.h"

#include "base/str.h"
#include "codec/json.h"

void disk_usage_done(struct disk_usage *usage)
{
    json_t *arrays[] = { usage->images, usage->containers, usage->volumes, usage->build_cache };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        json_decref(arrays[i]);
    *usage = (struct disk_usage){ 0 };
}

struct sums {
    int64_t active, total, bytes, reclaimable;
};

static struct sums images_sums(const struct disk_usage *usage)
{
    struct sums sums = { .total = (int64_t)json_array_size(usage->images),
                         .bytes = usage->layers_bytes,
                         .reclaimable = usage->reclaimable_bytes };
    size_t i;
    json_t *image;
    json_array_foreach(usage->images, i, image) sums.active += json_get_int(image, "Containers", 0) > 0;
    return sums;
}

static struct sums containers_sums(const json_t *containers)
{
    struct sums sums = { .total = (int64_t)json_array_size(containers) };
    size_t i;
    json_t *container;
    json_array_foreach(containers, i, container)
    {
        const char *state = json_get_string(container, "State", "");
        int64_t bytes = json_get_int(container, "SizeRw", 0);
        bool is_active = streq(state, "running") || streq(state, "paused") || streq(state, "restarting");
        sums.active += is_active;
        sums.bytes += bytes;
        sums.reclaimable += is_active ? 0 : bytes;
    }
    return sums;
}

static struct sums volumes_sums(const json_t *volumes)
{
    struct sums sums = { .total = (int64_t)json_array_size(volumes) };
    size_t i;
    json_t *volume;
    json_array_foreach(volumes, i, volume)
    {
        const json_t *data = json_get_object(volume, "UsageData");
        int64_t bytes = json_get_int(data, "Size", -1), references = json_get_int(data, "RefCount", 0);
        sums.active += references > 0;
        sums.bytes += bytes > 0 ? bytes : 0;
        sums.reclaimable += references == 0 && bytes > 0 ? bytes : 0;
    }
    return sums;
}

static struct sums build_cache_sums(const json_t *records)
{
    struct sums sums = { .total = (int64_t)json_array_size(records) };
    size_t i;
    json_t *record;
    json_array_foreach(records, i, record)
    {
        int64_t bytes = json_get_int(record, "Size", 0);
        bool is_in_use = json_get_bool(record, "InUse", false),
             is_shared = json_get_bool(record, "Shared", false);
        sums.active += is_in_use;
        sums.bytes += is_shared ? 0 : bytes;
        sums.reclaimable += is_in_use || is_shared ? 0 : bytes;
    }
    return sums;
}

static void add_sums(json_t *document, const char *key, json_t *items, struct sums sums, bool is_verbose)
{
    if (!items)
        return;
    json_t *object = json_object();
    json_set_int(object, "ActiveCount", sums.active);
    json_set_int(object, "TotalCount", sums.total);
    json_set_int(object, "Reclaimable", sums.reclaimable);
    json_set_int(object, "TotalSize", sums.bytes);
    if (is_verbose)
        json_object_set(object, "Items", items);
    json_object_set_new(document, key, object);
}

static json_t *lists_document(const struct disk_usage *usage, int version)
{
    json_t *document = json_object();
    const struct {
        const char *key;
        json_t *items;
    } lists[] = { { "Images", usage->images },
                  { "Containers", usage->containers },
                  { "Volumes", usage->volumes },
                  { "BuildCache", usage->build_cache } };
    json_set_int(document, "LayersSize", usage->layers_bytes);
    if (usage->images) // skiff's own: clients of Docker's guess it from the list
        json_set_int(document, "LayersReclaimable", usage->reclaimable_bytes);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        json_object_set(document, lists[i].key, lists[i].items ? lists[i].items : json_null());
    if (version < 142)
        json_set_int(document, "BuilderSize", build_cache_sums(usage->build_cache).bytes);
    return document;
}

json_t *disk_usage_document(const struct disk_usage *usage, int version, bool is_verbose)
{
    if (version < 152)
        return lists_document(usage, version);
    json_t *document = json_object();
    add_sums(document, "ImageUsage", usage->images, images_sums(usage), is_verbose);
    add_sums(document, "ContainerUsage", usage->containers, containers_sums(usage->containers), is_verbose);
    add_sums(document, "VolumeUsage", usage->volumes, volumes_sums(usage->volumes), is_verbose);
    add_sums(document, "BuildCacheUsage", usage->build_cache, build_cache_sums(usage->build_cache),
             is_verbose);
    return document;
}
