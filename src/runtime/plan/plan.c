// Theory of operation. A plan is what the OCI configuration means on Linux, worked out without asking Linux
// anything: which namespaces are made and which joined, the mounts with their flags, the devices, the device
// rules. Everything that can be wrong about a configuration by itself is found here, before anything has been
// made.
#include "runtime/plan/plan.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <sched.h>
#include <string.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const struct {
    const char *name;
    uint64_t flag;
} namespaces[OCI_NS_COUNT] = {
    [OCI_NS_PID] = { "pid", CLONE_NEWPID },          [OCI_NS_NETWORK] = { "network", CLONE_NEWNET },
    [OCI_NS_MOUNT] = { "mount", CLONE_NEWNS },       [OCI_NS_IPC] = { "ipc", CLONE_NEWIPC },
    [OCI_NS_UTS] = { "uts", CLONE_NEWUTS },          [OCI_NS_USER] = { "user", CLONE_NEWUSER },
    [OCI_NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP }, [OCI_NS_TIME] = { "time", CLONE_NEWTIME },
};

// Every container has these (runtime-spec config-linux.md "Default Devices"), readable and writable by
// everybody.
static const struct oci_device default_devices[] = {
    { (char[]){ "/dev/null" }, 'c', 1, 3, 0666, 0, 0 },
    { (char[]){ "/dev/zero" }, 'c', 1, 5, 0666, 0, 0 },
    { (char[]){ "/dev/full" }, 'c', 1, 7, 0666, 0, 0 },
    { (char[]){ "/dev/random" }, 'c', 1, 8, 0666, 0, 0 },
    { (char[]){ "/dev/urandom" }, 'c', 1, 9, 0666, 0, 0 },
    { (char[]){ "/dev/tty" }, 'c', 5, 0, 0666, 0, 0 },
};

// ... and may use these whatever the rules say, with pseudo terminals; making a node is harmless, opening it
// is judged.
static const struct oci_device_rule default_rules[] = {
    { true, 'c', -1, -1, "m" },    { true, 'b', -1, -1, "m" }, { true, 'c', 1, 3, "rwm" },
    { true, 'c', 1, 5, "rwm" },    { true, 'c', 1, 7, "rwm" }, { true, 'c', 1, 8, "rwm" },
    { true, 'c', 1, 9, "rwm" },    { true, 'c', 5, 0, "rwm" }, { true, 'c', 5, 2, "rwm" },
    { true, 'c', 136, -1, "rwm" },
};

uint32_t plan_map_id(const struct oci_id_mapping *maps, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (id >= maps[i].container_id && id - maps[i].container_id < maps[i].size)
            return maps[i].host_id + (id - maps[i].container_id);
    return UINT32_MAX;
}

static int plan_namespaces(struct runtime_plan *p, struct error *err)
{
    for (int i = 0; i < OCI_NS_COUNT; i++) {
        const struct oci_namespace *ns = &p->config->namespaces[i];
        if (!ns->is_present)
            continue;
        if (ns->path)
            p->joins[p->join_count++] = (struct plan_join){ (enum oci_namespace_type)i, ns->path, FD_NONE };
        else if (i == OCI_NS_CGROUP)
            p->wants_new_cgroupns = true;
        else
            p->clone_flags |= namespaces[i].flag;
    }
    const struct oci_namespace *mount = &p->config->namespaces[OCI_NS_MOUNT],
                               *user = &p->config->namespaces[OCI_NS_USER];
    if (!mount->is_present || mount->path)
        return error_set(err, ERROR_UNSUPPORTED, "a container needs a mount namespace of its own");
    p->has_userns = user->is_present;
    if (!p->has_userns)
        return 0;
    p->root_uid = plan_map_id(p->config->uid_mappings, p->config->uid_mapping_count, 0);
    p->root_gid = plan_map_id(p->config->gid_mappings, p->config->gid_mapping_count, 0);
    if (p->root_uid == UINT32_MAX || p->root_gid == UINT32_MAX)
        return error_set(err, ERROR_INVALID, "the user namespace's mappings do not hold id 0");
    return 0;
}

