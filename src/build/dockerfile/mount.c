#include "build/dockerfile/instruction.h"

#include "base/mem.h"
#include "base/num.h"
#include "build/dockerfile/arguments.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

struct mount_reader {
    struct dockerfile_mount *mount;
    bool says_access; // readonly or readwrite was given
    struct error *err;
};

static const char *const type_names[] = { "bind", "cache", "tmpfs", "secret", "ssh", NULL };
static const char *const sharing_names[] = { "", "shared", "private", "locked", NULL };

// The place of a name in a table that ends with NULL, -1 when it is not there.
static int name_index(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcasecmp(names[i], name) == 0)
            return i;
    return -1;
}

static int invalid_value(struct mount_reader *r, const char *key, const char *value)
{
    return error_set(r->err, ERROR_INVALID, "invalid value for %s: %s", key, value);
}

static int unexpected_key(struct mount_reader *r, const char *key)
{
    return error_set(r->err, ERROR_INVALID, "unexpected key '%s' for mount type '%s'", key,
                     type_names[r->mount->type]);
}

static bool parse_bool(const char *value, bool *ret)
{
    static const char *const yes[] = { "1", "t", "true", NULL }, *const no[] = { "0", "f", "false", NULL };
    *ret = name_index(yes, value) >= 0;
    return *ret || name_index(no, value) >= 0;
}

// --- one key at a time

static int read_type(struct mount_reader *r, const char *key, const char *value)
{
    int type = name_index(type_names, value);
    (void)key;
    if (type < 0) {
        (void)error_set(r->err, ERROR_INVALID, "unsupported mount type \"%s\"", value);
        dockerfile_error_suggest(r->err, value, type_names);
        return -1;
    }
    r->mount->type = (enum dockerfile_mount_type)type;
    return 0;
}

static int read_sharing(struct mount_reader *r, const char *key, const char *value)
{
    int sharing = name_index(sharing_names, value);
    (void)key;
    if (sharing <= 0) {
        (void)error_set(r->err, ERROR_INVALID, "unsupported sharing value \"%s\"", value);
        dockerfile_error_suggest(r->err, value, sharing_names + 1);
        return -1;
    }
    r->mount->sharing = (enum dockerfile_sharing)sharing;
    return 0;
}

static int read_from(struct mount_reader *r, const char *key, const char *value)
{
    (void)key;
    free_and_strdup(&r->mount->from, value);
    return 0;
}

static int read_source(struct mount_reader *r, const char *key, const char *value)
{
    (void)key;
    free_and_strdup(&r->mount->source, value);
    return 0;
}

static int read_target(struct mount_reader *r, const char *key, const char *value)
{
    (void)key;
    free_and_strdup(&r->mount->target, value);
    return 0;
}

static int read_id(struct mount_reader *r, const char *key, const char *value)
{
    (void)key;
    free_and_strdup(&r->mount->id, value);
    return 0;
}

static int read_env(struct mount_reader *r, const char *key, const char *value)
{
    (void)key;
    free_and_strdup(&r->mount->env, value);
    return 0;
}

static int read_access(struct mount_reader *r, const char *key, const char *value)
{
    bool yes;
    if (!parse_bool(value, &yes))
        return invalid_value(r, key, value);
    bool is_about_writing = streq(key, "rw") || streq(key, "readwrite");
    r->mount->is_read_only = is_about_writing ? !yes : yes;
    r->says_access = true;
    return 0;
}

static int read_required(struct mount_reader *r, const char *key, const char *value)
{
    if (r->mount->type != DOCKERFILE_MOUNT_SECRET && r->mount->type != DOCKERFILE_MOUNT_SSH)
        return unexpected_key(r, key);
    if (!parse_bool(value, &r->mount->is_required))
        return invalid_value(r, key, value);
    return 0;
}

static int read_size(struct mount_reader *r, const char *key, const char *value)
{
    if (r->mount->type != DOCKERFILE_MOUNT_TMPFS)
        return unexpected_key(r, key);
    if (!parse_size_bytes(value, &r->mount->size_bytes))
        return invalid_value(r, key, value);
    return 0;
}

static int read_mode(struct mount_reader *r, const char *key, const char *value)
{
    if (!parse_octal(value, UINT32_MAX, &r->mount->mode))
        return error_set(r->err, ERROR_INVALID, "invalid value %s for %s", value, key);
    r->mount->has_mode = true;
    return 0;
}

static int read_owner(struct mount_reader *r, const char *key, const char *value)
{
    bool is_user = streq(key, "uid");
    if (!parse_u32(value, UINT32_MAX, is_user ? &r->mount->uid : &r->mount->gid))
        return error_set(r->err, ERROR_INVALID, "invalid value %s for %s", value, key);
    *(is_user ? &r->mount->has_uid : &r->mount->has_gid) = true;
    return 0;
}

static const struct mount_key {
    const char *name;
    int (*read)(struct mount_reader *r, const char *key, const char *value);
    bool needs_no_value; // alone it says "true"
} mount_keys[] = {
    { "type", read_type, false },
    { "from", read_from, false },
    { "source", read_source, false },
    { "src", read_source, false },
    { "target", read_target, false },
    { "dst", read_target, false },
    { "destination", read_target, false },
    { "readonly", read_access, true },
    { "ro", read_access, true },
    { "readwrite", read_access, true },
    { "rw", read_access, true },
    { "required", read_required, true },
    { "size", read_size, false },
    { "id", read_id, false },
    { "sharing", read_sharing, false },
    { "mode", read_mode, false },
    { "uid", read_owner, false },
    { "gid", read_owner, false },
    { "env", read_env, false },
};

