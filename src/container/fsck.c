// Theory of operation. Containers come and go meanwhile. So what looks wrong is looked at again: a directory without a container
// a little later, when a create or removal under way has had its time; a container's missing directory once more whether the
// container is still there.
#include "container/fsck.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "container/container_internal.h"
#include "store/layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SECOND_LOOK_MS = 1500, LOOKS = 3 };

static bool is_gone(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_gone = c->is_gone || c->state.status == CONTAINER_REMOVING;
    pthread_mutex_unlock(&c->lock);
    return is_gone;
}

static void tell(struct container *c, const struct fsck_sink *sink, const char *problem)
{
    pthread_mutex_lock(&c->lock);
    char *needed_by[] = { xstrdup(c->name), NULL };
    pthread_mutex_unlock(&c->lock);
    if (!is_gone(c))
        sink->found(sink->context,
                    &(struct fsck_finding){
                        .kind = "container", .id = c->id, .problem = problem, .needed_by = needed_by });
    free(needed_by[0]);
}

static void check_container(struct container *c, const struct fsck_sink *sink)
{
    static const char *const names[] = { "upper", "work" };
    struct stat st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", c->directory, names[i]);
        CLEANUP(cleanup_free) char *problem = xasprintf("its directory %s is missing", names[i]);
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
            tell(c, sink, problem);
    }
    for (size_t i = 0; c->diff_ids && c->diff_ids[i]; i++) {
        CLEANUP(cleanup_free) char *problem = xasprintf("its layer %s is missing", c->diff_ids[i]);
        if (!layer_has(c->service->store, c->diff_ids[i]))
            tell(c, sink, problem);
    }
}

static char **unknown_directories(struct container_service *s)
{
    char **unknown = NULL;
    DIR *d = dir_open_at(AT_FDCWD, s->containers_directory);
    for (struct dirent *e; d && (e = dir_next(d));) {
        pthread_mutex_lock(&s->lock);
        bool is_known = map_get(&s->by_id, e->d_name) != NULL;
        pthread_mutex_unlock(&s->lock);
        if (!is_known && !spares_has_id(s->spares, e->d_name))
            strv_push(&unknown, e->d_name);
    }
    if (d)
        closedir(d);
    return unknown;
}

void container_fsck(struct container_service *s, const struct fsck_sink *sink)
{
    struct container **all = container_all(s);
    for (size_t i = 0; all[i]; i++)
        check_container(all[i], sink);
    container_all_free(all);
    CLEANUP(strv_freep) char **unknown = unknown_directories(s);
    for (int look = 1; look < LOOKS && strv_len(unknown); look++) {
        nanosleep(&(struct timespec){ .tv_sec = SECOND_LOOK_MS / 1000,
                                      .tv_nsec = SECOND_LOOK_MS % 1000 * NS_PER_MS },
                  NULL);
        CLEANUP(strv_freep) char **again = unknown_directories(s);
        for (size_t i = 0; unknown[i];) {
            if (strv_contains(again, unknown[i]))
                i++;
            else
                strv_remove(unknown, unknown[i]);
        }
    }
    for (size_t i = 0; unknown && unknown[i]; i++)
        sink->found(sink->context,
                    &(struct fsck_finding){ .kind = "container",
                                            .id = unknown[i],
                                            .problem = "the directory is of no container",
                                            .action = "the next start of the engine removes it" });
}
