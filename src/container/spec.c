// Theory of operation. One function per section of the OCI document; each writes its part of *c from the
// inputs and nothing else, so the result depends on the inputs only (and, for devices and bind sources, on
// what the host has). Order of mounts is Docker's: the system's, then the engine's files, then the user's by
// depth, a mount of the user's replacing the system's of the same target.
#include "container/spec.h"
#include "container/spec_internal.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/cdi.h"
#include "store/layer.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
enum { DEVICES_MAX = 1024, DEVICE_DEPTH_MAX = 4 };

// --- process
static void set_env(char ***env, const char *entry)
{
    size_t n = strcspn(entry, "=") + 1;
    for (size_t i = 0; *env && (*env)[i]; i++)
        if (strncmp((*env)[i], entry, n) == 0) {
            free_and_strdup(&(*env)[i], entry);
            return;
        }
    strv_push(env, entry);
}

static bool has_env(char *const *env, const char *prefix)
{
    for (size_t i = 0; env && env[i]; i++)
        if (str_has_prefix(env[i], prefix))
            return true;
    return false;
}

char **spec_environment(char *const *env, const char *hostname, bool has_tty, const char *home)
{
    char **v = NULL;
    strv_push(&v, DEFAULT_PATH);
    if (hostname)
        strv_take(&v, xasprintf("HOSTNAME=%s", hostname));
    if (has_tty)
        strv_push(&v, "TERM=xterm");
    for (size_t i = 0; env && env[i]; i++)
        if (strchr(env[i], '='))
            set_env(&v, env[i]);
    if (!has_env(v, "HOME="))
        strv_take(&v, xasprintf("HOME=%s", home));
    return v;
}

void spec_set_user(struct oci_process *process, const struct user_identity *user, oci_capset bounding)
{
    process->user.uid = user->uid;
    process->user.gid = user->gid;
    if (user->additional_gid_count)
        process->user.additional_gids =
            xmemdup(user->additional_gids, user->additional_gid_count * sizeof *user->additional_gids);
    process->user.additional_gid_count = user->additional_gid_count;
    // Inheritable and ambient stay empty; only root holds capabilities from the start.
    process->has_capabilities = true;
    process->capabilities.bounding = bounding;
    process->capabilities.permitted = process->capabilities.effective = user->uid == 0 ? bounding : 0;
}

static void build_process(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    const struct container_config *config = in->config;
    struct oci_process *p = &c->process;
    c->has_process = true;
    p->has_terminal = config->has_tty;
    p->console_height = config->has_tty ? config->console_rows : 0;
    p->console_width = config->has_tty ? config->console_columns : 0;
    if (in->init_path) {
        strv_push(&p->args, SPEC_INIT_TARGET);
        strv_push(&p->args, "--");
    }
    for (size_t i = 0; config->args[i]; i++)
        strv_push(&p->args, config->args[i]);
    CLEANUP(strv_freep) char **env = strv_copy((char **)(uintptr_t)in->extra_env);
    for (size_t i = 0; config->env && config->env[i]; i++)
        strv_push(&env, config->env[i]);
    p->env = spec_environment(env, in->hostname, config->has_tty, in->user->home);
    p->cwd = xstrdup(*config->working_dir ? config->working_dir : "/");
    p->no_new_privileges = config->has_no_new_privileges;
    p->has_oom_score_adj = config->oom_score_adj != 0;
    p->oom_score_adj = config->oom_score_adj;
    if (config->rlimit_count) {
        p->rlimits = xmemdup(config->rlimits, config->rlimit_count * sizeof *config->rlimits);
        p->rlimit_count = config->rlimit_count;
    }
    spec_set_user(p, in->user, config->capabilities);
}

// --- mounts
// A mount of the user's takes the place of the system's of the same target; /proc gives way to the host's own only, because what
// masks it, and what processes believe to find there, must not be a volume's (CVE-2019-16884).
static bool is_overridden(const struct container_config *config, const char *target)
{
    if (!streq(target, "/proc"))
        return config_has_target(config, target);
    for (size_t i = 0; i < config->bind_count; i++)
        if (streq(config->binds[i].target, target) && streq(config->binds[i].source, "/proc"))
            return true;
    return false;
}

