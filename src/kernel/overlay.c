#include "kernel/overlay.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/version.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

bool overlay_is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

// Kernels before 6.7 know one "lowerdir" only, look it up when the overlay is created, and fsconfig takes no more than 255 bytes
// at once. So each layer is opened and named by its descriptor's number, from within /proc/self/fd: room for some sixty layers.
struct lower_in_one {
    int *fds;
    size_t count;
    int former_cwd;
};

static int lower_in_one_begin(int context_fd, int layers_fd, char *const *lower, struct lower_in_one *one)
{
    struct str names;
    str_init(&names, 255);
    *one = (struct lower_in_one){ .count = strv_len(lower) };
    one->fds = xcalloc(one->count, sizeof *one->fds);
    one->former_cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = one->former_cwd < 0 || chdir("/proc/self/fd") < 0 ? -errno : 0;
    for (size_t i = 0; i < one->count; i++) {
        one->fds[i] = openat(layers_fd, lower[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (one->fds[i] < 0 && r == 0)
            r = -errno;
        str_appendf(&names, "%s%d", i ? ":" : "", one->fds[i]);
    }
    if (r == 0)
        r = names.failed ? -E2BIG : mount_config(context_fd, "lowerdir", names.ptr);
    str_done(&names);
    return r;
}

static void lower_in_one_end(struct lower_in_one *one)
{
    for (size_t i = 0; i < one->count; i++)
        fd_close(one->fds[i]);
    free(one->fds);
    if (one->former_cwd >= 0)
        (void)!fchdir(one->former_cwd);
    fd_close(one->former_cwd);
}

static int append_lower(int context_fd, int layers_fd, char *const *lower)
{
    char path[256]; // what fsconfig takes
    for (size_t i = 0; lower[i]; i++) {
        int n = snprintf(path, sizeof path, "/proc/self/fd/%d/%s", layers_fd, lower[i]);
        int r = n < (int)sizeof path ? mount_config(context_fd, "lowerdir+", path) : -ENAMETOOLONG;
        if (r < 0)
            return r;
    }
    return 0;
}

static int configure_upper(int context_fd, int upper_fd, bool is_volatile)
{
    char path[256];
    snprintf(path, sizeof path, "/proc/self/fd/%d/upper", upper_fd);
    int r = mount_config(context_fd, "upperdir", path);
    snprintf(path, sizeof path, "/proc/self/fd/%d/work", upper_fd);
    if (r == 0)
        r = mount_config(context_fd, "workdir", path);
    if (r == 0 && is_volatile)
        r = mount_config(context_fd, "volatile", NULL);
    return r;
}

static int create(int context_fd, int layers_fd, char *const *lower, int upper_fd, bool is_volatile,
                  bool by_one_option)
{
    struct lower_in_one one = { .former_cwd = FD_NONE };
    int r = mount_config(context_fd, "source", "overlay");
    if (r == 0)
        r = by_one_option ? lower_in_one_begin(context_fd, layers_fd, lower, &one)
                          : append_lower(context_fd, layers_fd, lower);
    if (r == 0 && upper_fd >= 0)
        r = configure_upper(context_fd, upper_fd, is_volatile);
    if (r == 0)
        r = mount_create(context_fd);
    lower_in_one_end(&one);
    return r;
}

static bool knows_one_option_only(void)
{
    return !kernel_is_at_least(6, 7);
}

int overlay_create(int context_fd, int layers_fd, char *const *lower, int upper_fd, bool is_volatile)
{
    return create(context_fd, layers_fd, lower, upper_fd, is_volatile, knows_one_option_only());
}

struct view {
    int context_fd, layers_fd;
    char *const *lower;
};

// The current directory belongs to all threads: for a thread aside.
static int create_view_in_one(void *context)
{
    const struct view *v = context;
    return create(v->context_fd, v->layers_fd, v->lower, FD_NONE, false, true);
}

static int open_view(const char *parent, char *const *lower, bool by_one_option)
{
    CLEANUP(cleanup_close) int layers_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (layers_fd < 0)
        return -errno;
    CLEANUP(cleanup_close) int context_fd = mount_open_fs("overlay");
    if (context_fd < 0)
        return context_fd;
    struct view v = { .context_fd = context_fd, .layers_fd = layers_fd, .lower = lower };
    int r = by_one_option ? thread_run_aside(create_view_in_one, &v)
                          : create(context_fd, layers_fd, lower, FD_NONE, false, false);
    return r < 0 ? r : mount_take(context_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

int overlay_open_view(const char *parent, char *const *lower)
{
    return open_view(parent, lower, knows_one_option_only());
}

int overlay_open_view_by_one_option(const char *parent, char *const *lower)
{
    return open_view(parent, lower, true);
}
