// Theory of operation. Runs in the container's mount and user namespace as its root. Mounting is what a start does: the target is
// resolved in the container's root (kernel/path.h), made when it is missing, and the mount attached to that descriptor; whatever
// the container renames or links meanwhile, the mount lands below its own root, and nowhere in /proc.
//
// Taking off is the delicate half, because a name does not say which mount it leads to: with a rename and a link a container
// could have its masks taken off in a volume's place, or keep a volume that is to go. So the mount is found by the name, then
// known by itself: it is at the place of that very name (mountinfo shows places without links), or its root is the object that the
// source is. Where the name leads elsewhere, the one mount of that source is looked for. It is then taken off by its name in a
// directory held by a descriptor, where a mount point can be neither renamed nor replaced.
//
// A clone is kept of what is taken off, and what is mounted is remembered by its number, so that a step that fails
// undoes those before it.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"
#include "kernel/mountinfo.h"
#include "kernel/path.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// <sys/mount.h> and <linux/mount.h> cannot be included together with this glibc.
int umount2(const char *target, int flags);
enum { DETACH = 2, NO_FOLLOW = 8, HOLDERS_MAX = 8, TRIES_MAX = 64 };

// A mount by its name in a directory.
struct place {
    uint64_t id;
    int parent_fd;
    char *path, *name; // path owned: from the root, no link in it; name is its end
};

static void place_done(struct place *p)
{
    p->parent_fd = fd_close(p->parent_fd);
    free(p->path);
    p->path = p->name = NULL;
}

// A step that has been done.
struct step {
    uint64_t added;     // the mount; 0: one was taken off
    struct place place; // of what was taken off
    int clone_fd;       // the same
};

struct steps {
    struct change *change;
    int root_fd;
    uint64_t *going; // mounts that are to be taken off, as `from` has them; 0: gone already
    struct step *done;
    size_t count;
};

static int table_now(const struct change *change, struct mount_table *ret)
{
    return lseek(change->mountinfo_fd, 0, SEEK_SET) < 0 ? -errno
                                                        : mount_table_read(change->mountinfo_fd, ret);
}

// --- which mount
static int open_parent(int root_fd, const char *path)
{
    char *parent CLEANUP(cleanup_free) = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    return path_open(root_fd, *parent ? parent : "/", O_PATH | O_DIRECTORY, 0);
}

// Where the mount lies, checked by its number. -ESTALE: not there (any more).
static int try_place(const struct steps *s, uint64_t id, struct place *ret)
{
    struct mount_table table CLEANUP(mount_table_done) = MOUNT_TABLE_INIT;
    int r = table_now(s->change, &table);
    const struct mount_entry *entry = r < 0 ? NULL : mount_table_find(&table, id);
    if (!entry)
        return r < 0 ? r : -ESTALE;
    struct place p CLEANUP(place_done) = { .id = id, .parent_fd = FD_NONE };
    uint64_t found = 0;
    bool is_root = false;
    if (!(p.path = xstrdup(entry->path)) || p.path[0] != '/' || !p.path[1])
        return -EINVAL; // the root itself
    p.name = strrchr(p.path, '/') + 1;
    p.parent_fd = open_parent(s->root_fd, p.path);
    r = p.parent_fd < 0 ? p.parent_fd
                        : mount_identify(p.parent_fd, p.name, AT_SYMLINK_NOFOLLOW, &found, &is_root);
    if (r < 0 || found != id || !is_root)
        return r < 0 ? r : -ESTALE;
    *ret = p;
    p = (struct place){ .parent_fd = FD_NONE };
    return 0;
}

// Somebody may be renaming the directories above it just now.
static int find_place(const struct steps *s, uint64_t id, struct place *ret)
{
    int r = -ESTALE;
    for (int i = 0; i < TRIES_MAX && (r == -ESTALE || r == -ENOENT || r == -ENOTDIR || r == -ELOOP); i++)
        r = try_place(s, id, ret);
    return r;
}

