// Theory of operation. The document is read once, top down, into plain structs. A `struct in` carries the
// error and is sticky: after the first failure every reader below does nothing, so that the code reads as a
// list of members and the result is checked once at the end. Every reader names the member it disliked
// ("process.user.uid must be ..."). Absent and null members are the same. Everything read is owned by the
// config from the moment it is stored, so a failed parse is undone by the ordinary oci_runtime_config_done.
#include "oci/runtime_config.h"

#include "base/mem.h"
#include "base/str.h"

#include <limits.h>
#include <string.h>

enum { ARRAY_MAX = 65536 }; // members of any array: a bound, not a promise

struct in {
    struct error *err;
    bool has_failed;
};

static void fail(struct in *in, const char *where, const char *key, const char *what)
{
    if (!in->has_failed)
        error_set(in->err, ERROR_INVALID, "invalid config: %s%s%s %s", where, *where && *key ? "." : "", key,
                  what);
    in->has_failed = true;
}

// The member, or NULL when it is absent, null, or of another type (which is a failure).
static const json_t *member(struct in *in, const json_t *object, const char *where, const char *key,
                            json_type type, const char *what)
{
    const json_t *v = in->has_failed ? NULL : json_object_get(object, key);
    if (!v || json_is_null(v))
        return NULL;
    if (json_typeof(v) != type) {
        fail(in, where, key, what);
        return NULL;
    }
    return v;
}

static const json_t *in_object(struct in *in, const json_t *object, const char *where, const char *key)
{
    return member(in, object, where, key, JSON_OBJECT, "must be an object");
}

static const json_t *in_array(struct in *in, const json_t *object, const char *where, const char *key)
{
    const json_t *v = member(in, object, where, key, JSON_ARRAY, "must be an array");
    if (json_array_size(v) > ARRAY_MAX) {
        fail(in, where, key, "has too many members");
        return NULL;
    }
    return v;
}

static bool text_is_clean(const json_t *v)
{
    return strlen(json_string_value(v)) == json_string_length(v); // a NUL would cut the string short
}

static void in_string(struct in *in, const json_t *object, const char *where, const char *key, char **ret)
{
    const json_t *v = member(in, object, where, key, JSON_STRING, "must be a string");
    if (!v)
        return;
    if (!text_is_clean(v)) {
        fail(in, where, key, "must not contain NUL");
        return;
    }
    free_and_strdup(ret, json_string_value(v));
}

static void in_bool(struct in *in, const json_t *object, const char *where, const char *key, bool *ret)
{
    const json_t *v = in->has_failed ? NULL : json_object_get(object, key);
    if (!v || json_is_null(v))
        return;
    if (!json_is_boolean(v))
        fail(in, where, key, "must be true or false");
    else
        *ret = json_is_true(v);
}

// True when there is a number, and then *ret is it.
static bool in_int(struct in *in, const json_t *object, const char *where, const char *key, int64_t min,
                   int64_t max, int64_t *ret)
{
    const json_t *v = member(in, object, where, key, JSON_INTEGER, "must be a whole number");
    if (!v)
        return false;
    if (json_integer_value(v) < min || json_integer_value(v) > max) {
        fail(in, where, key, "is out of range");
        return false;
    }
    *ret = json_integer_value(v);
    return true;
}

static uint32_t in_u32(struct in *in, const json_t *object, const char *where, const char *key)
{
    int64_t v = 0;
    in_int(in, object, where, key, 0, UINT32_MAX, &v);
    return (uint32_t)v;
}

static uint64_t in_u64(struct in *in, const json_t *object, const char *where, const char *key)
{
    int64_t v = 0;
    in_int(in, object, where, key, 0, INT64_MAX, &v);
    return (uint64_t)v;
}

static void in_strv(struct in *in, const json_t *object, const char *where, const char *key, char ***ret)
{
    const json_t *array = in_array(in, object, where, key);
    if (!array)
        return;
    char **v = xcalloc(json_array_size(array) + 1, sizeof *v);
    strv_free(*ret);
    *ret = v;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item) || !text_is_clean(item)) {
            fail(in, where, key, "must hold strings only");
            return;
        }
        v[i] = xstrdup(json_string_value(item));
    }
}

// An object of strings as "key=value" texts.
static void in_pairs(struct in *in, const json_t *object, const char *where, const char *key, char ***ret)
{
    const json_t *pairs = in_object(in, object, where, key), *v;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)pairs, name, v)
    {
        if (!json_is_string(v) || !text_is_clean(v)) {
            fail(in, where, key, "must hold strings only");
            return;
        }
        strv_take(ret, xasprintf("%s=%s", name, json_string_value(v)));
    }
}