struct oci_mount *spec_add_mount(struct oci_runtime_config *c, const char *destination, const char *type,
                                 const char *source, const char *options)
{
    c->mounts = xreallocarray(c->mounts, c->mount_count + 1, sizeof *c->mounts);
    struct oci_mount *m = &c->mounts[c->mount_count++];
    *m = (struct oci_mount){ .destination = xstrdup(destination),
                             .type = xstrdup(type),
                             .source = xstrdup(source),
                             .options = strv_split(options, ",", false) };
    return m;
}

static void add_system_mounts(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    const struct container_config *config = in->config;
    const char *sys = config->is_privileged ? "nosuid,noexec,nodev" : "nosuid,noexec,nodev,ro";
    CLEANUP(cleanup_free)
    char *shm = xasprintf("nosuid,noexec,nodev,mode=1777,size=%lld", (long long)config->shm_size_bytes);
    const struct {
        const char *target, *type, *source, *options;
    } mounts[] = {
        { "/proc", "proc", "proc", "nosuid,noexec,nodev" },
        { "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
        { "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
        { "/sys", "sysfs", "sysfs", sys },
        { "/sys/fs/cgroup", "cgroup", "cgroup", sys },
        { "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
        { "/dev/shm", "tmpfs", "shm", shm },
    };
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        bool is_shm = streq(mounts[i].target, "/dev/shm"), is_ipc = is_shm || streq(mounts[i].type, "mqueue");
        if (is_overridden(config, mounts[i].target) || (is_shm && config->ipc.kind == NS_MODE_NONE))
            continue;
        if (is_shm && in->shm_path)
            spec_add_mount(c, mounts[i].target, "bind", in->shm_path, "bind,nosuid,noexec,nodev");
        else if (is_ipc && config->ipc.kind == NS_MODE_HOST)
            spec_add_mount(c, mounts[i].target, "bind", mounts[i].target, "rbind,nosuid,noexec,nodev");
        else
            spec_add_mount(c, mounts[i].target, mounts[i].type, mounts[i].source, mounts[i].options);
    }
    const char *files[][2] = { { "/etc/resolv.conf", in->resolv_conf_path },
                               { "/etc/hostname", in->hostname_path },
                               { "/etc/hosts", in->hosts_path } };
    for (size_t i = 0; i < 3; i++)
        if (!is_overridden(config, files[i][0]))
            spec_add_mount(c, files[i][0], "bind", files[i][1], "rbind,rprivate");
    // A file of the host's that is executed inside: read-only, so that nothing inside can change what others execute; and
    // without an owner inside, so that whoever may mount, and makes it writable, is nobody to it.
    if (in->init_path)
        spec_add_mount(c, SPEC_INIT_TARGET, "bind", in->init_path, "bind,rprivate,ro,nosuid,nodev,noidmap");
}

static int ensure_source(const struct bind_mount *b, struct error *err)
{
    struct stat st;
    if (stat(b->source, &st) == 0)
        return 0;
    if (errno != ENOENT)
        return error_errno(err, errno, "bind source path %s", b->source);
    if (!b->creates_source)
        return error_set(err, ERROR_INVALID,
                         "invalid mount config for type \"bind\": bind source path does not exist: %s",
                         b->source);
    int r = dir_make_all(b->source, 0755);
    if (r < 0)
        return error_errno(err, r, "error while creating mount source path '%s'", b->source);
    return 0;
}

static unsigned depth(const char *path)
{
    unsigned n = 0;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

// Stable insertion by depth of the target among the user's mounts, which begin at `first`.
static void sort_by_depth(struct oci_runtime_config *c, size_t first)
{
    for (size_t i = first + 1; i < c->mount_count; i++)
        for (size_t k = i; k > first && depth(c->mounts[k - 1].destination) > depth(c->mounts[k].destination);
             k--) {
            struct oci_mount swap = c->mounts[k];
            c->mounts[k] = c->mounts[k - 1];
            c->mounts[k - 1] = swap;
        }
}

// As the runtime takes it (struct runtime_rootfs): directories below the same parent as the root file system's.
static void add_image(const char *layers_dir, const struct bind_mount *b, struct oci_runtime_config *c)
{
    CLEANUP(strv_freep) char **lower = layer_view_paths(b->layers);
    CLEANUP(cleanup_free) char *joined = strv_join(lower, ":");
    struct oci_mount *m = spec_add_mount(c, b->target, "overlay", layers_dir, "ro");
    strv_take(&m->options, xasprintf("lowerdir=%s", joined));
    if (b->subpath)
        strv_take(&m->options, xasprintf("X-mount.subdir=%s", b->subpath));
}

// is_going: to be named, not to be mounted, so that a source need not be there.
static int add_user_mounts(const struct container_config *config, const char *layers_dir, bool is_going,
                           struct oci_runtime_config *c, struct error *err)
{
    size_t first = c->mount_count;
    for (size_t i = 0; i < config->bind_count; i++) {
        const struct bind_mount *b = &config->binds[i];
        if (b->image) {
            add_image(layers_dir, b, c);
            continue;
        }
        if (!is_going && !b->is_volume && ensure_source(b, err) < 0)
            return -1;
        const char *read_only = !b->is_read_only                           ? ""
                                : b->is_recursive && !b->is_flat_read_only ? ",rro"
                                                                           : ",ro";
        CLEANUP(cleanup_free)
        char *options = xasprintf("%s,%s%s", b->is_recursive ? "rbind" : "bind",
                                  b->propagation ? b->propagation : "rprivate", read_only);
        struct oci_mount *m = spec_add_mount(c, b->target, "bind", b->source, options);
        if (b->subpath)
            strv_take(&m->options, xasprintf("X-mount.subdir=%s", b->subpath));
    }
    for (size_t i = 0; i < config->tmpfs_count; i++) {
        CLEANUP(cleanup_free) char *options = xasprintf("noexec,nosuid,nodev,%s", config->tmpfs[i].options);
        spec_add_mount(c, config->tmpfs[i].target, "tmpfs", "tmpfs", options);
    }
    sort_by_depth(c, first);
    return 0;
}

static int build_mounts(const struct spec_inputs *in, struct oci_runtime_config *c, struct error *err)
{
    add_system_mounts(in, c);
    return add_user_mounts(in->config, in->layers_dir, false, c, err);
}

// --- namespaces
static void build_namespaces(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    const struct container_config *config = in->config;
    struct oci_namespace *n = c->namespaces;
    n[OCI_NS_MOUNT].is_present = true;
    n[OCI_NS_NETWORK].is_present = config->network.kind != NS_MODE_HOST;
    n[OCI_NS_NETWORK].path = xstrdup(in->netns_path);
    n[OCI_NS_PID].is_present = config->pid.kind != NS_MODE_HOST;
    n[OCI_NS_PID].path = xstrdup(in->pidns_path);
    n[OCI_NS_IPC].is_present = config->ipc.kind != NS_MODE_HOST;
    n[OCI_NS_IPC].path = xstrdup(in->ipcns_path);
    n[OCI_NS_UTS].is_present = config->uts.kind != NS_MODE_HOST;
    n[OCI_NS_CGROUP].is_present = config->has_private_cgroupns;
    if (config->uts.kind != NS_MODE_HOST) {
        c->hostname = xstrdup(in->hostname);
        c->domainname = *config->domainname ? xstrdup(config->domainname) : NULL;
    }
    if (!in->userns_first_id)
        return;
    const struct oci_id_mapping map = { .container_id = 0, .host_id = in->userns_first_id, .size = 65536 };
    n[OCI_NS_USER].is_present = true;
    n[OCI_NS_USER].path = xstrdup(in->userns_path);
    c->uid_mappings = xmemdup(&map, sizeof map);
    c->gid_mappings = xmemdup(&map, sizeof map);
    c->uid_mapping_count = c->gid_mapping_count = 1;
}

// --- devices
void spec_add_device_rule(struct oci_resources *r, bool is_allow, char type, int64_t major, int64_t minor,
                          const char *access)
{
    r->devices = xreallocarray(r->devices, r->device_count + 1, sizeof *r->devices);
    struct oci_device_rule *rule = &r->devices[r->device_count++];
    *rule = (struct oci_device_rule){ .is_allow = is_allow, .type = type, .major = major, .minor = minor };
    memcpy(rule->access, access, strlen(access) + 1);
}

// The node's type and number; false when it is no device.
bool spec_add_device(struct oci_runtime_config *c, const struct stat *st, const char *inside)
{
    if ((!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode)) || c->device_count >= DEVICES_MAX)
        return false;
    for (size_t i = 0; i < c->device_count; i++)
        if (streq(c->devices[i].path, inside))
            return true;
    c->devices = xreallocarray(c->devices, c->device_count + 1, sizeof *c->devices);
    c->devices[c->device_count++] = (struct oci_device){ .path = xstrdup(inside),
                                                         .type = S_ISCHR(st->st_mode) ? 'c' : 'b',
                                                         .major = major(st->st_rdev),
                                                         .minor = minor(st->st_rdev),
                                                         .mode = st->st_mode & 07777,
                                                         .uid = st->st_uid,
                                                         .gid = st->st_gid };
    return true;
}

// Every device below a directory of the host's /dev; what the container has of its own (pts, shm, ...) is
// left out.
static void add_device_tree(struct oci_runtime_config *c, const char *host, const char *inside,
                            const char *access, unsigned level)
{
    static const char *const own[] = { "pts",         "shm",   "fd",      "mqueue", ".lxc",
                                       ".lxd-mounts", ".udev", "console", "ptmx",   NULL };
    DIR *dir = level < DEVICE_DEPTH_MAX ? opendir(host) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        bool is_skipped = e->d_name[0] == '.';
        for (size_t i = 0; own[i] && level == 0; i++)
            is_skipped |= streq(own[i], e->d_name);
        if (is_skipped)
            continue;
        CLEANUP(cleanup_free) char *from = xasprintf("%s/%s", host, e->d_name);
        CLEANUP(cleanup_free) char *to = xasprintf("%s/%s", inside, e->d_name);
        struct stat st;
        if (lstat(from, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            add_device_tree(c, from, to, access, level + 1);
        else if (spec_add_device(c, &st, to) && access)
            spec_add_device_rule(&c->resources, true, S_ISCHR(st.st_mode) ? 'c' : 'b', major(st.st_rdev),
                                 minor(st.st_rdev), access);
    }
    if (dir)
        closedir(dir);
}

static int add_mapped_devices(const struct container_config *config, struct oci_runtime_config *c,
                              struct error *err)
{
    for (size_t i = 0; i < config->device_count; i++) {
        const struct device_mapping *d = &config->devices[i];
        struct stat st;
        if (stat(d->host_path, &st) < 0)
            return error_set(err, ERROR_INVALID,
                             "error gathering device information while adding custom device \"%s\": %s",
                             d->host_path, errno == ENOENT ? "no such file or directory" : strerror(errno));
        if (S_ISDIR(st.st_mode))
            add_device_tree(c, d->host_path, d->container_path, d->permissions, 1);
        else if (!spec_add_device(c, &st, d->container_path))
            return error_set(
                err, ERROR_INVALID,
                "error gathering device information while adding custom device \"%s\": not a device node",
                d->host_path);
        else
            spec_add_device_rule(&c->resources, true, S_ISCHR(st.st_mode) ? 'c' : 'b', major(st.st_rdev),
                                 minor(st.st_rdev), d->permissions);
    }
    return 0;
}

static int build_devices(const struct spec_inputs *in, struct oci_runtime_config *c, struct error *err)
{
    static const struct {
        int64_t major, minor;
    } allowed[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 },   { 1, 9 },
                    { 5, 0 }, { 5, 1 }, { 5, 2 }, { 136, -1 } };
    struct oci_resources *r = &c->resources;
    if (in->config->is_privileged) {
        spec_add_device_rule(r, true, 'a', -1, -1, "rwm");
        if (add_mapped_devices(in->config, c, err) < 0)
            return -1;
        add_device_tree(c, "/dev", "/dev", NULL, 0);
        return 0;
    }
    spec_add_device_rule(r, false, 'a', -1, -1, "rwm");
    spec_add_device_rule(r, true, 'c', -1, -1, "m"); // nodes may be made, not opened
    spec_add_device_rule(r, true, 'b', -1, -1, "m");
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        spec_add_device_rule(r, true, 'c', allowed[i].major, allowed[i].minor, "rwm");
    if (add_mapped_devices(in->config, c, err) < 0)
        return -1;
    for (size_t i = 0; i < in->config->device_rule_count; i++) {
        const struct oci_device_rule *rule = &in->config->device_rules[i];
        spec_add_device_rule(r, true, rule->type, rule->major, rule->minor, rule->access);
    }
    return 0;
}

// --- resources
static int device_number(const json_t *entry, int64_t *ret_major, int64_t *ret_minor, struct error *err)
{
    const char *path = json_get_string(entry, "Path", "");
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
        return error_set(err, ERROR_INVALID, "no such block device: %s", path);
    *ret_major = major(st.st_rdev);
    *ret_minor = minor(st.st_rdev);
    return 0;
}

static int throttle(const json_t *list, struct oci_throttle_device **ret, size_t *ret_count,
                    struct error *err)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        struct oci_throttle_device d = { .rate = (uint64_t)json_get_int(entry, "Rate", 0) };
        if (device_number(entry, &d.major, &d.minor, err) < 0)
            return -1;
        *ret = xreallocarray(*ret, *ret_count + 1, sizeof **ret);
        (*ret)[(*ret_count)++] = d;
    }
    return 0;
}

