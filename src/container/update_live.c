// Theory of operation. Ports first, because they can fail for reasons of others and are taken back without a trace; then the file
// systems of volumes that have one; devices and mounts last, which the container's monitor changes all or none (SHIM_CHANGE). What
// failed is followed by going back the same way. The record is written when all this is done (update.c).
#include "container/update.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/networks.h"
#include "container/shim_client.h"

#include <string.h>
#include <sys/stat.h>

// --- ports
static bool is_exact(const struct network_port *wanted, const struct network_port *has)
{
    return wanted->container_port == has->container_port && wanted->protocol == has->protocol &&
           wanted->host_port == has->host_port && (!*wanted->host_ip || streq(wanted->host_ip, has->host_ip));
}

static bool is_good(const struct network_port *wanted, const struct network_port *has)
{
    bool is_in_range = wanted->host_port == 0 ||
                       (has->host_port >= wanted->host_port && has->host_port <= wanted->last_host_port);
    return wanted->container_port == has->container_port && wanted->protocol == has->protocol &&
           is_in_range && (!*wanted->host_ip || streq(wanted->host_ip, has->host_ip));
}

// Which of the wanted ports the endpoint has, and which of its ports nobody wants.
struct port_match {
    bool *is_met, *is_kept;
};

static void port_match_done(struct port_match *m)
{
    free(m->is_met);
    free(m->is_kept);
}

// The same port at [::] as at every IPv4 address: one wish made both.
static bool is_twin(const struct network_port *p, const struct network_port *four)
{
    return p->protocol == four->protocol && p->container_port == four->container_port &&
           p->host_port == four->host_port && streq(p->host_ip, "::") && streq(four->host_ip, "0.0.0.0");
}

static bool is_listed(const struct network_port *p, const struct network_port *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(p, &list[i], sizeof *p) == 0 || is_twin(p, &list[i]))
            return true;
    return false;
}

// A port wanted without an address is published on one for each family; what was found is one of them.
static void keep_twins(const struct network_endpoint *e, size_t found, bool *is_kept)
{
    const struct network_port *p = &e->ports[found];
    for (size_t i = 0; i < e->port_count; i++) {
        if (is_twin(&e->ports[i], p))
            is_kept[i] = true;
    }
}

static struct port_match match_ports(const struct network_endpoint *e, const struct network_port *wanted,
                                     size_t count, const struct network_port *gone, size_t gone_count)
{
    struct port_match m = { xcalloc(count + 1, sizeof(bool)), xcalloc(e->port_count + 1, sizeof(bool)) };
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < e->port_count && !m.is_met[i]; k++)
                if (!m.is_kept[k] && !is_listed(&e->ports[k], gone, gone_count) &&
                    (pass == 0 ? is_exact(&wanted[i], &e->ports[k]) : is_good(&wanted[i], &e->ports[k]))) {
                    m.is_met[i] = m.is_kept[k] = true;
                    if (!*wanted[i].host_ip)
                        keep_twins(e, k, m.is_kept);
                }
    return m;
}

static struct network_port *unmarked(const struct network_port *ports, size_t count, const bool *marks,
                                     size_t *ret_count)
{
    struct network_port *rest = xcalloc(count + 1, sizeof *rest);
    *ret_count = 0;
    for (size_t i = 0; i < count; i++)
        if (!marks[i])
            rest[(*ret_count)++] = ports[i];
    return rest;
}

// The endpoint's ports become these (as a config has them). Of those that fit as well as others, the ones in `gone` go first.
static int publish(struct container *c, const struct network_port *ports, size_t count,
                   const struct network_port *gone, size_t gone_count, struct error *err)
{
    struct network_endpoint *now = networks_port_endpoint(c);
    if (!now) // operation is held: nobody makes or releases one now
        return 0;
    CLEANUP(network_endpoint_done) struct network_endpoint e = network_endpoint_copy(now);
    CLEANUP(port_match_done) struct port_match m = match_ports(&e, ports, count, gone, gone_count);
    size_t out_count, in_count;
    CLEANUP(cleanup_free) struct network_port *out = unmarked(e.ports, e.port_count, m.is_kept, &out_count);
    CLEANUP(cleanup_free) struct network_port *in = unmarked(ports, count, m.is_met, &in_count);
    if (out_count + in_count == 0)
        return 0;
    if (network_change_ports(c->service->networks, &e, out, out_count, in, in_count, err) < 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    struct network_endpoint former = *now;
    *now = e;
    pthread_mutex_unlock(&c->lock);
    e = former;
    return 0;
}

// --- volumes
static int mount_volumes(struct container *c, const struct bind_mount *coming, size_t count,
                         struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!coming[i].volume)
            continue;
        if (volume_mount(c->service->options.volumes, coming[i].volume, c->id, err) < 0)
            return -1;
        c->has_mounted = true;
    }
    return 0;
}

