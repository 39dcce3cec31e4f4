// Theory of operation. syncfs writes what everybody has written, so those who want their own data on disk at the same time share
// one: whoever comes while one is under way waits for the next, which begins when that has ended and serves all who wait by then.
// Sixteen layers that end together cost two calls.
#include "store/store_internal.h"

#include <errno.h>
#include <unistd.h>

static void run_sync(struct store *s)
{
    uint64_t number = ++s->syncs_begun;
    s->is_syncing = true;
    pthread_mutex_unlock(&s->sync_lock);
    int failed = syncfs(s->tmp_fd) < 0 ? errno : 0;
    pthread_mutex_lock(&s->sync_lock);
    s->is_syncing = false;
    s->syncs_done = number;
    s->sync_failed = failed;
    pthread_cond_broadcast(&s->sync_changed);
}

int store_sync(struct store *s, struct error *err)
{
    pthread_mutex_lock(&s->sync_lock);
    uint64_t wanted = s->syncs_begun + 1; // one that begins from now on
    while (s->syncs_done < wanted) {
        if (s->is_syncing)
            pthread_cond_wait(&s->sync_changed, &s->sync_lock);
        else
            run_sync(s);
    }
    int failed = s->sync_failed;
    pthread_mutex_unlock(&s->sync_lock);
    return failed ? error_errno(err, failed, "sync layer") : 0;
}
