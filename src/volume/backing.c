#include "volume/backing.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/mount.h"

#include <errno.h>
#include <linux/mount.h>
#include <string.h>

static const struct flag {
    const char *name;
    uint64_t set, clear;
} flags[] = {
    { "ro", MOUNT_ATTR_RDONLY, 0 },
    { "rw", 0, MOUNT_ATTR_RDONLY },
    { "nosuid", MOUNT_ATTR_NOSUID, 0 },
    { "suid", 0, MOUNT_ATTR_NOSUID },
    { "nodev", MOUNT_ATTR_NODEV, 0 },
    { "dev", 0, MOUNT_ATTR_NODEV },
    { "noexec", MOUNT_ATTR_NOEXEC, 0 },
    { "exec", 0, MOUNT_ATTR_NOEXEC },
    { "nodiratime", MOUNT_ATTR_NODIRATIME, 0 },
    { "noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME },
    { "strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME },
    { "relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
    { "defaults", 0, 0 },
};

static void add_word(struct volume_backing *b, const char *word)
{
    if (streq(word, "bind") || streq(word, "rbind")) {
        b->kind = VOLUME_BIND;
        return;
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (streq(flags[i].name, word)) {
            b->attributes = (b->attributes & ~flags[i].clear) | flags[i].set;
            return;
        }
    strv_push(&b->data, word);
}

static int check_keys(const json_t *options, struct error *err)
{
    static const char *const known[] = { "type", "o", "device", "size" };
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            is_known |= streq(key, known[i]);
        if (!is_known)
            return error_set(err, ERROR_INVALID, "invalid option: \"%s\"", key);
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, "invalid option: \"%s\" is no string", key);
    }
    return 0;
}

static int parse_size(const json_t *options, struct volume_backing *b, struct error *err)
{
    const char *text = json_get_string(options, "size", NULL);
    int64_t size;
    if (!text)
        return 0;
    if (!parse_size_bytes(text, &size) || size < 0)
        return error_set(err, ERROR_INVALID, "invalid size: '%s'", text);
    if (b->kind != VOLUME_PLAIN)
        return error_set(
            err, ERROR_INVALID,
            "option \"size\" goes with neither \"type\" nor \"device\": that file system has its "
            "own limits (\"o\": \"size=...\" for a tmpfs)");
    b->size_bytes = (uint64_t)size;
    return 0;
}

int volume_backing_parse(const json_t *options, struct volume_backing *ret, struct error *err)
{
    *ret = (struct volume_backing){ .kind = VOLUME_PLAIN };
    if (check_keys(options, err) < 0)
        return -1;
    ret->type = json_get_string(options, "type", "");
    ret->device = json_get_string(options, "device", "");
    const char *o = json_get_string(options, "o", "");
    if (!*ret->type && !*ret->device && !*o)
        return parse_size(options, ret, err);
    if (!*ret->device)
        return error_set(err, ERROR_INVALID, "missing required option: \"device\"");
    if (!*ret->type)
        return error_set(err, ERROR_INVALID, "missing required option: \"type\"");
    ret->kind = VOLUME_MOUNT;
    CLEANUP(strv_freep) char **words = strv_split(o, ",", false);
    for (size_t i = 0; words && words[i]; i++)
        add_word(ret, words[i]);
    ret->is_read_only = ret->attributes & MOUNT_ATTR_RDONLY;
    if (ret->kind == VOLUME_BIND && ret->device[0] != '/')
        return error_set(err, ERROR_INVALID, "device of a bind must be an absolute path: %s", ret->device);
    if (ret->kind == VOLUME_BIND && ((ret->attributes & ~(uint64_t)MOUNT_ATTR_RDONLY) || strv_len(ret->data)))
        return error_set(err, ERROR_UNSUPPORTED,
                         "option \"o\": only bind, rbind, ro and rw go with a bind: %s", o);
    return parse_size(options, ret, err);
}

void volume_backing_done(struct volume_backing *b)
{
    strv_free(b->data);
    b->data = NULL;
}

static int configure(const struct volume_backing *b, int context_fd)
{
    int r = mount_config(context_fd, "source", b->device);
    for (size_t i = 0; r == 0 && b->data && b->data[i]; i++) {
        const char *equals = strchr(b->data[i], '=');
        CLEANUP(cleanup_free)
        char *key = xstrndup(b->data[i], equals ? (size_t)(equals - b->data[i]) : strlen(b->data[i]));
        r = mount_config(context_fd, key, equals ? equals + 1 : NULL);
    }
    if (r == 0 && b->is_read_only) // of the file system itself, so that its device may be read-only
        r = mount_config(context_fd, "ro", NULL);
    return r < 0 ? r : mount_create(context_fd);
}

int volume_backing_mount(const struct volume_backing *b, int target_fd, struct error *err)
{
    char text[512] = "";
    CLEANUP(cleanup_close) int context_fd = mount_open_fs(b->type);
    int r = context_fd < 0 ? context_fd : configure(b, context_fd);
    if (r < 0 && context_fd >= 0)
        mount_message(context_fd, text, sizeof text);
    CLEANUP(cleanup_close) int mount_fd = r < 0 ? r : mount_take(context_fd, b->attributes);
    if (r == 0)
        r = mount_fd < 0 ? mount_fd : mount_attach(mount_fd, target_fd);
    return r < 0 ? error_errno(err, r, "failed to mount local volume: mount %s of type %s%s%s%s", b->device,
                               b->type, *text ? " (" : "", text, *text ? ")" : "")
                 : 0;
}
