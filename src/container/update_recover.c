// Theory of operation. An update of a running container is three things that cannot happen at once: the change itself, the record in the
// database, and the file of this run (which holds the endpoint). Before the first, what it goes from and to is written beside
// the run's file, on the exec root, which lasts as long as the container's processes can. After the last it is removed. An engine
// that finds such a file was preceded by one that was killed in between. The record decides: it was written after everything had
// been done, so where it says "from" the change is undone, and where it says "to" it is (once more) done. The steps stand
// being repeated, and the monitor ends the request that it was at before it hears of the next one.
#include "container/update.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { INTENT_MAX = 8 << 20 };

static char *intent_path(const struct container *c)
{
    return xasprintf("%s/update.json", c->state_directory);
}

int update_intent_write(struct container *c, const json_t *host_config, const json_t *mounts)
{
    CLEANUP(json_cleanup)
    json_t *intent = json_pack("{s:I,s:{s:O,s:O},s:{s:O,s:O}}", "startedNs", (json_int_t)c->state.started_ns,
                               "from", "hostConfig", c->host_config_document, "mounts", c->mounts_document,
                               "to", "hostConfig", host_config, "mounts", mounts);
    CLEANUP(cleanup_free) char *text = json_text(intent);
    CLEANUP(cleanup_free) char *path = intent_path(c);
    return file_replace_at(AT_FDCWD, path, 0600, text, strlen(text), false);
}

void update_intent_forget(struct container *c)
{
    CLEANUP(cleanup_free) char *path = intent_path(c);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("container %s: remove %s: %s", c->id, path, strerror(errno));
}

static bool is_record(const struct container *c, const json_t *side)
{
    return json_equal(json_get_object(side, "hostConfig"), c->host_config_document) &&
           json_equal(json_get_array(side, "mounts"), c->mounts_document);
}

static int parse_side(const struct container *c, const json_t *side, struct container_config *ret,
                      struct error *err)
{
    CLEANUP(strv_freep) char **warnings = NULL;
    json_t *m;
    size_t i;
    if (container_config_parse(c->config_document, json_get_object(side, "hostConfig"), ret, &warnings, err) <
        0)
        return -1;
    for (i = 0; i < ret->bind_count; i++)
        bind_mount_done(&ret->binds[i]);
    const json_t *mounts = json_get_array(side, "mounts");
    ret->binds = xreallocarray(ret->binds, json_array_size(mounts) + 1, sizeof *ret->binds);
    ret->bind_count = 0;
    json_array_foreach(mounts, i, m) ret->binds[ret->bind_count++] = mounts_parse(m);
    return 0;
}

static int settle(struct container *c, const json_t *intent, struct error *err)
{
    const json_t *from = json_get_object(intent, "from"), *to = json_get_object(intent, "to");
    struct container_config other;
    bool is_undone = is_record(c, from);
    if (parse_side(c, is_undone ? to : from, &other, err) < 0)
        return -1;
    const struct update_live live = { .container = c, .from = &other, .to = &c->config, .is_repeated = true };
    int r = update_live_apply(&live, err);
    container_config_done(&other);
    if (r < 0)
        return -1;
    r = container_replace_run_file(c);
    if (r < 0)
        return error_errno(err, r, "write run record");
    log_info("container %s: an update that was cut short has been %s", c->id,
             is_undone ? "undone" : "completed");
    return 0;
}

// A run that begins later begins with what the record says.
static bool is_of_this_run(const struct container *c, const json_t *intent)
{
    return c->control_fd >= 0 && json_get_int(intent, "startedNs", -1) == c->state.started_ns;
}

void update_recover(struct container *c)
{
    struct error err;
    CLEANUP(str_done) struct str text = STR_INIT;
    CLEANUP(json_cleanup) json_t *intent = NULL;
    CLEANUP(cleanup_free) char *path = intent_path(c);
    if (file_read_at(AT_FDCWD, path, INTENT_MAX, &text) < 0)
        return;
    if (json_parse(text.ptr, text.len, &intent, &err) < 0 ||
        (is_of_this_run(c, intent) && settle(c, intent, &err) < 0)) {
        log_error("container %s: settle an update that was cut short: %s", c->id, err.message);
        return; // the next engine tries again
    }
    update_intent_forget(c);
}
