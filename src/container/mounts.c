// Theory of operation. What a create request says about binds and volumes leaves things open: a named volume may have to be made, an
// anonymous one has no name yet, --volumes-from names another container, the image declares volumes that a mount of the client's may
// have taken the place of. All of it is settled once, at create, in config.binds; the result is kept in the record, because names
// and places must stay the same at every later start. The order is Docker's: the client's own mounts, then those of
// other containers, then what is declared; the first for a target counts.
#include "container/container_internal.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/overlay.h"
#include "kernel/path.h"
#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void add(struct container_config *k, struct bind_mount mount)
{
    k->binds = xreallocarray(k->binds, k->bind_count + 1, sizeof *k->binds);
    k->binds[k->bind_count++] = mount;
}

// --- what others have and the image declares
// "container[:ro|rw|z|Z,...]". *ret_name is owned.
static int split_from(const char *text, char **ret_name, bool *ret_is_read_only, struct error *err)
{
    const char *colon = strchr(text, ':');
    CLEANUP(strv_freep) char **words = strv_split(colon ? colon + 1 : "", ",", false);
    *ret_is_read_only = strv_contains(words, "ro");
    for (size_t i = 0; words && words[i]; i++)
        if (!streq(words[i], "ro") && !streq(words[i], "rw") && !streq(words[i], "z") &&
            !streq(words[i], "Z"))
            return error_set(err, ERROR_INVALID, "invalid mode: %s", colon + 1);
    if (colon == text || !*text)
        return error_set(err, ERROR_INVALID, "invalid volumes-from specification: %s", text);
    *ret_name = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    return 0;
}

static int add_from(struct container *c, const char *text, struct error *err)
{
    CLEANUP(container_unrefp) struct container *other = NULL;
    CLEANUP(cleanup_free) char *name = NULL;
    bool is_read_only;
    if (split_from(text, &name, &is_read_only, err) < 0)
        return -1;
    if (container_find(c->service, name, &other, err) < 0) // not 404, which would mean the image
        return error_set(err, ERROR_INVALID, "No such container: %s", name);
    pthread_mutex_lock(&other->lock); // an update may be exchanging them
    for (size_t i = 0; i < other->config.bind_count; i++) {
        const struct bind_mount *theirs = &other->config.binds[i];
        if (config_has_target(&c->config, theirs->target))
            continue;
        struct bind_mount mount = bind_mount_copy(theirs);
        mount.is_read_only |= is_read_only;
        free(mount.mode); // the other's own words
        mount.mode = xstrdup("");
        mount.copies_up = mount.creates_source = mount.is_declared = false;
        add(&c->config, mount);
    }
    pthread_mutex_unlock(&other->lock);
    return 0;
}

// The last of several containers counts for a target, so they are taken from behind.
static int add_from_others(struct container *c, struct error *err)
{
    for (size_t i = strv_len(c->config.volumes_from); i > 0; i--)
        if (add_from(c, c->config.volumes_from[i - 1], err) < 0)
            return -1;
    return 0;
}

static void add_declared(struct container_config *k)
{
    for (size_t i = 0; k->declared_volumes && k->declared_volumes[i]; i++)
        if (!config_has_target(k, k->declared_volumes[i]))
            add(k, (struct bind_mount){ .target = xstrdup(k->declared_volumes[i]),
                                        .is_recursive = true,
                                        .is_volume = true,
                                        .is_anonymous = true,
                                        .is_declared = true,
                                        .copies_up = true });
}

// --- volumes
static int make_volume(struct container *c, struct bind_mount *b, struct error *err)
{
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    const struct volume_request request = {
        .name = b->volume, .labels = b->labels, .options = b->driver_options, .holder = c->id
    };
    bool is_read_only;
    if (volume_create(c->service->options.volumes, &request, &info, err) < 0)
        return -1;
    if (!b->volume)
        b->volume = xstrdup(info->name);
    free(TAKE_PTR(b->source));
    if (volume_source(c->service->options.volumes, b->volume, &b->source, &is_read_only, err) < 0)
        return -1;
    b->is_read_only |= is_read_only;
    // Docker's inspect shows "z" for every volume that the client asked for without a mode of its own.
    if (!b->mode && !b->is_declared)
        b->mode = xstrdup("z");
    return 0;
}

static int make_volumes(struct container *c, struct bind_mount *binds, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (binds[i].is_volume && make_volume(c, &binds[i], err) < 0)
            return -1;
    return 0;
}

