// What the client left open, filled in from the image and from Docker's defaults: the documents that inspect
// shows.
#include "container/config.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && !*json_string_value(v)) ||
           (json_is_array(v) && !json_array_size(v));
}

static size_t key_length(const char *entry)
{
    return strcspn(entry, "=");
}

// The image's variables first, each replaced by the client's of the same name; "NAME" without "=" takes it
// away.
static json_t *merge_env(const json_t *image, const json_t *own)
{
    json_t *merged = json_array(), *v, *o;
    size_t i, k;
    json_array_foreach(image, i, v)
    {
        bool is_replaced = false;
        if (!json_is_string(v))
            continue;
        json_array_foreach(own, k,
                           o) if (json_is_string(o) &&
                                  key_length(json_string_value(o)) == key_length(json_string_value(v)) &&
                                  strncmp(json_string_value(o), json_string_value(v),
                                          key_length(json_string_value(v))) == 0) is_replaced = true;
        if (!is_replaced)
            json_array_append(merged, v);
    }
    json_array_foreach(own, k, o) if (json_is_string(o) && strchr(json_string_value(o), '='))
        json_array_append(merged, o);
    return merged;
}

static void merge_objects(json_t *to, const char *key, const json_t *image)
{
    const json_t *from = json_get_object(image, key);
    if (!json_object_size(from))
        return;
    json_t *merged = json_deep_copy(from);
    if (json_get_object(to, key))
        json_object_update(merged, json_get_object(to, key));
    json_object_set_new(to, key, merged);
}

int config_merge_image(const json_t *config, const json_t *image_config, json_t **ret, struct error *err)
{
    static const char *const scalars[] = { "User", "WorkingDir", "StopSignal", "Shell" };
    CLEANUP(json_cleanup) json_t *merged = json_deep_copy(config);
    const json_t *image = json_get_object(image_config, "config");
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        if (is_empty(json_object_get(merged, scalars[i])) && !is_empty(json_object_get(image, scalars[i])))
            json_object_set(merged, scalars[i], json_object_get(image, scalars[i]));
    json_object_set_new(merged, "Env",
                        merge_env(json_get_array(image, "Env"), json_get_array(config, "Env")));
    merge_objects(merged, "ExposedPorts", image);
    merge_objects(merged, "Labels", image);
    merge_objects(merged, "Volumes", image);
    // An entrypoint of the client's own takes the image's command away with the image's entrypoint. [""] asks
    // for none.
    const json_t *entrypoint = json_object_get(config, "Entrypoint");
    bool is_reset = json_array_size(entrypoint) == 1 && json_is_string(json_array_get(entrypoint, 0)) &&
                    !*json_string_value(json_array_get(entrypoint, 0));
    if (is_reset)
        json_object_set_new(merged, "Entrypoint", json_null());
    if (is_empty(entrypoint)) {
        if (is_empty(json_object_get(config, "Cmd")) && !is_empty(json_object_get(image, "Cmd")))
            json_object_set(merged, "Cmd", json_object_get(image, "Cmd"));
        if (!is_empty(json_object_get(image, "Entrypoint")))
            json_object_set(merged, "Entrypoint", json_object_get(image, "Entrypoint"));
    }
    if (is_empty(json_object_get(merged, "Entrypoint")) && is_empty(json_object_get(merged, "Cmd")))
        return error_set(err, ERROR_INVALID, "no command specified");
    json_t *health =
        health_check_merge(json_object_get(config, "Healthcheck"), json_object_get(image, "Healthcheck"));
    if (health)
        json_object_set_new(merged, "Healthcheck", health);
    *ret = TAKE_PTR(merged);
    return 0;
}

static void default_string(json_t *o, const char *key, const char *value)
{
    if (str_is_empty(json_get_string(o, key, NULL)))
        json_set_string(o, key, value);
}

json_t *host_config_complete(const json_t *host_config)
{
    json_t *h = json_is_object(host_config) ? json_deep_copy(host_config) : json_object();
    bool is_privileged = json_get_bool(h, "Privileged", false);
    if (streq(json_get_string(h, "NetworkMode", ""), "default"))
        json_set_string(h, "NetworkMode", "bridge");
    default_string(h, "NetworkMode", "bridge");
    default_string(h, "IpcMode", "private");
    default_string(h, "CgroupnsMode", is_privileged ? "host" : "private");
    default_string(h, "Runtime", "skiff");
    if (json_get_int(h, "ShmSize", 0) == 0)
        json_set_int(h, "ShmSize", 64LL << 20);
    if (json_get_int(h, "Memory", 0) > 0 && json_get_int(h, "MemorySwap", 0) == 0) // as much again
        json_set_int(h, "MemorySwap", 2 * json_get_int(h, "Memory", 0));
    json_t *log = json_get_object(h, "LogConfig");
    if (!log) {
        log = json_object();
        json_object_set_new(h, "LogConfig", log);
    }
    default_string(log, "Type", "json-file");
    if (!json_get_object(log, "Config"))
        json_object_set_new(log, "Config", json_object());
    json_t *policy = json_get_object(h, "RestartPolicy");
    if (!policy || str_is_empty(json_get_string(policy, "Name", NULL)))
        json_object_set_new(h, "RestartPolicy", json_pack("{s:s,s:i}", "Name", "no", "MaximumRetryCount", 0));
    return h;
}
