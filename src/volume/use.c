// What a volume is to a container: something to bind from, to mount before it runs, to fill before its first use.
#include "volume/volume_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "volume/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct volume_backing volume_backing_of(const struct volume *v)
{
    struct volume_backing backing;
    struct error ignored; // it was checked when the volume was made
    if (volume_backing_parse(v->options, &backing, &ignored) < 0)
        backing.kind = VOLUME_PLAIN;
    return backing;
}

int volume_source(struct volume_service *s, const char *name, char **ret_path, bool *ret_is_read_only,
                  struct error *err)
{
    struct volume *v;
    if (volume_begin(s, name, &v, err) < 0)
        return -1;
    struct volume_backing backing = volume_backing_of(v);
    *ret_path =
        backing.kind == VOLUME_BIND ? xstrdup(backing.device) : xasprintf("%s/%s/_data", s->directory, name);
    *ret_is_read_only = backing.is_read_only || v->snapshot_of;
    volume_backing_done(&backing);
    volume_end(s, v);
    return 0;
}

// --- mounting
// Is something mounted on the volume's directory?
static bool is_mounted(const struct volume_service *s, const char *name)
{
    struct statx st;
    CLEANUP(cleanup_free) char *data = xasprintf("%s/_data", name);
    return statx(s->fd, data, AT_SYMLINK_NOFOLLOW, 0, &st) == 0 &&
           (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

void volume_take_off(const struct volume_service *s, const char *name)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s/_data", s->directory, name);
    while (is_mounted(s, name))
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
            log_warn("volume %s: unmount: %s", name, strerror(errno));
            return;
        }
}

static int mount_backing(struct volume_service *s, const struct volume *v, struct error *err)
{
    struct volume_backing backing = volume_backing_of(v);
    struct stat st;
    int r = 0;
    if (backing.kind == VOLUME_BIND && (stat(backing.device, &st) < 0 || !S_ISDIR(st.st_mode)))
        r = error_errno(err, errno ? errno : ENOTDIR, "failed to mount local volume: mount %s:%s/%s/_data",
                        backing.device, s->directory, v->name);
    if (backing.kind == VOLUME_MOUNT && !is_mounted(s, v->name)) {
        CLEANUP(cleanup_close) int target = volume_directory_open(s, v->name, err);
        r = target < 0 ? -1 : volume_backing_mount(&backing, target, err);
    }
    volume_backing_done(&backing);
    return r < 0 ? error_wrap(err, "error while mounting volume '%s/%s/_data'", s->directory, v->name) : 0;
}

int volume_mount(struct volume_service *s, const char *name, const char *container_id, struct error *err)
{
    struct volume *v;
    if (volume_begin(s, name, &v, err) < 0)
        return -1;
    int r = v->options ? mount_backing(s, v, err) : 0;
    if (r == 0 && !strv_contains(v->mounters, container_id))
        strv_push(&v->mounters, container_id);
    volume_end(s, v);
    return r;
}

// A volume that is hidden is about to be removed, perhaps by a later step of the caller: that takes off what is mounted.
static struct volume *begin_unless_hidden(struct volume_service *s, const char *name)
{
    struct volume *v;
    pthread_mutex_lock(&s->lock);
    while ((v = map_get(&s->by_name, name)) && v->is_busy && !v->is_hidden)
        pthread_cond_wait(&s->changed, &s->lock);
    if (v && v->is_hidden)
        v = NULL;
    if (v)
        v->is_busy = true;
    pthread_mutex_unlock(&s->lock);
    return v;
}

void volume_unmount(struct volume_service *s, const char *name, const char *container_id)
{
    struct volume *v = begin_unless_hidden(s, name);
    if (!v)
        return;
    strv_remove(v->mounters, container_id);
    if (v->options && strv_len(v->mounters) == 0)
        volume_take_off(s, name);
    if (v->has_former_data && strv_len(v->mounters) == 0)
        volume_former_data_remove(s, v);
    volume_end(s, v);
}

void volume_service_settle(struct volume_service *s)
{
    struct volume_info **all = volume_list(s);
    for (size_t i = 0; all[i]; i++)
        volume_unmount(s, all[i]->name, ""); // of nobody: takes off what no container has mounted
    volume_list_free(all);
}

// --- copy-up
static bool is_empty(int fd)
{
    DIR *dir = dir_open_at(fd, ".");
    bool r = dir && !dir_next(dir);
    if (dir)
        closedir(dir);
    return r;
}

static int move_children(int from_fd, int to_fd)
{
    int r = 0;
    DIR *dir = dir_open_at(from_fd, ".");
    if (!dir)
        return -errno;
    for (struct dirent *e; r == 0 && (e = dir_next(dir));)
        if (renameat(dirfd(dir), e->d_name, to_fd, e->d_name) < 0)
            r = -errno;
    closedir(dir);
    return r;
}

// The copy is made beside the data and moved in when it is whole: a copy that is cut short leaves the volume empty, so that
// the next container tries again.
static int fill_aside(struct volume_service *s, const char *name, int from_fd, int to_fd, struct error *err)
{
    CLEANUP(cleanup_free) char *aside = xasprintf("%s/_fill", name);
    int r = dir_remove_all_at(s->fd, aside);
    if (r == 0 && mkdirat(s->fd, aside, 0700) < 0)
        r = -errno;
    CLEANUP(cleanup_close) int fd = r < 0 ? r : openat(s->fd, aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, r < 0 ? r : errno, "make %s/%s", s->directory, aside);
    if ((r = tree_copy(from_fd, fd, err)) == 0 && (r = move_children(fd, to_fd)) < 0)
        error_errno(err, r, "move what was copied into volume %s", name);
    (void)dir_remove_all_at(s->fd, aside);
    return r < 0 ? -1 : 0;
}

static int fill(struct volume_service *s, const struct volume *v, int from_fd, struct error *err)
{
    struct volume_backing backing = volume_backing_of(v);
    bool is_bind = backing.kind == VOLUME_BIND;
    bool is_skipped = backing.kind == VOLUME_MOUNT || backing.is_read_only || v->snapshot_of;
    int to_fd CLEANUP(cleanup_close) = FD_NONE;
    if (!is_skipped)
        to_fd = is_bind ? open(backing.device, O_PATH | O_DIRECTORY | O_CLOEXEC)
                        : volume_directory_open(s, v->name, err);
    int opened = errno;
    volume_backing_done(&backing);
    if (is_skipped)
        return 0;
    if (to_fd < 0)
        return is_bind ? error_errno(err, opened, "failed to mount local volume") : -1;
    if (!is_empty(to_fd))
        return 0;
    volume_limit_obey(v, true);
    int r = is_bind ? tree_copy(from_fd, to_fd, err) : fill_aside(s, v->name, from_fd, to_fd, err);
    volume_limit_obey(v, false);
    if (r < 0)
        return -1;
    r = tree_copy_attributes(from_fd, to_fd);
    return r < 0 ? error_errno(err, r, "own volume %s", v->name) : 0;
}

int volume_fill(struct volume_service *s, const char *name, int from_fd, struct error *err)
{
    struct volume *v;
    if (volume_begin(s, name, &v, err) < 0)
        return -1;
    int r = fill(s, v, from_fd, err);
    volume_end(s, v);
    return r;
}
