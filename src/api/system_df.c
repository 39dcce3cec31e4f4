// GET /system/df: what is on disk, gathered.
#include "api/container_document.h"
#include "api/disk_usage.h"
#include "api/image_document.h"
#include "api/volume_document.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/http.h"
#include "store/layer.h"

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

// --- images: a layer is kept once, so what several images have is shared by them.
struct layer_use {
    uint64_t bytes;
    size_t images;
};

static void layers_done(struct map *layers)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(layers, &at));)
        free(e->value);
    map_done(layers);
}

// Every layer of every image with its size; an image that has a layer twice counts once. The sum of all of them.
static int64_t count_layers(const struct request *request, struct image **images, struct map *layers)
{
    int64_t total = 0;
    for (size_t i = 0; images[i]; i++)
        for (size_t k = 0; images[i]->diff_ids && images[i]->diff_ids[k]; k++) {
            const char *id = images[i]->diff_ids[k];
            struct layer_use *use = map_get(layers, id);
            struct layer_info layer = { 0 };
            struct error ignored;
            bool is_again = false;
            for (size_t before = 0; before < k; before++)
                is_again |= streq(images[i]->diff_ids[before], id);
            if (!use) {
                (void)layer_get(request->engine->store, id, &layer, &ignored);
                use = NEW(struct layer_use);
                use->bytes = layer.size_bytes;
                total += (int64_t)use->bytes;
                map_put(layers, id, use);
            }
            use->images += !is_again;
        }
    return total;
}

static int64_t shared_bytes(const struct image *image, const struct map *layers)
{
    int64_t shared = 0;
    for (size_t k = 0; image->diff_ids && image->diff_ids[k]; k++) {
        const struct layer_use *use = map_get(layers, image->diff_ids[k]);
        shared += use && use->images > 1 ? (int64_t)use->bytes : 0;
    }
    return shared;
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
    CLEANUP(layers_done) struct map layers = MAP_INIT;
    struct image **images = NULL;
    if (image_list(request->engine->images, &images, err) < 0)
        return -1;
    struct container_info **containers = container_list(request->engine->containers, true);
    usage->layers_bytes = count_layers(request, images, &layers);
    usage->images = json_array();
    for (size_t i = 0; images[i]; i++) {
        json_t *document =
            image_summary_document(request, images[i], count_containers(containers, images[i]->id));
        json_set_int(document, "SharedSize", shared_bytes(images[i], &layers));
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
