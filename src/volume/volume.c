// Theory of operation. One table by name behind one lock that is held for a few assignments only. Whoever must touch the disk for a
// volume marks it busy, lets the lock go, works, and takes the mark off; a second one that wants the same volume waits, one that
// wants another does not. Who uses a volume is not written down here: containers say it when they are made and when a new
// engine finds them.
#include "volume/volume_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/tree_size.h"
#include "volume/tree.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

// --- names
static bool is_name_character(char c, bool is_first)
{
    return isalnum((unsigned char)c) || (!is_first && (c == '_' || c == '.' || c == '-'));
}

int volume_name_check(const char *name, struct error *err)
{
    size_t n = strlen(name);
    if (n == 1)
        return error_set(err, ERROR_INVALID,
                         "volume name is too short, names should be at least two alphanumeric characters");
    bool is_valid = n > 0;
    for (size_t i = 0; i < n; i++)
        is_valid &= is_name_character(name[i], i == 0);
    if (!is_valid)
        return error_set(err, ERROR_INVALID,
                         "\"%s\" includes invalid characters for a local volume name, only "
                         "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host "
                         "directory, use absolute path",
                         name);
    if (n > NAME_MAX)
        return error_set(err, ERROR_INVALID, "volume name is too long, names have at most %d characters",
                         NAME_MAX);
    return 0;
}

// --- the table
static void volume_free(struct volume *v)
{
    free(v->name);
    free(v->retirer);
    free(v->snapshot_of);
    json_decref(v->labels);
    json_decref(v->options);
    strv_free(v->holders);
    strv_free(v->mounters);
    free(v);
}

struct volume *volume_await(struct volume_service *s, const char *name)
{
    struct volume *v;
    while ((v = map_get(&s->by_name, name)) && v->is_busy)
        pthread_cond_wait(&s->changed, &s->lock);
    return v;
}

static int no_such_volume(const char *name, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "get %s: no such volume", name);
}

int volume_begin(struct volume_service *s, const char *name, struct volume **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct volume *v = volume_await(s, name);
    if (v)
        v->is_busy = true;
    pthread_mutex_unlock(&s->lock);
    *ret = v;
    return v ? 0 : no_such_volume(name, err);
}

void volume_end(struct volume_service *s, struct volume *v)
{
    pthread_mutex_lock(&s->lock);
    v->is_busy = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

// The lock is held.
static struct volume *add(struct volume_service *s, const char *name, const json_t *labels,
                          const json_t *options)
{
    struct volume *v = NEW(struct volume);
    v->name = xstrdup(name);
    v->labels = json_is_object(labels) ? json_deep_copy(labels) : json_object();
    v->options = json_object_size(options) ? json_deep_copy(options) : NULL;
    v->created_ns = time_now_ns();
    v->is_busy = v->is_hidden = true;
    map_put(&s->by_name, name, v);
    return v;
}

int volume_reserve(struct volume_service *s, const char *name, const json_t *labels, const json_t *options,
                   struct volume **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    bool is_taken = map_get(&s->by_name, name) != NULL;
    if (!is_taken)
        *ret = add(s, name, labels, options);
    pthread_mutex_unlock(&s->lock);
    return is_taken ? error_set(err, ERROR_CONFLICT, "a volume named %s already exists", name) : 0;
}

void volume_publish(struct volume_service *s, struct volume *v)
{
    pthread_mutex_lock(&s->lock);
    v->is_busy = v->is_hidden = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void volume_abandon(struct volume_service *s, struct volume *v)
{
    pthread_mutex_lock(&s->lock);
    map_remove(&s->by_name, v->name);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    volume_free(v);
}

void volume_event(struct volume_service *s, const char *name, const char *action)
{
    const struct event_attribute driver = { "driver", "local" };
    const struct event event = {
        .type = "volume", .action = action, .actor_id = name, .attributes = &driver, .attribute_count = 1
    };
    if (s->events.emit)
        s->events.emit(s->events.context, &event);
}

// --- snapshots
static struct volume_info *snapshot(const struct volume_service *s, const struct volume *v)
{
    struct volume_info *info = NEW(struct volume_info);
    info->name = xstrdup(v->name);
    info->labels = json_deep_copy(v->labels); // no reference count is shared between threads
    info->options = json_deep_copy(v->options);
    info->created_ns = v->created_ns;
    info->snapshot_of = xstrdup(v->snapshot_of);
    info->mountpoint = xasprintf("%s/%s/_data", s->directory, v->name);
    info->holders = strv_copy(v->holders);
    return info;
}

void volume_info_free(struct volume_info *info)
{
    if (!info)
        return;
    free(info->name);
    free(info->mountpoint);
    free(info->snapshot_of);
    json_decref(info->labels);
    json_decref(info->options);
    strv_free(info->holders);
    free(info);
}

void volume_info_freep(struct volume_info **info)
{
    volume_info_free(*info);
}

bool volume_is_anonymous(const struct volume_info *info)
{
    return json_object_get(info->labels, VOLUME_ANONYMOUS_LABEL) != NULL;
}

int volume_get(struct volume_service *s, const char *name, struct volume_info **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    const struct volume *v = map_get(&s->by_name, name);
    struct volume_info *info = v && !v->is_hidden ? snapshot(s, v) : NULL;
    pthread_mutex_unlock(&s->lock);
    *ret = info;
    return info ? 0 : no_such_volume(name, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct volume_info *const *)a)->name, (*(struct volume_info *const *)b)->name);
}

