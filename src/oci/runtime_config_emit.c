// The inverse of runtime_config.c: values that are "not given" leave no member behind.
#include "oci/runtime_config.h"

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <string.h>
#include <sys/resource.h>

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static void put_string(json_t *object, const char *key, const char *value)
{
    if (value)
        put(object, key, json_string(value));
}

static void put_strv(json_t *object, const char *key, char *const *value)
{
    if (value)
        put(object, key, json_from_strv(value));
}

static void put_true(json_t *object, const char *key, bool value)
{
    if (value)
        put(object, key, json_true());
}

static void put_given(json_t *object, const char *key, int64_t value, int64_t not_given)
{
    if (value != not_given)
        put(object, key, json_integer(value));
}

// Only when it has members (takes it).
static void put_filled(json_t *object, const char *key, json_t *value)
{
    if (json_object_size(value) || json_array_size(value))
        put(object, key, value);
    else
        json_decref(value);
}

static void put_pairs(json_t *object, const char *key, char *const *pairs)
{
    json_t *o = json_object();
    for (size_t i = 0; pairs && pairs[i]; i++) {
        const char *equals = strchr(pairs[i], '=');
        char *name CLEANUP(cleanup_free) = xstrndup(pairs[i], (size_t)(equals - pairs[i]));
        put(o, name, json_string(equals + 1));
    }
    put_filled(object, key, o);
}

static void put_capset(json_t *object, const char *key, oci_capset set)
{
    json_t *names = json_array();
    for (int n = 0; n < 64; n++)
        if (set >> n & 1 && oci_capability_name(n))
            json_array_append_new(names, json_string(oci_capability_name(n)));
    put(object, key, names);
}

static json_t *emit_user(const struct oci_user *user)
{
    json_t *o = json_object();
    put(o, "uid", json_integer(user->uid));
    put(o, "gid", json_integer(user->gid));
    if (user->has_umask)
        put(o, "umask", json_integer(user->umask));
    if (user->additional_gid_count) {
        json_t *gids = json_array();
        for (size_t i = 0; i < user->additional_gid_count; i++)
            json_array_append_new(gids, json_integer(user->additional_gids[i]));
        put(o, "additionalGids", gids);
    }
    return o;
}

static json_t *emit_limit(uint64_t value)
{
    return json_integer(value > INT64_MAX ? -1 : (int64_t)value); // -1: RLIM_INFINITY, see in_limit
}

static json_t *emit_rlimits(const struct oci_process *p)
{
    json_t *array = json_array();
    for (size_t i = 0; i < p->rlimit_count; i++) {
        json_t *o = json_object();
        put_string(o, "type", oci_rlimit_name(p->rlimits[i].resource));
        put(o, "hard", emit_limit(p->rlimits[i].hard));
        put(o, "soft", emit_limit(p->rlimits[i].soft));
        json_array_append_new(array, o);
    }
    return array;
}

json_t *oci_process_emit(const struct oci_process *p)
{
    json_t *o = json_object();
    put_true(o, "terminal", p->has_terminal);
    if (p->console_height || p->console_width) {
        json_t *size = json_object();
        put(size, "height", json_integer(p->console_height));
        put(size, "width", json_integer(p->console_width));
        put(o, "consoleSize", size);
    }
    put(o, "user", emit_user(&p->user));
    put_strv(o, "args", p->args);
    put_strv(o, "env", p->env);
    put_string(o, "cwd", p->cwd);
    if (p->has_capabilities) {
        json_t *caps = json_object();
        put_capset(caps, "bounding", p->capabilities.bounding);
        put_capset(caps, "effective", p->capabilities.effective);
        put_capset(caps, "inheritable", p->capabilities.inheritable);
        put_capset(caps, "permitted", p->capabilities.permitted);
        put_capset(caps, "ambient", p->capabilities.ambient);
        put(o, "capabilities", caps);
    }
    put_filled(o, "rlimits", emit_rlimits(p));
    put_true(o, "noNewPrivileges", p->no_new_privileges);
    if (p->has_oom_score_adj)
        put(o, "oomScoreAdj", json_integer(p->oom_score_adj));
    put_string(o, "apparmorProfile", p->apparmor_profile);
    put_string(o, "selinuxLabel", p->selinux_label);
    return o;
}

