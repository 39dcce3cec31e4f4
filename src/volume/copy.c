// Theory of operation. A clone is a new volume that is filled before anybody sees it; a snapshot is a clone that is read-only and knows
// what it is of. A restore fills "_restore" beside the data and lets the two change places in one rename, so that the volume holds
// either all of the one or all of the other, whenever the engine ends. What it took the place of goes at once, or, when containers run
// on it, into "_former" until the last of them has ended.
#include "volume/volume_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "volume/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FORMER_NAME_LEN = 16 };

static bool is_plain(const struct volume *v)
{
    struct volume_backing backing = volume_backing_of(v);
    bool r = backing.kind == VOLUME_PLAIN;
    volume_backing_done(&backing);
    return r;
}

static int copy_tree(int from_fd, int to_fd, const char *name, struct error *err)
{
    if (tree_copy(from_fd, to_fd, err) < 0)
        return -1;
    int r = tree_copy_attributes(from_fd, to_fd);
    return r < 0 ? error_errno(err, r, "own volume %s", name) : 0;
}

// --- clone and snapshot
static int copy_into(struct volume_service *s, const char *from, struct volume *to, struct error *err)
{
    if (volume_directory_make(s, to->name, err) < 0 || volume_limit_begin(s, to, err) < 0)
        return -1;
    CLEANUP(cleanup_close) int from_fd = volume_directory_open(s, from, err);
    CLEANUP(cleanup_close) int to_fd = from_fd < 0 ? FD_NONE : volume_directory_open(s, to->name, err);
    if (to_fd < 0)
        return -1;
    volume_limit_obey(to, true);
    int r = copy_tree(from_fd, to_fd, to->name, err);
    volume_limit_obey(to, false);
    return r < 0 ? -1 : volume_record_put(s, to, err);
}

static int make_copy(struct volume_service *s, const struct volume_info *from, const char *new_name,
                     bool is_snapshot, struct error *err)
{
    struct volume *to;
    if (volume_reserve(s, new_name, from->labels, is_snapshot ? NULL : from->options, &to, err) < 0)
        return -1;
    if (is_snapshot)
        to->snapshot_of = xstrdup(from->name);
    if (copy_into(s, from->name, to, err) < 0) {
        struct error ignored;
        (void)volume_directory_remove(s, new_name, &ignored);
        volume_limit_end(s, to);
        volume_abandon(s, to);
        return -1;
    }
    volume_publish(s, to);
    volume_event(s, new_name, "create");
    return 0;
}

// A volume whose data is not in its own directory has nothing here to be copied.
static int check_plain(struct volume_service *s, const char *name, const char *verb, struct error *err)
{
    struct volume *v;
    if (volume_begin(s, name, &v, err) < 0)
        return -1;
    bool r = is_plain(v);
    volume_end(s, v);
    return r ? 0
             : error_set(err, ERROR_UNSUPPORTED,
                         "%s %s: not for volumes with the driver options type and device", verb, name);
}

static int copy(struct volume_service *s, const char *name, const char *new_name, bool is_snapshot,
                struct error *err)
{
    CLEANUP(volume_info_freep) struct volume_info *from = NULL;
    if (volume_name_check(new_name, err) < 0)
        return -1;
    if (volume_hold(s, name, new_name, err) < 0) // the copy is a user of the original while it is made
        return -1;
    int r = volume_get(s, name, &from, err);
    if (r == 0)
        r = check_plain(s, name, is_snapshot ? "snapshot" : "clone", err);
    if (r == 0)
        r = make_copy(s, from, new_name, is_snapshot, err);
    volume_release(s, name, new_name);
    return r;
}

int volume_clone(struct volume_service *s, const char *name, const char *new_name, struct error *err)
{
    return copy(s, name, new_name, false, err);
}

static char *snapshot_name(const char *name)
{
    char text[24];
    struct tm tm;
    int64_t now_ns = time_now_ns();
    time_t now = (time_t)(now_ns / NS_PER_S);
    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%Y%m%d-%H%M%S", &tm);
    return xasprintf("%s.%s.%03d", name, text, (int)(now_ns % NS_PER_S / NS_PER_MS));
}

int volume_snapshot(struct volume_service *s, const char *name, const char *snapshot, char **ret_name,
                    struct error *err)
{
    CLEANUP(cleanup_free) char *new_name = str_is_empty(snapshot) ? snapshot_name(name) : xstrdup(snapshot);
    if (copy(s, name, new_name, true, err) < 0)
        return -1;
    *ret_name = TAKE_PTR(new_name);
    return 0;
}

// --- restore
static int check_restore(const struct volume *v, const struct volume_info *snapshot, bool is_forced,
                         struct error *err)
{
    if (!snapshot->snapshot_of)
        return error_set(err, ERROR_INVALID, "%s is no snapshot", snapshot->name);
    if (v->snapshot_of)
        return error_set(err, ERROR_CONFLICT, "%s is a snapshot, which never changes", v->name);
    if (!is_plain(v))
        return error_set(err, ERROR_UNSUPPORTED, "not for volumes with the driver options type and device");
    if (is_forced)
        return 0;
    if (!streq(snapshot->snapshot_of, v->name))
        return error_set(err, ERROR_CONFLICT, "%s is a snapshot of %s (force restores it all the same)",
                         snapshot->name, snapshot->snapshot_of);
    if (strv_len(v->mounters) == 0)
        return 0;
    CLEANUP(cleanup_free) char *mounters = strv_join(v->mounters, ", ");
    return error_set(err, ERROR_CONFLICT, "volume is in use by running containers - [%s]", mounters);
}

