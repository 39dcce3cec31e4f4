// Binds (-v), Mounts (--mount), Tmpfs, Volumes and VolumesFrom of a create request.
#include "container/config.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

void bind_mount_done(struct bind_mount *b)
{
    char *texts[] = { b->source, b->target, b->propagation, b->mode, b->volume, b->subpath, b->image };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    strv_free(b->layers);
    json_decref(b->labels);
    json_decref(b->driver_options);
    *b = (struct bind_mount){ 0 };
}

struct bind_mount bind_mount_copy(const struct bind_mount *b)
{
    struct bind_mount copy = *b;
    copy.source = xstrdup(b->source);
    copy.target = xstrdup(b->target);
    copy.propagation = xstrdup(b->propagation);
    copy.mode = xstrdup(b->mode);
    copy.volume = xstrdup(b->volume);
    copy.subpath = xstrdup(b->subpath);
    copy.image = xstrdup(b->image);
    copy.layers = strv_copy(b->layers);
    json_incref(copy.labels);
    json_incref(copy.driver_options);
    return copy;
}

bool config_has_target(const struct container_config *c, const char *target)
{
    for (size_t i = 0; i < c->bind_count; i++)
        if (streq(c->binds[i].target, target))
            return true;
    for (size_t i = 0; i < c->tmpfs_count; i++)
        if (streq(c->tmpfs[i].target, target))
            return true;
    return false;
}

static struct bind_mount *new_bind(struct container_config *c)
{
    c->binds = xreallocarray(c->binds, c->bind_count + 1, sizeof *c->binds);
    struct bind_mount *b = &c->binds[c->bind_count++];
    *b = (struct bind_mount){ .is_recursive = true };
    return b;
}

static void new_tmpfs(struct container_config *c, const char *target, char *options)
{
    c->tmpfs = xreallocarray(c->tmpfs, c->tmpfs_count + 1, sizeof *c->tmpfs);
    c->tmpfs[c->tmpfs_count++] = (struct tmpfs_mount){ .target = xstrdup(target), .options = options };
}

// "/a/./b//" -> "/a/b". Refuses nothing but "..", which has no place in a mount's target.
static char *clean_path(const char *path)
{
    char **parts = strv_split(path, "/", false), **kept = NULL;
    bool climbs = false;
    for (size_t i = 0; parts && parts[i]; i++) {
        if (streq(parts[i], ".."))
            climbs = true;
        if (!streq(parts[i], "."))
            strv_push(&kept, parts[i]);
    }
    char *joined = kept ? strv_join(kept, "/") : xstrdup("");
    char *clean = climbs ? NULL : xasprintf("/%s", joined);
    free(joined);
    strv_free(parts);
    strv_free(kept);
    return clean;
}

static int check_target(const char *type, const char *target, char **ret, struct error *err)
{
    if (str_is_empty(target))
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"%s\": field Target must not be empty", type);
    if (target[0] != '/')
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"%s\": invalid mount path: '%s' mount path must be absolute",
            type, target);
    char *clean = clean_path(target);
    if (!clean)
        return error_set(err, ERROR_INVALID, "invalid mount path: '%s' must not contain \"..\"", target);
    if (streq(clean, "/")) {
        free(clean);
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"%s\": invalid specification: destination can't be '/'", type);
    }
    *ret = clean;
    return 0;
}

int config_clean_target(const char *target, char **ret, struct error *err)
{
    return check_target("bind", target, ret, err);
}

static bool is_propagation(const char *word)
{
    static const char *const known[] = {
        "private", "rprivate", "shared", "rshared", "slave", "rslave", NULL
    };
    for (size_t i = 0; known[i]; i++)
        if (streq(word, known[i]))
            return true;
    return false;
}

static int bind_options(const char *text, struct bind_mount *b, struct error *err)
{
    CLEANUP(strv_freep) char **words = strv_split(text, ",", true);
    bool has_mode = false;
    for (size_t i = 0; words && words[i]; i++) {
        const char *w = words[i];
        if ((streq(w, "ro") || streq(w, "rw")) && !has_mode) {
            b->is_read_only = streq(w, "ro");
            has_mode = true;
        } else if (is_propagation(w) && !b->propagation) {
            b->propagation = xstrdup(w);
        } else if (streq(w, "rbind") || streq(w, "bind")) {
            b->is_recursive = streq(w, "rbind");
        } else if (streq(w, "nocopy")) {
            b->copies_up = false; // binds never do
        } else if (streq(w, "z") || streq(w, "Z")) {
            // SELinux relabelling where there is no SELinux: nothing to be done, as in Docker.
        } else {
            return error_set(err, ERROR_INVALID, "invalid mode: %s", text);
        }
    }
    return 0;
}