static int build_blkio(const struct container_config *config, struct oci_resources *r, struct error *err)
{
    size_t i;
    json_t *entry;
    r->blkio_weight = (uint16_t)config->blkio_weight;
    json_array_foreach(config->blkio_weight_devices, i, entry)
    {
        struct oci_weight_device d = { .weight = (uint16_t)json_get_int(entry, "Weight", 0) };
        if (device_number(entry, &d.major, &d.minor, err) < 0)
            return -1;
        r->weight_devices =
            xreallocarray(r->weight_devices, r->weight_device_count + 1, sizeof *r->weight_devices);
        r->weight_devices[r->weight_device_count++] = d;
    }
    if (throttle(config->blkio_read_bps, &r->read_bps, &r->read_bps_count, err) < 0 ||
        throttle(config->blkio_write_bps, &r->write_bps, &r->write_bps_count, err) < 0 ||
        throttle(config->blkio_read_iops, &r->read_iops, &r->read_iops_count, err) < 0)
        return -1;
    return throttle(config->blkio_write_iops, &r->write_iops, &r->write_iops_count, err);
}

static int build_resources(const struct spec_inputs *in, struct oci_runtime_config *c, struct error *err)
{
    enum { PERIOD_US = 100000 };
    const struct container_config *config = in->config;
    struct oci_resources *r = &c->resources;
    if (config->memory_bytes) {
        r->memory_limit = config->memory_bytes;
        r->memory_swap = config->memory_swap_bytes ? config->memory_swap_bytes
                                                   : 2 * config->memory_bytes; // as Docker: as much again
    }
    if (config->memory_reservation_bytes)
        r->memory_reservation = config->memory_reservation_bytes;
    r->has_swappiness = config->memory_swappiness >= 0;
    r->swappiness = r->has_swappiness ? (uint64_t)config->memory_swappiness : 0;
    r->disable_oom_killer = config->disables_oom_killer;
    r->cpu_shares = (uint64_t)config->cpu_shares;
    if (config->nano_cpus) {
        r->cpu_period_us = PERIOD_US;
        r->cpu_quota_us = config->nano_cpus / (1000000000 / PERIOD_US);
    }
    if (config->cpu_quota_us)
        r->cpu_quota_us = config->cpu_quota_us;
    if (config->cpu_period_us)
        r->cpu_period_us = (uint64_t)config->cpu_period_us;
    if (config->cpu_rt_runtime_us)
        r->cpu_rt_runtime_us = config->cpu_rt_runtime_us;
    r->cpu_rt_period_us = (uint64_t)config->cpu_rt_period_us;
    r->cpus = xstrdup(config->cpuset_cpus);
    r->mems = xstrdup(config->cpuset_mems);
    if (config->pids_limit)
        r->pids_limit = config->pids_limit;
    return build_blkio(config, r, err);
}

