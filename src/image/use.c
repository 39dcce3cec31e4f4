// Theory of operation. Starts must not pay for this: a use is noted in memory, and in the image's record only when the record's
// own time is an hour old.
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "image/image_internal.h"
#include "store/meta.h"

#define WRITTEN_EVERY_NS (3600 * NS_PER_S)

struct image_use {
    int64_t written_ns;
};

// Is it time to write it down?
static bool note(struct image_service *images, const char *id, int64_t now)
{
    pthread_mutex_lock(&images->use_lock);
    struct image_use *use = map_get(&images->uses, id);
    if (!use) {
        use = NEW(struct image_use);
        map_put(&images->uses, id, use);
    }
    bool writes = now - use->written_ns >= WRITTEN_EVERY_NS || now < use->written_ns;
    if (writes)
        use->written_ns = now;
    pthread_mutex_unlock(&images->use_lock);
    return writes;
}

void image_note_use(struct image_service *images, const char *id)
{
    json_t *record CLEANUP(json_cleanup) = NULL;
    struct error err;
    int64_t now = time_now_ns();
    if (!digest_is_valid(id) || !note(images, id, now))
        return;
    pthread_mutex_lock(&images->lock);
    int r = meta_get(images->store, META_IMAGES, id, &record, &err);
    if (r == 0) {
        json_set_int(record, "lastUsed", now);
        r = image_put_record(images, id, record, &err);
    }
    pthread_mutex_unlock(&images->lock);
    if (r < 0)
        log_debug("last use of image %s: %s", id, err.message);
}

void image_uses_done(struct image_service *images)
{
    size_t at = 0;
    for (const struct map_entry *e; (e = map_next(&images->uses, &at));)
        free(e->value);
    map_done(&images->uses);
}
