// Images: list, inspect, history, tag, removal.
#include "api/container_document.h"
#include "api/filters.h"
#include "api/image_document.h"
#include "api/layer_sharing.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/reference.h"

#include <string.h>

static bool any_matches(const char *pattern, char *const *references)
{
    for (size_t i = 0; references && references[i]; i++)
        if (reference_matches(pattern, references[i]))
            return true;
    return false;
}

static bool reference_passes(const struct filters *filters, const struct image *image)
{
    size_t n = filters_count(filters, "reference");
    for (size_t i = 0; i < n; i++) {
        const char *pattern = filters_at(filters, "reference", i);
        if (any_matches(pattern, image->tags) || any_matches(pattern, image->repo_digests))
            return true;
    }
    return n == 0;
}

static int bound(const struct request *request, const struct filters *filters, const char *key,
                 int64_t *ret_ns, struct error *err)
{
    for (size_t i = 0; i < filters_count(filters, key); i++) {
        CLEANUP(image_freep) struct image *image = NULL;
        if (image_get(request->engine->images, filters_at(filters, key, i), &image, err) < 0)
            return -1;
        *ret_ns = image->created_ns;
    }
    return 0;
}

static int64_t count_containers(struct container_info **containers, const char *image_id)
{
    int64_t n = 0;
    for (size_t i = 0; containers && containers[i]; i++)
        n += streq(containers[i]->image_id, image_id);
    return n;
}

// Only the tags that a reference filter names are shown, as Docker does.
static void keep_matching(const struct filters *filters, const char *key, json_t *document)
{
    json_t *array = json_object_get(document, key);
    for (size_t i = json_array_size(array); i-- > 0;) {
        bool is_wanted = false;
        for (size_t k = 0; k < filters_count(filters, "reference"); k++)
            is_wanted = is_wanted || reference_matches(filters_at(filters, "reference", k),
                                                       json_string_value(json_array_get(array, i)));
        if (!is_wanted)
            json_array_remove(array, i);
    }
}

int api_image_list(struct request *request, struct error *err)
{
    static const char *const accepted[] = {
        "before", "dangling", "label", "reference", "since", "until", NULL
    };
    CLEANUP(filters_done) struct filters filters;
    bool is_dangling = false;
    int64_t before = 0, since = 0, until = 0;
    if (filters_parse(request->query, accepted, &filters, err) < 0 ||
        filters_bool(&filters, "dangling", false, &is_dangling, err) < 0 ||
        bound(request, &filters, "before", &before, err) < 0 ||
        bound(request, &filters, "since", &since, err) < 0 ||
        filters_time(&filters, "until", &until, err) < 0)
        return -1;
    struct image **images = NULL;
    if (image_list(request->engine->images, &images, err) < 0)
        return -1;
    struct container_info **containers =
        request->version >= 151 ? container_list(request->engine->containers, true) : NULL;
    CLEANUP(layer_sharing_done) struct layer_sharing sharing = { .layers = MAP_INIT };
    bool shows_sharing = request->version >= 142 && request_flag(request, "shared-size", false);
    if (shows_sharing) // among all images, whichever are shown
        layer_sharing_count(request->engine->store, images, &sharing);
    json_t *documents = json_array();
    for (size_t i = 0; images[i]; i++) {
        const struct image *image = images[i];
        bool has_name = strv_len(image->tags) || strv_len(image->repo_digests);
        if ((before && image->created_ns >= before) || (since && image->created_ns <= since) ||
            (until && image->created_ns >= until) ||
            (filters_count(&filters, "dangling") && is_dangling == (strv_len(image->tags) > 0)) ||
            !reference_passes(&filters, image) ||
            !filters_pass_labels(&filters, "label",
                                 json_get_object(json_get_object(image->config, "config"), "Labels")))
            continue;
        json_t *document =
            image_summary_document(request, image, containers ? count_containers(containers, image->id) : -1);
        if (filters_count(&filters, "reference") && has_name) {
            keep_matching(&filters, "RepoTags", document);
            keep_matching(&filters, "RepoDigests", document);
        }
        if (shows_sharing)
            json_set_int(document, "SharedSize", layer_sharing_bytes(&sharing, image));
        json_array_append_new(documents, document);
    }
    image_list_free(images);
    if (containers)
        container_list_free(containers);
    return respond_json(request, 200, documents);
}

int api_image_inspect(struct request *request, struct error *err)
{
    CLEANUP(image_freep) struct image *image = NULL;
    if (image_get(request->engine->images, request->name, &image, err) < 0)
        return -1;
    return respond_json(request, 200, image_inspect_document(request, image));
}

int api_image_history(struct request *request, struct error *err)
{
    CLEANUP(image_freep) struct image *image = NULL;
    if (image_get(request->engine->images, request->name, &image, err) < 0)
        return -1;
    return respond_json(request, 200, image_history_document(request, image));
}

int api_image_tag(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *repo = request_get(request, "repo"), *tag = request_get(request, "tag");
    if (str_is_empty(repo))
        return error_set(err, ERROR_INVALID, "invalid reference format");
    CLEANUP(cleanup_free) char *reference = str_is_empty(tag) ? xstrdup(repo) : xasprintf("%s:%s", repo, tag);
    int r = image_tag(request->engine->images, request->name, reference, err);
    return r < 0 ? r : respond_empty(request, 201);
}

int api_image_remove(struct request *request, struct error *err)
{
    CLEANUP(cleanup_free) char *platforms = request_get(request, "platforms");
    json_t *report = NULL;
    if (!str_is_empty(platforms))
        return error_set(err, ERROR_UNSUPPORTED,
                         "platforms: images have one platform in this version of skiff");
    if (image_remove(request->engine->images, request->name, request_flag(request, "force", false), &report,
                     err) < 0)
        return -1;
    return respond_json(request, 200, report);
}

struct prune {
    struct filters filters;
    int64_t until_ns;
};

static bool keeps(void *context, const struct image *image)
{
    const struct prune *prune = context;
    const json_t *labels = json_get_object(json_get_object(image->config, "config"), "Labels");
    if (prune->until_ns && image->created_ns > prune->until_ns)
        return true;
    if (!filters_pass_labels(&prune->filters, "label", labels))
        return true;
    return filters_count(&prune->filters, "label!") && filters_pass_labels(&prune->filters, "label!", labels);
}

int api_image_prune(struct request *request, struct error *err)
{
    static const char *const accepted[] = { "dangling", "label", "label!", "until", NULL };
    struct prune prune = { 0 };
    bool is_dangling = true;
    json_t *report = NULL;
    uint64_t bytes = 0;
    int r = filters_parse(request->query, accepted, &prune.filters, err);
    if (r == 0 && (r = filters_bool(&prune.filters, "dangling", true, &is_dangling, err)) == 0 &&
        (r = filters_time(&prune.filters, "until", &prune.until_ns, err)) == 0)
        r = image_prune(request->engine->images, !is_dangling, keeps, &prune, &report, &bytes, err);
    filters_done(&prune.filters);
    if (r < 0)
        return r;
    json_t *document = json_object();
    json_object_set_new(document, "ImagesDeleted",
                        json_array_size(report) ? report : (json_decref(report), json_null()));
    json_set_int(document, "SpaceReclaimed", (int64_t)bytes);
    return respond_json(request, 200, document);
}
