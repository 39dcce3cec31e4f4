// GET /system/df: what is on disk, gathered.
#include "api/container_document.h"
#include "api/disk_usage.h"
#include "api/image_document.h"
#include "api/layer_sharing.h"
#include "api/volume_document.h"
#include "base/mem.h"
#include "http/http.h"
#include "store/usage.h"

static int parse_types(const struct request *request, unsigned *ret, struct error *err)
{
    static const struct {
        const char *name;
        unsigned bit;
    } types[] = { { "container", DISK_CONTAINERS },
                  { "image", DISK_IMAGES },
                  { "volume", DISK_VOLUMES },
                  { "build-cache", DISK_BUILD_CACHE } };
    CLEANUP(strv_freep) char **wanted = http_query_get_all(request->query, "type");
    unsigned bits = 0;
    for (size_t i = 0; request->version >= 142 && wanted && wanted[i]; i++) {
        unsigned bit = 0;
        for (size_t k = 0; k < sizeof types / sizeof *types; k++)
            bit |= streq(types[k].name, wanted[i]) ? types[k].bit : 0;
        if (!bit)
            return error_set(err, ERROR_INVALID, "unknown object type: %s", wanted[i]);
        bits |= bit;
    }
    *ret = bits ? bits : DISK_ALL;
    return 0;
}

// --- images: a layer is kept once, so what several images have is shared by them. What is counted is blocks on disk.
struct image_usage {
    struct image **images;
    struct container_info **containers;
    struct usage_group *groups;
    size_t count;
    struct usage_total total;
};

static void image_usage_done(struct image_usage *u)
{
    for (size_t i = 0; u->groups && i < u->count; i++)
        strv_free((char **)(uintptr_t)u->groups[i].digests);
    free(u->groups);
    container_list_free(u->containers);
    image_list_free(u->images);
}

static int64_t count_containers(struct container_info **containers, const char *image_id)
{
    int64_t count = 0;
    for (size_t i = 0; containers[i]; i++)
        count += streq(containers[i]->image_id, image_id);
    return count;
}

static int measure_images(const struct request *request, struct image_usage *u, struct error *err)
{
    if (image_list(request->engine->images, &u->images, err) < 0)
        return -1;
    u->containers = container_list(request->engine->containers, true);
    while (u->images[u->count])
        u->count++;
    u->groups = xcalloc(u->count + 1, sizeof *u->groups);
    for (size_t i = 0; i < u->count; i++) {
        const struct image *image = u->images[i];
        char **digests = NULL;
        strv_push(&digests, image->id);
        if (image->manifest_digest)
            strv_push(&digests, image->manifest_digest);
        u->groups[i] = (struct usage_group){ .diff_ids = image->diff_ids,
                                             .digests = digests,
                                             .is_held = count_containers(u->containers, image->id) > 0 };
    }
    return store_usage(request->engine->store, u->groups, u->count, &u->total, err);
}

static int gather_images(const struct request *request, struct disk_usage *usage, struct error *err)
{
    CLEANUP(image_usage_done) struct image_usage u = { 0 };
    if (measure_images(request, &u, err) < 0)
        return -1;
    usage->layers_bytes = (int64_t)u.total.bytes;
    usage->reclaimable_bytes = (int64_t)u.total.reclaimable_bytes;
    usage->images = json_array();
    for (size_t i = 0; i < u.count; i++) {
        json_t *document =
            image_summary_document(request, u.images[i], count_containers(u.containers, u.images[i]->id));
        json_set_int(document, "Size", (int64_t)u.groups[i].bytes);
        if (json_object_get(document, "VirtualSize"))
            json_set_int(document, "VirtualSize", (int64_t)u.groups[i].bytes);
        json_set_int(document, "SharedSize", (int64_t)u.groups[i].shared_bytes);
        json_array_append_new(usage->images, document);
    }
    return 0;
}

static json_t *gather_volumes(const struct request *request)
{
    json_t *documents = json_array();
    struct volume_info **volumes = volume_list(request->engine->volumes);
    for (size_t i = 0; volumes[i]; i++) {
        uint64_t bytes;
        struct error gone = { 0 };
        if (volume_size(request->engine->volumes, volumes[i]->name, &bytes, &gone) < 0)
            continue; // removed meanwhile
        json_t *usage = json_object();
        json_set_int(usage, "RefCount", (json_int_t)strv_len(volumes[i]->holders));
        json_set_int(usage, "Size", (json_int_t)bytes);
        json_t *document = volume_document(volumes[i]);
        json_object_set_new(document, "UsageData", usage);
        json_array_append_new(documents, document);
    }
    volume_list_free(volumes);
    return documents;
}

int api_system_df(struct request *request, struct error *err)
{
    CLEANUP(disk_usage_done) struct disk_usage usage = { 0 };
    unsigned types = 0;
    if (parse_types(request, &types, err) < 0)
        return -1;
    if (types & DISK_IMAGES && gather_images(request, &usage, err) < 0)
        return -1;
    if (types & DISK_CONTAINERS)
        usage.containers = container_summaries(request);
    if (types & DISK_VOLUMES)
        usage.volumes = gather_volumes(request);
    if (types & DISK_BUILD_CACHE)
        usage.build_cache = json_array(); // there is none before there are builds
    bool is_verbose = request_flag(request, "verbose", false);
    return respond_json(request, 200, disk_usage_document(&usage, request->version, is_verbose));
}