// What a -v value says, apart from its options.
static int split_bind(char *const *parts, const char *text, struct bind_mount *b, struct error *err)
{
    size_t n = strv_len(parts);
    bool has_no_target = n == 2 && (streq(parts[1], "ro") || streq(parts[1], "rw"));
    if (n == 0 || n > 3 || str_is_empty(parts[0]) || (n > 1 && str_is_empty(parts[1])) || has_no_target)
        return error_set(err, ERROR_INVALID, "invalid volume specification: '%s'", text);
    b->is_volume = n == 1 || parts[0][0] != '/';
    b->is_anonymous = n == 1;
    b->copies_up = b->is_volume;
    b->creates_source = !b->is_volume;
    if (check_target(b->is_volume ? "volume" : "bind", parts[n == 1 ? 0 : 1], &b->target, err) < 0)
        return error_wrap(err, "invalid volume specification: '%s'", text);
    if (n > 1)
        *(b->is_volume ? &b->volume : &b->source) = xstrdup(parts[0]);
    if (n == 3)
        b->mode = xstrdup(parts[2]);
    return 0;
}

int config_parse_bind(const char *text, struct bind_mount *ret, struct error *err)
{
    CLEANUP(strv_freep) char **parts = strv_split(text, ":", true);
    struct bind_mount b = { .is_recursive = true };
    *ret = (struct bind_mount){ 0 };
    if (split_bind(parts, text, &b, err) == 0 && (!b.mode || bind_options(b.mode, &b, err) == 0)) {
        if (!b.is_volume || !b.propagation) {
            *ret = b;
            return 0;
        }
        error_set(err, ERROR_INVALID,
                  "invalid volume specification: '%s': invalid mount config for type \"volume\": field "
                  "BindOptions must not be specified",
                  text);
    }
    bind_mount_done(&b);
    return -1;
}

static int bind_options_object(const json_t *o, struct bind_mount *b, struct error *err)
{
    const char *key;
    json_t *v;
    bool forces_recursion = false; // which is what a read-only bind gets anyway
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (streq(key, "Propagation") && json_is_string(v)) {
            const char *word = json_string_value(v);
            if (*word && !is_propagation(word))
                return error_set(err, ERROR_INVALID,
                                 "invalid mount config for type \"bind\": invalid propagation mode: %s",
                                 word);
            if (*word)
                free_and_strdup(&b->propagation, word);
        } else if (streq(key, "NonRecursive")) {
            b->is_recursive = !json_is_true(v);
        } else if (streq(key, "CreateMountpoint")) {
            b->creates_source = json_is_true(v);
        } else if (streq(key, "ReadOnlyNonRecursive")) {
            b->is_flat_read_only = json_is_true(v);
        } else if (streq(key, "ReadOnlyForceRecursive")) {
            forces_recursion = json_is_true(v);
        } else if (json_is_true(v)) {
            return error_set(err, ERROR_UNSUPPORTED, "mount option BindOptions.%s is not supported yet", key);
        }
    }
    if ((b->is_flat_read_only || forces_recursion) && !b->is_read_only)
        return error_set(err, ERROR_INVALID,
                         "mount option ReadOnlyNonRecursive or ReadOnlyForceRecursive requires ReadOnly");
    if (forces_recursion && (b->is_flat_read_only || !b->is_recursive))
        return error_set(
            err, ERROR_INVALID,
            "mount options ReadOnlyForceRecursive and (ReadOnly)NonRecursive exclude each other");
    return 0;
}

static bool is_local_path(const char *path)
{
    CLEANUP(strv_freep) char **parts = strv_split(path, "/", false);
    return path[0] != '/' && !strv_contains(parts, "..");
}

static int volume_options_object(const json_t *o, struct bind_mount *b, struct error *err)
{
    const json_t *driver = json_get_object(o, "DriverConfig");
    const char *name = json_get_string(driver, "Name", ""), *subpath = json_get_string(o, "Subpath", "");
    if (*name && !streq(name, "local"))
        return error_set(err, ERROR_NOT_FOUND,
                         "create %s: error looking up volume plugin %s: plugin \"%s\" not found",
                         b->volume ? b->volume : "", name, name);
    if (*subpath && !is_local_path(subpath))
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"volume\": subpath must be a relative path within the "
            "volume");
    if (*subpath && b->is_anonymous)
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous "
            "volumes");
    b->copies_up = !json_get_bool(o, "NoCopy", false) && !*subpath;
    b->subpath = *subpath ? xstrdup(subpath) : NULL;
    b->labels = json_incref(json_get_object(o, "Labels"));
    b->driver_options = json_incref(json_get_object(driver, "Options"));
    return 0;
}

