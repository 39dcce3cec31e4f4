// Theory of operation. In the child's own mount namespace: the root is attached on top of "/" (for hooks: where they expect it), everything
// else is attached below it by descriptor, and pivot_root then makes it the root and drops the host's tree.
// New file systems are made while the old tree is still there: the kernel lets a user namespace mount proc
// and sysfs only where it already sees one. Targets are resolved in the root (kernel/path.h) and attached by
// descriptor: a path is never used twice (rules R2, R4).
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"
#include "kernel/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// <sys/mount.h> and <linux/mount.h> cannot be included together with this glibc.
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
enum { FLAG_REC = 1 << 14, FLAG_PRIVATE = 1 << 18, FLAG_SLAVE = 1 << 19, FLAG_SHARED = 1 << 20, DETACH = 2 };

// The root's own propagation is set last, by child_pivot.
int child_mount_root(struct apply *a, struct child_mounts *m, struct error *err)
{
    if (mount(NULL, "/", NULL, FLAG_REC | FLAG_PRIVATE, NULL) < 0)
        return error_errno(err, errno, "make the mount tree private");
    int root CLEANUP(cleanup_close) = TAKE_FD(a->root_fd);
    if (a->overlay_fd >= 0)
        root = mount_take(a->overlay_fd, 0);
    if (root < 0)
        return error_errno(err, root, "mount the root file system");
    int target CLEANUP(cleanup_close) =
        open(a->plan->has_create_hooks ? "." : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = target < 0 ? -errno : mount_attach(root, target);
    if (r < 0)
        return error_errno(err, r, "attach the root file system");
    m->root_fd = TAKE_FD(root);
    return 0;
}

// --- new file systems

static int configure(int context_fd, const struct plan_mount *pm, const struct stat *target, bool has_target)
{
    bool has_mode = false;
    int r = mount_config(context_fd, "source", pm->source ? pm->source : pm->type);
    if (r == -EINVAL) // some pseudo file systems want none
        r = 0;
    for (size_t i = 0; pm->data && pm->data[i] && r == 0; i++) {
        char *equals = strchr(pm->data[i], '=');
        char *key CLEANUP(cleanup_free) =
            equals ? xstrndup(pm->data[i], (size_t)(equals - pm->data[i])) : xstrdup(pm->data[i]);
        has_mode |= streq(key, "mode");
        r = mount_config(context_fd, key, equals ? equals + 1 : NULL);
    }
    if (r == 0 && streq(pm->type, "tmpfs") && !has_mode && has_target) { // a tmpfs looks like what it covers
        char mode[16];
        snprintf(mode, sizeof mode, "%o", target->st_mode & 07777);
        r = mount_config(context_fd, "mode", mode);
    }
    return r;
}

static int fs_error(struct error *err, int r, int context_fd, const struct plan_mount *pm)
{
    char text[512];
    mount_message(context_fd, text, sizeof text);
    return error_errno(err, r, "mount %s on %s%s%s%s", pm->type, pm->destination, *text ? " (" : "", text,
                       *text ? ")" : "");
}

// proc and sysfs must be where people (and masks) look for them, not where an image's link points to
// (CVE-2019-19921).
static int open_target(const struct child_mounts *m, const struct plan_mount *pm, struct error *err)
{
    bool is_strict = streq(pm->type, "proc") || streq(pm->type, "sysfs");
    if (is_strict) {
        struct stat st;
        int fd = path_open(m->root_fd, pm->destination, O_PATH | O_NOFOLLOW, 0);
        if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))) {
            fd_close(fd);
            return error_set(err, ERROR_INVALID, "mount %s: destination %s is not a directory", pm->type,
                             pm->destination);
        }
        if (fd != -ENOENT)
            return fd < 0 ? error_errno(err, fd, "open %s", pm->destination) : fd;
    }
    int fd = path_make_target(m->root_fd, pm->destination, true);
    return fd < 0 ? error_errno(err, fd, "create mount point %s", pm->destination) : fd;
}

