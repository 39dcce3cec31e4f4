#include "volume/fsck.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "volume/volume_internal.h"

static bool has_directory(struct volume_service *s, const char *name)
{
    struct error ignored;
    CLEANUP(cleanup_close) int fd = volume_directory_open(s, name, &ignored);
    return fd >= 0;
}

static void check_volume(struct volume_service *s, const char *name, const struct fsck_options *options,
                         const struct fsck_sink *sink)
{
    struct volume *v;
    struct error err;
    if (has_directory(s, name) || volume_begin(s, name, &v, &err) < 0)
        return; // or removed meanwhile
    struct fsck_finding finding = { .kind = "volume", .id = name, .problem = "its directory is missing" };
    bool is_missing = !has_directory(s, name);
    if (is_missing && options->repairs) {
        finding.is_repaired = volume_directory_make(s, name, &err) == 0;
        finding.action = finding.is_repaired ? "made anew, empty" : err.message;
    }
    volume_end(s, v);
    if (is_missing)
        sink->found(sink->context, &finding);
}

// A name is in the table before its directory is made, and longer than it is there.
static void check_directories(struct volume_service *s, const struct fsck_sink *sink)
{
    DIR *d = dir_open_at(s->fd, ".");
    for (struct dirent *e; d && (e = dir_next(d));) {
        pthread_mutex_lock(&s->lock);
        bool is_known = map_get(&s->by_name, e->d_name) != NULL;
        pthread_mutex_unlock(&s->lock);
        if (!is_known && e->d_name[0] != '.')
            sink->found(sink->context,
                        &(struct fsck_finding){ .kind = "volume",
                                                .id = e->d_name,
                                                .problem = "the directory is of no volume",
                                                .action = "the next start of the engine removes it" });
    }
    if (d)
        closedir(d);
}

void volume_fsck(struct volume_service *s, const struct fsck_options *options, const struct fsck_sink *sink)
{
    struct volume_info **list = volume_list(s);
    for (size_t i = 0; list[i]; i++)
        check_volume(s, list[i]->name, options, sink);
    volume_list_free(list);
    check_directories(s, sink);
}