static int parse_volume_mount(const json_t *m, const char *source, char *target, struct container_config *c,
                              struct error *err)
{
    struct bind_mount *b = new_bind(c);
    b->is_volume = true;
    b->is_anonymous = !*source;
    b->volume = *source ? xstrdup(source) : NULL;
    b->target = target;
    b->is_read_only = json_get_bool(m, "ReadOnly", false);
    if (json_object_size(json_get_object(m, "BindOptions")))
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"volume\": field BindOptions must not be specified");
    return volume_options_object(json_get_object(m, "VolumeOptions"), b, err);
}

static int parse_image_mount(const json_t *m, const char *source, char *target, struct container_config *c,
                             struct error *err)
{
    struct bind_mount *b = new_bind(c);
    const char *subpath = json_get_string(json_get_object(m, "ImageOptions"), "Subpath", "");
    b->target = target;
    b->is_read_only = true; // whatever ReadOnly says
    if (json_object_size(json_get_object(m, "BindOptions")))
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"image\": field BindOptions must not be specified");
    if (!*source)
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"image\": field Source must not be empty");
    if (*subpath && !is_local_path(subpath))
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"image\": subpath must be a relative path within the volume");
    b->image = xstrdup(source);
    b->subpath = *subpath ? xstrdup(subpath) : NULL;
    return 0;
}

static int tmpfs_options_object(const json_t *o, bool is_read_only, char **ret, struct error *err)
{
    CLEANUP(str_done) struct str s = STR_INIT;
    int64_t size = json_get_int(o, "SizeBytes", 0), mode = json_get_int(o, "Mode", 0);
    if (size < 0 || mode < 0 || mode > 07777)
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"tmpfs\": size or mode out of range");
    if (json_array_size(json_get_array(o, "Options")))
        return error_set(err, ERROR_UNSUPPORTED, "mount option TmpfsOptions.Options is not supported yet");
    if (is_read_only)
        str_append(&s, "ro,");
    if (mode)
        str_appendf(&s, "mode=%llo,", (unsigned long long)mode);
    if (size)
        str_appendf(&s, "size=%lld,", (long long)size);
    if (s.len)
        s.ptr[--s.len] = 0;
    *ret = str_take(&s);
    return 0;
}

static int parse_mount(const json_t *m, struct container_config *c, struct error *err)
{
    const char *type = json_get_string(m, "Type", ""), *source = json_get_string(m, "Source", "");
    CLEANUP(cleanup_free) char *target = NULL;
    if (streq(type, "cluster") || streq(type, "npipe"))
        return error_set(err, ERROR_UNSUPPORTED, "mounts of type \"%s\" are not supported yet", type);
    if (!streq(type, "bind") && !streq(type, "tmpfs") && !streq(type, "volume") && !streq(type, "image"))
        return error_set(err, ERROR_INVALID, "invalid mount config for type \"%s\": mount type unknown",
                         type);
    if (check_target(type, json_get_string(m, "Target", ""), &target, err) < 0)
        return -1;
    if (streq(type, "volume"))
        return parse_volume_mount(m, source, TAKE_PTR(target), c, err);
    if (streq(type, "image"))
        return parse_image_mount(m, source, TAKE_PTR(target), c, err);
    bool is_read_only = json_get_bool(m, "ReadOnly", false);
    if (streq(type, "tmpfs")) {
        char *options = NULL;
        if (!str_is_empty(source))
            return error_set(err, ERROR_INVALID,
                             "invalid mount config for type \"tmpfs\": field Source must not be specified");
        if (tmpfs_options_object(json_get_object(m, "TmpfsOptions"), is_read_only, &options, err) < 0)
            return -1;
        new_tmpfs(c, target, options);
        return 0;
    }
    if (str_is_empty(source))
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"bind\": field Source must not be empty");
    if (source[0] != '/')
        return error_set(
            err, ERROR_INVALID,
            "invalid mount config for type \"bind\": invalid mount path: '%s' mount path must be absolute",
            source);
    struct bind_mount *b = new_bind(c);
    b->source = xstrdup(source);
    b->target = TAKE_PTR(target);
    b->is_read_only = is_read_only;
    return bind_options_object(json_get_object(m, "BindOptions"), b, err);
}

