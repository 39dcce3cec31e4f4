// Theory of operation. A volume's name is its record's key and its directory's name, and the two cannot change at once. So a record
// under the new name that names the old one is written first ("renamedFrom"), then the directory moves, then one transaction takes
// the old record away and the mark off the new one. Whatever of this a crash leaves is brought to its end at the next start.
#include "volume/volume_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static json_t *record_of(const struct volume *v)
{
    json_t *record = json_object();
    json_set_int(record, "createdNs", v->created_ns);
    json_object_set(record, "labels", v->labels);
    if (v->options)
        json_object_set(record, "options", v->options);
    if (v->project_id)
        json_set_int(record, "projectId", v->project_id);
    if (v->snapshot_of)
        json_set_string(record, "snapshotOf", v->snapshot_of);
    return record;
}

int volume_record_put(struct volume_service *s, const struct volume *v, struct error *err)
{
    CLEANUP(json_cleanup) json_t *record = record_of(v);
    return meta_put(s->store, META_VOLUMES, v->name, record, err);
}

// The last step: the directory has its new name.
static int settle_records(struct volume_service *s, const char *name, const char *new_name, json_t *record,
                          struct error *err)
{
    json_object_del(record, "renamedFrom");
    if (meta_begin(s->store, err) < 0)
        return -1;
    if (meta_delete(s->store, META_VOLUMES, name, err) == 0 &&
        meta_put(s->store, META_VOLUMES, new_name, record, err) == 0 && meta_commit(s->store, err) == 0)
        return 0;
    meta_rollback(s->store);
    return -1;
}

static int move(struct volume_service *s, const char *name, const struct volume *to, struct error *err)
{
    CLEANUP(json_cleanup) json_t *record = record_of(to);
    json_set_string(record, "renamedFrom", name);
    if (meta_put(s->store, META_VOLUMES, to->name, record, err) < 0)
        return -1;
    if (renameat(s->fd, name, s->fd, to->name) < 0) {
        struct error ignored;
        error_errno(err, errno, "rename volume %s", name);
        (void)meta_delete(s->store, META_VOLUMES, to->name, &ignored);
        return -1;
    }
    if (settle_records(s, name, to->name, record, err) == 0)
        return 0;
    if (renameat(s->fd, to->name, s->fd, name) == 0) { // back, so that what is recorded stays true
        struct error ignored;
        (void)meta_delete(s->store, META_VOLUMES, to->name, &ignored);
    }
    return -1;
}

// Both names are ours from here on: the old volume and the new one are busy.
static int begin(struct volume_service *s, const char *name, const char *new_name, struct volume **ret_from,
                 struct volume **ret_to, struct error *err)
{
    CLEANUP(cleanup_free) char *holders = NULL;
    if (volume_begin(s, name, ret_from, err) < 0)
        return -1;
    pthread_mutex_lock(&s->lock);
    holders = strv_len((*ret_from)->holders) ? strv_join((*ret_from)->holders, ", ") : NULL;
    pthread_mutex_unlock(&s->lock);
    CLEANUP(json_cleanup) json_t *labels = json_copy((*ret_from)->labels);
    json_object_del(labels, VOLUME_ANONYMOUS_LABEL); // somebody has given it a name now
    int r = holders ? error_set(err, ERROR_CONFLICT, "rename %s: volume is in use - [%s]", name, holders)
                    : volume_reserve(s, new_name, labels, (*ret_from)->options, ret_to, err);
    if (r < 0)
        volume_end(s, *ret_from);
    return r;
}

int volume_rename(struct volume_service *s, const char *name, const char *new_name, struct error *err)
{
    struct volume *from, *to;
    if (volume_name_check(new_name, err) < 0 || begin(s, name, new_name, &from, &to, err) < 0)
        return -1;
    to->created_ns = from->created_ns;
    to->project_id = from->project_id;
    to->snapshot_of = xstrdup(from->snapshot_of);
    if (move(s, name, to, err) < 0) {
        volume_abandon(s, to);
        volume_end(s, from);
        return -1;
    }
    volume_abandon(s, from);
    volume_publish(s, to);
    volume_event(s, new_name, "rename");
    return 0;
}

// --- after a crash
static int note_unfinished(void *context, const char *key, const json_t *record)
{
    if (*json_get_string(record, "renamedFrom", ""))
        strv_push(context, key);
    return 0;
}

static int finish(struct volume_service *s, const char *new_name, struct error *err)
{
    CLEANUP(json_cleanup) json_t *record = NULL;
    struct stat st;
    if (meta_get(s->store, META_VOLUMES, new_name, &record, err) < 0)
        return -1;
    CLEANUP(cleanup_free) char *name = xstrdup(json_get_string(record, "renamedFrom", ""));
    if (volume_name_check(name, err) < 0 || volume_name_check(new_name, err) < 0)
        return -1;
    bool has_moved = fstatat(s->fd, new_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!has_moved && renameat(s->fd, name, s->fd, new_name) < 0 && errno != ENOENT)
        return error_errno(err, errno, "rename volume %s", name);
    return settle_records(s, name, new_name, record, err);
}

int volume_finish_renames(struct volume_service *s, struct error *err)
{
    CLEANUP(strv_freep) char **unfinished = NULL;
    int r = meta_each(s->store, META_VOLUMES, note_unfinished, &unfinished, err);
    for (size_t i = 0; r == 0 && unfinished && unfinished[i]; i++)
        r = finish(s, unfinished[i], err);
    return r;
}