static int plan_identity(const struct runtime_plan *p, struct error *err)
{
    const struct oci_runtime_config *c = p->config;
    const struct oci_user *user = &c->process.user;
    bool has_uts = c->namespaces[OCI_NS_UTS].is_present;
    if (!c->has_process)
        return error_set(err, ERROR_INVALID, "the configuration has no process");
    if ((c->hostname || c->domainname) && !has_uts)
        return error_set(err, ERROR_INVALID, "unable to set hostname without a private UTS namespace");
    if (p->has_userns && (plan_map_id(c->uid_mappings, c->uid_mapping_count, user->uid) == UINT32_MAX ||
                          plan_map_id(c->gid_mappings, c->gid_mapping_count, user->gid) == UINT32_MAX))
        return error_set(err, ERROR_INVALID, "user %u:%u is not in the user namespace's mappings", user->uid,
                         user->gid);
    if (c->process.apparmor_profile && *c->process.apparmor_profile &&
        !streq(c->process.apparmor_profile, "unconfined"))
        return error_set(err, ERROR_UNSUPPORTED, "apparmor profiles are not supported");
    if (c->process.selinux_label && *c->process.selinux_label)
        return error_set(err, ERROR_UNSUPPORTED, "selinux labels are not supported");
    return 0;
}

// An overlay without an upper directory over the parent of the root's layers (struct runtime_rootfs).
static bool take_layers(const struct runtime_plan *p, struct plan_mount *m)
{
    static const char key[] = "lowerdir=";
    const struct runtime_rootfs *root = p->spec.rootfs;
    if (!streq(m->type, "overlay") || !root || !root->lower || !m->source ||
        !streq(m->source, root->layers_dir))
        return false;
    for (size_t i = 0; m->data && m->data[i]; i++)
        if (str_has_prefix(m->data[i], key))
            m->lower = strv_split(m->data[i] + sizeof key - 1, ":", false);
    return m->lower;
}

static int plan_mounts(struct runtime_plan *p, struct error *err)
{
    const struct oci_runtime_config *c = p->config;
    p->mounts = xcalloc(c->mount_count, sizeof *p->mounts);
    for (size_t i = 0; i < c->mount_count; i++) {
        struct plan_mount *m = &p->mounts[i];
        if (plan_mount_options(&c->mounts[i], m, err) < 0)
            return -1;
        p->mount_count++;
        if (m->kind != PLAN_MOUNT_FS)
            continue;
        if (streq(m->type, "tmpfs") && streq(m->destination, "/dev"))
            m->kind = PLAN_MOUNT_DEV;
        else if (streq(m->type, "cgroup") || streq(m->type, "cgroup2"))
            m->kind = PLAN_MOUNT_CGROUP;
        else if (take_layers(p, m))
            m->kind = PLAN_MOUNT_LAYERS;
    }
    return 0;
}

// Each rule costs a system call at every start: one that repeats what has been said since the last refusal says nothing.
static void add_rule(struct runtime_plan *p, const struct oci_device_rule *rule)
{
    for (size_t i = p->device_rule_count; i > 0 && p->device_rules[i - 1].is_allow && rule->is_allow; i--) {
        const struct oci_device_rule *r = &p->device_rules[i - 1];
        if (r->type == rule->type && r->major == rule->major && r->minor == rule->minor &&
            streq(r->access, rule->access))
            return;
    }
    p->device_rules[p->device_rule_count++] = *rule;
}