// Those of `going` that the container does not keep elsewhere.
static void unmount_volumes(struct container *c, const struct bind_mount *going, size_t count,
                            const struct container_config *kept)
{
    for (size_t i = 0; i < count; i++)
        if (going[i].volume && !update_has_volume(kept, going[i].volume))
            volume_unmount(c->service->options.volumes, going[i].volume, c->id);
}

static void tell(const struct container *c, const struct bind_mount *binds, size_t count, const char *action)
{
    for (size_t i = 0; i < count; i++)
        if (binds[i].volume)
            mounts_event(c, &binds[i], action);
}

// --- devices and mounts
// What differs between two configurations; arrays owned, what is in them borrowed.
struct difference {
    struct container_config going, coming; // binds and tmpfs only
    struct container_config from_devices, to_devices;
    bool has_devices;
};

static bool is_same_device(const struct device_mapping *a, const struct device_mapping *b)
{
    return streq(a->host_path, b->host_path) && streq(a->container_path, b->container_path) &&
           streq(a->permissions, b->permissions);
}

static bool has_device(const struct container_config *config, const struct device_mapping *d)
{
    for (size_t i = 0; i < config->device_count; i++)
        if (is_same_device(&config->devices[i], d))
            return true;
    return false;
}

// Devices of `config` that the host still has. One that has been unplugged must not keep others from being changed; one that is
// asked for now must be there.
static struct container_config present_devices(const struct container_config *config,
                                               const struct container_config *former)
{
    struct container_config present = *config;
    struct stat st;
    present.devices = xcalloc(config->device_count + 1, sizeof *present.devices);
    present.device_count = 0;
    for (size_t i = 0; i < config->device_count; i++)
        if (!has_device(former, &config->devices[i]) || stat(config->devices[i].host_path, &st) == 0)
            present.devices[present.device_count++] = config->devices[i];
    return present;
}

static struct difference differ(const struct update_live *live)
{
    const struct container_config *from = live->from, *to = live->to;
    struct difference d = { .has_devices = live->is_repeated || from->device_count != to->device_count };
    d.going.binds = update_binds_without(from, to, &d.going.bind_count);
    d.going.tmpfs = update_tmpfs_without(from, to, &d.going.tmpfs_count);
    d.coming.binds = update_binds_without(to, from, &d.coming.bind_count);
    d.coming.tmpfs = update_tmpfs_without(to, from, &d.coming.tmpfs_count);
    for (size_t i = 0; i < from->device_count; i++)
        d.has_devices |= !has_device(to, &from->devices[i]);
    d.from_devices = present_devices(from, from);
    d.to_devices = present_devices(to, from);
    return d;
}

static void difference_done(struct difference *d)
{
    free(d->going.binds);
    free(d->going.tmpfs);
    free(d->coming.binds);
    free(d->coming.tmpfs);
    free(d->from_devices.devices);
    free(d->to_devices.devices);
}

static char **targets_of(const struct container_config *config)
{
    char **targets = NULL;
    for (size_t i = 0; i < config->bind_count; i++)
        strv_push(&targets, config->binds[i].target);
    for (size_t i = 0; i < config->tmpfs_count; i++)
        strv_push(&targets, config->tmpfs[i].target);
    return targets;
}

