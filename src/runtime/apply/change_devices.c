// Theory of operation. The container's /dev is a tmpfs of the host's user namespace with the container's root as its owner
// (sources.c): a node is made there by a process with the host's privileges in the container's mount namespace. What lies in
// /dev is the container's to change, so every step is one name in one directory that is held by a descriptor, no link is
// followed, and a directory on another file system (a volume below /dev) is none: a node is made in this tmpfs or nowhere, and
// only a node with the numbers that are to go is removed. The rules in the cgroup decide what can be opened; a node that stays
// behind is of no use without them.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool is_same_device(const struct oci_device *a, const struct oci_device *b)
{
    return streq(a->path, b->path) && a->type == b->type && a->major == b->major && a->minor == b->minor;
}

static bool has_device(const struct runtime_plan *p, const struct oci_device *d)
{
    for (size_t i = 0; i < p->device_count; i++)
        if (is_same_device(&p->devices[i], d))
            return true;
    return false;
}

static bool is_node_of(const struct stat *st, const struct oci_device *d)
{
    return (st->st_mode & S_IFMT) == device_type(d) &&
           st->st_rdev == makedev((unsigned)d->major, (unsigned)d->minor);
}

// The container's own /dev, not a directory that the user has mounted there.
static int open_dev(struct error *err)
{
    struct statfs fs;
    uint64_t id;
    bool is_root = false;
    int fd CLEANUP(cleanup_close) = open("/dev", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return error_errno(err, errno, "open /dev of the container");
    if (fs.f_type != TMPFS_MAGIC || mount_identify(fd, "", 0, &id, &is_root) < 0 || !is_root)
        return error_set(err, ERROR_CONFLICT, "/dev of the container is not a file system of its own");
    return TAKE_FD(fd);
}

// The directory that holds the node, and its name there (borrowed). -ENOENT when it is missing and not to be made.
static int open_parent(int dev_fd, const struct oci_device *d, bool makes, const char **ret_name)
{
    struct stat top, st;
    const char *rest = d->path + strlen("/dev/");
    int at CLEANUP(cleanup_close) = openat(dev_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || fstat(at, &top) < 0)
        return -errno;
    for (const char *slash; (slash = strchr(rest, '/')); rest = slash + 1) {
        char *name CLEANUP(cleanup_free) = xstrndup(rest, (size_t)(slash - rest));
        if (!*name)
            continue;
        if (makes && mkdirat(at, name, 0755) < 0 && errno != EEXIST)
            return -errno;
        int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return -errno;
        fd_close(at);
        at = next;
        if (fstat(at, &st) < 0 || st.st_dev != top.st_dev)
            return -EXDEV;
    }
    *ret_name = rest;
    return *rest ? TAKE_FD(at) : -EINVAL;
}

static int remove_node(int dev_fd, const struct oci_device *d, struct error *err)
{
    struct stat st;
    const char *name;
    int parent CLEANUP(cleanup_close) = open_parent(dev_fd, d, false, &name);
    if (parent < 0 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !is_node_of(&st, d))
        return 0; // the container's own doing: its node is gone, and the rule will be
    if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
        return error_errno(err, errno, "remove device %s", d->path);
    return 0;
}

// By a descriptor of the node itself: the name may be a link by now.
static int own_node(int parent, const char *name, const struct oci_device *d, struct error *err)
{
    struct stat st;
    int fd CLEANUP(cleanup_close) = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !is_node_of(&st, d))
        return error_set(err, ERROR_CONFLICT, "device %s: something else is in its place", d->path);
    if (fchownat(fd, "", d->uid, d->gid, AT_EMPTY_PATH) < 0)
        return error_errno(err, errno, "own device %s", d->path);
    return 0;
}

static int make_node(int dev_fd, const struct oci_device *d, struct error *err)
{
    struct stat st;
    const char *name;
    int parent CLEANUP(cleanup_close) = open_parent(dev_fd, d, true, &name);
    if (parent == -EXDEV || parent == -ELOOP || parent == -ENOTDIR)
        return error_set(err, ERROR_CONFLICT, "device %s: something else is in its directory's place",
                         d->path);
    if (parent < 0)
        return error_errno(err, parent, "create the directory of device %s", d->path);
    if (mknodat(parent, name, device_type(d) | d->mode, makedev((unsigned)d->major, (unsigned)d->minor)) == 0)
        return own_node(parent, name, d, err);
    if (errno != EEXIST)
        return error_errno(err, errno, "create device %s", d->path);
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_node_of(&st, d))
        return 0;
    return error_set(err, ERROR_CONFLICT, "device %s: something else is in its place", d->path);
}

// Nodes that are in one plan and not in the other.
static int change_nodes(const struct runtime_plan *from, const struct runtime_plan *to, int dev_fd,
                        struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < from->device_count && r == 0; i++)
        if (!has_device(to, &from->devices[i]))
            r = remove_node(dev_fd, &from->devices[i], err);
    for (size_t i = 0; i < to->device_count && r == 0; i++)
        if (!has_device(from, &to->devices[i]))
            r = make_node(dev_fd, &to->devices[i], err);
    return r;
}

// Going back is going the other way: a step that was not reached finds its work done. What was in the place of a node that could
// not be made is left alone, because it is not that node.
static int change_nodes_inside(struct change *change, struct error *err)
{
    struct error ignored;
    int dev CLEANUP(cleanup_close) = open_dev(err);
    if (dev < 0)
        return -1;
    if (change_nodes(change->from, change->to, dev, err) == 0)
        return 0;
    (void)change_nodes(change->to, change->from, dev, &ignored);
    return -1;
}

static bool differ(const struct runtime_plan *a, const struct runtime_plan *b)
{
    if (a->device_rule_count != b->device_rule_count || a->device_count != b->device_count)
        return true;
    for (size_t i = 0; i < a->device_count; i++)
        if (!is_same_device(&a->devices[i], &b->devices[i]))
            return true;
    return memcmp(a->device_rules, b->device_rules, a->device_rule_count * sizeof *a->device_rules) != 0;
}

int change_devices(struct change *change, struct error *err)
{
    struct cgroups c CLEANUP(cgroups_done) = { .base_fd = FD_NONE, .fd = FD_NONE };
    const char *path = change->container->cgroup_path;
    struct error ignored;
    if (!differ(change->from, change->to) && !change->is_repeated)
        return 0;
    if (change->to->device_rule_count == 0)
        return 0;
    if (cgroups_find(&c, path, err) < 0 || change_run(change, false, change_nodes_inside, err) < 0)
        return -1;
    if (cgroups_change_devices(&c, path, change->from, change->to, err) == 0)
        return 0;
    struct change back = *change;
    back.from = change->to;
    back.to = change->from;
    (void)cgroups_change_devices(&c, path, change->to, change->from, &ignored);
    (void)change_run(&back, false, change_nodes_inside, &ignored);
    return -1;
}
