// Theory of operation. Everything that the container gets from the host is opened here, in the parent, as
// detached mounts and contexts whose descriptors the child inherits by being cloned: no path of the host is
// resolved inside, and the child needs no privilege on the host. Ids are mapped afterwards (sources_finish),
// when the child's user namespace exists: the map belongs to the mount, not to the descriptor, so that the
// child sees it too.
//
// The overlay. Layers and upper directory keep plain owners on disk and are seen through one idmapped clone
// of their parents. Overlay makes its work directory as the mounting process's fsuid, so fsuid and fsgid are
// the host ids of the container's root meanwhile; the kernel takes the file capabilities away with such a
// change, so they are raised again. The superblock is created here (the layers are beyond the child's reach),
// the mount is taken by the child: a mount born in a less privileged namespace is not locked there.
//
// /dev is a tmpfs made here as well: its superblock belongs to the host's user namespace, so device nodes
// work on it and can be made by mknod, owned by the container's root; inside a user namespace neither would
// be possible.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernel/cgroup.h"
#include "kernel/mount.h"
#include "kernel/overlay.h"
#include "kernel/path.h"
#include "kernel/process.h"
#include "kernel/version.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PROPAGATION_PRIVATE = 1 << 18, PROPAGATION_SHARED = 1 << 20 };

static int fs_error(struct error *err, int r, int context_fd, const char *what)
{
    char text[512];
    mount_message(context_fd, text, sizeof text);
    if (*text)
        return error_errno(err, r, "%s (%s)", what, text);
    return error_errno(err, r, "%s", what);
}

// --- acting as the container's root

static void fs_identity_begin(const struct runtime_plan *p, struct capability_sets *saved)
{
    if (!p->has_userns || capability_get(saved) < 0)
        return;
    setfsgid(p->root_gid);
    setfsuid(p->root_uid);
    (void)capability_set(saved);
}

static void fs_identity_end(const struct runtime_plan *p, const struct capability_sets *saved)
{
    if (!p->has_userns)
        return;
    setfsuid(geteuid());
    setfsgid(getegid());
    (void)capability_set(saved);
}

// --- binds

// "/proc/<pid>/root/<path>" is a mount of another mount namespace, which can only be cloned from within: another container's
// /dev/shm. In the same user namespace its owners are right as they are, and the kernel refuses a map; in another one the map
// makes them so.
static int clone_foreign(const char *source)
{
    int pid, n = 0;
    if (sscanf(source, "/proc/%d/root%n", &pid, &n) != 1 || n == 0 || source[n] != '/')
        return -EINVAL;
    return mount_clone_of(pid, source + n);
}

static int clone_source(const struct plan_mount *m, const char *path)
{
    const char *subdir = plan_mount_subdir(m);
    if (!subdir)
        return mount_clone(AT_FDCWD, path, m->is_recursive);
    int source CLEANUP(cleanup_close) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int below CLEANUP(cleanup_close) = source < 0 ? -errno : path_open(source, subdir, O_PATH, 0);
    return below < 0 ? below : mount_clone(below, "", m->is_recursive);
}

int source_open_bind(const char *bundle, struct plan_mount *m, struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s%s%s", m->source[0] == '/' || !bundle ? "" : bundle,
                     m->source[0] == '/' || !bundle ? "" : "/", m->source);
    if (n < 0 || n >= (int)sizeof path)
        return error_set(err, ERROR_INVALID, "mount source %s: path too long", m->source);
    m->fd = clone_source(m, path);
    if (m->fd == -EINVAL)
        m->fd = clone_foreign(path);
    if (m->fd < 0 || fstat(m->fd, &st) < 0)
        return error_errno(err, m->fd < 0 ? m->fd : errno, "mount source %s", path);
    m->is_source_directory = S_ISDIR(st.st_mode);
    uint64_t propagation = m->propagation ? m->propagation : PROPAGATION_PRIVATE;
    bool is_recursive = m->propagation ? m->is_propagation_recursive : true;
    int r = 0;
    if (propagation != PROPAGATION_SHARED || m->propagation) // a clone of a shared mount is its peer already
        r = mount_set(m->fd, "", is_recursive, 0, 0, propagation);
    if (r == 0 && (m->set || m->clear))
        r = mount_set(m->fd, "", false, m->set, m->clear, 0);
    if (r == 0 && (m->recursive_set || m->recursive_clear))
        r = mount_set(m->fd, "", true, m->recursive_set, m->recursive_clear, 0);
    return r < 0 ? error_errno(err, r, "mount source %s: set its flags", path) : 0;
}