static int fill_volume(struct container *c, const struct bind_mount *b, int root_fd, struct error *err)
{
    struct stat st;
    CLEANUP(cleanup_close) int fd = path_open(root_fd, b->target, O_PATH, 0);
    if (fd == -ENOENT || fd == -ENOTDIR ||
        fd == -ELOOP) // nothing there to be taken over; the start makes it, or says why not
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, fd < 0 ? fd : errno, "look up %s in the image", b->target);
    if (!S_ISDIR(st.st_mode))
        return b->is_declared ? error_set(err, ERROR_INVALID,
                                          "cannot mount volume over existing file, file exists %s", b->target)
                              : 0;
    int r = volume_fill(c->service->options.volumes, b->volume, fd, err);
    return r < 0 ? error_wrap(err, "failed to populate volume %s from %s", b->volume, b->target) : 0;
}

// Copy-up, from a view of the image that nobody else sees.
static int fill_volumes(struct container *c, const struct bind_mount *binds, size_t count, struct error *err)
{
    CLEANUP(cleanup_close) int root_fd = FD_NONE;
    for (size_t i = 0; i < count; i++) {
        const struct bind_mount *b = &binds[i];
        if (!b->is_volume || !b->copies_up || !strv_len(c->diff_ids))
            continue;
        if (root_fd < 0) {
            CLEANUP(strv_freep) char **lower = container_lower_directories(c);
            root_fd = overlay_open_view(layer_directory(c->service->store), lower);
            if (root_fd < 0)
                return error_errno(err, root_fd, "look into image %s", c->image_id);
        }
        if (fill_volume(c, b, root_fd, err) < 0)
            return -1;
    }
    return 0;
}

// --- images
// As Docker does, at create: a later image of the same name is none of this container's business.
static int find_images(const struct container *c, struct bind_mount *binds, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct bind_mount *b = &binds[i];
        CLEANUP(image_freep) struct image *image = NULL;
        if (!b->image || b->source) // of another container's mount it is known
            continue;
        if (image_get(c->service->images, b->image, &image, err) < 0)
            return -1;
        b->source = xstrdup(image->id);
        b->layers = strv_copy(image->diff_ids);
    }
    return 0;
}

bool mounts_use_image(const struct container *c, const char *image_id)
{
    for (size_t i = 0; i < c->config.bind_count; i++)
        if (c->config.binds[i].image && streq(c->config.binds[i].source, image_id))
            return true;
    return false;
}

int mounts_prepare(struct container *c, struct bind_mount *binds, size_t count, struct error *err)
{
    if (find_images(c, binds, count, err) < 0 || make_volumes(c, binds, count, err) < 0)
        return -1;
    return fill_volumes(c, binds, count, err);
}

// --- the document
json_t *mounts_document_of(const struct bind_mount *b)
{
    json_t *m = json_object();
    json_set_string(m, "Type", b->is_volume ? "volume" : b->image ? "image" : "bind");
    if (b->is_volume || b->image)
        json_set_string(m, "Name", b->image ? b->image : b->volume);
    json_set_string(m, "Source", b->source);
    json_set_string(m, "Destination", b->target);
    if (b->is_volume)
        json_set_string(m, "Driver", "local");
    json_set_string(m, "Mode", b->mode ? b->mode : "");
    json_set_bool(m, "RW", !b->is_read_only);
    json_set_string(m, "Propagation", b->propagation ? b->propagation : b->is_volume ? "" : "rprivate");
    // Of our own, for later starts.
    json_set_bool(m, "isAnonymous", b->is_anonymous);
    json_set_bool(m, "isRecursive", b->is_recursive);
    json_set_bool(m, "isFlatReadOnly", b->is_flat_read_only);
    json_set_bool(m, "createsSource", b->creates_source);
    if (b->subpath)
        json_set_string(m, "subpath", b->subpath);
    if (b->image)
        json_object_set_new(m, "layers", json_from_strv(b->layers));
    return m;
}

struct bind_mount mounts_parse(const json_t *m)
{
    const char *propagation = json_get_string(m, "Propagation", ""), *name = json_get_string(m, "Name", NULL);
    bool is_image = streq(json_get_string(m, "Type", ""), "image");
    return (struct bind_mount){ .is_volume = streq(json_get_string(m, "Type", ""), "volume"),
                                .volume = xstrdup(is_image ? NULL : name),
                                .image = xstrdup(is_image ? name : NULL),
                                .layers = json_get_strv(m, "layers"),
                                .source = xstrdup(json_get_string(m, "Source", "")),
                                .target = xstrdup(json_get_string(m, "Destination", "")),
                                .mode = xstrdup(json_get_string(m, "Mode", "")),
                                .is_read_only = !json_get_bool(m, "RW", true),
                                .propagation = *propagation ? xstrdup(propagation) : NULL,
                                .is_anonymous = json_get_bool(m, "isAnonymous", false),
                                .is_recursive = json_get_bool(m, "isRecursive", true),
                                .is_flat_read_only = json_get_bool(m, "isFlatReadOnly", false),
                                .creates_source = json_get_bool(m, "createsSource", false),
                                .subpath = xstrdup(json_get_string(m, "subpath", NULL)) };
}

