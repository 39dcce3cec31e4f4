// GET /system/df: what is on disk, gathered.
#include "api/container_document.h"
#include "api/disk_usage.h"
#include "api/image_document.h"
#include "api/layer_sharing.h"
#include "api/volume_document.h"
#include "base/mem.h"
#include "http/http.h"

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

static int64_t count_containers(struct container_info **containers, const char *image_id)
{
    int64_t count = 0;
    for (size_t i = 0; containers[i]; i++)
        count += streq(containers[i]->image_id, image_id);
    return count;
}

static int gather_images(const struct request *request, struct disk_usage *usage, struct error *err)
{
    CLEANUP(layer_sharing_done) struct layer_sharing sharing = { .layers = MAP_INIT };
    struct image **images = NULL;
    if (image_list(request->engine->images, &images, err) < 0)
        return -1;
    struct container_info **containers = container_list(request->engine->containers, true);
    layer_sharing_count(request->engine->store, images, &sharing);
    usage->layers_bytes = sharing.total_bytes;
    usage->images = json_array();
    for (size_t i = 0; images[i]; i++) {
        json_t *document =
            image_summary_document(request, images[i], count_containers(containers, images[i]->id));
        json_set_int(document, "SharedSize", layer_sharing_bytes(&sharing, images[i]));
        json_array_append_new(usage->images, document);
    }
    container_list_free(containers);
    image_list_free(images);
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
