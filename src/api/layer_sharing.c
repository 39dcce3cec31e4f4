#include "api/layer_sharing.h"

#include "base/mem.h"
#include "base/str.h"
#include "store/layer.h"

struct layer_use {
    uint64_t bytes;
    size_t images; // that have it
};

// Does the image have its k-th layer further down already?
static bool is_again(const struct image *image, size_t k)
{
    for (size_t i = 0; i < k; i++)
        if (streq(image->diff_ids[i], image->diff_ids[k]))
            return true;
    return false;
}

static struct layer_use *use_of(struct store *store, const char *diff_id, struct layer_sharing *sharing)
{
    struct layer_use *use = map_get(&sharing->layers, diff_id);
    struct layer_info layer = { 0 };
    struct error ignored;
    if (use)
        return use;
    (void)layer_get(store, diff_id, &layer, &ignored);
    use = NEW(struct layer_use);
    use->bytes = layer.size_bytes;
    sharing->total_bytes += (int64_t)use->bytes;
    map_put(&sharing->layers, diff_id, use);
    return use;
}

void layer_sharing_count(struct store *store, struct image *const *images, struct layer_sharing *ret)
{
    *ret = (struct layer_sharing){ .layers = MAP_INIT };
    for (size_t i = 0; images[i]; i++)
        for (size_t k = 0; images[i]->diff_ids && images[i]->diff_ids[k]; k++)
            use_of(store, images[i]->diff_ids[k], ret)->images += !is_again(images[i], k);
}

void layer_sharing_done(struct layer_sharing *sharing)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&sharing->layers, &at));)
        free(e->value);
    map_done(&sharing->layers);
}

int64_t layer_sharing_bytes(const struct layer_sharing *sharing, const struct image *image)
{
    int64_t shared = 0;
    for (size_t k = 0; image->diff_ids && image->diff_ids[k]; k++) {
        const struct layer_use *use = map_get(&sharing->layers, image->diff_ids[k]);
        shared += use && (use->images > 1 || is_again(image, k)) ? (int64_t)use->bytes : 0;
    }
    return shared;
}