// --- /dev

mode_t device_type(const struct oci_device *d)
{
    return d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;
}

static int make_node(const struct apply *a, int dev_fd, const struct oci_device *d, struct error *err)
{
    const struct oci_runtime_config *c = a->plan->config;
    const char *name = d->path + strlen("/dev/");
    char parent[PATH_MAX];
    const char *slash = strrchr(name, '/');
    if (slash) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - name), name);
        int fd CLEANUP(cleanup_close) = path_make_dirs(dev_fd, parent, 0755);
        if (fd < 0)
            return error_errno(err, fd, "create the directory of device %s", d->path);
    }
    if (mknodat(dev_fd, name, device_type(d) | d->mode, makedev((unsigned)d->major, (unsigned)d->minor)) < 0)
        return error_errno(err, errno, "create device %s", d->path);
    if (d->uid == 0 && d->gid == 0)
        return 0;
    uint32_t uid = a->plan->has_userns ? plan_map_id(c->uid_mappings, c->uid_mapping_count, d->uid) : d->uid;
    uint32_t gid = a->plan->has_userns ? plan_map_id(c->gid_mappings, c->gid_mapping_count, d->gid) : d->gid;
    if (fchownat(dev_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dev_fd, name, d->mode, 0) < 0)
        return error_errno(err, errno, "own device %s", d->path);
    return 0;
}

static int fill_dev(const struct apply *a, int dev_fd, struct error *err)
{
    static const char *const links[][2] = { { "/proc/self/fd", "fd" },       { "/proc/self/fd/0", "stdin" },
                                            { "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
                                            { "/proc/kcore", "core" },       { "pts/ptmx", "ptmx" } };
    static const char *const directories[] = { "pts", "shm", "mqueue" };
    for (size_t i = 0; i < a->plan->device_count; i++)
        if (make_node(a, dev_fd, &a->plan->devices[i], err) < 0)
            return -1;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlinkat(links[i][0], dev_fd, links[i][1]) < 0 && errno != EEXIST)
            return error_errno(err, errno, "create /dev/%s", links[i][1]);
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        if (mkdirat(dev_fd, directories[i], 0755) < 0 && errno != EEXIST)
            return error_errno(err, errno, "create /dev/%s", directories[i]);
    return 0;
}

int sources_configure(int context_fd, char *const *data)
{
    int r = 0;
    for (size_t i = 0; data && data[i] && r == 0; i++) {
        char *equals = strchr(data[i], '=');
        if (!equals) {
            r = mount_config(context_fd, data[i], NULL);
            continue;
        }
        char *key CLEANUP(cleanup_free) = xstrndup(data[i], (size_t)(equals - data[i]));
        r = mount_config(context_fd, key, equals + 1);
    }
    return r;
}

static int make_dev(const struct apply *a, struct plan_mount *m, struct error *err)
{
    struct capability_sets saved;
    fs_identity_begin(a->plan, &saved);
    mode_t mask = umask(0);
    int context CLEANUP(cleanup_close) = mount_open_fs("tmpfs"); // the opener owns its root directory
    int r = context < 0 ? context : mount_config(context, "source", "tmpfs");
    if (r == 0)
        r = sources_configure(context, m->data);
    if (r == 0)
        r = mount_create(context);
    if (r == 0)
        r = m->fd = mount_take(context, m->set & ~(uint64_t)(MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY));
    r = r < 0 ? fs_error(err, r, context, "make /dev") : fill_dev(a, m->fd, err);
    umask(mask);
    fs_identity_end(a->plan, &saved);
    return r;
}

// --- the root

static bool has_layers(const struct runtime_plan *p)
{
    return p->spec.rootfs && p->spec.rootfs->lower && p->spec.rootfs->lower[0];
}