// --- what is hidden
static void build_paths(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    static const char masked[] =
        "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats "
        "/proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap "
        "/sys/firmware";
    static const char readonly[] = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger";
    const struct container_config *config = in->config;
    if (config->has_masked_paths)
        c->masked_paths = strv_copy(config->masked_paths);
    else if (!config->is_privileged)
        c->masked_paths = strv_split(masked, " ", false);
    if (config->has_readonly_paths)
        c->readonly_paths = strv_copy(config->readonly_paths);
    else if (!config->is_privileged)
        c->readonly_paths = strv_split(readonly, " ", false);
}

static void add_sysctl(const struct container_config *config, struct oci_runtime_config *c, const char *key,
                       const char *value)
{
    for (size_t i = 0; i < config->sysctl_count; i++) // the client's own come first
        if (streq(config->sysctls[i].key, key))
            return;
    c->sysctls = xreallocarray(c->sysctls, c->sysctl_count + 1, sizeof *c->sysctls);
    c->sysctls[c->sysctl_count++] = (struct oci_sysctl){ .key = xstrdup(key), .value = xstrdup(value) };
}

// As Docker does: in a network of its own nobody needs a capability for a low port, or for ping. All groups of the container's
// may ping; Docker leaves that out with a user namespace, because it would name groups that are not mapped.
static void add_network_sysctls(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    if (in->config->network.kind == NS_MODE_HOST || in->config->network.kind == NS_MODE_CONTAINER)
        return;
    add_sysctl(in->config, c, "net.ipv4.ip_unprivileged_port_start", "0");
    add_sysctl(in->config, c, "net.ipv4.ping_group_range", in->userns_first_id ? "0 65535" : "0 2147483647");
}

