// The option "size": what a volume may hold, by a project quota on its directory (store/project.h). The id is set while the directory
// is empty, so that all that is made in it inherits it, copy-ups and restores beside the data included.
#include "volume/volume_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/quota.h"
#include "store/project.h"

#include <string.h>

static uint64_t size_of(const struct volume *v)
{
    struct volume_backing backing = volume_backing_of(v);
    uint64_t size = backing.size_bytes;
    volume_backing_done(&backing);
    return size;
}

static int apply(const struct volume_service *s, const struct volume *v, struct error *err)
{
    CLEANUP(cleanup_free) char *data = xasprintf("%s/_data", v->name);
    return project_apply(s->fd, v->name, v->project_id, err) < 0
               ? -1
               : project_apply(s->fd, data, v->project_id, err);
}

int volume_limit_begin(struct volume_service *s, struct volume *v, struct error *err)
{
    uint64_t size = v->options ? size_of(v) : 0;
    if (size == 0)
        return 0;
    if (!project_is_offered(s->store))
        return error_set(err, ERROR_INVALID, "quota size requested but no quota support: " PROJECT_HELP);
    if (project_claim(s->store, size, &v->project_id, err) < 0)
        return -1;
    return apply(s, v, err); // the caller removes the directory and ends it
}

void volume_limit_end(struct volume_service *s, struct volume *v)
{
    project_release(s->store, v->project_id);
    v->project_id = 0;
}

int volume_limit_set(struct volume_service *s, const struct volume *v, bool is_on, struct error *err)
{
    return v->project_id ? project_limit(s->store, v->project_id, is_on ? size_of(v) : 0, err) : 0;
}

void volume_limit_recover(struct volume_service *s, const struct volume *v)
{
    struct error err;
    project_keep(s->store, v->project_id);
    if (volume_limit_set(s, v, true, &err) < 0) // a change may have been cut short
        log_warn("volume %s: its size is not limited: %s", v->name, err.message);
}

void volume_limit_obey(const struct volume *v, bool obeys)
{
    int r = v->project_id ? quota_obey(obeys) : 0;
    if (r < 0)
        log_warn("volume %s: obey its limit: %s", v->name, strerror(-r));
}

// --- update
static int check_options(const json_t *options, struct error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
    {
        if (!streq(key, "size"))
            return error_set(err, ERROR_INVALID, "option \"%s\" of a volume cannot be updated", key);
    }
    return json_object_size(options) ? 0 : error_set(err, ERROR_INVALID, "no option to update is given");
}

// The record first: should the engine end here, the next one sets the limit that the record has.
static int change(struct volume_service *s, struct volume *v, struct error *err)
{
    return volume_record_put(s, v, err) < 0 ? -1 : volume_limit_set(s, v, true, err);
}

static json_t *exchange_options(struct volume_service *s, struct volume *v, json_t *options)
{
    pthread_mutex_lock(&s->lock);
    json_t *former = v->options;
    v->options = options;
    pthread_mutex_unlock(&s->lock);
    return former;
}

static int update(struct volume_service *s, struct volume *v, const json_t *options, struct error *err)
{
    struct volume_backing backing;
    if (!v->project_id)
        return error_set(err, ERROR_CONFLICT, "only a volume that was made with a size can be given another");
    CLEANUP(json_cleanup) json_t *merged = json_deep_copy(v->options);
    json_object_set_new(merged, "size", json_string(json_get_string(options, "size", "")));
    int r = volume_backing_parse(merged, &backing, err);
    volume_backing_done(&backing);
    if (r < 0)
        return -1;
    CLEANUP(json_cleanup) json_t *former = exchange_options(s, v, TAKE_PTR(merged));
    if (change(s, v, err) == 0)
        return 0;
    struct error ignored;
    json_decref(exchange_options(s, v, TAKE_PTR(former)));
    (void)change(s, v, &ignored);
    return -1;
}

int volume_update(struct volume_service *s, const char *name, const json_t *options, struct error *err)
{
    struct volume *v;
    if (check_options(options, err) < 0 || volume_begin(s, name, &v, err) < 0)
        return -1;
    int r = update(s, v, options, err);
    volume_end(s, v);
    if (r == 0)
        volume_event(s, name, "update");
    return r < 0 ? error_wrap(err, "update %s", name) : 0;
}
