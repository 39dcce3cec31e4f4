#include "image/image_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/changes.h"

#include <string.h>

#if defined(__aarch64__)
static const char machine[] = "arm64";
#else
static const char machine[] = "amd64";
#endif

// "os[/architecture[/variant]]"
static int set_platform(json_t *config, const char *platform, struct error *err)
{
    char **parts CLEANUP(strv_freep) = platform && *platform ? strv_split(platform, "/", true) : NULL;
    size_t n = strv_len(parts);
    for (size_t i = 0; i < n; i++)
        if (!*parts[i] || strspn(parts[i], "abcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(parts[i]))
            n = 4;
    if (n > 3)
        return error_set(err, ERROR_INVALID, "\"%.100s\" is an invalid platform: invalid argument", platform);
    if (n > 0 && !streq(parts[0], "linux"))
        return error_set(err, ERROR_INVALID, "operating system is not supported: %.100s", parts[0]);
    json_set_string(config, "architecture", n > 1 ? parts[1] : machine);
    json_set_string(config, "os", "linux");
    if (n > 2)
        json_set_string(config, "variant", parts[2]);
    return 0;
}

static int make_config(const char *platform, const char *message, char *const *changes, json_t **ret,
                       struct error *err)
{
    char created[TIME_TEXT_MAX];
    json_t *config CLEANUP(json_cleanup) = json_object();
    if (set_platform(config, platform, err) < 0)
        return -1;
    time_format_rfc3339(time_now_ns(), created);
    json_set_string(config, "created", created);
    json_object_set_new(config, "config", json_object());
    for (size_t i = 0; changes && changes[i]; i++)
        if (image_change_apply(json_get_object(config, "config"), changes[i], err) < 0)
            return -1;
    json_object_set_new(config, "rootfs", json_pack("{s:s, s:[]}", "type", "layers", "diff_ids"));
    json_object_set_new(config, "history",
                        json_pack("[{s:s, s:s}]", "created", created, "comment",
                                  message && *message ? message : "Imported from -"));
    *ret = TAKE_PTR(config);
    return 0;
}

static int import_layer(struct image_service *images, struct reader archive, json_t *config,
                        const struct reference *tag, char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    struct layer_info info;
    if (layer_unpack(images->store, archive, NULL, &images->options.layer_limits, &info, err) < 0)
        return -1;
    json_array_append_new(json_get_array(json_get_object(config, "rootfs"), "diff_ids"),
                          json_string(info.diff_id));
    char *text CLEANUP(cleanup_free) = json_text(config);
    struct image_registration g = { .config = text, .config_n = strlen(text), .tag = tag };
    return image_register(images, &g, ret_id, err);
}

int image_import(struct image_service *images, struct reader archive, const char *reference,
                 const char *message, const char *platform, char *const *changes,
                 char ret_id[static DIGEST_LEN + 1], struct error *err)
{
    json_t *config CLEANUP(json_cleanup) = NULL;
    struct reference tag = { 0 };
    if (make_config(platform, message, changes, &config, err) < 0)
        return -1;
    if (reference && *reference && reference_parse(reference, 1, &tag, err) < 0)
        return -1;
    if (tag.digest) {
        reference_done(&tag);
        return error_set(err, ERROR_INVALID, "cannot import digest reference");
    }
    image_acquire_begin(images);
    int r = import_layer(images, archive, config, &tag, ret_id, err);
    if (r < 0)
        image_acquire_failed(images);
    image_acquire_end(images);
    reference_done(&tag);
    if (r == 0)
        image_emit(images, "import", ret_id, ret_id, config);
    return r;
}