static void build_rest(const struct spec_inputs *in, struct oci_runtime_config *c)
{
    const struct container_config *config = in->config;
    c->oci_version = xstrdup("1.1.0");
    c->root_path = xstrdup("rootfs"); // stands for the overlay that the shim is given beside this document
    c->is_root_readonly = config->is_read_only;
    c->cgroups_path = xstrdup(in->cgroup_path);
    c->annotations = strv_copy(config->annotations);
    for (size_t i = 0; i < config->sysctl_count; i++) {
        c->sysctls = xreallocarray(c->sysctls, c->sysctl_count + 1, sizeof *c->sysctls);
        c->sysctls[c->sysctl_count++] = (struct oci_sysctl){ .key = xstrdup(config->sysctls[i].key),
                                                             .value = xstrdup(config->sysctls[i].value) };
    }
    add_network_sysctls(in, c);
}

static int build_cdi(const struct spec_inputs *in, struct oci_runtime_config *c, struct error *err)
{
    CLEANUP(strv_freep) char **names = NULL;
    if (!json_array_size(in->config->device_requests))
        return 0;
    if (cdi_resolve_requests(in->cdi_directories, in->config->device_requests, &names, err) < 0)
        return -1;
    return cdi_inject(in->cdi_directories, names, c, err);
}