struct volume_info **volume_list(struct volume_service *s)
{
    size_t at = 0, n = 0;
    pthread_mutex_lock(&s->lock);
    struct volume_info **list = xcalloc(s->by_name.len + 1, sizeof(struct volume_info *));
    for (const struct map_entry *e; (e = map_next(&s->by_name, &at));)
        if (!((const struct volume *)e->value)->is_hidden)
            list[n++] = snapshot(s, e->value);
    pthread_mutex_unlock(&s->lock);
    qsort(list, n, sizeof *list, by_name);
    return list;
}

void volume_list_free(struct volume_info **list)
{
    for (size_t i = 0; list && list[i]; i++)
        volume_info_free(list[i]);
    free(list);
}

// --- create
static int check_request(const struct volume_request *request, const char *name, struct error *err)
{
    struct volume_backing backing = { 0 };
    if (!str_is_empty(request->driver) && !streq(request->driver, "local"))
        return error_set(err, ERROR_NOT_FOUND,
                         "create %s: error looking up volume plugin %s: plugin \"%s\" not found", name,
                         request->driver, request->driver);
    int r = volume_name_check(name, err);
    if (r == 0)
        r = volume_backing_parse(request->options, &backing, err);
    volume_backing_done(&backing);
    return r < 0 ? error_wrap(err, "create %s", name) : 0;
}

static int make(struct volume_service *s, struct volume *v, struct error *err)
{
    if (volume_directory_make(s, v->name, err) < 0)
        return -1;
    if (volume_limit_begin(s, v, err) == 0 && volume_record_put(s, v, err) == 0)
        return 0;
    struct error ignored;
    (void)volume_directory_remove(s, v->name, &ignored);
    volume_limit_end(s, v);
    return -1;
}

// The lock is held.
static void hold(struct volume *v, const char *container_id)
{
    if (container_id && !strv_contains(v->holders, container_id))
        strv_push(&v->holders, container_id);
}

static int create(struct volume_service *s, const char *name, const struct volume_request *request,
                  const json_t *labels, struct volume_info **ret, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct volume *v = volume_await(s, name), *fresh = NULL;
    if (!v)
        v = fresh = add(s, name, labels, request->options);
    hold(v, request->holder);
    struct volume_info *info = snapshot(s, v);
    pthread_mutex_unlock(&s->lock);
    if (fresh && make(s, fresh, err) < 0) {
        volume_info_free(info);
        volume_abandon(s, fresh);
        return error_wrap(err, "create %s", name);
    }
    if (fresh) {
        volume_publish(s, fresh);
        volume_event(s, name, "create");
    }
    if (ret)
        *ret = TAKE_PTR(info);
    volume_info_free(info);
    return 0;
}

int volume_create(struct volume_service *s, const struct volume_request *request, struct volume_info **ret,
                  struct error *err)
{
    char random[ID_LEN + 1];
    bool is_anonymous = str_is_empty(request->name);
    CLEANUP(json_cleanup)
    json_t *labels = json_is_object(request->labels) ? json_deep_copy(request->labels) : json_object();
    if (is_anonymous) {
        id_new(random);
        json_set_string(labels, VOLUME_ANONYMOUS_LABEL, "");
    }
    const char *name = is_anonymous ? random : request->name;
    return check_request(request, name, err) < 0 ? -1 : create(s, name, request, labels, ret, err);
}

// --- remove
// The volume is busy, which is ours to end.
static int destroy(struct volume_service *s, struct volume *v, struct error *err)
{
    if (v->options)
        volume_take_off(s, v->name);
    bool is_deleted = meta_delete(s->store, META_VOLUMES, v->name, err) == 0;
    int r = volume_directory_remove(s, v->name, err);
    if (r == 0 && !is_deleted) // a full disk has room for that once the data is gone
        r = meta_delete(s->store, META_VOLUMES, v->name, err);
    if (r < 0) { // it stays, with what is left of it
        struct error ignored;
        (void)volume_record_put(s, v, &ignored);
        volume_publish(s, v);
        return -1;
    }
    volume_limit_end(s, v);
    volume_event(s, v->name, "destroy");
    volume_abandon(s, v);
    return 0;
}