// --- process

static void in_capset(struct in *in, const json_t *object, const char *key, oci_capset *ret)
{
    char **names CLEANUP(strv_freep) = NULL;
    in_strv(in, object, "process.capabilities", key, &names);
    for (size_t i = 0; names && names[i]; i++) {
        int n = oci_capability_number(names[i]);
        if (n >= 0) // a name that this kernel's headers do not know is passed over, as the spec asks
            *ret |= (oci_capset)1 << n;
    }
}

static void in_capabilities(struct in *in, const json_t *process, struct oci_process *p)
{
    const json_t *caps = in_object(in, process, "process", "capabilities");
    if (!caps)
        return;
    p->has_capabilities = true;
    in_capset(in, caps, "bounding", &p->capabilities.bounding);
    in_capset(in, caps, "effective", &p->capabilities.effective);
    in_capset(in, caps, "inheritable", &p->capabilities.inheritable);
    in_capset(in, caps, "permitted", &p->capabilities.permitted);
    in_capset(in, caps, "ambient", &p->capabilities.ambient);
}

static void in_user(struct in *in, const json_t *process, struct oci_user *user)
{
    static const char where[] = "process.user";
    const json_t *o = in_object(in, process, "process", "user");
    if (!o)
        return;
    user->uid = in_u32(in, o, where, "uid");
    user->gid = in_u32(in, o, where, "gid");
    int64_t umask_bits = 0;
    user->has_umask = in_int(in, o, where, "umask", 0, 07777, &umask_bits);
    user->umask = (uint32_t)umask_bits;
    const json_t *gids = in_array(in, o, where, "additionalGids");
    user->additional_gids = gids ? xcalloc(json_array_size(gids), sizeof *user->additional_gids) : NULL;
    for (size_t i = 0; i < json_array_size(gids); i++) {
        const json_t *g = json_array_get(gids, i);
        if (!json_is_integer(g) || json_integer_value(g) < 0 || json_integer_value(g) > UINT32_MAX) {
            fail(in, where, "additionalGids", "must hold group ids");
            return;
        }
        user->additional_gids[user->additional_gid_count++] = (uint32_t)json_integer_value(g);
    }
}

// A limit may be RLIM_INFINITY, which is above int64: writers give -1, 2^64-1 as a real number, or a whole
// number.
static uint64_t in_limit(struct in *in, const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    if (json_is_real(v) && json_real_value(v) >= 9223372036854775808.0)
        return UINT64_MAX;
    int64_t n = 0;
    if (!in_int(in, object, "process.rlimits", key, -1, INT64_MAX, &n))
        fail(in, "process.rlimits", key, "is missing");
    return n < 0 ? UINT64_MAX : (uint64_t)n;
}

static void in_rlimits(struct in *in, const json_t *process, struct oci_process *p)
{
    static const char where[] = "process.rlimits";
    const json_t *array = in_array(in, process, "process", "rlimits");
    p->rlimits = array ? xcalloc(json_array_size(array), sizeof *p->rlimits) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        char *type CLEANUP(cleanup_free) = NULL;
        in_string(in, o, where, "type", &type);
        struct oci_rlimit r = { .resource = type ? oci_rlimit_number(type) : -1 };
        if (r.resource < 0)
            fail(in, where, "type", "is not a resource limit");
        for (size_t k = 0; k < p->rlimit_count; k++)
            if (p->rlimits[k].resource == r.resource)
                fail(in, where, "type", "is given twice");
        r.hard = in_limit(in, o, "hard");
        r.soft = in_limit(in, o, "soft");
        if (r.soft > r.hard)
            fail(in, where, "soft", "is above hard");
        p->rlimits[p->rlimit_count++] = r;
    }
}