static bool is_root_of(const struct plan_mount *m, int fd)
{
    struct stat a, b;
    return m->kind == PLAN_MOUNT_BIND && m->fd >= 0 && fstat(fd, &a) == 0 && fstat(m->fd, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Is the mount whose root `fd` is the one that the container was given as `m`?
static bool is_mount_of(const struct steps *s, const struct plan_mount *m, int fd, uint64_t id)
{
    struct mount_table table CLEANUP(mount_table_done) = MOUNT_TABLE_INIT;
    const struct mount_entry *entry = table_now(s->change, &table) < 0 ? NULL : mount_table_find(&table, id);
    if (!entry)
        return false;
    if (streq(entry->path, m->destination))
        return m->kind == PLAN_MOUNT_BIND || streq(entry->type, m->type);
    return is_root_of(m, fd);
}

// The only mount of the source of `m`, wherever it lies, but for the places of mounts that stay; 0: there is none, or more than one.
static uint64_t search(const struct steps *s, const struct plan_mount *m)
{
    struct mount_table table CLEANUP(mount_table_done) = MOUNT_TABLE_INIT;
    uint64_t found = 0, id = 0;
    size_t count = 0;
    bool is_root = false;
    if (m->kind != PLAN_MOUNT_BIND || table_now(s->change, &table) < 0)
        return 0;
    for (size_t i = 0; i < table.count; i++) {
        if (strv_contains(s->change->kept, table.entries[i].path))
            continue;
        int fd CLEANUP(cleanup_close) = path_open(s->root_fd, table.entries[i].path, O_PATH | O_NOFOLLOW, 0);
        if (fd < 0 || mount_identify(fd, "", 0, &id, &is_root) < 0 || id != table.entries[i].id || !is_root ||
            !is_root_of(m, fd))
            continue;
        found = id;
        count++;
    }
    return count == 1 ? found : 0;
}

// Its number; 0: it is not there.
static uint64_t look_up(const struct steps *s, const struct plan_mount *m)
{
    uint64_t id = 0;
    bool is_root = false;
    int fd CLEANUP(cleanup_close) = path_open(s->root_fd, m->destination, O_PATH, 0);
    if (fd >= 0 && mount_identify(fd, "", 0, &id, &is_root) == 0 && is_root && is_mount_of(s, m, fd, id))
        return id;
    return search(s, m);
}

// --- who is in the way
static bool is_below(const struct mount_table *t, uint64_t id, uint64_t top)
{
    for (size_t depth = 0; id != top && depth < t->count; depth++) {
        const struct mount_entry *e = mount_table_find(t, id);
        if (!e || e->id == e->parent)
            return false;
        id = e->parent;
    }
    return id == top;
}

// One of /proc's links ("12/cwd") leads into the mount or one below it.
static bool leads_into(const struct change *change, const char *link, const struct mount_table *t,
                       uint64_t id)
{
    uint64_t at;
    bool is_root;
    return mount_identify(change->proc_fd, link, 0, &at, &is_root) == 0 && is_below(t, at, id);
}

static bool holds_open(const struct change *change, const char *pid, const struct mount_table *t, uint64_t id)
{
    char path[PATH_MAX];
    bool is_held = false;
    snprintf(path, sizeof path, "%s/fd", pid);
    int fd = openat(change->proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir && !is_held && (e = readdir(dir));) {
        snprintf(path, sizeof path, "%s/fd/%s", pid, e->d_name);
        is_held = isdigit((unsigned char)e->d_name[0]) && leads_into(change, path, t, id);
    }
    if (dir)
        closedir(dir);
    else
        fd_close(fd);
    return is_held;
}

static bool holds(const struct change *change, const char *pid, const struct mount_table *t, uint64_t id)
{
    static const char *const links[] = { "cwd", "root", "exe" };
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(path, sizeof path, "%s/%s", pid, links[i]);
        if (leads_into(change, path, t, id))
            return true;
    }
    return holds_open(change, pid, t, id);
}

// "12 (sh)". The name is the process's own choice: what cannot be printed is shown as "?".
static void append_holder(const struct change *change, const char *pid, struct str *out)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "%.20s/comm", pid);
    int fd CLEANUP(cleanup_close) = openat(change->proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
    name[n > 0 ? n : 0] = 0;
    name[strcspn(name, "\n")] = 0;
    for (char *p = name; *p; p++)
        if (!isprint((unsigned char)*p))
            *p = '?';
    str_appendf(out, "%s%s (%s)", out->len ? ", " : "", pid, name);
}

