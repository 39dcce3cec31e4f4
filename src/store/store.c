#include "store/store.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock_root(struct store *s, struct error *err)
{
    s->lock_fd = openat(s->root_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return error_errno(err, errno, "open %s/lock", s->root);
    char text[24] = "";
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(s->lock_fd, text, sizeof text - 1, 0);
        text[n > 0 ? strcspn(text, "\n") : 0] = 0;
        return error_set(err, ERROR_CONFLICT, "data root %s is in use by pid %s", s->root,
                         *text ? text : "(unknown)");
    }
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, text, (size_t)n, 0) < 0)
        return error_errno(err, errno, "write %s/lock", s->root);
    return 0;
}

// Open a folder of the store, made when missing, with the mode it must have.
static int open_folder(struct store *s, const char *name, mode_t mode, int *ret, struct error *err)
{
    if (mkdirat(s->root_fd, name, mode) < 0 && errno != EEXIST)
        return error_errno(err, errno, "make %s/%s", s->root, name);
    int fd = openat(s->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fchmod(fd, mode) < 0) {
        int r = error_errno(err, errno, "open %s/%s", s->root, name);
        fd_close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

static int empty_staging(struct store *s, struct error *err)
{
    DIR *d = dir_open_at(s->tmp_fd, ".");
    if (!d)
        return error_errno(err, errno, "read %s/tmp", s->root);
    int r = 0;
    for (struct dirent *e; r == 0 && (e = dir_next(d));) {
        r = dir_remove_all_at(s->tmp_fd, e->d_name);
        if (r < 0)
            error_errno(err, r, "remove %s/tmp/%s", s->root, e->d_name);
    }
    closedir(d);
    return r;
}

static int open_root(struct store *s, const char *root, struct error *err)
{
    char path[PATH_MAX];
    int r = dir_make_all(root, 0711);
    if (r < 0 || !realpath(root, path))
        return error_errno(err, r < 0 ? r : errno, "make data root %s", root);
    s->root = xstrdup(path);
    s->layer_dir = xasprintf("%s/layers", path);
    s->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_fd < 0 || fchmod(s->root_fd, 0711) < 0)
        return error_errno(err, errno, "open data root %s", path);
    return lock_root(s, err);
}

static int open_folders(struct store *s, struct error *err)
{
    int blobs CLEANUP(cleanup_close) = FD_NONE, containers CLEANUP(cleanup_close) = FD_NONE;
    if (open_folder(s, "layers", 0700, &s->layers_fd, err) < 0 ||
        open_folder(s, "tmp", 0700, &s->tmp_fd, err) < 0 ||
        open_folder(s, "containers", 0700, &containers, err) < 0 ||
        open_folder(s, "blobs", 0700, &blobs, err) < 0 ||
        open_folder(s, "blobs/sha256", 0700, &s->blobs_fd, err) < 0)
        return -1;
    return 0;
}

int store_open(const char *root, struct store **ret, struct error *err)
{
    struct store *s = NEW(struct store);
    s->root_fd = s->lock_fd = s->layers_fd = s->blobs_fd = s->tmp_fd = FD_NONE;
    pthread_mutex_init(&s->layer_lock, NULL);
    pthread_mutex_init(&s->project_lock, NULL);
    pthread_mutex_init(&s->sync_lock, NULL);
    pthread_cond_init(&s->sync_changed, NULL);
    if (open_root(s, root, err) < 0 || open_folders(s, err) < 0 || meta_open(s, err) < 0 ||
        empty_staging(s, err) < 0 || layer_recover(s, err) < 0 || layer_make_init(s, err) < 0) {
        store_close(s);
        return -1;
    }
    (void)fsync(s->root_fd); // the names of the database's files
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    meta_close(s);
    fd_close(s->layers_fd);
    fd_close(s->blobs_fd);
    fd_close(s->tmp_fd);
    fd_close(s->root_fd);
    fd_close(s->lock_fd); // last: gives the root free
    pthread_mutex_destroy(&s->layer_lock);
    pthread_mutex_destroy(&s->project_lock);
    map_done(&s->projects);
    pthread_mutex_destroy(&s->sync_lock);
    pthread_cond_destroy(&s->sync_changed);
    free(s->layer_dir);
    free(s->root);
    free(s);
}

const char *store_root(const struct store *s)
{
    return s->root;
}

int store_root_fd(const struct store *s)
{
    return s->root_fd;
}
