// -v, --mount, --tmpfs, --volumes-from.
#include "cli/create.h"

#include "base/mem.h"
#include "base/num.h"
#include "codec/json.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

char **create_split_csv(const char *text)
{
    char **fields = NULL;
    for (const char *p = text;;) {
        struct str field = STR_INIT;
        bool quoted = *p == '"';
        p += quoted;
        while (*p && (quoted || *p != ',')) {
            if (quoted && *p == '"') {
                if (p[1] != '"') {
                    quoted = false;
                    p++;
                    continue;
                }
                p++;
            }
            str_append_char(&field, *p++);
        }
        strv_take(&fields, str_take(&field));
        if (!*p)
            return fields;
        p++;
    }
}

// Relative paths are the client's, so the client makes them absolute.
static char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (path[0] != '.' || (path[1] && path[1] != '/' && path[1] != '.') || !getcwd(here, sizeof here))
        return xstrdup(path);
    struct str full = STR_INIT;
    str_append(&full, here);
    char **parts CLEANUP(strv_freep) = strv_split(path, "/", false);
    for (size_t i = 0; parts && parts[i]; i++) {
        if (streq(parts[i], "."))
            continue;
        if (streq(parts[i], "..")) {
            char *slash = strrchr(full.ptr, '/');
            full.len = slash ? (size_t)(slash - full.ptr) : 0;
            full.ptr[full.len] = '\0';
            continue;
        }
        str_appendf(&full, "/%s", parts[i]);
    }
    if (full.len == 0)
        str_append_char(&full, '/');
    return str_take(&full);
}

int create_volume(const char *spec, json_t *volumes, json_t *binds, struct error *err)
{
    size_t colons = 0;
    for (const char *p = spec; *p; p++)
        colons += *p == ':';
    if (!*spec)
        return error_set(err, ERROR_INVALID, "invalid empty volume spec");
    if (colons > 2)
        return error_set(err, ERROR_INVALID, "invalid spec: %s: too many colons", spec);
    if (colons == 0) {
        json_object_set_new(volumes, spec, json_object());
        return 0;
    }
    const char *colon = strchr(spec, ':');
    if (colon == spec || colon[1] == '\0' || colon[1] == ':')
        return error_set(err, ERROR_INVALID, "invalid spec: %s: empty section between colons", spec);
    char *source CLEANUP(cleanup_free) = xstrndup(spec, (size_t)(colon - spec));
    char *path CLEANUP(cleanup_free) = absolute(source);
    char *bind CLEANUP(cleanup_free) = xasprintf("%s%s", path, colon);
    json_array_append_new(binds, json_string(bind));
    return 0;
}

static json_t *member_object(json_t *object, const char *key)
{
    json_t *member = json_object_get(object, key);
    if (!member) {
        member = json_object();
        json_object_set_new(object, key, member);
    }
    return member;
}

static bool truth(const char *value, bool has_value)
{
    return !has_value || streq(value, "true") || streq(value, "1");
}

static void set_pair(json_t *object, const char *key, const char *pair)
{
    const char *equals = strchr(pair, '=');
    char *name CLEANUP(cleanup_free) = xstrndup(pair, equals ? (size_t)(equals - pair) : strlen(pair));
    json_set_string(member_object(object, key), name, equals ? equals + 1 : "");
}

// The keys that are one string or switch in the document.
static const struct mount_key {
    const char *name, *section, *field; // section NULL: the mount itself
    bool is_switch;
} mount_keys[] = {
    { "type", NULL, "Type", false },
    { "source", NULL, "Source", false },
    { "src", NULL, "Source", false },
    { "target", NULL, "Target", false },
    { "dst", NULL, "Target", false },
    { "destination", NULL, "Target", false },
    { "readonly", NULL, "ReadOnly", true },
    { "ro", NULL, "ReadOnly", true },
    { "consistency", NULL, "Consistency", false },
    { "bind-propagation", "BindOptions", "Propagation", false },
    { "bind-nonrecursive", "BindOptions", "NonRecursive", true },
    { "bind-create-src", "BindOptions", "CreateMountpoint", true },
    { "volume-nocopy", "VolumeOptions", "NoCopy", true },
    { "volume-subpath", "VolumeOptions", "Subpath", false },
    { "image-subpath", "ImageOptions", "Subpath", false },
};

static int set_special_key(json_t *mount, const char *key, const char *value, struct error *err)
{
    int64_t size;
    uint32_t mode;
    if (streq(key, "volume-label")) {
        set_pair(member_object(mount, "VolumeOptions"), "Labels", value);
    } else if (streq(key, "volume-driver")) {
        json_set_string(member_object(member_object(mount, "VolumeOptions"), "DriverConfig"), "Name", value);
    } else if (streq(key, "volume-opt")) {
        set_pair(member_object(member_object(mount, "VolumeOptions"), "DriverConfig"), "Options", value);
    } else if (streq(key, "tmpfs-size")) {
        if (!parse_size_bytes(value, &size))
            return error_set(err, ERROR_INVALID, "invalid value for %s: %s", key, value);
        json_set_int(member_object(mount, "TmpfsOptions"), "SizeBytes", size);
    } else if (streq(key, "tmpfs-mode")) {
        if (!parse_octal(value, 07777, &mode))
            return error_set(err, ERROR_INVALID, "invalid value for %s: %s", key, value);
        json_set_int(member_object(mount, "TmpfsOptions"), "Mode", mode);
    } else if (streq(key, "bind-recursive")) {
        static const char *const fields[][2] = { { "disabled", "NonRecursive" },
                                                 { "writable", "ReadOnlyNonRecursive" },
                                                 { "readonly", "ReadOnlyForceRecursive" } };
        bool is_known = streq(value, "enabled");
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            if (streq(value, fields[i][0])) {
                json_set_bool(member_object(mount, "BindOptions"), fields[i][1], true);
                is_known = true;
            }
        if (!is_known)
            return error_set(err, ERROR_INVALID, "invalid value for %s: %s", key, value);
    } else {
        return error_set(err, ERROR_INVALID, "unexpected key '%s' in '%s=%s'", key, key, value);
    }
    return 0;
}

