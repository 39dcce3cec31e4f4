// Theory of operation. A volume is a directory and a record. It is made directory first, removed record first, so that at every
// moment what is recorded is whole, and what is not recorded is garbage. "_fill" in a volume's directory is a copy-up under way, "_restore" and "_former" are a restore's
// (copy.c).
#include "volume/volume_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int volume_directory_make(struct volume_service *s, const char *name, struct error *err)
{
    CLEANUP(cleanup_free) char *data = xasprintf("%s/_data", name);
    if ((mkdirat(s->fd, name, 0711) < 0 && errno != EEXIST) || mkdirat(s->fd, data, 0755) < 0) {
        int r = errno;
        if (r == EEXIST)
            return 0;
        (void)unlinkat(s->fd, name, AT_REMOVEDIR);
        return error_errno(err, r, "error while creating volume root path '%s/%s'", s->directory, data);
    }
    return 0;
}

int volume_directory_remove(struct volume_service *s, const char *name, struct error *err)
{
    int r = dir_remove_all_at(s->fd, name);
    return r < 0 ? error_errno(err, r, "error while removing volume data path '%s/%s'", s->directory, name)
                 : 0;
}

int volume_directory_open(struct volume_service *s, const char *name, struct error *err)
{
    CLEANUP(cleanup_free) char *data = xasprintf("%s/_data", name);
    int fd = openat(s->fd, data, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, "open volume %s", name) : fd;
}

static int load_record(void *context, const char *key, const json_t *record)
{
    struct volume_service *s = context;
    struct error err;
    json_t *labels = json_get_object(record, "labels");
    if (volume_name_check(key, &err) < 0) {
        log_error("volume %s is left out: %s", key, err.message);
        return 0;
    }
    struct volume *v = NEW(struct volume);
    v->name = xstrdup(key);
    v->labels = labels ? json_incref(labels) : json_object();
    v->options = json_incref(json_get_object(record, "options"));
    v->created_ns = json_get_int(record, "createdNs", 0);
    v->project_id = (uint32_t)json_get_int(record, "projectId", 0);
    v->snapshot_of = xstrdup(json_get_string(record, "snapshotOf", NULL));
    map_put(&s->by_name, key, v);
    if (volume_directory_make(s, key, &err) <
        0) // its data was taken away; the containers that use it shall start
        log_error("volume %s: %s", key, err.message);
    volume_limit_recover(s, v);
    return 0;
}

int volume_recover(struct volume_service *s, struct error *err)
{
    if (volume_finish_renames(s, err) < 0 || meta_each(s->store, META_VOLUMES, load_record, s, err) < 0)
        return error_wrap(err, "recover volumes");
    DIR *dir = dir_open_at(s->fd, ".");
    if (!dir)
        return error_errno(err, errno, "read %s", s->directory);
    for (struct dirent *e; (e = dir_next(dir));) {
        struct volume *known = map_get(&s->by_name, e->d_name);
        if (known) {
            volume_copies_recover(s, known);
            continue;
        }
        int r = dir_remove_all_at(s->fd, e->d_name);
        if (r < 0)
            log_warn("remove leavings of volume %s: %s", e->d_name, strerror(-r));
    }
    closedir(dir);
    return 0;
}