static void make_document(struct container *c)
{
    c->mounts_document = json_array();
    for (size_t i = 0; i < c->config.bind_count; i++)
        json_array_append_new(c->mounts_document, mounts_document_of(&c->config.binds[i]));
}

int mounts_resolve(struct container *c, struct error *err)
{
    if (add_from_others(c, err) < 0)
        return -1;
    add_declared(&c->config);
    if (mounts_prepare(c, c->config.binds, c->config.bind_count, err) < 0)
        return -1;
    make_document(c);
    return 0;
}

void mounts_load(struct container *c, json_t *document)
{
    size_t i;
    json_t *m;
    struct error err;
    if (!document) { // of a version without volumes: binds are all there can be
        make_document(c);
        return;
    }
    c->mounts_document = json_incref(document);
    for (i = 0; i < c->config.bind_count; i++)
        bind_mount_done(&c->config.binds[i]);
    c->config.bind_count = 0;
    json_array_foreach(document, i, m) add(&c->config, mounts_parse(m));
    for (i = 0; i < c->config.bind_count; i++)
        if (c->config.binds[i].volume &&
            volume_hold(c->service->options.volumes, c->config.binds[i].volume, c->id, &err) < 0)
            log_warn("container %s: %s", c->id, err.message);
}

// --- the end
void mounts_release(struct container *c)
{
    bool takes_along = c->config.is_auto_remove || c->takes_volumes_along;
    for (size_t i = 0; i < c->config.bind_count; i++) {
        struct bind_mount *b = &c->config.binds[i];
        if (!b->volume)
            continue;
        if (takes_along && b->is_anonymous)
            (void)volume_retire(c->service->options.volumes, b->volume, c->id);
        else
            volume_release(c->service->options.volumes, b->volume, c->id);
    }
}

void mounts_discard(struct container *c)
{
    for (size_t i = 0; i < c->config.bind_count; i++)
        if (c->config.binds[i].volume && c->config.binds[i].is_anonymous)
            volume_discard(c->service->options.volumes, c->config.binds[i].volume, c->id);
}

// --- runs
void mounts_event(const struct container *c, const struct bind_mount *b, const char *action)
{
    const struct event_sink *sink = &c->service->options.events;
    bool is_mount = streq(action, "mount");
    const struct event_attribute attributes[] = {
        { "container", c->id },
        { "driver", "local" },
        { "destination", b->target },
        { "propagation", b->propagation ? b->propagation : "" },
        { "read/write", b->is_read_only ? "false" : "true" },
    };
    const struct event e = { .type = "volume",
                             .action = action,
                             .actor_id = b->volume,
                             .attributes = attributes,
                             .attribute_count = is_mount ? 5 : 2 };
    if (sink->emit)
        sink->emit(sink->context, &e);
}

int mounts_begin_run(struct container *c, struct error *err)
{
    mounts_end_run(c); // a former run's, when its cleaning up has not come to it yet
    for (size_t i = 0; i < c->config.bind_count; i++) {
        const struct bind_mount *b = &c->config.binds[i];
        if (!b->volume)
            continue;
        if (volume_mount(c->service->options.volumes, b->volume, c->id, err) < 0)
            return -1;
        c->has_mounted = true;
        mounts_event(c, b, "mount");
    }
    return 0;
}

void mounts_continue_run(struct container *c)
{
    struct error err;
    for (size_t i = 0; i < c->config.bind_count; i++) {
        const struct bind_mount *b = &c->config.binds[i];
        if (b->volume && volume_mount(c->service->options.volumes, b->volume, c->id, &err) < 0)
            log_warn("container %s: %s", c->id, err.message);
        c->has_mounted |= b->volume != NULL;
    }
}

void mounts_end_run(struct container *c)
{
    if (!c->has_mounted)
        return;
    c->has_mounted = false;
    for (size_t i = 0; i < c->config.bind_count; i++) {
        const struct bind_mount *b = &c->config.binds[i];
        if (!b->volume)
            continue;
        volume_unmount(c->service->options.volumes, b->volume, c->id);
        mounts_event(c, b, "unmount");
    }
}