enum { MOUNT_KEY_COUNT = sizeof mount_keys / sizeof *mount_keys };

static const struct mount_key *find_key(const char *name)
{
    for (size_t i = 0; i < MOUNT_KEY_COUNT; i++)
        if (streq(mount_keys[i].name, name))
            return &mount_keys[i];
    return NULL;
}

static int unknown_key(struct mount_reader *r, const char *key, const char *field)
{
    const char *names[MOUNT_KEY_COUNT + 1] = { 0 };
    for (size_t i = 0; i < MOUNT_KEY_COUNT; i++)
        names[i] = mount_keys[i].name;
    (void)error_set(r->err, ERROR_INVALID, "unexpected key '%s' in '%s'", key, field);
    dockerfile_error_suggest(r->err, key, names);
    return -1;
}

// "key" and "key=value"; the key in lower case. *ret_value borrowed from field, NULL without '='.
static char *split_field(const char *field, const char **ret_value)
{
    size_t n = strcspn(field, "=");
    char *key = xstrndup(field, n);
    for (char *s = key; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
    *ret_value = field[n] ? field + n + 1 : NULL;
    return key;
}

// Before variables are known: which stage or image the mount is from, which must not depend on them.
static int read_field_early(struct mount_reader *r, const char *key, const char *value)
{
    if (!streq(key, "from") || !value)
        return 0;
    const char *dollar = strchr(value, '$');
    if (dollar && dollar[1])
        return error_set(r->err, ERROR_INVALID,
                         "'%s' doesn't support variable expansion, define alias stage instead", key);
    return read_from(r, key, value);
}

static int read_field(struct mount_reader *r, const char *field,
                      int (*expand)(void *data, const char *value, char **ret, struct error *err), void *data)
{
    const char *value;
    char *key CLEANUP(cleanup_free) = split_field(field, &value);
    char *expanded CLEANUP(cleanup_free) = NULL;
    if (!expand)
        return read_field_early(r, key, value);
    const struct mount_key *known = find_key(key);
    if (!value && !(known && known->needs_no_value))
        return error_set(r->err, ERROR_INVALID, "invalid field '%s' must be a key=value pair", field);
    if (!known)
        return unknown_key(r, key, field);
    if (value && expand(data, value, &expanded, r->err) < 0)
        return -1;
    return known->read(r, key, value ? expanded : "true");
}

// --- what goes together

static int check_secret(const struct dockerfile_mount *m, struct error *err)
{
    if (m->from && *m->from)
        return error_set(err, ERROR_INVALID, "secret mount should not have a from");
    if (m->sharing != DOCKERFILE_SHARING_UNSET)
        return error_set(err, ERROR_INVALID, "secret mount should not define sharing");
    if (str_is_empty(m->source) && str_is_empty(m->target) && str_is_empty(m->id))
        return error_set(err, ERROR_INVALID, "invalid secret mount. one of source, target required");
    if (!str_is_empty(m->source) && !str_is_empty(m->id))
        return error_set(err, ERROR_INVALID, "both source and id can't be set");
    return 0;
}

static int check(const struct dockerfile_mount *m, struct error *err)
{
    bool has_owner = m->type != DOCKERFILE_MOUNT_BIND && m->type != DOCKERFILE_MOUNT_TMPFS;
    const char *unwanted = m->has_mode ? "mode" : m->has_uid ? "uid" : m->has_gid ? "gid" : NULL;
    if (unwanted && !has_owner)
        return error_set(err, ERROR_INVALID, "%s not allowed for \"%s\" type mounts", unwanted,
                         type_names[m->type]);
    if (m->type == DOCKERFILE_MOUNT_SECRET && check_secret(m, err) < 0)
        return -1;
    if (m->sharing != DOCKERFILE_SHARING_UNSET && m->type != DOCKERFILE_MOUNT_CACHE)
        return error_set(err, ERROR_INVALID, "invalid cache sharing set for %s mount", type_names[m->type]);
    return 0;
}

int dockerfile_mount_read(const char *text,
                          int (*expand)(void *data, const char *value, char **ret, struct error *err),
                          void *data, struct dockerfile_mount *ret, struct error *err)
{
    struct dockerfile_mount CLEANUP(dockerfile_mount_done) mount = { 0 };
    struct mount_reader r = { .mount = &mount, .err = err };
    char **fields CLEANUP(strv_freep) = NULL;
    if (arguments_comma_separated(text, &fields, err) < 0)
        return error_wrap(err, "failed to parse csv mounts");
    for (size_t i = 0; fields[i]; i++)
        if (read_field(&r, fields[i], expand, data) < 0)
            return -1;
    if (expand && check(&mount, err) < 0)
        return -1;
    if (!r.says_access)
        mount.is_read_only = mount.type != DOCKERFILE_MOUNT_CACHE && mount.type != DOCKERFILE_MOUNT_TMPFS;
    *ret = mount;
    mount = (struct dockerfile_mount){ 0 };
    return 0;
}

void dockerfile_mount_done(struct dockerfile_mount *mount)
{
    free(mount->from);
    free(mount->source);
    free(mount->target);
    free(mount->id);
    free(mount->env);
    *mount = (struct dockerfile_mount){ 0 };
}