static int change_inside(const struct update_live *live, const struct difference *d, struct error *err)
{
    struct container *c = live->container;
    char *const *cdi = c->service->options.cdi_directories;
    CLEANUP(json_cleanup) json_t *from = NULL, *to = NULL;
    if (!d->has_devices &&
        d->going.bind_count + d->going.tmpfs_count + d->coming.bind_count + d->coming.tmpfs_count == 0)
        return 0;
    if (spec_change_document(&d->going, true, d->has_devices ? &d->from_devices : NULL, cdi, &from, err) <
            0 ||
        spec_change_document(&d->coming, false, d->has_devices ? &d->to_devices : NULL, cdi, &to, err) < 0)
        return -1;
    CLEANUP(strv_freep) char **kept = targets_of(live->to);
    const struct shim_change change = { .kept = kept,
                                        .is_forced =
                                            live->is_repeated || (live->wish && live->wish->is_forced),
                                        .is_repeated = live->is_repeated,
                                        .from = from,
                                        .to = to };
    const struct shim_message m = { .type = SHIM_CHANGE };
    CLEANUP(cleanup_free) char *text = shim_change_emit(&change);
    CLEANUP(cleanup_close) int fd = fd_from_bytes("change", text, strlen(text));
    if (fd < 0)
        return error_errno(err, fd, "change");
    if (shim_call(c->socket_path, &m, &fd, 1, NULL, err) == 0)
        return 0;
    if (err->kind == ERROR_UNSUPPORTED && str_has_prefix(err->message, "unknown request"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "the container was started by an older version: restart it first");
    return -1;
}

// --- what only a start can do
static bool is_inside(const char *path, const char *directory)
{
    size_t n = strlen(directory);
    return strncmp(path, directory, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int check_system(const char *target, struct error *err)
{
    static const char *const places[] = { "/proc",    "/sys",        "/dev",          "/dev/pts",
                                          "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (streq(target, places[i]))
            return error_set(err, ERROR_CONFLICT, "mount %s cannot be changed while the container runs",
                             target);
    return 0;
}

// At a start the upper ones come first. One that comes later would cover what lies below, and one that goes would leave it in the air.
static int check_order(const char *target, const struct container_config *kept, struct error *err)
{
    const char *below = NULL;
    for (size_t i = 0; i < kept->bind_count; i++)
        if (is_inside(kept->binds[i].target, target) && !streq(kept->binds[i].target, target))
            below = kept->binds[i].target;
    for (size_t i = 0; i < kept->tmpfs_count; i++)
        if (is_inside(kept->tmpfs[i].target, target) && !streq(kept->tmpfs[i].target, target))
            below = kept->tmpfs[i].target;
    return below ? error_set(err, ERROR_CONFLICT,
                             "mount %s: %s is mounted below it: it has to be removed first, and added again",
                             target, below)
                 : 0;
}

static int check_side(const struct container_config *side, const struct container_config *kept,
                      struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < side->bind_count && r == 0; i++)
        if ((r = check_system(side->binds[i].target, err)) == 0)
            r = check_order(side->binds[i].target, kept, err);
    for (size_t i = 0; i < side->tmpfs_count && r == 0; i++)
        if ((r = check_system(side->tmpfs[i].target, err)) == 0)
            r = check_order(side->tmpfs[i].target, kept, err);
    return r;
}

static int check(const struct update_live *live, const struct difference *d, struct error *err)
{
    bool has_own_dev = !config_has_target(live->from, "/dev") && !config_has_target(live->to, "/dev");
    struct container_config kept = { 0 };
    if (live->is_repeated)
        return 0;
    if (d->has_devices && !has_own_dev)
        return error_set(err, ERROR_CONFLICT,
                         "devices cannot be changed while the container runs: /dev is a mount of its own");
    kept.binds = update_binds_without(live->from, &d->going, &kept.bind_count);
    kept.tmpfs = update_tmpfs_without(live->from, &d->going, &kept.tmpfs_count);
    int r = check_side(&d->going, &kept, err);
    if (r == 0)
        r = check_side(&d->coming, &kept, err);
    free(kept.binds);
    free(kept.tmpfs);
    return r;
}

// --- all
int update_live_apply(const struct update_live *live, struct error *err)
{
    struct container *c = live->container;
    CLEANUP(difference_done) struct difference d = differ(live);
    const struct network_endpoint *now = networks_port_endpoint(c);
    CLEANUP(network_endpoint_done)
    struct network_endpoint before = now ? network_endpoint_copy(now) : (struct network_endpoint){ 0 };
    const struct network_port *gone = live->wish ? live->wish->gone : NULL;
    size_t gone_count = live->wish ? live->wish->gone_count : 0;
    struct error ignored;
    if (check(live, &d, err) < 0)
        return -1;
    if (publish(c, live->to->ports, live->to->port_count, gone, gone_count, err) < 0)
        return -1;
    if (mount_volumes(c, d.coming.binds, d.coming.bind_count, err) < 0 || change_inside(live, &d, err) < 0) {
        unmount_volumes(c, d.coming.binds, d.coming.bind_count, live->from);
        (void)publish(c, before.ports, before.port_count, NULL, 0, &ignored);
        return -1;
    }
    tell(c, d.coming.binds, d.coming.bind_count, "mount");
    unmount_volumes(c, d.going.binds, d.going.bind_count, live->to);
    tell(c, d.going.binds, d.going.bind_count, "unmount");
    return 0;
}