static void in_process(struct in *in, const json_t *o, struct oci_process *p)
{
    static const char where[] = "process";
    in_bool(in, o, where, "terminal", &p->has_terminal);
    const json_t *size = in_object(in, o, where, "consoleSize");
    int64_t n = 0;
    if (size && in_int(in, size, "process.consoleSize", "height", 0, UINT16_MAX, &n))
        p->console_height = (unsigned)n;
    if (size && in_int(in, size, "process.consoleSize", "width", 0, UINT16_MAX, &n))
        p->console_width = (unsigned)n;
    in_user(in, o, &p->user);
    in_strv(in, o, where, "args", &p->args);
    in_strv(in, o, where, "env", &p->env);
    in_string(in, o, where, "cwd", &p->cwd);
    in_capabilities(in, o, p);
    in_rlimits(in, o, p);
    in_bool(in, o, where, "noNewPrivileges", &p->no_new_privileges);
    if (in_int(in, o, where, "oomScoreAdj", -1000, 1000, &n)) {
        p->has_oom_score_adj = true;
        p->oom_score_adj = (int)n;
    }
    in_string(in, o, where, "apparmorProfile", &p->apparmor_profile);
    in_string(in, o, where, "selinuxLabel", &p->selinux_label);
    if (strv_len(p->args) == 0)
        fail(in, where, "args", "must not be empty");
    if (!p->cwd || p->cwd[0] != '/')
        fail(in, where, "cwd", "must be an absolute path");
}

// --- mounts, namespaces, devices

static void in_mounts(struct in *in, const json_t *document, struct oci_runtime_config *c)
{
    static const char where[] = "mounts";
    const json_t *array = in_array(in, document, "", "mounts");
    c->mounts = array ? xcalloc(json_array_size(array), sizeof *c->mounts) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        struct oci_mount *m = &c->mounts[c->mount_count++];
        in_string(in, o, where, "destination", &m->destination);
        in_string(in, o, where, "type", &m->type);
        in_string(in, o, where, "source", &m->source);
        in_strv(in, o, where, "options", &m->options);
        if (!m->destination || m->destination[0] != '/')
            fail(in, where, "destination", "must be an absolute path");
    }
}

static const char *const namespace_names[OCI_NS_COUNT] = { "pid", "network", "mount",  "ipc",
                                                           "uts", "user",    "cgroup", "time" };

static void in_namespaces(struct in *in, const json_t *linux_object, struct oci_runtime_config *c)
{
    static const char where[] = "linux.namespaces";
    const json_t *array = in_array(in, linux_object, "linux", "namespaces");
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        char *type CLEANUP(cleanup_free) = NULL;
        in_string(in, o, where, "type", &type);
        int n = 0;
        while (n < OCI_NS_COUNT && !streq(namespace_names[n], type))
            n++;
        if (n == OCI_NS_COUNT || c->namespaces[n].is_present) {
            fail(in, where, "type", n == OCI_NS_COUNT ? "is not a namespace" : "is given twice");
            return;
        }
        c->namespaces[n].is_present = true;
        in_string(in, o, where, "path", &c->namespaces[n].path);
        if (c->namespaces[n].path && !*c->namespaces[n].path) {
            free(c->namespaces[n].path); // Go writers leave an empty string for "none"
            c->namespaces[n].path = NULL;
        }
    }
}

static void in_id_mappings(struct in *in, const json_t *linux_object, const char *key,
                           struct oci_id_mapping **ret, size_t *count)
{
    const json_t *array = in_array(in, linux_object, "linux", key);
    struct oci_id_mapping *maps = *ret = array ? xcalloc(json_array_size(array), sizeof *maps) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        struct oci_id_mapping m = { in_u32(in, o, key, "containerID"), in_u32(in, o, key, "hostID"),
                                    in_u32(in, o, key, "size") };
        if (m.size == 0 || m.container_id > UINT32_MAX - m.size || m.host_id > UINT32_MAX - m.size)
            fail(in, key, "size", "is out of range");
        maps[(*count)++] = m;
    }
}

static void in_devices(struct in *in, const json_t *linux_object, struct oci_runtime_config *c)
{
    static const char where[] = "linux.devices";
    const json_t *array = in_array(in, linux_object, "linux", "devices");
    c->devices = array ? xcalloc(json_array_size(array), sizeof *c->devices) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        struct oci_device *d = &c->devices[c->device_count++];
        char *type CLEANUP(cleanup_free) = NULL;
        in_string(in, o, where, "path", &d->path);
        in_string(in, o, where, "type", &type);
        if (!d->path || d->path[0] != '/')
            fail(in, where, "path", "must be an absolute path");
        if (!type || strlen(type) != 1 || !strchr("cubp", *type)) {
            fail(in, where, "type", "must be one of c, u, b, p");
            return;
        }
        d->type = *type == 'u' ? 'c' : *type;
        in_int(in, o, where, "major", 0, UINT32_MAX, &d->major);
        in_int(in, o, where, "minor", 0, UINT32_MAX, &d->minor);
        int64_t mode = 0666;
        in_int(in, o, where, "fileMode", 0, 0xffff, &mode); // some writers leave the type bits in
        d->mode = (uint32_t)mode & 07777;
        d->uid = in_u32(in, o, where, "uid");
        d->gid = in_u32(in, o, where, "gid");
    }
}