int volume_remove(struct volume_service *s, const char *name, bool is_forced, struct error *err)
{
    CLEANUP(cleanup_free) char *holders = NULL;
    pthread_mutex_lock(&s->lock);
    struct volume *v = volume_await(s, name);
    if (v && strv_len(v->holders))
        holders = strv_join(v->holders, ", ");
    else if (v)
        v->is_busy = true;
    pthread_mutex_unlock(&s->lock);
    if (!v)
        return is_forced ? 0 : no_such_volume(name, err);
    if (holders)
        return error_set(err, ERROR_CONFLICT, "remove %s: volume is in use - [%s]", name, holders);
    return destroy(s, v, err);
}

int volume_prune(struct volume_service *s, bool (*keep)(void *context, const struct volume_info *info),
                 void *context, char ***ret_names, uint64_t *ret_bytes, struct error *err)
{
    struct volume_info **all = volume_list(s);
    (void)err;
    *ret_names = NULL;
    *ret_bytes = 0;
    for (size_t i = 0; all[i]; i++) {
        struct error ignored; // one that came into use or went meanwhile is simply not pruned
        uint64_t bytes = 0;
        if (strv_len(all[i]->holders) || all[i]->snapshot_of || (keep && keep(context, all[i])) ||
            volume_size(s, all[i]->name, &bytes, &ignored) < 0 ||
            volume_remove(s, all[i]->name, false, &ignored) < 0)
            continue;
        strv_push(ret_names, all[i]->name);
        *ret_bytes += bytes;
    }
    volume_list_free(all);
    return 0;
}

int volume_size(struct volume_service *s, const char *name, uint64_t *ret, struct error *err)
{
    CLEANUP(volume_info_freep) struct volume_info *info = NULL;
    if (volume_get(s, name, &info, err) < 0)
        return -1;
    CLEANUP(cleanup_close) int fd = volume_directory_open(s, name, err);
    if (fd < 0)
        return -1;
    *ret = tree_size(fd);
    return 0;
}

// --- users
int volume_hold(struct volume_service *s, const char *name, const char *container_id, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    struct volume *v = volume_await(s, name);
    if (v)
        hold(v, container_id);
    pthread_mutex_unlock(&s->lock);
    return v ? 0 : no_such_volume(name, err);
}

void volume_release(struct volume_service *s, const char *name, const char *container_id)
{
    pthread_mutex_lock(&s->lock);
    struct volume *v = map_get(&s->by_name, name);
    if (v)
        strv_remove(v->holders, container_id);
    pthread_mutex_unlock(&s->lock);
}

bool volume_retire(struct volume_service *s, const char *name, const char *container_id)
{
    pthread_mutex_lock(&s->lock);
    struct volume *v = map_get(&s->by_name, name);
    if (v)
        strv_remove(v->holders, container_id);
    bool is_retired = v && !v->is_busy && strv_len(v->holders) == 0;
    if (is_retired) {
        v->is_busy = v->is_hidden = true;
        v->retirer = xstrdup(container_id);
        pthread_cond_broadcast(&s->changed); // for volume_unmount, which does not wait for it
    }
    pthread_mutex_unlock(&s->lock);
    return is_retired;
}

void volume_discard(struct volume_service *s, const char *name, const char *container_id)
{
    struct error err;
    pthread_mutex_lock(&s->lock);
    struct volume *v = map_get(&s->by_name, name);
    bool is_ours = v && v->retirer && streq(v->retirer, container_id); // then it is busy on our behalf
    if (is_ours)
        free(TAKE_PTR(v->retirer));
    pthread_mutex_unlock(&s->lock);
    if (is_ours && destroy(s, v, &err) < 0)
        log_warn("volume %s: %s", name, err.message);
}

// --- the service
int volume_service_open(struct store *store, const struct event_sink *events, struct volume_service **ret,
                        struct error *err)
{
    struct volume_service *s = NEW(struct volume_service);
    s->store = store;
    s->events = *events;
    s->directory = xasprintf("%s/volumes", store_root(store));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    int r = mkdir(s->directory, 0711) < 0 && errno != EEXIST ? -errno : 0;
    s->fd = open(s->directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r < 0 || s->fd < 0)
        error_errno(err, r < 0 ? r : errno, "make %s", s->directory);
    else if (volume_recover(s, err) == 0) {
        *ret = s;
        return 0;
    }
    volume_service_close(s);
    return -1;
}

void volume_service_close(struct volume_service *s)
{
    size_t at = 0;
    if (!s)
        return;
    for (const struct map_entry *e; (e = map_next(&s->by_name, &at));)
        volume_free(e->value);
    map_done(&s->by_name);
    fd_close(s->fd);
    free(s->directory);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}