// Processes (by the host's numbers) that have a file or directory of the mount open. "" when none is found.
static void find_holders(const struct change *change, uint64_t id, struct str *out)
{
    struct mount_table table CLEANUP(mount_table_done) = MOUNT_TABLE_INIT;
    size_t count = 0;
    int fd = openat(change->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 || table_now(change, &table) < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; dir && count < HOLDERS_MAX && (e = readdir(dir));) {
        if (!isdigit((unsigned char)e->d_name[0]) || !holds(change, e->d_name, &table, id))
            continue;
        append_holder(change, e->d_name, out);
        count++;
    }
    if (dir)
        closedir(dir);
    else
        fd_close(fd);
}

static bool has_mounts_below(const struct change *change, uint64_t id)
{
    struct mount_table table CLEANUP(mount_table_done) = MOUNT_TABLE_INIT;
    if (table_now(change, &table) < 0)
        return false;
    for (size_t i = 0; i < table.count; i++)
        if (table.entries[i].parent == id && table.entries[i].id != id)
            return true;
    return false;
}

// --- steps

static int unmount(const struct place *place, int flags)
{
    if (fchdir(place->parent_fd) < 0)
        return -errno;
    int r = umount2(place->name, NO_FOLLOW | flags) < 0 ? -errno : 0;
    (void)!chdir("/");
    return r;
}

// A tree of mounts (a recursive bind) can only be taken off as a whole, which the kernel does without asking whether it is in use:
// then we ask.
static int take_off(const struct change *change, const struct place *place, const char *destination,
                    struct error *err)
{
    struct str holders CLEANUP(str_done) = STR_INIT;
    int r = unmount(place, change->is_forced ? DETACH : 0);
    if (r != -EBUSY)
        return r < 0 ? error_errno(err, r, "unmount %s", destination) : 0;
    find_holders(change, place->id, &holders);
    if (holders.len == 0 && has_mounts_below(change, place->id)) {
        r = unmount(place, DETACH);
        return r < 0 ? error_errno(err, r, "unmount %s", destination) : 0;
    }
    return error_set(err, ERROR_CONFLICT, "mount %s is busy: %s%s", destination,
                     holders.len ? "in use by process " : "it is in use", holders.len ? holders.ptr : "");
}

static void remember(struct steps *s, struct step step)
{
    s->done = xreallocarray(s->done, s->count + 1, sizeof *s->done);
    s->done[s->count++] = step;
}

// All of them before the first is taken off: what is hidden changes nothing.
static int find_going(struct steps *s, struct error *err)
{
    const struct runtime_plan *from = s->change->from;
    s->going = xcalloc(from->mount_count + 1, sizeof *s->going);
    for (size_t i = 0; i < from->mount_count; i++) {
        s->going[i] = look_up(s, &from->mounts[i]);
        if (s->going[i] == 0 && !s->change->is_repeated)
            return error_set(err, ERROR_CONFLICT, "mount %s: what was mounted there is not there any more",
                             from->mounts[i].destination);
    }
    return 0;
}

// A descriptor of the directory finds the way back whatever is renamed; but in a mount that is to go as well it would keep that busy.
static void let_go_of_parent(const struct steps *s, struct place *place)
{
    uint64_t id = 0;
    bool is_root;
    (void)mount_identify(place->parent_fd, "", 0, &id, &is_root);
    for (size_t i = 0; i < s->change->from->mount_count; i++)
        if (s->going[i] == id)
            place->parent_fd = fd_close(place->parent_fd);
}