static bool tmpfs_options_are_valid(const char *text)
{
    static const char *const flags[] = {
        "ro",         "rw",       "exec",       "noexec",      "suid",          "nosuid",
        "dev",        "nodev",    "sync",       "async",       "dirsync",       "atime",
        "noatime",    "relatime", "norelatime", "strictatime", "nostrictatime", "diratime",
        "nodiratime", "remount",  "mand",       "nomand",      "defaults",      NULL
    };
    static const char *const data[] = { "size=",      "mode=",      "uid=",  "gid=",
                                        "nr_inodes=", "nr_blocks=", "mpol=", NULL };
    char **words = strv_split(text, ",", false);
    bool is_valid = true;
    for (size_t i = 0; is_valid && words && words[i]; i++) {
        bool is_known = false;
        for (size_t k = 0; flags[k]; k++)
            is_known |= streq(words[i], flags[k]);
        for (size_t k = 0; data[k]; k++)
            is_known |= str_has_prefix(words[i], data[k]);
        is_valid = is_known;
    }
    strv_free(words);
    return is_valid;
}

static int parse_tmpfs(const json_t *tmpfs, struct container_config *c, struct error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)tmpfs, key, v)
    {
        CLEANUP(cleanup_free) char *target = NULL;
        const char *options = json_is_string(v) ? json_string_value(v) : "";
        if (check_target("tmpfs", key, &target, err) < 0)
            return -1;
        if (!tmpfs_options_are_valid(options))
            return error_set(err, ERROR_INVALID, "invalid tmpfs option %s", options);
        new_tmpfs(c, target, xstrdup(options));
    }
    return 0;
}

static int check_duplicates(const struct container_config *c, struct error *err)
{
    for (size_t i = 0; i < c->bind_count; i++) {
        for (size_t k = i + 1; k < c->bind_count; k++)
            if (streq(c->binds[i].target, c->binds[k].target))
                return error_set(err, ERROR_INVALID, "Duplicate mount point: %s", c->binds[i].target);
        for (size_t k = 0; k < c->tmpfs_count; k++)
            if (streq(c->binds[i].target, c->tmpfs[k].target))
                return error_set(err, ERROR_INVALID, "Duplicate mount point: %s", c->binds[i].target);
    }
    return 0;
}

int config_parse_mounts(const json_t *host_config, struct container_config *ret, struct error *err)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_get_array(host_config, "Binds"), i, v)
    {
        struct bind_mount b;
        if (config_parse_bind(json_is_string(v) ? json_string_value(v) : "", &b, err) < 0)
            return -1;
        *new_bind(ret) = b;
    }
    json_array_foreach(json_get_array(host_config, "Mounts"), i,
                       v) if (parse_mount(v, ret, err) < 0) return -1;
    if (parse_tmpfs(json_get_object(host_config, "Tmpfs"), ret, err) < 0)
        return -1;
    ret->volumes_from = json_get_strv(host_config, "VolumesFrom");
    return check_duplicates(ret, err);
}

// "../../etc//x/." -> "/etc/x": a path as seen from the container's root, out of which nothing leads.
static char *path_in_root(const char *path)
{
    CLEANUP(strv_freep) char **parts = strv_split(path, "/", false);
    CLEANUP(str_done) struct str clean = STR_INIT;
    for (size_t i = 0; parts && parts[i]; i++) {
        if (streq(parts[i], "..")) {
            const char *slash = strrchr(clean.ptr, '/');
            clean.len = slash ? (size_t)(slash - clean.ptr) : 0;
            if (clean.cap)
                clean.ptr[clean.len] = 0;
        } else if (!streq(parts[i], ".")) {
            str_appendf(&clean, "/%s", parts[i]);
        }
    }
    return clean.len ? str_take(&clean) : xstrdup("/");
}

int config_parse_declared_volumes(const json_t *config, struct container_config *ret, struct error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(json_get_object(config, "Volumes"), key, v)
    {
        char *target = path_in_root(key);
        strv_take(&ret->declared_volumes, target);
        if (streq(target, "/"))
            return error_set(err, ERROR_INVALID,
                             "invalid volume specification: '%s': destination can't be '/'", key);
    }
    return 0;
}