int spec_resources_document(const struct container_config *config, json_t **ret, struct error *err)
{
    const struct spec_inputs in = { .config = config };
    struct oci_runtime_config c;
    oci_runtime_config_init(&c);
    int r = build_resources(&in, &c, err);
    if (r == 0)
        *ret = oci_runtime_config_emit(&c);
    oci_runtime_config_done(&c);
    return r;
}

int spec_change_document(const struct container_config *mounts, bool is_going,
                         const struct container_config *devices, char *const *cdi_directories, json_t **ret,
                         struct error *err)
{
    const struct spec_inputs in = { .config = devices, .cdi_directories = cdi_directories };
    struct oci_runtime_config c, all;
    for (size_t i = 0; i < mounts->bind_count; i++)
        if (mounts->binds[i].image)
            return error_set(err, ERROR_UNSUPPORTED,
                             "mounts of type \"image\" change only while the container is stopped: %s",
                             mounts->binds[i].target);
    oci_runtime_config_init(&c);
    oci_runtime_config_init(
        &all); // a CDI device brings more than devices, which is none of this document's business
    int r = add_user_mounts(mounts, NULL, is_going, &c, err);
    if (r == 0 && devices)
        r = build_devices(&in, &all, err);
    if (r == 0 && devices)
        r = build_cdi(&in, &all, err);
    if (r == 0) {
        c.devices = all.devices;
        c.device_count = all.device_count;
        c.resources.devices = all.resources.devices;
        c.resources.device_count = all.resources.device_count;
        *ret = oci_runtime_config_emit(&c);
        c.devices = NULL;
        c.device_count = c.resources.device_count = 0;
        c.resources.devices = NULL;
    }
    oci_runtime_config_done(&c);
    oci_runtime_config_done(&all);
    return r < 0 ? -1 : 0;
}

int spec_build(const struct spec_inputs *in, struct oci_runtime_config *ret, struct error *err)
{
    struct oci_runtime_config c;
    oci_runtime_config_init(&c);
    build_rest(in, &c);
    build_process(in, &c);
    build_namespaces(in, &c);
    build_paths(in, &c);
    if (build_mounts(in, &c, err) < 0 || build_devices(in, &c, err) < 0 || build_resources(in, &c, err) < 0 ||
        build_cdi(in, &c, err) < 0) {
        oci_runtime_config_done(&c);
        oci_runtime_config_init(ret);
        return -1;
    }
    *ret = c;
    return 0;
}