static int remove_one(struct steps *s, const struct plan_mount *m, uint64_t id, struct error *err)
{
    struct place place CLEANUP(place_done) = { .parent_fd = FD_NONE };
    if (id == 0)
        return 0;
    int r = find_place(s, id, &place);
    if (r < 0)
        return error_errno(err, r, "find mount %s", m->destination);
    int clone CLEANUP(cleanup_close) = mount_clone(place.parent_fd, place.name, true);
    if (clone < 0)
        return error_errno(err, clone, "clone mount %s", m->destination);
    if (take_off(s->change, &place, m->destination, err) < 0)
        return -1;
    let_go_of_parent(s, &place);
    remember(s, (struct step){ .place = place, .clone_fd = TAKE_FD(clone) });
    place = (struct place){ .parent_fd = FD_NONE };
    return 0;
}

static int add_one(struct steps *s, struct plan_mount *m, struct error *err)
{
    int proc CLEANUP(cleanup_close) = path_open(s->root_fd, "/proc", O_PATH | O_DIRECTORY, 0);
    struct child_mounts inside = {
        .root_fd = s->root_fd, .proc_fd = proc, .devpts_fd = FD_NONE, .dev_fd = FD_NONE
    };
    struct step step = { .place.parent_fd = FD_NONE, .clone_fd = FD_NONE };
    bool is_root;
    if (s->change->is_repeated && look_up(s, m))
        return 0;
    if (child_mount_one(&inside, m, err) < 0)
        return -1;
    int r = mount_identify(m->fd, "", 0, &step.added, &is_root);
    if (r < 0)
        return error_errno(err, r, "identify mount %s", m->destination);
    remember(s, step);
    return 0;
}

// 0 or -errno.
static int undo(const struct steps *s, const struct step *step)
{
    struct place place CLEANUP(place_done) = { .parent_fd = FD_NONE };
    if (step->added) {
        int r = find_place(s, step->added, &place);
        return r < 0 ? r : unmount(&place, DETACH);
    }
    if (step->place.parent_fd < 0)
        place.parent_fd = open_parent(s->root_fd, step->place.path);
    int target CLEANUP(cleanup_close) =
        openat(step->place.parent_fd < 0 ? place.parent_fd : step->place.parent_fd, step->place.name,
               O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return -errno;
    return child_may_cover(target) ? mount_attach(step->clone_fd, target) : -ELOOP;
}

static void undo_all(const struct steps *s, struct error *err)
{
    bool is_undone = true;
    for (size_t i = s->count; i > 0; i--)
        is_undone &= undo(s, &s->done[i - 1]) == 0;
    if (!is_undone)
        (void)error_wrap(err, "the container's mounts could not be put back as they were");
}

static void steps_done(struct steps *s)
{
    for (size_t i = 0; i < s->count; i++) {
        place_done(&s->done[i].place);
        fd_close(s->done[i].clone_fd);
    }
    free(s->done);
    free(s->going);
    fd_close(s->root_fd);
}

// Mounts lie in the order of their depth, as they were mounted; so they are taken off from behind.
static int change_inside(struct change *change, struct error *err)
{
    struct steps s CLEANUP(steps_done) = { .change = change,
                                           .root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) };
    int r = s.root_fd < 0 ? error_errno(err, errno, "open the container's root") : 0;
    if (r == 0)
        r = find_going(&s, err);
    for (size_t i = change->from->mount_count; i > 0 && r == 0; i--)
        r = remove_one(&s, &change->from->mounts[i - 1], s.going[i - 1], err);
    for (size_t i = 0; i < change->to->mount_count && r == 0; i++)
        r = add_one(&s, &change->to->mounts[i], err);
    if (r < 0)
        undo_all(&s, err);
    return r;
}

int change_mounts(struct change *change, struct error *err)
{
    if (change->from->mount_count == 0 && change->to->mount_count == 0)
        return 0;
    return change_run(change, true, change_inside, err);
}
