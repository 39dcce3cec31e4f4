#include "store/project.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "codec/json.h"
#include "kernel/quota.h"
#include "store/meta.h"
#include "store/store_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 12 };

static void id_key(uint32_t id, char key[static KEY_MAX])
{
    snprintf(key, KEY_MAX, "%" PRIu32, id);
}

bool project_is_offered(const struct store *s)
{
    return quota_check(s->root_fd) == 0;
}

// --- the ids that are taken
void project_keep(struct store *s, uint32_t id)
{
    char key[KEY_MAX];
    id_key(id, key);
    pthread_mutex_lock(&s->project_lock);
    if (id)
        map_put(&s->projects, key, s);
    pthread_mutex_unlock(&s->project_lock);
}

static void forget(struct store *s, uint32_t id)
{
    char key[KEY_MAX];
    id_key(id, key);
    pthread_mutex_lock(&s->project_lock);
    map_remove(&s->projects, key);
    pthread_mutex_unlock(&s->project_lock);
}

// The next id that this engine has not given out, taken. Ids come in turn, so that one is not given again at once, while the file
// system still counts what was removed.
static uint32_t take_next(struct store *s)
{
    char key[KEY_MAX];
    uint32_t found = 0;
    pthread_mutex_lock(&s->project_lock);
    for (uint32_t i = 0; i < PROJECT_COUNT && !found; i++) {
        uint32_t id = PROJECT_FIRST_ID + s->next_project++ % PROJECT_COUNT;
        id_key(id, key);
        if (map_get(&s->projects, key))
            continue;
        map_put(&s->projects, key, s);
        found = id;
    }
    pthread_mutex_unlock(&s->project_lock);
    return found;
}

// One that nobody else uses in the file system either.
static int take_free(struct store *s, uint32_t *ret, struct error *err)
{
    for (uint32_t i = 0; i < PROJECT_COUNT; i++) {
        struct quota_usage usage;
        uint32_t id = take_next(s);
        if (!id)
            break;
        int r = quota_get(s->root_fd, id, &usage);
        if (r == 0 && !usage.bytes && !usage.files && !usage.limit_bytes) {
            *ret = id;
            return 0;
        }
        forget(s, id);
        if (r < 0)
            return error_errno(err, r, "look up project %" PRIu32, id);
    }
    return error_set(err, ERROR_EXHAUSTED, "no free project id is left");
}

// --- claim and release
int project_limit(struct store *s, uint32_t id, uint64_t limit_bytes, struct error *err)
{
    int r = quota_set(s->root_fd, id, limit_bytes);
    return r < 0 ? error_errno(err, r, "set the quota of project %" PRIu32, id) : 0;
}

// Written through to the disk: the file system keeps its quotas over a loss of power, so the table must know them then.
static int note(struct store *s, uint32_t id, struct error *err)
{
    char key[KEY_MAX];
    id_key(id, key);
    CLEANUP(json_cleanup) json_t *record = json_object();
    return meta_put(s, META_PROJECTS, key, record, err) < 0 ? -1 : meta_sync(s, err);
}

int project_claim(struct store *s, uint64_t limit_bytes, uint32_t *ret_id, struct error *err)
{
    uint32_t id;
    if (take_free(s, &id, err) < 0)
        return -1;
    if (note(s, id, err) < 0 || project_limit(s, id, limit_bytes, err) < 0) {
        project_release(s, id);
        return -1;
    }
    *ret_id = id;
    return 0;
}

int project_apply(int dirfd, const char *name, uint32_t id, struct error *err)
{
    CLEANUP(cleanup_close) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : quota_project_set(fd, id);
    return r < 0 ? error_errno(err, r, "set the project id of %s", name) : 0;
}

void project_release(struct store *s, uint32_t id)
{
    char key[KEY_MAX];
    struct error err;
    if (!id)
        return;
    id_key(id, key);
    if (project_limit(s, id, 0, &err) < 0 || meta_delete(s, META_PROJECTS, key, &err) < 0) {
        log_warn("project %" PRIu32 " is given back at the next start: %s", id, err.message);
        return; // and stays taken until then
    }
    forget(s, id);
}

// --- after a start
struct noted {
    uint32_t *ids;
    size_t count;
};

static int collect(void *context, const char *key, const json_t *record)
{
    struct noted *noted = context;
    uint32_t id;
    (void)record;
    if (!parse_u32(key, UINT32_MAX, &id))
        return 0;
    noted->ids = xreallocarray(noted->ids, noted->count + 1, sizeof *noted->ids);
    noted->ids[noted->count++] = id;
    return 0;
}

static bool is_taken(struct store *s, uint32_t id)
{
    char key[KEY_MAX];
    id_key(id, key);
    pthread_mutex_lock(&s->project_lock);
    bool r = map_get(&s->projects, key) != NULL;
    pthread_mutex_unlock(&s->project_lock);
    return r;
}

void project_settle(struct store *s)
{
    struct noted noted = { 0 };
    struct error err;
    if (meta_each(s, META_PROJECTS, collect, &noted, &err) < 0)
        log_warn("read the project ids: %s", err.message);
    for (size_t i = 0; i < noted.count; i++)
        if (!is_taken(s, noted.ids[i]))
            project_release(s, noted.ids[i]);
    free(noted.ids);
}