// --- resources

static void in_device_rules(struct in *in, const json_t *resources, struct oci_resources *r)
{
    static const char where[] = "linux.resources.devices";
    const json_t *array = in_array(in, resources, "linux.resources", "devices");
    r->devices = array ? xcalloc(json_array_size(array), sizeof *r->devices) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        struct oci_device_rule *d = &r->devices[r->device_count++];
        *d = (struct oci_device_rule){ .type = 'a', .major = -1, .minor = -1 };
        char *type CLEANUP(cleanup_free) = NULL, *access CLEANUP(cleanup_free) = NULL;
        in_bool(in, o, where, "allow", &d->is_allow);
        in_string(in, o, where, "type", &type);
        in_string(in, o, where, "access", &access);
        in_int(in, o, where, "major", -1, UINT32_MAX, &d->major);
        in_int(in, o, where, "minor", -1, UINT32_MAX, &d->minor);
        if (type && *type) {
            d->type = *type;
            if (strlen(type) != 1 || !strchr("abc", *type))
                fail(in, where, "type", "must be one of a, b, c");
        }
        const char *bits = access && *access ? access : "rwm";
        if (strlen(bits) > 3 || strspn(bits, "rwm") != strlen(bits))
            fail(in, where, "access", "must be of r, w, m");
        else
            memcpy(d->access, bits, strlen(bits) + 1);
    }
}

static void in_memory(struct in *in, const json_t *resources, struct oci_resources *r)
{
    static const char where[] = "linux.resources.memory";
    const json_t *o = in_object(in, resources, "linux.resources", "memory");
    int64_t swappiness = 0;
    if (!o)
        return;
    in_int(in, o, where, "limit", -1, INT64_MAX, &r->memory_limit);
    in_int(in, o, where, "reservation", -1, INT64_MAX, &r->memory_reservation);
    in_int(in, o, where, "swap", -1, INT64_MAX, &r->memory_swap);
    in_bool(in, o, where, "disableOOMKiller", &r->disable_oom_killer);
    r->has_swappiness = in_int(in, o, where, "swappiness", 0, 200, &swappiness);
    r->swappiness = (uint64_t)swappiness;
}

static void in_cpu(struct in *in, const json_t *resources, struct oci_resources *r)
{
    static const char where[] = "linux.resources.cpu";
    const json_t *o = in_object(in, resources, "linux.resources", "cpu");
    if (!o)
        return;
    r->cpu_shares = in_u64(in, o, where, "shares");
    in_int(in, o, where, "quota", -1, INT64_MAX, &r->cpu_quota_us);
    r->cpu_period_us = in_u64(in, o, where, "period");
    in_int(in, o, where, "realtimeRuntime", -1, INT64_MAX, &r->cpu_rt_runtime_us);
    r->cpu_rt_period_us = in_u64(in, o, where, "realtimePeriod");
    in_string(in, o, where, "cpus", &r->cpus);
    in_string(in, o, where, "mems", &r->mems);
    if (r->cpus && !*r->cpus)
        free_and_strdup(&r->cpus, NULL);
    if (r->mems && !*r->mems)
        free_and_strdup(&r->mems, NULL);
}

static void in_throttle(struct in *in, const json_t *block_io, const char *key,
                        struct oci_throttle_device **ret, size_t *count)
{
    static const char where[] = "linux.resources.blockIO";
    const json_t *array = in_array(in, block_io, where, key);
    struct oci_throttle_device *list = *ret = array ? xcalloc(json_array_size(array), sizeof *list) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *o = json_array_get(array, i);
        struct oci_throttle_device *t = &list[(*count)++];
        in_int(in, o, key, "major", 0, UINT32_MAX, &t->major);
        in_int(in, o, key, "minor", 0, UINT32_MAX, &t->minor);
        t->rate = in_u64(in, o, key, "rate");
    }
}

static uint16_t in_weight(struct in *in, const json_t *o, const char *where, const char *key)
{
    int64_t weight = 0;
    in_int(in, o, where, key, 0, 1000, &weight);
    return (uint16_t)weight;
}

