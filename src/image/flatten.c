#include "image/flatten.h"

#include "archive/stream.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"
#include "image/image_internal.h"

#include <stdio.h>
#include <string.h>

struct range {
    size_t first, last; // indexes of layers, both included
};

// --- which layers
static int find_layer(const struct image *image, const char *text, size_t *ret, struct error *err)
{
    size_t n = strv_len(image->diff_ids), found = 0;
    uint32_t number;
    if (parse_u32(text, UINT32_MAX, &number) && number >= 1 && number <= n) {
        *ret = number - 1;
        return 0;
    }
    const char *hex = str_has_prefix(text, "sha256:") ? text + 7 : text;
    for (size_t i = 0; strlen(hex) >= 4 && i < n; i++)
        if (str_has_prefix(digest_hex(image->diff_ids[i]), hex)) {
            *ret = i;
            found++;
        }
    if (found == 1)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "%s layer %.100s: a number from 1 to %zu or a diff id of the image is wanted",
                     found ? "ambiguous" : "no such", text, n);
}

static int find_range(const struct image *image, const struct image_flatten *f, struct range *range,
                      struct error *err)
{
    size_t n = strv_len(image->diff_ids);
    if (n == 0)
        return error_set(err, ERROR_INVALID, "image %s has no layers", f->name);
    range->last = n - 1;
    if (!str_is_empty(f->from) && find_layer(image, f->from, &range->first, err) < 0)
        return -1;
    if (!str_is_empty(f->to) && find_layer(image, f->to, &range->last, err) < 0)
        return -1;
    if (range->first > range->last)
        return error_set(err, ERROR_INVALID, "layer %zu lies above layer %zu: nothing is between them",
                         range->first + 1, range->last + 1);
    return 0;
}

// "A..B", unless an image is called so.
static int open_image(struct image_service *images, const struct image_flatten *f, struct image **ret,
                      struct range *range, struct error *err)
{
    struct error whole;
    const char *dots = strstr(f->name, "..");
    if (image_get(images, f->name, ret, &whole) == 0)
        return find_range(*ret, f, range, err);
    if (!dots || dots == f->name || !dots[2]) {
        *err = whole;
        return -1;
    }
    if (!str_is_empty(f->from) || !str_is_empty(f->to))
        return error_set(err, ERROR_INVALID,
                         "A..B says already which layers: --from and --to cannot be given with it");
    CLEANUP(image_freep) struct image *base = NULL;
    char *name CLEANUP(cleanup_free) = xstrndup(f->name, (size_t)(dots - f->name));
    if (image_get(images, name, &base, err) < 0 || image_get(images, dots + 2, ret, err) < 0)
        return -1;
    size_t n = strv_len(base->diff_ids);
    for (size_t i = 0; i < n; i++)
        if (!(*ret)->diff_ids[i] || !streq(base->diff_ids[i], (*ret)->diff_ids[i]))
            return error_set(err, ERROR_INVALID,
                             "image %s is not made from image %s: their layer %zu differs", dots + 2, name,
                             i + 1);
    if (n == strv_len((*ret)->diff_ids))
        return error_set(err, ERROR_INVALID, "image %s has no layer on top of image %s", dots + 2, name);
    *range = (struct range){ n, strv_len((*ret)->diff_ids) - 1 };
    return 0;
}

// --- the layer
struct source {
    int *fds; // topmost first
    size_t count;
    bool is_lowest;
};

static void source_done(struct source *s)
{
    for (size_t i = 0; i < s->count; i++)
        fd_close(s->fds[i]);
    free(s->fds);
}

static int produce(void *context, struct writer to, struct error *err)
{
    const struct source *s = context;
    return archive_pack_layers(s->fds, s->count, s->is_lowest, to, err);
}

static int merge_layers(struct image_service *images, const struct image *image, struct range range,
                        struct layer_info *ret, struct error *err)
{
    struct source source CLEANUP(source_done) = { .fds = xcalloc(range.last - range.first + 1, sizeof(int)),
                                                  .is_lowest = range.first == 0 };
    CLEANUP(archive_stream_freep) struct archive_stream *stream = NULL;
    struct error cause;
    for (size_t i = range.last + 1; i-- > range.first; source.count++)
        if (layer_open(images->store, image->diff_ids[i], &source.fds[source.count], err) < 0)
            return -1;
    if (archive_stream_start(produce, &source, &stream, err) < 0)
        return -1;
    int r = layer_unpack(images->store, archive_stream_reader(stream), NULL, NULL, ret, err);
    if (r < 0 && archive_stream_end(stream, &cause) < 0)
        *err = cause;
    return r;
}

