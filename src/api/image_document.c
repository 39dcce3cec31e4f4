#include "api/image_document.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

json_t *image_summary_document(const struct request *request, const struct image *image, int64_t containers)
{
    json_t *document = json_object();
    json_t *labels = json_get_object(json_get_object(image->config, "config"), "Labels");
    json_set_string(document, "Id", image->id);
    json_set_string(document, "ParentId", "");
    // Before 1.43 an image without a name was shown with one.
    if (request->version < 143 && !strv_len(image->tags))
        json_object_set_new(document, "RepoTags", json_pack("[s]", "<none>:<none>"));
    else
        json_object_set_new(document, "RepoTags", json_from_strv(image->tags));
    if (request->version < 143 && !strv_len(image->repo_digests))
        json_object_set_new(document, "RepoDigests", json_pack("[s]", "<none>@<none>"));
    else
        json_object_set_new(document, "RepoDigests", json_from_strv(image->repo_digests));
    json_set_int(document, "Created", image->created_ns / NS_PER_S);
    json_set_int(document, "Size", (int64_t)image->size_bytes);
    if (request->version < 144)
        json_set_int(document, "VirtualSize", (int64_t)image->size_bytes);
    json_set_int(document, "SharedSize", -1);
    json_object_set_new(document, "Labels", labels ? json_copy(labels) : json_null());
    json_set_int(document, "Containers", containers);
    return document;
}

// Before 1.50 the configuration had every member of a container's, set or not.
static json_t *config_document(const struct request *request, const struct image *image)
{
    json_t *config = json_get_object(image->config, "config");
    if (request->version >= 150)
        return config ? json_deep_copy(config) : json_object();
    json_t *document =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:n, s:n, s:s, s:n, s:s, s:n, s:n, s:n}",
                  "Hostname", "", "Domainname", "", "User", "", "AttachStdin", 0, "AttachStdout", 0,
                  "AttachStderr", 0, "Tty", 0, "OpenStdin", 0, "StdinOnce", 0, "Env", "Cmd", "Image", "",
                  "Volumes", "WorkingDir", "", "Entrypoint", "OnBuild", "Labels");
    if (config)
        json_object_update(document, config);
    return document;
}

static json_t *graph_driver_document(const struct request *request, const struct image *image)
{
    const char *root = layer_directory(request->engine->store);
    size_t n = strv_len(image->diff_ids);
    json_t *data = json_object(), *driver = json_object();
    struct str lower = STR_INIT;
    for (size_t i = n; i-- > 1;)
        str_appendf(&lower, "%s%s/%s/fs", lower.len ? ":" : "", root, digest_hex(image->diff_ids[i - 1]));
    if (lower.len)
        json_set_string(data, "LowerDir", lower.ptr);
    if (n)
        json_object_set_new(data, "UpperDir",
                            json_sprintf("%s/%s/fs", root, digest_hex(image->diff_ids[n - 1])));
    str_done(&lower);
    json_set_string(driver, "Name", "overlay2");
    json_object_set_new(driver, "Data", data);
    return driver;
}

json_t *image_inspect_document(const struct request *request, const struct image *image)
{
    json_t *document = json_object(), *root = json_object(), *metadata = json_object();
    char created[TIME_TEXT_MAX], tagged[TIME_TEXT_MAX];
    time_format_rfc3339(image->created_ns, created);
    time_format_rfc3339(image->last_tagged_ns, tagged);
    json_set_string(document, "Id", image->id);
    json_object_set_new(document, "RepoTags", json_from_strv(image->tags));
    json_object_set_new(document, "RepoDigests", json_from_strv(image->repo_digests));
    json_set_string(document, "Parent", "");
    const json_t *history = json_get_array(image->config, "history");
    size_t n = json_array_size(history);
    json_set_string(document, "Comment",
                    n ? json_get_string(json_array_get(history, n - 1), "comment", "") : "");
    json_set_string(document, "Created", created);
    json_set_string(document, "DockerVersion", json_get_string(image->config, "docker_version", ""));
    json_set_string(document, "Author", json_get_string(image->config, "author", ""));
    json_object_set_new(document, "Config", config_document(request, image));
    json_set_string(document, "Architecture", json_get_string(image->config, "architecture", ""));
    if (json_get_string(image->config, "variant", NULL))
        json_set_string(document, "Variant", json_get_string(image->config, "variant", ""));
    json_set_string(document, "Os", json_get_string(image->config, "os", ""));
    json_set_int(document, "Size", (int64_t)image->size_bytes);
    if (request->version < 144)
        json_set_int(document, "VirtualSize", (int64_t)image->size_bytes);
    if (request->version < 145) {
        json_set_string(document, "Container", json_get_string(image->config, "container", ""));
        json_t *container_config = json_get_object(image->config, "container_config");
        json_object_set_new(document, "ContainerConfig",
                            container_config ? json_deep_copy(container_config) : json_null());
    }
    json_object_set_new(document, "GraphDriver", graph_driver_document(request, image));
    json_set_string(root, "Type", "layers");
    json_object_set_new(root, "Layers", json_from_strv(image->diff_ids));
    json_object_set_new(document, "RootFS", root);
    json_set_string(metadata, "LastTagTime", tagged);
    json_object_set_new(document, "Metadata", metadata);
    return document;
}

static json_t *history_entry(const char *id, int64_t created_ns, const json_t *from, int64_t size,
                             char *const *tags)
{
    json_t *entry = json_object();
    json_set_string(entry, "Id", id);
    json_set_int(entry, "Created", created_ns / NS_PER_S);
    json_set_string(entry, "CreatedBy", json_get_string(from, "created_by", ""));
    json_object_set_new(entry, "Tags", tags && *tags ? json_from_strv(tags) : json_null());
    json_set_int(entry, "Size", size);
    json_set_string(entry, "Comment", json_get_string(from, "comment", ""));
    return entry;
}

static int64_t layer_size(const struct request *request, const char *diff_id)
{
    struct layer_info layer;
    struct error ignored;
    return diff_id && layer_get(request->engine->store, diff_id, &layer, &ignored) == 0
               ? (int64_t)layer.size_bytes
               : 0;
}

json_t *image_history_document(const struct request *request, const struct image *image)
{
    json_t *documents = json_array();
    const json_t *history = json_get_array(image->config, "history");
    size_t n = json_array_size(history), layers = strv_len(image->diff_ids), used = 0;
    // Written by the oldest first, shown by the newest first. An image need not have a history; then its layers are shown.
    size_t count = n ? n : layers;
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(history, i);
        const char *diff_id =
            !json_get_bool(from, "empty_layer", false) && used < layers ? image->diff_ids[used++] : NULL;
        bool is_last = i + 1 == count;
        int64_t created_ns = image->created_ns;
        if (from && !time_parse_rfc3339(json_get_string(from, "created", ""), &created_ns))
            created_ns = 0;
        json_array_insert_new(documents, 0,
                              history_entry(is_last ? image->id : "<missing>", created_ns, from,
                                            layer_size(request, diff_id), is_last ? image->tags : NULL));
    }
    return documents;
}
