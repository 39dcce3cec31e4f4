#include "image/commit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"

#include <string.h>

// Of a tar that is nothing but its end mark.
static const char empty_layer[] = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

static void add_history(json_t *config, const struct image_commit *commit, const char *created, bool is_empty)
{
    json_t *history = json_get_array(config, "history"), *entry = json_object();
    if (!history) {
        history = json_array();
        json_object_set_new(config, "history", history);
        // Older layers are named, so that the new entry is not taken for the lowest one's.
        for (size_t i = json_array_size(json_get_array(json_get_object(config, "rootfs"), "diff_ids"));
             i > (is_empty ? 0 : 1); i--)
            json_array_append_new(history, json_object());
    }
    json_set_string(entry, "created", created);
    if (!str_is_empty(commit->author))
        json_set_string(entry, "author", commit->author);
    json_set_string(entry, "created_by", commit->created_by);
    if (!str_is_empty(commit->comment))
        json_set_string(entry, "comment", commit->comment);
    if (is_empty)
        json_set_bool(entry, "empty_layer", true);
    json_array_append_new(history, entry);
}

static json_t *make_config(const json_t *parent, const struct image_commit *commit, const char *diff_id)
{
    char created[TIME_TEXT_MAX];
    bool is_empty = streq(diff_id, empty_layer);
    json_t *config = json_deep_copy(parent);
    time_format_rfc3339(time_now_ns(), created);
    json_set_string(config, "created", created);
    json_object_del(config, "container_config"); // of the parent's making, not of this one's
    json_object_del(config, "container");
    if (commit->container_id)
        json_set_string(config, "container", commit->container_id);
    if (commit->is_squashed) {
        json_array_clear(json_get_array(json_get_object(config, "rootfs"), "diff_ids"));
        json_object_set_new(config, "history", json_array());
    }
    json_object_del(config, "author");
    if (!str_is_empty(commit->author))
        json_set_string(config, "author", commit->author);
    json_object_set_new(config, "config", json_deep_copy(commit->config));
    if (!is_empty)
        json_array_append_new(json_get_array(json_get_object(config, "rootfs"), "diff_ids"),
                              json_string(diff_id));
    add_history(config, commit, created, is_empty);
    return config;
}

static int commit_layer(struct image_service *images, const struct image_commit *commit,
                        const struct reference *tag, char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    struct image *parent CLEANUP(image_freep) = NULL;
    struct layer_info info;
    if (image_load_record(images, commit->parent_id, &parent, err) < 0 ||
        layer_unpack(images->store, commit->layer, NULL, &images->options.layer_limits, &info, err) < 0)
        return -1;
    if (streq(info.diff_id, empty_layer))
        image_acquire_failed(images); // no image will name it
    json_t *config CLEANUP(json_cleanup) = make_config(parent->config, commit, info.diff_id);
    if (!commit->is_squashed && strv_len(parent->diff_ids) >= IMAGE_LAYERS_MAX)
        return error_set(err, ERROR_EXHAUSTED, "max depth exceeded");
    char *text CLEANUP(cleanup_free) = json_text(config);
    struct image_registration g = { .config = text, .config_n = strlen(text), .tag = tag };
    return image_register(images, &g, ret_id, err);
}

int image_commit(struct image_service *images, const struct image_commit *commit,
                 char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    struct reference tag = { 0 };
    if (!str_is_empty(commit->reference) && reference_parse(commit->reference, 1, &tag, err) < 0)
        return -1;
    if (tag.digest) {
        reference_done(&tag);
        return error_set(err, ERROR_INVALID, "refusing to create a tag with a digest reference");
    }
    image_acquire_begin(images);
    int r = commit_layer(images, commit, &tag, ret_id, err);
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
