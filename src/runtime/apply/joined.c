// Theory of operation. proc, sysfs and mqueue each show a namespace (pid, network, ipc) and can be mounted only by somebody with
// CAP_SYS_ADMIN over the user namespace that owns it. That is so for namespaces that were made with the container, and for those
// of a container whose user namespace was joined with them. One that is the host's, or a container's of another user namespace,
// is beyond the child: the mount is made here, detached, by a helper that stands in the joined namespaces with the host's
// privileges, and the child attaches it.
//
// The superblock belongs to the owner of its namespace all the same. So whoever sees it through such a mount is nobody to it: may
// read what all may read, and has no capability over it. Nothing is given away that joining the namespace has not given.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"

#include <errno.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static const struct {
    const char *type;
    enum oci_namespace_type shows;
} file_systems[] = { { "proc", OCI_NS_PID }, { "sysfs", OCI_NS_NETWORK }, { "mqueue", OCI_NS_IPC } };

static const struct plan_join *find_join(const struct runtime_plan *p, enum oci_namespace_type type)
{
    for (size_t i = 0; i < p->join_count; i++)
        if (p->joins[i].type == type)
            return &p->joins[i];
    return NULL;
}

static bool is_owned_by(int namespace_fd, int userns_fd)
{
    struct stat owner, ours;
    int fd CLEANUP(cleanup_close) = ioctl(namespace_fd, NS_GET_USERNS);
    return fd >= 0 && fstat(fd, &owner) == 0 && fstat(userns_fd, &ours) == 0 && owner.st_ino == ours.st_ino &&
           owner.st_dev == ours.st_dev;
}

// Is this namespace owned by another user namespace than the container's?
static bool is_foreign(const struct runtime_plan *p, enum oci_namespace_type type)
{
    const struct plan_join *join = find_join(p, type), *user = find_join(p, OCI_NS_USER);
    if (!p->has_userns || (p->config->namespaces[type].is_present && !join))
        return false;
    return !join || !user || !is_owned_by(join->fd, user->fd);
}

static bool is_to_be_made(const struct runtime_plan *p, const struct plan_mount *m)
{
    for (size_t i = 0; m->kind == PLAN_MOUNT_FS && i < sizeof file_systems / sizeof *file_systems; i++)
        if (streq(m->type, file_systems[i].type))
            return is_foreign(p, file_systems[i].shows);
    return false;
}

// In the helper.
static int make(void *context)
{
    struct plan_mount *m = context;
    int fs CLEANUP(cleanup_close) = mount_open_fs(m->type);
    int r = fs < 0 ? fs : sources_configure(fs, m->data);
    if (r == 0)
        r = mount_create(fs);
    if (r == 0)
        r = m->fd = mount_take(fs, m->set);
    return r;
}

int joined_mounts_make(struct apply *a, struct error *err)
{
    struct runtime_plan *p = a->plan;
    for (size_t i = 0; i < p->mount_count; i++) {
        struct plan_mount *m = &p->mounts[i];
        if (is_to_be_made(p, m) && clone_visit(p->joins, p->join_count, make, m, err) < 0)
            return error_wrap(err, "mount %s on %s", m->type, m->destination);
    }
    return 0;
}