static json_t *emit_mounts(const struct oci_runtime_config *c)
{
    json_t *array = json_array();
    for (size_t i = 0; i < c->mount_count; i++) {
        json_t *o = json_object();
        put_string(o, "destination", c->mounts[i].destination);
        put_string(o, "type", c->mounts[i].type);
        put_string(o, "source", c->mounts[i].source);
        put_strv(o, "options", c->mounts[i].options);
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_namespaces(const struct oci_runtime_config *c)
{
    static const char *const names[OCI_NS_COUNT] = { "pid", "network", "mount",  "ipc",
                                                     "uts", "user",    "cgroup", "time" };
    json_t *array = json_array();
    for (int i = 0; i < OCI_NS_COUNT; i++) {
        if (!c->namespaces[i].is_present)
            continue;
        json_t *o = json_object();
        put_string(o, "type", names[i]);
        put_string(o, "path", c->namespaces[i].path);
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_id_mappings(const struct oci_id_mapping *maps, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        put(o, "containerID", json_integer(maps[i].container_id));
        put(o, "hostID", json_integer(maps[i].host_id));
        put(o, "size", json_integer(maps[i].size));
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_devices(const struct oci_runtime_config *c)
{
    json_t *array = json_array();
    for (size_t i = 0; i < c->device_count; i++) {
        const struct oci_device *d = &c->devices[i];
        json_t *o = json_object();
        put_string(o, "path", d->path);
        put(o, "type", json_stringn(&d->type, 1));
        put(o, "major", json_integer(d->major));
        put(o, "minor", json_integer(d->minor));
        put(o, "fileMode", json_integer(d->mode));
        put(o, "uid", json_integer(d->uid));
        put(o, "gid", json_integer(d->gid));
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_device_rules(const struct oci_resources *r)
{
    json_t *array = json_array();
    for (size_t i = 0; i < r->device_count; i++) {
        const struct oci_device_rule *d = &r->devices[i];
        json_t *o = json_object();
        put(o, "allow", json_boolean(d->is_allow));
        put(o, "type", json_stringn(&d->type, 1));
        put_given(o, "major", d->major, -1);
        put_given(o, "minor", d->minor, -1);
        put_string(o, "access", d->access);
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_throttle(const struct oci_throttle_device *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        put(o, "major", json_integer(list[i].major));
        put(o, "minor", json_integer(list[i].minor));
        put(o, "rate", json_integer((json_int_t)list[i].rate));
        json_array_append_new(array, o);
    }
    return array;
}

static json_t *emit_block_io(const struct oci_resources *r)
{
    json_t *o = json_object(), *weights = json_array();
    put_given(o, "weight", r->blkio_weight, 0);
    for (size_t i = 0; i < r->weight_device_count; i++) {
        const struct oci_weight_device *w = &r->weight_devices[i];
        json_t *item = json_object();
        put(item, "major", json_integer(w->major));
        put(item, "minor", json_integer(w->minor));
        put_given(item, "weight", w->weight, 0);
        put_given(item, "leafWeight", w->leaf_weight, 0);
        json_array_append_new(weights, item);
    }
    put_filled(o, "weightDevice", weights);
    put_filled(o, "throttleReadBpsDevice", emit_throttle(r->read_bps, r->read_bps_count));
    put_filled(o, "throttleWriteBpsDevice", emit_throttle(r->write_bps, r->write_bps_count));
    put_filled(o, "throttleReadIOPSDevice", emit_throttle(r->read_iops, r->read_iops_count));
    put_filled(o, "throttleWriteIOPSDevice", emit_throttle(r->write_iops, r->write_iops_count));
    return o;
}

static json_t *emit_resources(const struct oci_resources *r)
{
    json_t *o = json_object(), *memory = json_object(), *cpu = json_object(), *pids = json_object();
    put_filled(o, "devices", emit_device_rules(r));
    put_given(memory, "limit", r->memory_limit, INT64_MIN);
    put_given(memory, "reservation", r->memory_reservation, INT64_MIN);
    put_given(memory, "swap", r->memory_swap, INT64_MIN);
    if (r->has_swappiness)
        put(memory, "swappiness", json_integer((json_int_t)r->swappiness));
    put_true(memory, "disableOOMKiller", r->disable_oom_killer);
    put_filled(o, "memory", memory);
    put_given(cpu, "shares", (int64_t)r->cpu_shares, 0);
    put_given(cpu, "quota", r->cpu_quota_us, INT64_MIN);
    put_given(cpu, "period", (int64_t)r->cpu_period_us, 0);
    put_given(cpu, "realtimeRuntime", r->cpu_rt_runtime_us, INT64_MIN);
    put_given(cpu, "realtimePeriod", (int64_t)r->cpu_rt_period_us, 0);
    put_string(cpu, "cpus", r->cpus);
    put_string(cpu, "mems", r->mems);
    put_filled(o, "cpu", cpu);
    put_given(pids, "limit", r->pids_limit, INT64_MIN);
    put_filled(o, "pids", pids);
    put_filled(o, "blockIO", emit_block_io(r));
    put_pairs(o, "unified", r->unified);
    return o;
}

static json_t *emit_linux(const struct oci_runtime_config *c)
{
    json_t *o = json_object(), *sysctls = json_object();
    put_filled(o, "namespaces", emit_namespaces(c));
    put_filled(o, "uidMappings", emit_id_mappings(c->uid_mappings, c->uid_mapping_count));
    put_filled(o, "gidMappings", emit_id_mappings(c->gid_mappings, c->gid_mapping_count));
    put_filled(o, "devices", emit_devices(c));
    put_string(o, "cgroupsPath", c->cgroups_path);
    put_filled(o, "resources", emit_resources(&c->resources));
    for (size_t i = 0; i < c->sysctl_count; i++)
        put_string(sysctls, c->sysctls[i].key, c->sysctls[i].value);
    put_filled(o, "sysctl", sysctls);
    if (c->seccomp)
        put(o, "seccomp", json_incref(c->seccomp));
    put_string(o, "rootfsPropagation", c->rootfs_propagation);
    put_strv(o, "maskedPaths", c->masked_paths);
    put_strv(o, "readonlyPaths", c->readonly_paths);
    return o;
}

static json_t *emit_hooks(const struct oci_runtime_config *c)
{
    json_t *o = json_object();
    for (int point = 0; point < OCI_HOOK_COUNT; point++) {
        json_t *array = json_array();
        for (size_t i = 0; i < c->hooks[point].count; i++) {
            const struct oci_hook *hook = &c->hooks[point].hooks[i];
            json_t *item = json_object();
            put_string(item, "path", hook->path);
            put_strv(item, "args", hook->args);
            put_strv(item, "env", hook->env);
            put_given(item, "timeout", hook->timeout_s, 0);
            json_array_append_new(array, item);
        }
        put_filled(o, oci_hook_name((enum oci_hook_point)point), array);
    }
    return o;
}

json_t *oci_runtime_config_emit(const struct oci_runtime_config *c)
{
    json_t *o = json_object();
    put_string(o, "ociVersion", c->oci_version);
    if (c->has_process)
        put(o, "process", oci_process_emit(&c->process));
    if (c->root_path || c->is_root_readonly) {
        json_t *root = json_object();
        put_string(root, "path", c->root_path);
        put_true(root, "readonly", c->is_root_readonly);
        put(o, "root", root);
    }
    put_string(o, "hostname", c->hostname);
    put_string(o, "domainname", c->domainname);
    put_filled(o, "mounts", emit_mounts(c));
    put_filled(o, "linux", emit_linux(c));
    put_filled(o, "hooks", emit_hooks(c));
    put_pairs(o, "annotations", c->annotations);
    return o;
}