static void in_block_io(struct in *in, const json_t *resources, struct oci_resources *r)
{
    static const char where[] = "linux.resources.blockIO";
    const json_t *o = in_object(in, resources, "linux.resources", "blockIO");
    if (!o)
        return;
    r->blkio_weight = in_weight(in, o, where, "weight");
    const json_t *array = in_array(in, o, where, "weightDevice");
    r->weight_devices = array ? xcalloc(json_array_size(array), sizeof *r->weight_devices) : NULL;
    for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
        const json_t *item = json_array_get(array, i);
        struct oci_weight_device *w = &r->weight_devices[r->weight_device_count++];
        in_int(in, item, where, "major", 0, UINT32_MAX, &w->major);
        in_int(in, item, where, "minor", 0, UINT32_MAX, &w->minor);
        w->weight = in_weight(in, item, where, "weight");
        w->leaf_weight = in_weight(in, item, where, "leafWeight");
    }
    in_throttle(in, o, "throttleReadBpsDevice", &r->read_bps, &r->read_bps_count);
    in_throttle(in, o, "throttleWriteBpsDevice", &r->write_bps, &r->write_bps_count);
    in_throttle(in, o, "throttleReadIOPSDevice", &r->read_iops, &r->read_iops_count);
    in_throttle(in, o, "throttleWriteIOPSDevice", &r->write_iops, &r->write_iops_count);
}

static void in_resources(struct in *in, const json_t *linux_object, struct oci_resources *r)
{
    const json_t *o = in_object(in, linux_object, "linux", "resources");
    if (!o)
        return;
    in_device_rules(in, o, r);
    in_memory(in, o, r);
    in_cpu(in, o, r);
    const json_t *pids = in_object(in, o, "linux.resources", "pids");
    if (pids)
        in_int(in, pids, "linux.resources.pids", "limit", INT32_MIN, INT64_MAX, &r->pids_limit);
    in_block_io(in, o, r);
    in_pairs(in, o, "linux.resources", "unified", &r->unified);
}

// --- the rest

static void in_sysctls(struct in *in, const json_t *linux_object, struct oci_runtime_config *c)
{
    const json_t *pairs = in_object(in, linux_object, "linux", "sysctl"), *v;
    const char *key;
    c->sysctls = pairs ? xcalloc(json_object_size(pairs), sizeof *c->sysctls) : NULL;
    json_object_foreach((json_t *)(uintptr_t)pairs, key, v)
    {
        if (!json_is_string(v) || !text_is_clean(v) || !*key || strstr(key, "..") || *key == '/') {
            fail(in, "linux.sysctl", "", "must hold names and strings");
            return;
        }
        c->sysctls[c->sysctl_count++] = (struct oci_sysctl){ xstrdup(key), xstrdup(json_string_value(v)) };
    }
}

static void in_hooks(struct in *in, const json_t *document, struct oci_runtime_config *c)
{
    const json_t *hooks = in_object(in, document, "", "hooks");
    for (int point = 0; hooks && point < OCI_HOOK_COUNT; point++) {
        const json_t *array = in_array(in, hooks, "hooks", oci_hook_name((enum oci_hook_point)point));
        if (!array)
            continue;
        c->hooks[point].hooks = xcalloc(json_array_size(array), sizeof(struct oci_hook));
        for (size_t i = 0; i < json_array_size(array) && !in->has_failed; i++) {
            const json_t *o = json_array_get(array, i);
            struct oci_hook *hook = &c->hooks[point].hooks[c->hooks[point].count++];
            in_string(in, o, "hooks", "path", &hook->path);
            in_strv(in, o, "hooks", "args", &hook->args);
            in_strv(in, o, "hooks", "env", &hook->env);
            int64_t timeout_s = 0;
            in_int(in, o, "hooks", "timeout", 1, INT_MAX, &timeout_s);
            hook->timeout_s = (int)timeout_s;
            if (!hook->path || hook->path[0] != '/')
                fail(in, "hooks", "path", "must be an absolute path");
        }
    }
}

static void in_linux(struct in *in, const json_t *document, struct oci_runtime_config *c)
{
    static const char where[] = "linux";
    const json_t *o = in_object(in, document, "", "linux");
    if (!o)
        return;
    in_namespaces(in, o, c);
    in_id_mappings(in, o, "uidMappings", &c->uid_mappings, &c->uid_mapping_count);
    in_id_mappings(in, o, "gidMappings", &c->gid_mappings, &c->gid_mapping_count);
    in_devices(in, o, c);
    in_string(in, o, where, "cgroupsPath", &c->cgroups_path);
    in_resources(in, o, &c->resources);
    in_sysctls(in, o, c);
    const json_t *seccomp = in_object(in, o, where, "seccomp");
    c->seccomp = seccomp ? json_deep_copy(seccomp) : NULL;
    in_string(in, o, where, "rootfsPropagation", &c->rootfs_propagation);
    in_strv(in, o, where, "maskedPaths", &c->masked_paths);
    in_strv(in, o, where, "readonlyPaths", &c->readonly_paths);
}