static bool is_proc(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

// Nothing foreign lies inside /proc, wherever links lead: the runtime and the container's processes trust what they read and
// write there (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881). Excepted are files of numbers, which people replace by
// name to tell a container its limits.
static bool may_cover(const struct child_mounts *m, const struct plan_mount *pm, int target)
{
    static const char *const numbers[] = { "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg",
                                           "/proc/meminfo", "/proc/slabinfo",  "/proc/stat",
                                           "/proc/swaps",   "/proc/uptime",    "/proc/version" };
    if (!is_proc(target) || (pm->fd >= 0 && is_proc(pm->fd)))
        return true;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (streq(pm->destination, numbers[i]))
            return m->proc_fd >= 0;
    return false;
}

static int refuse_proc(const struct plan_mount *pm, struct error *err)
{
    return error_set(err, ERROR_INVALID, "\"%s\" cannot be mounted because it is inside /proc",
                     pm->destination);
}

static void remember(struct child_mounts *m, const struct plan_mount *pm, int *fd)
{
    if (streq(pm->type, "proc") && m->proc_fd < 0)
        m->proc_fd = TAKE_FD(*fd);
    else if (streq(pm->type, "devpts") && m->devpts_fd < 0)
        m->devpts_fd = TAKE_FD(*fd);
}

static int make_fs(const struct plan_mount *pm, int target, struct error *err)
{
    struct stat st;
    bool has_target = fstat(target, &st) == 0;
    int context CLEANUP(cleanup_close) = mount_open_fs(pm->type);
    if (context < 0)
        return error_errno(err, context, "mount %s on %s", pm->type, pm->destination);
    int r = configure(context, pm, &st, has_target);
    if (r == 0)
        r = mount_create(context);
    if (r == 0)
        r = mount_take(context, pm->set);
    return r < 0 ? fs_error(err, r, context, pm) : r;
}

// *ret_fd (NULL: not wanted) is the mount, attached.
static int mount_fs(struct child_mounts *m, struct plan_mount *pm, int *ret_fd, struct error *err)
{
    int target CLEANUP(cleanup_close) = open_target(m, pm, err);
    if (target < 0)
        return -1;
    if (!streq(pm->type, "proc") && !may_cover(m, pm, target))
        return refuse_proc(pm, err);
    int fd CLEANUP(cleanup_close) = pm->fd >= 0 ? TAKE_FD(pm->fd) : make_fs(pm, target, err);
    if (fd < 0)
        return -1;
    int r = mount_attach(fd, target);
    if (r == 0 && (pm->propagation & (FLAG_SHARED | FLAG_SLAVE)))
        r = mount_set(fd, "", false, 0, 0, pm->propagation);
    if (r < 0)
        return error_errno(err, r, "attach %s", pm->destination);
    if (ret_fd)
        *ret_fd = TAKE_FD(fd);
    else
        remember(m, pm, &fd);
    return 0;
}

// --- what the parent made

static int mount_bind(const struct child_mounts *m, const struct plan_mount *pm, struct error *err)
{
    struct stat st;
    int target CLEANUP(cleanup_close) =
        path_make_target(m->root_fd, pm->destination, pm->is_source_directory);
    if (target < 0)
        return error_errno(err, target, "create mount point %s", pm->destination);
    if (!may_cover(m, pm, target))
        return refuse_proc(pm, err);
    if (fstat(target, &st) == 0 && S_ISDIR(st.st_mode) != pm->is_source_directory)
        return error_set(
            err, ERROR_INVALID,
            "mount src=%s, dst=%s: not a directory: Are you trying to mount a directory onto a file (or "
            "vice-versa)? Check if the specified host path exists and is the expected type",
            pm->source, pm->destination);
    int r = mount_attach(pm->fd, target);
    return r < 0 ? error_errno(err, r, "bind %s to %s", pm->source, pm->destination) : 0;
}

// A part of a view. Only what is attached can be cloned on every kernel, so the view lies on the root for that moment. The
// descriptor of the clone, or -errno.
static int cut_out(const struct child_mounts *m, int view_fd, const char *subdir)
{
    int r = mount_attach(view_fd, m->root_fd);
    if (r < 0)
        return r;
    int part CLEANUP(cleanup_close) = path_open(view_fd, subdir, O_PATH, 0);
    int clone CLEANUP(cleanup_close) = part < 0 ? part : mount_clone(part, "", false);
    if (fchdir(view_fd) < 0 || umount2(".", DETACH) < 0)
        return -errno;
    return clone < 0 ? clone : TAKE_FD(clone);
}

static int mount_layers(const struct child_mounts *m, struct plan_mount *pm, struct error *err)
{
    const char *subdir = plan_mount_subdir(pm);
    struct stat st;
    int part CLEANUP(cleanup_close) = subdir ? cut_out(m, pm->fd, subdir) : FD_NONE;
    if (subdir && part < 0)
        return error_errno(err, part, "mount %s: cannot access path %s of the image", pm->destination,
                           subdir);
    int source = subdir ? part : pm->fd;
    if (fstat(source, &st) < 0)
        return error_errno(err, errno, "mount %s", pm->destination);
    pm->is_source_directory = S_ISDIR(st.st_mode);
    int target CLEANUP(cleanup_close) =
        path_make_target(m->root_fd, pm->destination, pm->is_source_directory);
    if (target < 0)
        return error_errno(err, target, "create mount point %s", pm->destination);
    if (!may_cover(m, pm, target))
        return refuse_proc(pm, err);
    int r = mount_attach(source, target);
    return r < 0 ? error_errno(err, r, "mount an image on %s", pm->destination) : 0;
}

static int mount_dev(struct child_mounts *m, struct plan_mount *pm, struct error *err)
{
    int target CLEANUP(cleanup_close) = path_make_target(m->root_fd, pm->destination, true);
    int r = target < 0 ? target : mount_attach(pm->fd, target);
    if (r < 0)
        return error_errno(err, r, "attach %s", pm->destination);
    m->dev_fd = TAKE_FD(pm->fd);
    return 0;
}

// v2: the container's directory. v1: a tmpfs with one directory a hierarchy.
static int mount_cgroup(const struct apply *a, struct child_mounts *m, const struct plan_mount *pm,
                        struct error *err)
{
    const struct cgroups *c = &a->cgroups;
    struct plan_mount tmpfs = { .destination = pm->destination,
                                .type = "tmpfs",
                                .source = "cgroup",
                                .fd = FD_NONE,
                                .set = (pm->set & ~(uint64_t)MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID |
                                       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
    char *data[] = { (char[]){ "mode=755" }, NULL };
    tmpfs.data = data;
    if (!c->is_v2 && mount_fs(m, &tmpfs, NULL, err) < 0)
        return -1;
    int top CLEANUP(cleanup_close) = path_make_target(m->root_fd, pm->destination, true);
    int r = top < 0 ? top : 0;
    for (size_t i = 0; i < c->top_count && r == 0; i++) {
        int target CLEANUP(cleanup_close) = FD_NONE;
        if (!c->is_v2 && mkdirat(top, c->tops[i], 0755) < 0)
            r = -errno;
        if (r == 0 && !c->is_v2)
            target = r = openat(top, c->tops[i], O_PATH | O_CLOEXEC);
        r = r < 0 ? (r == -1 ? -errno : r) : mount_attach(a->cgroup_mounts[i], c->is_v2 ? top : target);
    }
    if (r == 0 && !c->is_v2 && (pm->set & MOUNT_ATTR_RDONLY))
        r = mount_set(top, "", false, MOUNT_ATTR_RDONLY, 0, 0);
    return r < 0 ? error_errno(err, r, "mount cgroups on %s", pm->destination) : 0;
}

bool child_may_cover(int target_fd)
{
    return !is_proc(target_fd);
}

int child_mount_one(struct child_mounts *m, struct plan_mount *pm, struct error *err)
{
    return pm->kind == PLAN_MOUNT_BIND ? mount_bind(m, pm, err) : mount_fs(m, pm, &pm->fd, err);
}

int child_mount_all(struct apply *a, struct child_mounts *m, struct error *err)
{
    for (size_t i = 0; i < a->plan->mount_count; i++) {
        struct plan_mount *pm = &a->plan->mounts[i];
        int r = pm->kind == PLAN_MOUNT_FS       ? mount_fs(m, pm, NULL, err)
                : pm->kind == PLAN_MOUNT_BIND   ? mount_bind(m, pm, err)
                : pm->kind == PLAN_MOUNT_DEV    ? mount_dev(m, pm, err)
                : pm->kind == PLAN_MOUNT_LAYERS ? mount_layers(m, pm, err)
                                                : mount_cgroup(a, m, pm, err);
        if (r < 0)
            return -1;
    }
    const char *cwd = a->plan->config->process.cwd;
    int fd = path_make_dirs(m->root_fd, cwd,
                            0755); // a working directory that the image lacks is made, as others do
    if (fd >= 0)
        fd_close(fd);
    return 0;
}

// --- masks

static int open_null(const struct child_mounts *m)
{
    struct stat st;
    int fd = m->dev_fd >= 0 ? openat(m->dev_fd, "null", O_PATH | O_NOFOLLOW | O_CLOEXEC)
                            : path_open(m->root_fd, "/dev/null", O_PATH, 0);
    if (fd < 0)
        return m->dev_fd >= 0 ? -errno : fd;
    if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
        return fd;
    fd_close(fd);
    return -ENODEV;
}

static int make_empty_directory(void)
{
    int context CLEANUP(cleanup_close) = mount_open_fs("tmpfs");
    int r = context < 0 ? context : mount_config(context, "size", "0");
    if (r == 0)
        r = mount_config(context, "nr_inodes", "1");
    if (r == 0)
        r = mount_create(context);
    return r < 0 ? r
                 : mount_take(context,
                              MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

struct masks {
    int null_fd;
    int empty_fd;     // a mount of an empty directory
    bool is_attached; // ... which has a place already: further ones are clones
};

static int mask_one(struct masks *k, int target)
{
    struct stat st;
    if (fstat(target, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode)) {
        int clone CLEANUP(cleanup_close) = k->null_fd < 0 ? k->null_fd : mount_clone(k->null_fd, "", false);
        return clone < 0 ? clone : mount_attach(clone, target);
    }
    if (k->empty_fd < 0)
        k->empty_fd = make_empty_directory();
    if (k->empty_fd < 0)
        return k->empty_fd;
    int clone CLEANUP(cleanup_close) = k->is_attached ? mount_clone(k->empty_fd, "", false) : FD_NONE;
    if (k->is_attached && clone < 0)
        return clone;
    int r = mount_attach(k->is_attached ? clone : k->empty_fd, target);
    k->is_attached |= r == 0;
    return r;
}

static int make_readonly(int target)
{
    int clone CLEANUP(cleanup_close) = mount_clone(target, "", true);
    int r = clone < 0 ? clone : mount_set(clone, "", true, MOUNT_ATTR_RDONLY, 0, 0);
    return r < 0 ? r : mount_attach(clone, target);
}

static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR;
}

int child_mask_paths(const struct apply *a, const struct child_mounts *m, struct error *err)
{
    char *const *masked = a->plan->config->masked_paths, *const *readonly = a->plan->config->readonly_paths;
    struct masks k = { .null_fd = masked && masked[0] ? open_null(m) : FD_NONE, .empty_fd = FD_NONE };
    int r = 0;
    for (size_t i = 0; readonly && readonly[i] && r >= 0; i++) {
        int target CLEANUP(cleanup_close) = path_open(m->root_fd, readonly[i], O_PATH, 0);
        r = is_absent(target) ? 0 : target < 0 ? target : make_readonly(target);
        if (r < 0)
            error_errno(err, r, "make %s read-only", readonly[i]);
    }
    for (size_t i = 0; masked && masked[i] && r >= 0; i++) {
        int target CLEANUP(cleanup_close) = path_open(m->root_fd, masked[i], O_PATH, 0);
        r = is_absent(target) ? 0 : target < 0 ? target : mask_one(&k, target);
        if (r < 0)
            error_errno(err, r, "mask %s", masked[i]);
    }
    fd_close(k.null_fd);
    fd_close(k.empty_fd);
    return r < 0 ? -1 : 0;
}

int child_pivot(const struct apply *a, const struct child_mounts *m, struct error *err)
{
    const char *propagation = a->plan->config->rootfs_propagation;
    uint64_t flag = !propagation                    ? 0
                    : strstr(propagation, "shared") ? FLAG_SHARED
                    : strstr(propagation, "slave")  ? FLAG_SLAVE
                                                    : 0;
    if (a->plan->config->is_root_readonly) {
        int r = mount_set(m->root_fd, "", false, MOUNT_ATTR_RDONLY, 0, 0);
        if (r < 0)
            return error_errno(err, r, "make the root file system read-only");
    }
    if (fchdir(m->root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return error_errno(err, errno, "pivot_root");
    if (umount2(".", DETACH) < 0 ||
        chdir("/") < 0) // the old root lies on top of the new one and is where we stand
        return error_errno(err, errno, "leave the host's file system");
    if (flag && mount(NULL, "/", NULL, flag | (propagation[0] == 'r' ? FLAG_REC : 0), NULL) < 0)
        return error_errno(err, errno, "set the root's propagation");
    return 0;
}
