// The plan as text, one step a line: for people, and for tests that compare it.
#include "runtime/plan/plan.h"

#include "base/mem.h"

#include <inttypes.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t flag;
} clone_names[] = { { "pid", CLONE_NEWPID }, { "network", CLONE_NEWNET }, { "mount", CLONE_NEWNS },
                    { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS },     { "user", CLONE_NEWUSER },
                    { "time", 0x80 } };

static void print_namespaces(const struct runtime_plan *p, struct str *out)
{
    static const char *const names[OCI_NS_COUNT] = { "pid", "network", "mount",  "ipc",
                                                     "uts", "user",    "cgroup", "time" };
    for (size_t i = 0; i < sizeof clone_names / sizeof *clone_names; i++)
        if (p->clone_flags & clone_names[i].flag)
            str_appendf(out, "namespace new %s\n", clone_names[i].name);
    if (p->wants_new_cgroupns)
        str_append(out, "namespace new cgroup\n");
    for (size_t i = 0; i < p->join_count; i++)
        str_appendf(out, "namespace join %s %s\n", names[p->joins[i].type], p->joins[i].path);
    if (p->has_userns)
        str_appendf(out, "userns root %u:%u\n", p->root_uid, p->root_gid);
}

static void print_attributes(struct str *out, const char *prefix, uint64_t set)
{
    static const struct {
        const char *name;
        uint64_t flag;
    } names[] = { { "ro", MOUNT_ATTR_RDONLY },
                  { "nosuid", MOUNT_ATTR_NOSUID },
                  { "nodev", MOUNT_ATTR_NODEV },
                  { "noexec", MOUNT_ATTR_NOEXEC },
                  { "noatime", MOUNT_ATTR_NOATIME },
                  { "strictatime", MOUNT_ATTR_STRICTATIME },
                  { "nodiratime", MOUNT_ATTR_NODIRATIME },
                  { "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW } };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (set & names[i].flag)
            str_appendf(out, " %s%s", prefix, names[i].name);
}

static void print_mount(const struct plan_mount *m, struct str *out)
{
    static const char *const kinds[] = { "fs", "bind", "dev", "cgroup", "layers" };
    str_appendf(out, "mount %s %s", kinds[m->kind], m->destination);
    if (m->kind == PLAN_MOUNT_BIND)
        str_appendf(out, " from %s%s", m->source, m->is_recursive ? " recursive" : "");
    else
        str_appendf(out, " type %s", m->type);
    if (m->keeps_owners)
        str_append(out, " noidmap");
    print_attributes(out, "", m->set);
    print_attributes(out, "r", m->recursive_set);
    for (size_t i = 0; m->data && m->data[i]; i++)
        str_appendf(out, " %s", m->data[i]);
    str_append_char(out, '\n');
}

static void print_writes(const char *version, struct plan_writes w, struct str *out)
{
    for (size_t i = 0; i < w.count; i++)
        str_appendf(out, "cgroup %s %.*s %s\n", version, (int)strcspn(w.items[i].file, "="), w.items[i].file,
                    w.items[i].value);
    if (w.refused)
        str_appendf(out, "cgroup %s refused: %s\n", version, w.refused);
    plan_writes_done(&w);
}

void runtime_plan_print(const struct runtime_plan *p, struct str *out)
{
    const struct oci_runtime_config *c = p->config;
    print_namespaces(p, out);
    if (p->spec.cgroup_path)
        str_appendf(out, "cgroup path %s\n", p->spec.cgroup_path);
    print_writes("v1", plan_limits_v1(&c->resources), out);
    print_writes("v2", plan_limits_v2(&c->resources), out);
    for (size_t i = 0; i < p->device_rule_count; i++) {
        const struct oci_device_rule *d = &p->device_rules[i];
        str_appendf(out, "cgroup device %s %c %" PRId64 ":%" PRId64 " %s\n", d->is_allow ? "allow" : "deny",
                    d->type, d->major, d->minor, d->access);
    }
    const struct runtime_rootfs *root = p->spec.rootfs;
    for (size_t i = 0; root && root->lower && root->lower[i]; i++)
        str_appendf(out, "root lower %s/%s\n", root->layers_dir, root->lower[i]);
    if (root && root->lower && root->lower[0])
        str_appendf(out, "root upper %s/upper%s\n", root->upper_parent, root->is_volatile ? " volatile" : "");
    else
        str_appendf(out, "root path %s\n", c->root_path);
    for (size_t i = 0; i < p->mount_count; i++)
        print_mount(&p->mounts[i], out);
    for (size_t i = 0; i < p->device_count; i++)
        str_appendf(out, "device %s %c %" PRId64 ":%" PRId64 " %o\n", p->devices[i].path, p->devices[i].type,
                    p->devices[i].major, p->devices[i].minor, p->devices[i].mode);
    for (size_t i = 0; c->masked_paths && c->masked_paths[i]; i++)
        str_appendf(out, "mask %s\n", c->masked_paths[i]);
    for (size_t i = 0; c->readonly_paths && c->readonly_paths[i]; i++)
        str_appendf(out, "readonly %s\n", c->readonly_paths[i]);
    for (size_t i = 0; i < c->sysctl_count; i++)
        str_appendf(out, "sysctl %s=%s\n", c->sysctls[i].key, c->sysctls[i].value);
    str_appendf(out, "user %u:%u\ncwd %s\n", c->process.user.uid, c->process.user.gid, c->process.cwd);
    for (size_t i = 0; c->process.args[i]; i++)
        str_appendf(out, "arg %s\n", c->process.args[i]);
}