// --- the configuration

// The entries of merged layers stay, without a layer; after the last of them comes the new layer's own.
static json_t *merge_history(const json_t *history, struct range range, const char *created)
{
    json_t *merged = json_array();
    size_t layer = 0;
    for (size_t i = 0; i < json_array_size(history); i++) {
        json_t *entry = json_deep_copy(json_array_get(history, i));
        json_array_append_new(merged, entry);
        if (!json_is_object(entry) || json_get_bool(entry, "empty_layer", false))
            continue;
        if (layer >= range.first && layer <= range.last)
            json_set_bool(entry, "empty_layer", true);
        if (layer++ == range.last)
            json_array_append_new(merged, json_pack("{s:s, s:s, s:o}", "created", created, "created_by",
                                                    "skiff image flatten", "comment",
                                                    json_sprintf("merge of layers %zu to %zu",
                                                                 range.first + 1, range.last + 1)));
    }
    return merged;
}

static json_t *make_config(const struct image *image, struct range range, const char *diff_id)
{
    char created[TIME_TEXT_MAX];
    json_t *config = json_deep_copy(image->config), *diff_ids = json_array();
    time_format_rfc3339(time_now_ns(), created);
    for (size_t i = 0; image->diff_ids[i]; i++) {
        if (i < range.first || i > range.last)
            json_array_append_new(diff_ids, json_string(image->diff_ids[i]));
        else if (i == range.first)
            json_array_append_new(diff_ids, json_string(diff_id));
    }
    json_object_set_new(json_get_object(config, "rootfs"), "diff_ids", diff_ids);
    const json_t *history = json_get_array(config, "history");
    if (json_array_size(history))
        json_object_set_new(config, "history", merge_history(history, range, created));
    json_set_string(config, "created", created);
    return config;
}

// --- all of it
static int name_only(struct image_service *images, const struct image *image, const struct reference *tag,
                     char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    int r = 0;
    memcpy(ret_id, image->id, DIGEST_LEN + 1);
    pthread_mutex_lock(&images->lock);
    if (tag->tag)
        r = image_tag_locked(images, tag, image->id, err);
    pthread_mutex_unlock(&images->lock);
    return r;
}

static int flatten_image(struct image_service *images, const struct image_flatten *f,
                         const struct reference *tag, char ret_id[static DIGEST_LEN + 1], size_t *ret_merged,
                         struct error *err)
{
    CLEANUP(image_freep) struct image *image = NULL;
    struct range range = { 0 };
    struct layer_info layer;
    if (open_image(images, f, &image, &range, err) < 0)
        return -1;
    *ret_merged = range.last - range.first + 1;
    if (*ret_merged == 1)
        return name_only(images, image, tag, ret_id, err);
    if (merge_layers(images, image, range, &layer, err) < 0)
        return -1;
    CLEANUP(json_cleanup) json_t *config = make_config(image, range, layer.diff_id);
    char *text CLEANUP(cleanup_free) = json_text(config);
    const struct image_registration g = { .config = text, .config_n = strlen(text), .tag = tag };
    return image_register(images, &g, ret_id, err);
}

int image_flatten(struct image_service *images, const struct image_flatten *f,
                  char ret_id[static DIGEST_LEN + 1], size_t *ret_merged, struct error *err)
{
    struct reference tag = { 0 };
    if (!str_is_empty(f->reference) && reference_parse(f->reference, 1, &tag, err) < 0)
        return -1;
    if (tag.digest) {
        reference_done(&tag);
        return error_set(err, ERROR_INVALID, "refusing to create a tag with a digest reference");
    }
    image_acquire_begin(images);
    int r = flatten_image(images, f, &tag, ret_id, ret_merged, err);
    if (r < 0)
        image_acquire_failed(images);
    image_acquire_end(images);
    if (r == 0 && tag.tag) {
        char *name CLEANUP(cleanup_free) = reference_familiar(&tag);
        image_emit(images, "tag", ret_id, name, NULL);
    }
    reference_done(&tag);
    return r;
}
