#include "store/fsck.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/content.h"
#include "store/store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int layer_check_quickly(struct store *store, const char *diff_id, struct error *err)
{
    struct layer_info info;
    if (layer_get(store, diff_id, &info, err) < 0)
        return -1;
    int fd CLEANUP(cleanup_close) =
        openat(store->layers_fd, digest_hex(diff_id), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_errno(err, errno, "open layer %s", diff_id);
    return split_check(fd, err) < 0 ? error_wrap(err, "layer %s", diff_id) : 0;
}

// --- replacing

// The damaged copy takes the staging directory's place in tmp/, or there is none.
static int exchange(struct staging *s, const struct layer_info *info, struct error *err)
{
    struct store *store = s->store;
    const char *hex = digest_hex(info->diff_id);
    if (renameat2(store->tmp_fd, s->name, store->layers_fd, hex, RENAME_EXCHANGE) < 0) {
        if (errno != ENOENT || renameat(store->tmp_fd, s->name, store->layers_fd, hex) < 0)
            return error_errno(err, errno, "move layer into place");
        free(s->name);
        s->name = NULL;
    }
    if (fsync(store->layers_fd) < 0)
        return error_errno(err, errno, "move layer into place");
    return layer_put_record(store, info, err);
}

int layer_replace(struct store *store, struct reader stream, const char *diff_id,
                  const struct layer_limits *limits, bool keeps_old, struct error *err)
{
    struct layer_info info;
    struct staging staging CLEANUP(staging_remove) = { .fd = FD_NONE };
    if (staging_make(store, &staging, err) < 0 ||
        staging_fill(&staging, stream, diff_id, limits, &info, err) < 0)
        return -1;
    if (syncfs(staging.fd) < 0)
        return error_errno(err, errno, "sync layer");
    pthread_mutex_lock(&store->layer_lock);
    int r = exchange(&staging, &info, err);
    pthread_mutex_unlock(&store->layer_lock);
    if (r == 0 && keeps_old) {
        free(staging.name);
        staging.name = NULL;
    }
    return r;
}

// --- strays

// Between the rename and the record a layer that is being published looks like one: that step has the lock.
static bool is_stray(struct store *store, const char *name)
{
    char *diff_id CLEANUP(cleanup_free) = xasprintf("sha256:%s", name);
    if (digest_is_valid(diff_id) && layer_has(store, diff_id))
        return false;
    pthread_mutex_lock(&store->layer_lock);
    bool is_known = digest_is_valid(diff_id) && layer_has(store, diff_id);
    bool is_there = faccessat(store->layers_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    pthread_mutex_unlock(&store->layer_lock);
    return is_there && !is_known;
}

int layer_strays(struct store *store, char ***ret, struct error *err)
{
    DIR *d = dir_open_at(store->layers_fd, ".");
    if (!d)
        return error_errno(err, errno, "read %s", store->layer_dir);
    char **names = NULL;
    for (struct dirent *e; (e = dir_next(d));)
        if (e->d_name[0] != '.' && is_stray(store, e->d_name))
            strv_push(&names, e->d_name);
    closedir(d);
    *ret = names;
    return 0;
}

int layer_stray_remove(struct store *store, const char *name, struct error *err)
{
    char *doomed;
    pthread_mutex_lock(&store->layer_lock);
    int r = layer_retire_directory(store, name, &doomed, err);
    pthread_mutex_unlock(&store->layer_lock);
    return r < 0 ? r : layer_discard(store, doomed, err);
}

// --- documents
int content_replace(struct store *store, const char *digest, const void *bytes, size_t n, struct error *err)
{
    char found[DIGEST_LEN + 1];
    digest_of(bytes, n, found);
    if (!streq(found, digest))
        return error_set(err, ERROR_INVALID, "digest mismatch: expected %.100s, got %s", digest, found);
    int r = file_replace_at(store->blobs_fd, digest_hex(digest), 0600, bytes, n, true);
    return r < 0 ? error_errno(err, r, "write %s", digest) : 0;
}
