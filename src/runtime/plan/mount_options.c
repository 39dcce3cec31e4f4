// Mount options as fstab, runc and Docker write them -> attributes of the mount, propagation, and what is
// left for the file system itself. Spec: runtime-spec config.md "Linux mount options".
#include "runtime/plan/plan.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <linux/mount.h>
#include <string.h>

// glibc's and the kernel's header quarrel, so the classic flags are given here by their ABI values.
enum { FLAG_UNBINDABLE = 1 << 17, FLAG_PRIVATE = 1 << 18, FLAG_SLAVE = 1 << 19, FLAG_SHARED = 1 << 20 };

enum option_kind {
    OPTION_SET,
    OPTION_CLEAR,
    OPTION_ATIME,
    OPTION_PROPAGATION,
    OPTION_BIND,
    OPTION_NO_IDMAP,
    OPTION_IGNORED,
    OPTION_REFUSED
};

static const struct option {
    const char *name; // an 'r' in front makes the first four kinds recursive
    enum option_kind kind;
    uint64_t value;
} options[] = {
    { "ro", OPTION_SET, MOUNT_ATTR_RDONLY },
    { "rw", OPTION_CLEAR, MOUNT_ATTR_RDONLY },
    { "nosuid", OPTION_SET, MOUNT_ATTR_NOSUID },
    { "suid", OPTION_CLEAR, MOUNT_ATTR_NOSUID },
    { "nodev", OPTION_SET, MOUNT_ATTR_NODEV },
    { "dev", OPTION_CLEAR, MOUNT_ATTR_NODEV },
    { "noexec", OPTION_SET, MOUNT_ATTR_NOEXEC },
    { "exec", OPTION_CLEAR, MOUNT_ATTR_NOEXEC },
    { "nodiratime", OPTION_SET, MOUNT_ATTR_NODIRATIME },
    { "diratime", OPTION_CLEAR, MOUNT_ATTR_NODIRATIME },
    { "nosymfollow", OPTION_SET, MOUNT_ATTR_NOSYMFOLLOW },
    { "symfollow", OPTION_CLEAR, MOUNT_ATTR_NOSYMFOLLOW },
    { "relatime", OPTION_ATIME, MOUNT_ATTR_RELATIME },
    { "noatime", OPTION_ATIME, MOUNT_ATTR_NOATIME },
    { "strictatime", OPTION_ATIME, MOUNT_ATTR_STRICTATIME },
    { "atime", OPTION_ATIME, MOUNT_ATTR_RELATIME },
    { "norelatime", OPTION_ATIME, MOUNT_ATTR_STRICTATIME },
    { "nostrictatime", OPTION_ATIME, MOUNT_ATTR_RELATIME },
    { "private", OPTION_PROPAGATION, FLAG_PRIVATE },
    { "slave", OPTION_PROPAGATION, FLAG_SLAVE },
    { "shared", OPTION_PROPAGATION, FLAG_SHARED },
    { "unbindable", OPTION_PROPAGATION, FLAG_UNBINDABLE },
    { "bind", OPTION_BIND, 0 },
    { "defaults", OPTION_IGNORED, 0 },
    { "async", OPTION_IGNORED, 0 },
    { "nomand", OPTION_IGNORED, 0 },
    { "loud", OPTION_IGNORED, 0 },
    { "silent", OPTION_IGNORED, 0 },
    { "noiversion", OPTION_IGNORED, 0 },
    { "notmpcopyup", OPTION_IGNORED, 0 },
    { "idmap", OPTION_IGNORED, 0 },      // binds get the container's map without being asked
    { "noidmap", OPTION_NO_IDMAP, 0 },   // our own: but for those that are to have no owner inside
    { "consistent", OPTION_IGNORED, 0 }, // for virtual machines on other systems
    { "cached", OPTION_IGNORED, 0 },
    { "delegated", OPTION_IGNORED, 0 },
    { "tmpcopyup", OPTION_REFUSED, 0 },
    { "remount", OPTION_REFUSED, 0 },
};

static const struct option *find(const char *name, bool *ret_is_recursive)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const struct option *o = &options[i];
        bool is_exact = streq(o->name, name);
        if (is_exact || (name[0] == 'r' && o->kind != OPTION_IGNORED && streq(o->name, name + 1))) {
            *ret_is_recursive = !is_exact;
            return o;
        }
    }
    return NULL;
}

static void change(uint64_t *set, uint64_t *clear, uint64_t on, uint64_t off)
{
    *set = (*set & ~off) | on;
    *clear = (*clear & ~on) | off;
}

static void apply_option(struct plan_mount *m, const struct option *o, bool is_recursive)
{
    uint64_t *set = is_recursive ? &m->recursive_set : &m->set,
             *clear = is_recursive ? &m->recursive_clear : &m->clear;
    switch (o->kind) {
    case OPTION_SET:
        change(set, clear, o->value, 0);
        break;
    case OPTION_CLEAR:
        change(set, clear, 0, o->value);
        break;
    case OPTION_ATIME: // a field of three bits, not flags: the kernel wants the whole field cleared
        *set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | o->value;
        *clear |= MOUNT_ATTR__ATIME;
        break;
    case OPTION_PROPAGATION:
        m->propagation = o->value;
        m->is_propagation_recursive = is_recursive;
        break;
    case OPTION_BIND:
        m->kind = PLAN_MOUNT_BIND;
        m->is_recursive |= is_recursive;
        break;
    case OPTION_NO_IDMAP:
        m->keeps_owners = true;
        break;
    case OPTION_IGNORED:
    case OPTION_REFUSED:
        break;
    }
}

int plan_mount_options(const struct oci_mount *mount, struct plan_mount *ret, struct error *err)
{
    struct plan_mount m = {
        .destination = mount->destination, .source = mount->source, .type = mount->type, .fd = FD_NONE
    };
    m.kind = streq(mount->type, "bind") ? PLAN_MOUNT_BIND : PLAN_MOUNT_FS;
    for (size_t i = 0; mount->options && mount->options[i]; i++) {
        const char *text = mount->options[i];
        bool is_recursive = false;
        const struct option *o = find(text, &is_recursive);
        if (o && o->kind == OPTION_REFUSED) {
            plan_mount_done(&m);
            return error_set(err, ERROR_UNSUPPORTED, "mount %s: option %s is not supported",
                             mount->destination, text);
        }
        if (o)
            apply_option(&m, o, is_recursive);
        else if (*text)
            strv_push(&m.data, text);
    }
    if (m.kind == PLAN_MOUNT_FS && !m.type) {
        plan_mount_done(&m);
        return error_set(err, ERROR_INVALID, "mount %s: no file system type", mount->destination);
    }
    if (m.kind == PLAN_MOUNT_BIND && !m.source) {
        plan_mount_done(&m);
        return error_set(err, ERROR_INVALID, "mount %s: no source", mount->destination);
    }
    *ret = m;
    return 0;
}

void plan_mount_done(struct plan_mount *mount)
{
    strv_free(mount->data);
    strv_free(mount->lower);
    mount->data = mount->lower = NULL;
    mount->fd = fd_close(mount->fd);
}

const char *plan_mount_subdir(const struct plan_mount *mount)
{
    static const char key[] = "X-mount.subdir=";
    for (size_t i = 0; mount->data && mount->data[i]; i++)
        if (str_has_prefix(mount->data[i], key))
            return mount->data[i] + sizeof key - 1;
    return NULL;
}
