// What every container's root file system has whatever its image holds: the places that the runtime mounts on. As a layer of
// its own, above the image's and below the container's, they need not be made at every start and are no change of the
// container's (as in Docker).
#include "store/fsck.h"
#include "store/store_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

static const char *const directories[] = { "dev", "dev/pts", "dev/shm", "etc", "proc", "sys" };
static const char *const files[] = { "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf" };
enum {
    DIRECTORY_COUNT = sizeof directories / sizeof *directories,
    FILE_COUNT = sizeof files / sizeof *files
};

// Below `at`/`name`/fs. 0 or -errno.
static int make_init(int at, const char *name)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/fs", name);
    int r = make_directory(at, name);
    if (r == 0)
        r = make_directory(at, path);
    for (size_t i = 0; r == 0 && i < sizeof empty_directories / sizeof *empty_directories; i++) {
        char *empty CLEANUP(cleanup_free) =
            xasprintf("%s%s", name, empty_directories[i] + strlen(INIT_LAYER));
        r = make_directory(at, empty);
    }
    int fs CLEANUP(cleanup_close) =
        r < 0 ? r : openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r == 0 && fs < 0)
        r = -errno;
    for (size_t i = 0; r == 0 && i < DIRECTORY_COUNT; i++)
        r = make_directory(fs, directories[i]);
    for (size_t i = 0; r == 0 && i < FILE_COUNT; i++)
        r = make_file(fs, files[i]);
    if (r == 0 && symlinkat("/proc/mounts", fs, "etc/mtab") < 0 && errno != EEXIST)
        r = -errno;
    return r;
}

int layer_make_init(struct store *store, struct error *err)
{
    int r = make_init(store->layers_fd, INIT_LAYER);
    return r < 0 ? error_errno(err, r, "make %s/" INIT_LAYER, store->layer_dir) : 0;
}

// --- checking
static int differs(const char *path, const char *how, struct error *err)
{
    return error_set(err, ERROR_IO, "%s %s", path, how);
}

static int check_object(int fs, const char *path, mode_t mode, struct error *err)
{
    struct stat st;
    if (fstatat(fs, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return differs(path, "is missing", err);
    if (st.st_mode != mode || st.st_uid != 0 || st.st_gid != 0)
        return differs(path, "has another kind, mode or owner", err);
    return S_ISREG(mode) && st.st_size > 0 ? differs(path, "is not empty", err) : 0;
}

// How many names there are below a directory of two levels.
static size_t count_names(int fs, const char *path, unsigned depth)
{
    size_t n = 0;
    DIR *d = dir_open_at(fs, path);
    for (struct dirent *e; d && (e = dir_next(d));) {
        struct stat st;
        n++;
        if (depth < 4 && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            n += count_names(dirfd(d), e->d_name, depth + 1);
    }
    if (d)
        closedir(d);
    return n;
}

int layer_init_check(struct store *store, struct error *err)
{
    char target[32];
    int fs CLEANUP(cleanup_close) =
        openat(store->layers_fd, INIT_LAYER "/fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fs < 0)
        return differs(INIT_LAYER "/fs", "is missing", err);
    for (size_t i = 0; i < DIRECTORY_COUNT; i++)
        if (check_object(fs, directories[i], S_IFDIR | 0755, err) < 0)
            return -1;
    for (size_t i = 0; i < FILE_COUNT; i++)
        if (check_object(fs, files[i], S_IFREG | 0644, err) < 0)
            return -1;
    ssize_t n = readlinkat(fs, "etc/mtab", target, sizeof target);
    if (n != (ssize_t)strlen("/proc/mounts") || memcmp(target, "/proc/mounts", (size_t)n) != 0)
        return differs("etc/mtab", "is no link to /proc/mounts", err);
    size_t wanted = DIRECTORY_COUNT + FILE_COUNT + 1;
    return count_names(fs, ".", 0) == wanted ? 0 : differs("it", "holds what it should not", err);
}

int layer_init_replace(struct store *store, struct error *err)
{
    char random[17];
    id_random_hex(random, 16);
    char *name CLEANUP(cleanup_free) = xasprintf("init-%s", random);
    int r = make_init(store->tmp_fd, name);
    if (r == 0 && renameat2(store->tmp_fd, name, store->layers_fd, INIT_LAYER, RENAME_EXCHANGE) < 0)
        r = errno == ENOENT && renameat(store->tmp_fd, name, store->layers_fd, INIT_LAYER) == 0 ? 0 : -errno;
    return r < 0 ? error_errno(err, r, "make %s/" INIT_LAYER, store->layer_dir) : 0;
}