int oci_runtime_config_parse(const json_t *document, struct oci_runtime_config *config, struct error *err)
{
    struct in in = { .err = err };
    oci_runtime_config_init(config);
    if (!json_is_object(document))
        fail(&in, "", "document", "must be an object");
    in_string(&in, document, "", "ociVersion", &config->oci_version);
    const json_t *process = in_object(&in, document, "", "process");
    if (process) {
        config->has_process = true;
        in_process(&in, process, &config->process);
    }
    const json_t *root = in_object(&in, document, "", "root");
    if (root) {
        in_string(&in, root, "root", "path", &config->root_path);
        in_bool(&in, root, "root", "readonly", &config->is_root_readonly);
    }
    in_string(&in, document, "", "hostname", &config->hostname);
    in_string(&in, document, "", "domainname", &config->domainname);
    in_mounts(&in, document, config);
    in_linux(&in, document, config);
    in_hooks(&in, document, config);
    in_pairs(&in, document, "", "annotations", &config->annotations);
    if (!in.has_failed)
        return 0;
    oci_runtime_config_done(config);
    return -1;
}

int oci_process_parse(const json_t *document, struct oci_process *process, struct error *err)
{
    struct in in = { .err = err };
    *process = (struct oci_process){ 0 };
    if (!json_is_object(document))
        fail(&in, "process", "", "must be an object");
    in_process(&in, document, process);
    if (!in.has_failed)
        return 0;
    oci_process_done(process);
    return -1;
}

// --- life

void oci_runtime_config_init(struct oci_runtime_config *config)
{
    *config = (struct oci_runtime_config){ 0 };
    struct oci_resources *r = &config->resources;
    r->memory_limit = r->memory_reservation = r->memory_swap = INT64_MIN;
    r->cpu_quota_us = r->cpu_rt_runtime_us = r->pids_limit = INT64_MIN;
}

void oci_process_done(struct oci_process *process)
{
    free(process->user.additional_gids);
    strv_free(process->args);
    strv_free(process->env);
    free(process->cwd);
    free(process->rlimits);
    free(process->apparmor_profile);
    free(process->selinux_label);
    *process = (struct oci_process){ 0 };
}

static void resources_done(struct oci_resources *r)
{
    free(r->devices);
    free(r->cpus);
    free(r->mems);
    free(r->weight_devices);
    free(r->read_bps);
    free(r->write_bps);
    free(r->read_iops);
    free(r->write_iops);
    strv_free(r->unified);
}

static void hooks_done(struct oci_runtime_config *config)
{
    for (int point = 0; point < OCI_HOOK_COUNT; point++) {
        for (size_t i = 0; i < config->hooks[point].count; i++) {
            free(config->hooks[point].hooks[i].path);
            strv_free(config->hooks[point].hooks[i].args);
            strv_free(config->hooks[point].hooks[i].env);
        }
        free(config->hooks[point].hooks);
    }
}

void oci_runtime_config_done(struct oci_runtime_config *config)
{
    free(config->oci_version);
    oci_process_done(&config->process);
    free(config->root_path);
    free(config->hostname);
    free(config->domainname);
    for (size_t i = 0; i < config->mount_count; i++) {
        free(config->mounts[i].destination);
        free(config->mounts[i].type);
        free(config->mounts[i].source);
        strv_free(config->mounts[i].options);
    }
    free(config->mounts);
    for (int i = 0; i < OCI_NS_COUNT; i++)
        free(config->namespaces[i].path);
    free(config->uid_mappings);
    free(config->gid_mappings);
    for (size_t i = 0; i < config->device_count; i++)
        free(config->devices[i].path);
    free(config->devices);
    free(config->cgroups_path);
    resources_done(&config->resources);
    for (size_t i = 0; i < config->sysctl_count; i++) {
        free(config->sysctls[i].key);
        free(config->sysctls[i].value);
    }
    free(config->sysctls);
    json_decref(config->seccomp);
    free(config->rootfs_propagation);
    strv_free(config->masked_paths);
    strv_free(config->readonly_paths);
    hooks_done(config);
    strv_free(config->annotations);
    oci_runtime_config_init(config);
}
