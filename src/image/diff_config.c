#include "image/diff.h"

#include "base/mem.h"
#include "codec/json.h"

#include <string.h>

// Values by key: "A=b" of Env by A, members of an object by name.
static json_t *by_key(const json_t *value)
{
    json_t *object = json_object();
    if (json_is_object(value))
        json_object_update(object, (json_t *)(uintptr_t)value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        size_t n = text ? strcspn(text, "=") : 0;
        char *key CLEANUP(cleanup_free) = xstrndup(text ? text : "", n);
        json_set_string(object, key, text && text[n] ? text + n + 1 : "");
    }
    return object;
}

struct config_diff {
    image_difference_visitor *visit;
    void *context;
};

static int tell(const struct config_diff *d, const char *field, const char *key, const json_t *old,
                const json_t *new)
{
    const struct image_difference difference = { .kind = !old   ? IMAGE_ADDED
                                                         : !new ? IMAGE_DELETED
                                                                : IMAGE_CHANGED,
                                                 .field = field,
                                                 .key = key,
                                                 .old_value = old,
                                                 .new_value = new };
    return d->visit(d->context, &difference);
}

static int compare_keys(const struct config_diff *d, const char *field, const json_t *old, const json_t *new)
{
    json_t *from CLEANUP(json_cleanup) = by_key(old), *to CLEANUP(json_cleanup) = by_key(new);
    const char *key;
    json_t *value;
    int r = 0;
    json_object_foreach(from, key, value)
    {
        const json_t *other = json_object_get(to, key);
        if (r == 0 && (!other || !json_equal(value, other)))
            r = tell(d, field, key, value, other);
    }
    json_object_foreach(to, key, value)
    {
        if (r == 0 && !json_object_get(from, key))
            r = tell(d, field, key, NULL, value);
    }
    return r;
}

// Empty is as good as missing.
static const json_t *value_of(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    bool is_empty = !value || json_is_null(value) || json_is_false(value) ||
                    (json_is_string(value) && json_string_length(value) == 0) ||
                    (json_is_array(value) && json_array_size(value) == 0) ||
                    (json_is_object(value) && json_object_size(value) == 0);
    return is_empty ? NULL : value;
}

static int compare_value(const struct config_diff *d, const char *field, const json_t *from, const json_t *to)
{
    const json_t *old = value_of(from, field), *new = value_of(to, field);
    return (!old && !new) || (old && new &&json_equal(old, new)) ? 0 : tell(d, field, NULL, old, new);
}

int image_diff_config(const json_t *from, const json_t *to, image_difference_visitor *visit, void *context)
{
    static const char *const top[] = { "architecture", "variant", "os", "author" };
    static const char *const keyed[] = { "Env", "Labels", "ExposedPorts", "Volumes" };
    static const char *const plain[] = { "Cmd",         "Entrypoint",  "WorkingDir", "User",
                                         "StopSignal",  "Healthcheck", "Shell",      "OnBuild",
                                         "StopTimeout", "ArgsEscaped" };
    const struct config_diff d = { visit, context };
    const json_t *old = json_get_object(from, "config"), *new = json_get_object(to, "config");
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof top / sizeof *top; i++)
        r = compare_value(&d, top[i], from, to);
    for (size_t i = 0; r == 0 && i < sizeof keyed / sizeof *keyed; i++)
        r = compare_keys(&d, keyed[i], json_object_get(old, keyed[i]), json_object_get(new, keyed[i]));
    for (size_t i = 0; r == 0 && i < sizeof plain / sizeof *plain; i++)
        r = compare_value(&d, plain[i], old, new);
    return r;
}