static int set_mount_key(json_t *mount, const char *key, const char *value, bool has_value, struct error *err)
{
    for (size_t i = 0; i < sizeof mount_keys / sizeof *mount_keys; i++) {
        const struct mount_key *k = &mount_keys[i];
        if (strcasecmp(k->name, key) != 0)
            continue;
        json_t *object = k->section ? member_object(mount, k->section) : mount;
        if (k->is_switch) {
            json_set_bool(object, k->field, truth(value, has_value));
            return 0;
        }
        if (!has_value)
            return error_set(err, ERROR_INVALID, "invalid field '%s' must be a key=value pair", key);
        char *path CLEANUP(cleanup_free) = streq(k->field, "Source") ? absolute(value) : xstrdup(value);
        json_set_string(object, k->field, path);
        return 0;
    }
    if (!has_value)
        return error_set(err, ERROR_INVALID, "invalid field '%s' must be a key=value pair", key);
    return set_special_key(mount, key, value, err);
}

// What the engine would refuse, or cannot see any more.
static int check_mount(const json_t *mount, struct error *err)
{
    static const char *const sections[][2] = { { "bind", "BindOptions" },
                                               { "volume", "VolumeOptions" },
                                               { "tmpfs", "TmpfsOptions" },
                                               { "image", "ImageOptions" } };
    const json_t *bind = json_get_object(mount, "BindOptions");
    const char *type = json_get_string(mount, "Type", "");
    bool is_read_only = json_get_bool(mount, "ReadOnly", false);
    if (!json_object_get(mount, "Target"))
        return error_set(err, ERROR_INVALID, "target is required");
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (json_object_get(mount, sections[i][1]) && !streq(type, sections[i][0]))
            return error_set(err, ERROR_INVALID, "cannot mix '%s-*' options with mount type '%s'",
                             sections[i][0], type);
    if (json_get_bool(bind, "ReadOnlyNonRecursive", false) && !is_read_only)
        return error_set(
            err, ERROR_INVALID,
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
    if (json_get_bool(bind, "ReadOnlyForceRecursive", false) && !is_read_only)
        return error_set(
            err, ERROR_INVALID,
            "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
    if (json_get_bool(bind, "ReadOnlyForceRecursive", false) &&
        !streq(json_get_string(bind, "Propagation", ""), "rprivate"))
        return error_set(
            err, ERROR_INVALID,
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in "
            "conjunction");
    return 0;
}

int create_mount(const struct options *options, const char *name, const char *spec, json_t *mounts,
                 struct error *err)
{
    char **fields CLEANUP(strv_freep) = create_split_csv(spec);
    json_t *mount = json_object();
    struct error why = { 0 };
    json_array_append_new(mounts, mount);
    json_set_string(mount, "Type", "volume");
    for (char **f = fields; *f; f++) {
        char *equals = strchr(*f, '=');
        if (equals)
            *equals = '\0';
        if (set_mount_key(mount, *f, equals ? equals + 1 : "", equals != NULL, &why) < 0)
            return options_invalid(options, name, spec, err, "%s", why.message);
    }
    return check_mount(mount, &why) < 0 ? options_invalid(options, name, spec, err, "%s", why.message) : 0;
}

int create_add_volumes(const struct options *options, json_t *config, json_t *host, struct error *err)
{
    json_t *volumes CLEANUP(json_cleanup) = json_object(), *binds CLEANUP(json_cleanup) = json_array();
    json_t *mounts CLEANUP(json_cleanup) = json_array(), *tmpfs CLEANUP(json_cleanup) = json_object();
    for (char *const *v = options_list(options, "volume"); *v; v++)
        if (create_volume(*v, volumes, binds, err) < 0)
            return -1;
    for (char *const *v = options_list(options, "mount"); *v; v++)
        if (create_mount(options, "mount", *v, mounts, err) < 0)
            return -1;
    for (char *const *v = options_list(options, "tmpfs"); *v; v++) {
        const char *colon = strchr(*v, ':');
        char *path CLEANUP(cleanup_free) = xstrndup(*v, colon ? (size_t)(colon - *v) : strlen(*v));
        json_set_string(tmpfs, path, colon ? colon + 1 : "");
    }
    if (json_object_size(volumes))
        json_object_set(config, "Volumes", volumes);
    if (json_array_size(binds))
        json_object_set(host, "Binds", binds);
    if (json_array_size(mounts))
        json_object_set(host, "Mounts", mounts);
    if (json_object_size(tmpfs))
        json_object_set(host, "Tmpfs", tmpfs);
    if (*options_list(options, "volumes-from"))
        json_object_set_new(host, "VolumesFrom", json_from_strv(options_list(options, "volumes-from")));
    return 0;
}
