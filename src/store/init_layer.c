// What every container's root file system has whatever its image holds: the places that the runtime mounts on. As a layer of
// its own, above the image's and below the container's, they need not be made at every start and are no change of the
// container's (as in Docker).
#include "store/store_internal.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define INIT_LAYER ".init" // a dot: recovery passes over it

const char *layer_init_relative_path(void)
{
    return INIT_LAYER "/fs";
}

static const char *const empty_directories[] = { INIT_LAYER "/empty-1", INIT_LAYER "/empty-2" };

char **layer_view_paths(char *const *diff_ids)
{
    char **paths = NULL;
    size_t count = strv_len(diff_ids);
    for (size_t i = count; i > 0; i--)
        strv_take(&paths, layer_relative_path(diff_ids[i - 1]));
    for (size_t i = count; i < 2; i++)
        strv_push(&paths, empty_directories[i]);
    return paths;
}

static int make_directory(int at, const char *name)
{
    return mkdirat(at, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int make_file(int at, const char *name)
{
    int fd CLEANUP(cleanup_close) = openat(at, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fchmod(fd, 0644) < 0 ? -errno : 0;
}

int layer_make_init(struct store *store, struct error *err)
{
    static const char *const directories[] = { "dev", "dev/pts", "dev/shm", "etc", "proc", "sys" };
    static const char *const files[] = { "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf" };
    int r = make_directory(store->layers_fd, INIT_LAYER);
    if (r == 0)
        r = make_directory(store->layers_fd, INIT_LAYER "/fs");
    for (size_t i = 0; r == 0 && i < sizeof empty_directories / sizeof *empty_directories; i++)
        r = make_directory(store->layers_fd, empty_directories[i]);
    int fs CLEANUP(cleanup_close) =
        r < 0 ? r : openat(store->layers_fd, INIT_LAYER "/fs", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r == 0 && fs < 0)
        r = -errno;
    for (size_t i = 0; r == 0 && i < sizeof directories / sizeof *directories; i++)
        r = make_directory(fs, directories[i]);
    for (size_t i = 0; r == 0 && i < sizeof files / sizeof *files; i++)
        r = make_file(fs, files[i]);
    if (r == 0 && symlinkat("/proc/mounts", fs, "etc/mtab") < 0 && errno != EEXIST)
        r = -errno;
    return r < 0 ? error_errno(err, r, "make %s/" INIT_LAYER, store->layer_dir) : 0;
}
