#include "kernel/overlay.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"
#include "kernel/version.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

struct view {
    int parent_fd, context_fd;
    char *const *lower;
    int result;
};

static int append_lower(const struct view *v)
{
    int r = 0;
    char path[256]; // what fsconfig takes
    for (size_t i = 0; r == 0 && v->lower[i]; i++) {
        int n = snprintf(path, sizeof path, "/proc/self/fd/%d/%s", v->parent_fd, v->lower[i]);
        r = n < (int)sizeof path ? mount_config(v->context_fd, "lowerdir+", path) : -ENAMETOOLONG;
    }
    return r;
}

// Kernels before 6.7 take all layers in one option of at most 255 bytes and look them up when the overlay is created: they are
// named by descriptor number, from within /proc/self/fd.
static int create_in_one(const struct view *v)
{
    size_t count = strv_len(v->lower);
    CLEANUP(cleanup_free) int *fds = xcalloc(count + 1, sizeof *fds);
    struct str names CLEANUP(str_done);
    str_init(&names, 255);
    int r = chdir("/proc/self/fd") < 0 ? -errno : 0;
    for (size_t i = 0; i < count; i++) {
        fds[i] = openat(v->parent_fd, v->lower[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds[i] < 0 && r == 0)
            r = -errno;
        str_appendf(&names, "%s%d", i ? ":" : "", fds[i]);
    }
    if (r == 0)
        r = names.failed ? -E2BIG : mount_config(v->context_fd, "lowerdir", names.ptr);
    if (r == 0)
        r = mount_create(v->context_fd);
    for (size_t i = 0; i < count; i++)
        fd_close(fds[i]);
    return r;
}

// The working directory belongs to all threads; this one gets its own.
static void *create_on_a_thread(void *context)
{
    struct view *v = context;
    v->result = unshare(CLONE_FS) < 0 ? -errno : create_in_one(v);
    return NULL;
}

static int create_by_one_option(struct view *v)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, create_on_a_thread, v);
    if (r != 0)
        return -r;
    pthread_join(thread, NULL);
    return v->result;
}

static int open_view(const char *parent, char *const *lower, bool by_one_option)
{
    struct view v = { .lower = lower };
    CLEANUP(cleanup_close) int parent_fd = v.parent_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent_fd < 0)
        return -errno;
    CLEANUP(cleanup_close) int context_fd = v.context_fd = mount_open_fs("overlay");
    if (context_fd < 0)
        return context_fd;
    int r = mount_config(context_fd, "source", "overlay");
    if (r == 0 && by_one_option) {
        r = create_by_one_option(&v);
    } else if (r == 0) {
        r = append_lower(&v);
        r = r < 0 ? r : mount_create(context_fd);
    }
    return r < 0 ? r : mount_take(context_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

int overlay_open_view(const char *parent, char *const *lower)
{
    return open_view(parent, lower, !kernel_is_at_least(6, 7));
}

int overlay_open_view_by_one_option(const char *parent, char *const *lower)
{
    return open_view(parent, lower, true);
}