// Idmapped clones in a user namespace; without one a plain descriptor is as good.
static int open_directory(const struct runtime_plan *p, const char *path)
{
    if (p->has_userns)
        return mount_clone(AT_FDCWD, path, false);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int open_root(struct apply *a, struct error *err)
{
    const struct runtime_plan *p = a->plan;
    const struct runtime_rootfs *root = p->spec.rootfs;
    if (has_layers(p)) {
        a->layers_fd = open_directory(p, root->layers_dir);
        if (a->layers_fd < 0)
            return error_errno(err, a->layers_fd, "open layers %s", root->layers_dir);
        a->upper_fd = open_directory(p, root->upper_parent);
        if (a->upper_fd < 0)
            return error_errno(err, a->upper_fd, "open %s", root->upper_parent);
        a->overlay_fd = mount_open_fs("overlay");
        return a->overlay_fd < 0 ? error_errno(err, a->overlay_fd, "open overlay") : 0;
    }
    const char *path = p->config->root_path, *bundle = p->spec.bundle;
    char full[PATH_MAX];
    if (!path)
        return error_set(err, ERROR_INVALID, "the configuration has no root");
    int n = snprintf(full, sizeof full, "%s%s%s", path[0] == '/' || !bundle ? "" : bundle,
                     path[0] == '/' || !bundle ? "" : "/", path);
    if (n < 0 || n >= (int)sizeof full)
        return error_set(err, ERROR_INVALID, "root %s: path too long", path);
    a->root_fd = mount_clone(AT_FDCWD, full, true);
    int r = a->root_fd < 0 ? a->root_fd : mount_set(a->root_fd, "", true, 0, 0, PROPAGATION_PRIVATE);
    return r < 0 ? error_errno(err, r, "root %s", full) : 0;
}

static int attach_over_itself(int mount_fd, const char *path)
{
    int target CLEANUP(cleanup_close) = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return target < 0 ? -errno : mount_attach(mount_fd, target);
}

// Kernels before 6.15 take no detached mount for a layer: it must be attached in the mounter's mount namespace. The shim makes
// one of its own for that, so that nothing shows in the host's.
static int attach_clones(const struct apply *a)
{
    const struct runtime_rootfs *root = a->plan->spec.rootfs;
    if (!a->plan->has_userns || kernel_is_at_least(6, 15))
        return 0;
    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    int r = mount_set(AT_FDCWD, "/", true, 0, 0, MS_SLAVE);
    if (r == 0)
        r = attach_over_itself(a->layers_fd, root->layers_dir);
    return r < 0 ? r : attach_over_itself(a->upper_fd, root->upper_parent);
}

static int create_overlay(struct apply *a, struct error *err)
{
    struct capability_sets saved;
    int attached = attach_clones(a);
    if (attached < 0)
        return error_errno(err, attached, "attach the layers");
    // A volatile overlay leaves a mark that forbids its next mount, since a crash may have lost data. Such a
    // container does not outlive a crash of the machine, so for us the mark only says that it ran before.
    int r = a->plan->spec.rootfs->is_volatile ? dir_remove_all_at(a->upper_fd, "work/work/incompat") : 0;
    fs_identity_begin(a->plan, &saved);
    if (r == 0)
        r = overlay_create(a->overlay_fd, a->layers_fd, a->plan->spec.rootfs->lower, a->upper_fd,
                           a->plan->spec.rootfs->is_volatile);
    fs_identity_end(a->plan, &saved);
    return r < 0 ? fs_error(err, r, a->overlay_fd, "mount the root file system") : 0;
}

// A view of an image's layers, through the same clone of their parent.
static int make_view(const struct apply *a, struct plan_mount *m, struct error *err)
{
    int context CLEANUP(cleanup_close) = mount_open_fs("overlay");
    int r = context < 0 ? context : overlay_create(context, a->layers_fd, m->lower, FD_NONE, false);
    if (r == 0)
        r = m->fd = mount_take(context, m->set | MOUNT_ATTR_RDONLY);
    return r < 0 ? fs_error(err, r, context, "mount an image") : 0;
}

static int create_overlays(struct apply *a, struct error *err)
{
    if (create_overlay(a, err) < 0)
        return -1;
    for (size_t i = 0; i < a->plan->mount_count; i++)
        if (a->plan->mounts[i].kind == PLAN_MOUNT_LAYERS && make_view(a, &a->plan->mounts[i], err) < 0)
            return -1;
    return 0;
}

// --- all

static int open_cgroups(struct apply *a, const struct plan_mount *m, struct error *err)
{
    const struct cgroups *c = &a->cgroups;
    char path[PATH_MAX];
    uint64_t set = m->set | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    for (size_t i = 0; i < c->top_count; i++) {
        const char *name = a->plan->spec.cgroup_path;
        snprintf(path, sizeof path, "%s%s%s", c->tops[i], *c->tops[i] ? "/" : "", name + strspn(name, "/"));
        int fd = a->cgroup_mounts[i] = mount_clone(c->base_fd, path, false);
        int r = fd < 0 ? fd : mount_set(fd, "", false, set, 0, PROPAGATION_PRIVATE);
        if (r < 0)
            return error_errno(err, r, "clone cgroup %s", path);
    }
    return 0;
}

// Where hooks look for the root, which is shown there to the container's own processes only.
static int open_place(struct apply *a, struct error *err)
{
    const char *bundle = a->plan->spec.bundle, *path = a->plan->config->root_path;
    char full[PATH_MAX];
    int n =
        snprintf(full, sizeof full, "%s%s%s", path[0] == '/' ? "" : bundle, path[0] == '/' ? "" : "/", path);
    a->place_fd = n < (int)sizeof full ? open(full, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
    return a->place_fd < 0 ? error_errno(err, errno, "open the place of the root, %s", full) : 0;
}

static int open_join(struct plan_join *join, struct error *err)
{
    join->fd = open(join->path, O_RDONLY | O_CLOEXEC);
    return join->fd < 0 ? error_errno(err, errno, "open namespace %s", join->path) : 0;
}

int sources_open(struct apply *a, struct error *err)
{
    struct runtime_plan *p = a->plan;
    a->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (a->null_fd < 0)
        return error_errno(err, errno, "open /dev/null");
    for (size_t i = 0; i < p->join_count; i++)
        if (open_join(&p->joins[i], err) < 0)
            return -1;
    if (joined_mounts_make(a, err) < 0)
        return -1;
    if (open_root(a, err) < 0 || (p->has_create_hooks && open_place(a, err) < 0))
        return -1;
    for (size_t i = 0; i < p->mount_count; i++) {
        struct plan_mount *m = &p->mounts[i];
        int r = m->kind == PLAN_MOUNT_BIND     ? source_open_bind(p->spec.bundle, m, err)
                : m->kind == PLAN_MOUNT_DEV    ? make_dev(a, m, err)
                : m->kind == PLAN_MOUNT_CGROUP ? open_cgroups(a, m, err)
                                               : 0;
        if (r < 0)
            return -1;
    }
    if (!p->has_userns && has_layers(p))
        return create_overlays(a, err);
    return 0;
}

void source_map_bind(const struct plan_mount *m, int userns_fd)
{
    if (m->kind == PLAN_MOUNT_BIND && m->fd >= 0 && !m->keeps_owners &&
        mount_set_idmap(m->fd, m->is_recursive, userns_fd) < 0 && m->is_recursive)
        (void)mount_set_idmap(m->fd, false, userns_fd); // a file system below cannot; the top may
}

static int map_ids(const struct apply *a, struct error *err)
{
    const struct runtime_plan *p = a->plan;
    int layers = has_layers(p) ? mount_set_idmap(a->layers_fd, false, a->userns_fd) : 0;
    if (layers < 0)
        return error_errno(err, layers, "map the ids of %s", p->spec.rootfs->layers_dir);
    int upper = has_layers(p) ? mount_set_idmap(a->upper_fd, false, a->userns_fd) : 0;
    if (upper < 0)
        return error_errno(err, upper, "map the ids of %s", p->spec.rootfs->upper_parent);
    if (a->root_fd >= 0 && mount_set_idmap(a->root_fd, true, a->userns_fd) < 0)
        (void)mount_set_idmap(a->root_fd, false, a->userns_fd); // or stays as it is: owners show as nobody
    for (size_t i = 0; i < p->mount_count; i++)
        source_map_bind(&p->mounts[i], a->userns_fd);
    return 0;
}

int sources_finish(struct apply *a, struct error *err)
{
    if (!a->plan->has_userns)
        return 0;
    if (map_ids(a, err) < 0)
        return -1;
    return has_layers(a->plan) ? create_overlays(a, err) : 0;
}