static int copy_aside(struct volume_service *s, const char *aside, const char *snapshot, struct error *err)
{
    int r = mkdirat(s->fd, aside, 0700) < 0 ? -errno : 0;
    CLEANUP(cleanup_close) int to_fd = r < 0 ? r : openat(s->fd, aside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to_fd < 0)
        return error_errno(err, r < 0 ? r : errno, "make %s/%s", s->directory, aside);
    CLEANUP(cleanup_close) int from_fd = volume_directory_open(s, snapshot, err);
    return from_fd < 0 ? -1 : copy_tree(from_fd, to_fd, aside, err);
}

// "_restore", where there is one, holds what was the volume's data, or a copy that was cut short: nobody knows after a crash.
static int put_away_former(struct volume_service *s, struct volume *v)
{
    char name[FORMER_NAME_LEN + 1];
    CLEANUP(cleanup_free) char *aside = xasprintf("%s/_restore", v->name);
    if (strv_len(v->mounters) == 0)
        return dir_remove_all_at(s->fd, aside);
    id_random_hex(name, FORMER_NAME_LEN);
    CLEANUP(cleanup_free) char *folder = xasprintf("%s/_former", v->name);
    CLEANUP(cleanup_free) char *former = xasprintf("%s/%s", folder, name);
    if (mkdirat(s->fd, folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    v->has_former_data = true;
    return renameat(s->fd, aside, s->fd, former) < 0 && errno != ENOENT ? -errno : 0;
}

static int restore(struct volume_service *s, struct volume *v, const char *snapshot, struct error *err)
{
    CLEANUP(cleanup_free) char *aside = xasprintf("%s/_restore", v->name);
    CLEANUP(cleanup_free) char *data = xasprintf("%s/_data", v->name);
    struct error ignored;
    int r = put_away_former(s, v);
    if (r < 0)
        return error_errno(err, r, "remove %s/%s", s->directory, aside);
    // Both are there for a moment, for which the limit has no room.
    if ((r = volume_limit_set(s, v, false, err)) == 0)
        r = copy_aside(s, aside, snapshot, err);
    if (r == 0 && renameat2(s->fd, aside, s->fd, data, RENAME_EXCHANGE) < 0)
        r = error_errno(err, errno, "exchange the data of volume %s", v->name);
    int put_away = r < 0 ? dir_remove_all_at(s->fd, aside) : put_away_former(s, v);
    if (put_away < 0)
        log_warn("volume %s: remove its former data: %s", v->name, strerror(-put_away));
    return r < 0 ? (void)volume_limit_set(s, v, true, &ignored), -1 : volume_limit_set(s, v, true, err);
}

int volume_restore(struct volume_service *s, const char *name, const char *snapshot, bool is_forced,
                   struct error *err)
{
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    CLEANUP(cleanup_free) char *holder = xasprintf("restore of %s", name);
    struct volume *v;
    if (volume_hold(s, snapshot, holder, err) < 0) // it stays while it is read
        return -1;
    int r = volume_get(s, snapshot, &info, err);
    if (r == 0 && (r = volume_begin(s, name, &v, err)) == 0) {
        r = check_restore(v, info, is_forced, err);
        if (r == 0)
            r = restore(s, v, snapshot, err);
        volume_end(s, v);
    }
    volume_release(s, snapshot, holder);
    if (r < 0)
        return error_wrap(err, "restore %s", name);
    volume_event(s, name, "restore");
    return 0;
}

void volume_former_data_remove(struct volume_service *s, struct volume *v)
{
    CLEANUP(cleanup_free) char *aside = xasprintf("%s/_restore", v->name);
    CLEANUP(cleanup_free) char *folder = xasprintf("%s/_former", v->name);
    int r = dir_remove_all_at(s->fd, aside);
    if (r == 0)
        r = dir_remove_all_at(s->fd, folder);
    if (r < 0)
        log_warn("volume %s: remove its former data: %s", v->name, strerror(-r));
    v->has_former_data = r < 0;
}

// --- after a crash
static bool is_there(const struct volume_service *s, const char *path)
{
    struct stat st;
    return fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

void volume_copies_recover(struct volume_service *s, struct volume *v)
{
    CLEANUP(cleanup_free) char *aside = xasprintf("%s/_restore", v->name);
    CLEANUP(cleanup_free) char *fill = xasprintf("%s/_fill", v->name);
    CLEANUP(cleanup_free) char *former = xasprintf("%s/_former", v->name);
    int r = dir_remove_all_at(s->fd, fill);
    if (r < 0)
        log_warn("remove leavings of volume %s: %s", v->name, strerror(-r));
    v->has_former_data = is_there(s, aside) || is_there(s, former);
}