static int plan_devices(struct runtime_plan *p, struct error *err)
{
    const struct oci_runtime_config *c = p->config;
    size_t defaults = sizeof default_devices / sizeof *default_devices;
    p->devices = xcalloc(defaults + c->device_count, sizeof *p->devices);
    memcpy(p->devices, default_devices, sizeof default_devices);
    p->device_count = defaults;
    for (size_t i = 0; i < c->device_count; i++) {
        const struct oci_device *d = &c->devices[i];
        if (!str_has_prefix(d->path, "/dev/") || strstr(d->path, ".."))
            return error_set(err, ERROR_UNSUPPORTED, "device %s: devices live below /dev", d->path);
        size_t at = 0;
        while (at < p->device_count && !streq(p->devices[at].path, d->path))
            at++;
        p->devices[at] = *d;
        p->device_count += at == p->device_count;
    }
    if (c->resources.device_count == 0)
        return 0;
    size_t extra = sizeof default_rules / sizeof *default_rules;
    p->device_rules = xcalloc(c->resources.device_count + extra, sizeof *p->device_rules);
    for (size_t i = 0; i < c->resources.device_count; i++)
        add_rule(p, &c->resources.devices[i]);
    for (size_t i = 0; i < extra; i++)
        add_rule(p, &default_rules[i]);
    return 0;
}

static int plan_hooks(struct runtime_plan *p, struct error *err)
{
    const struct oci_runtime_config *c = p->config;
    for (int i = 0; i < OCI_HOOK_COUNT; i++)
        if (c->hooks[i].count &&
            (!p->spec.id || !p->spec.bundle || p->spec.bundle[0] != '/' || !c->root_path))
            return error_set(err, ERROR_INVALID, "hooks need an id, a bundle and a root");
    p->has_create_hooks = c->hooks[OCI_HOOK_PRESTART].count || c->hooks[OCI_HOOK_CREATE_RUNTIME].count ||
                          c->hooks[OCI_HOOK_CREATE_CONTAINER].count;
    return 0;
}

static int plan_all(struct runtime_plan *p, struct error *err)
{
    if (plan_namespaces(p, err) < 0 || plan_identity(p, err) < 0 || plan_mounts(p, err) < 0 ||
        plan_hooks(p, err) < 0)
        return -1;
    p->wants_cpuset = p->config->resources.cpus || p->config->resources.mems;
    return plan_devices(p, err);
}

int runtime_plan_new(const struct runtime_spec *spec, struct runtime_plan **ret, struct error *err)
{
    struct runtime_plan *p CLEANUP(runtime_plan_freep) = NEW(struct runtime_plan);
    p->spec = *spec;
    p->config = spec->config;
    if (!spec->rootfs && !spec->config->root_path)
        return error_set(err, ERROR_INVALID, "the configuration has no root");
    if (spec->cgroup_path && strstr(spec->cgroup_path, ".."))
        return error_set(err, ERROR_INVALID, "cgroup path %s must not contain \"..\"", spec->cgroup_path);
    if (plan_all(p, err) < 0)
        return -1;
    *ret = TAKE_PTR(p);
    return 0;
}

int plan_change_new(const struct oci_runtime_config *config, struct runtime_plan **ret, struct error *err)
{
    struct runtime_plan *p CLEANUP(runtime_plan_freep) = NEW(struct runtime_plan);
    p->config = config;
    if (plan_mounts(p, err) < 0 || plan_devices(p, err) < 0)
        return -1;
    for (size_t i = 0; i < p->mount_count; i++)
        if (p->mounts[i].kind != PLAN_MOUNT_BIND && p->mounts[i].kind != PLAN_MOUNT_FS)
            return error_set(err, ERROR_UNSUPPORTED, "mount %s cannot be changed while the container runs",
                             p->mounts[i].destination);
    *ret = TAKE_PTR(p);
    return 0;
}

void runtime_plan_free(struct runtime_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->mount_count; i++)
        plan_mount_done(&plan->mounts[i]);
    for (size_t i = 0; i < plan->join_count; i++)
        fd_close(plan->joins[i].fd);
    free(plan->mounts);
    free(plan->devices);
    free(plan->device_rules);
    free(plan);
}

void runtime_plan_freep(struct runtime_plan **plan)
{
    runtime_plan_free(*plan);
}
