// Theory of operation. Docker's CVE-2018-15664 and its kin came from paths of the container that the engine resolved as its own.
// Here a view is one descriptor and a resolver that cannot leave it.
//
// Running: the root of the container's mount namespace, got by a thread that enters it for one system call. The process is held
// by a pidfd meanwhile and must be in the container's own cgroup, so that a pid that has been given to another process since
// cannot be taken for it. Owners show as the host's ids of the container's user namespace and are translated by its map.
//
// Not running: its overlay once more, as a mount that no namespace knows, with plain owners. For reading, its upper directory is
// just the topmost layer, so that any number can look and nothing is written; for writing it is mounted as for a run, by
// one at a time. Binds need a place where mounts can lie on mounts: a mount namespace that nobody is in, held by a descriptor.
// c->root keeps a start away from all this.
#include "container/view.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "container/container_internal.h"
#include "kernel/mount.h"
#include "kernel/namespace.h"
#include "kernel/overlay.h"
#include "kernel/path.h"
#include "kernel/process.h"
#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { START_WAITS_S = 10 };

// --- of a running container

// 0 when the process is one of the container's.
static int check_process(const struct container *c, pid_t pid)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    int r = file_read_at(AT_FDCWD, path, 64 * 1024, &text);
    return r < 0 ? r : strstr(text.ptr, c->id) ? 0 : -ESRCH;
}

// "0 1048576 65536": its user namespace has one range, which begins with its root; the host's is its own image.
int container_view_ids(pid_t pid, struct archive_ids *ret)
{
    CLEANUP(str_done) struct str text = STR_INIT;
    char path[48];
    int64_t inside = 0, outside = 0, count = 0;
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    int r = file_read_at(AT_FDCWD, path, 4096, &text);
    if (r < 0)
        return r;
    CLEANUP(strv_freep) char **words = strv_split(text.ptr, " \n", false);
    if (strv_len(words) < 3 || !parse_i64(words[0], 0, UINT32_MAX, &inside) ||
        !parse_i64(words[1], 0, UINT32_MAX, &outside) || !parse_i64(words[2], 0, UINT32_MAX, &count) ||
        inside != 0)
        return -EPROTO;
    *ret = outside == 0 ? (struct archive_ids){ 0 }
                        : (struct archive_ids){ .first = (uint32_t)outside, .count = (uint32_t)count };
    return 0;
}

static int open_running(struct container *c, pid_t pid, bool is_bare, struct container_view *view)
{
    CLEANUP(cleanup_close) int pidfd = pidfd_open(pid);
    int r = pidfd < 0 ? pidfd : check_process(c, pid);
    if (r == 0)
        r = container_view_ids(pid, &view->ids);
    if (r == 0 && pidfd_wait(pidfd, 0) != 0) // all this was read of the process that pidfd is
        r = -ESRCH;
    if (r < 0)
        return r;
    view->is_of_process = true;
    view->root_fd = mount_namespace_root(pidfd, is_bare);
    return view->root_fd < 0 ? view->root_fd : 0;
}

// --- of one that does not run
struct stopped {
    struct container *container;
    enum container_view_kind kind;
    struct container_view *view;
};

// Relative to the directory of the layers; topmost first.
static char **lower_of(const struct container *c, enum container_view_kind kind)
{
    char **lower = NULL;
    if (kind != VIEW_WRITE && kind != VIEW_IMAGE)
        strv_take(&lower, xasprintf("../containers/%s/upper", c->id));
    char **layers = kind == VIEW_LAYERS ? layer_view_paths(c->diff_ids) : container_lower_directories(c);
    for (size_t i = 0; layers[i]; i++)
        strv_push(&lower, layers[i]);
    strv_free(layers);
    return lower;
}

static int mount_overlay(const struct container *c, enum container_view_kind kind)
{
    bool is_written = kind == VIEW_WRITE, is_volatile = c->config.is_auto_remove;
    CLEANUP(strv_freep) char **lower = lower_of(c, kind);
    CLEANUP(cleanup_close)
    int layers = open(layer_directory(c->service->store), O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(cleanup_close)
    int upper = is_written ? open(c->directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
    if (layers < 0 || (is_written && upper < 0))
        return -errno;
    if (!is_written && !lower[1]) // overlay wants two: an image without layers is the mount points alone
        return openat(layers, lower[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
    // The mark of a former volatile mount; see runtime/apply/sources.c.
    int r = is_written && is_volatile ? dir_remove_all_at(upper, "work/work/incompat") : 0;
    CLEANUP(cleanup_close) int context = r < 0 ? r : mount_open_fs("overlay");
    r = context < 0 ? context : overlay_create(context, layers, lower, upper, is_volatile);
    return r < 0 ? r : mount_take(context, is_written ? 0 : MOUNT_ATTR_RDONLY);
}

// What a subpath names is cloned from where it is attached: a volume lies where it lies, an image's view on the root for that
// moment.
static int clone_part(int root_fd, int view_fd, const struct bind_mount *bind)
{
    CLEANUP(cleanup_close)
    int place = view_fd < 0 ? open(bind->source, O_PATH | O_DIRECTORY | O_CLOEXEC) : FD_NONE;
    int top = view_fd < 0 ? place : view_fd, r = view_fd < 0 ? 0 : mount_attach(view_fd, root_fd);
    if (top < 0 || r < 0)
        return r < 0 ? r : -errno;
    CLEANUP(cleanup_close) int part = path_open(top, bind->subpath, O_PATH, 0);
    CLEANUP(cleanup_close) int clone = part < 0 ? part : mount_clone(part, "", bind->is_recursive);
    if (view_fd >= 0 && (fchdir(view_fd) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0))
        return -errno;
    return clone < 0 ? clone : TAKE_FD(clone);
}

static int open_source(const struct container *c, int root_fd, const struct bind_mount *bind)
{
    CLEANUP(cleanup_close) int view = FD_NONE;
    if (bind->image) {
        CLEANUP(strv_freep) char **lower = layer_view_paths(bind->layers);
        view = overlay_open_view(layer_directory(c->service->store), lower);
        if (view < 0)
            return view;
    }
    if (bind->subpath)
        return clone_part(root_fd, view, bind);
    return bind->image ? TAKE_FD(view) : mount_clone(AT_FDCWD, bind->source, bind->is_recursive);
}

static int attach_bind(const struct container *c, int root_fd, const struct bind_mount *bind)
{
    struct stat st;
    CLEANUP(cleanup_close) int source = open_source(c, root_fd, bind);
    if (source == -ENOENT && bind->creates_source)
        return 0; // made at the start
    if (source < 0 || fstat(source, &st) < 0)
        return source < 0 ? source : -errno;
    int r = mount_set(source, "", true, bind->is_read_only ? MOUNT_ATTR_RDONLY : 0, 0, MS_PRIVATE);
    if (r < 0)
        return r;
    CLEANUP(cleanup_close) int target = path_make_target(root_fd, bind->target, S_ISDIR(st.st_mode));
    return target < 0 ? target : mount_attach(source, target);
}

// In a mount namespace that will be nobody's. The overlay must lie somewhere in it before something can lie on the overlay.
static int attach_binds(const struct container *c, int root_fd)
{
    CLEANUP(cleanup_close) int place = open(c->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0)
        return -errno;
    int r = mount_attach(root_fd, place);
    for (size_t i = 0; r == 0 && i < c->config.bind_count; i++)
        r = attach_bind(c, root_fd, &c->config.binds[i]);
    return r;
}

static int open_stopped_aside(void *context)
{
    struct stopped *s = context;
    struct container_view *view = s->view;
    bool has_binds = s->container->config.bind_count > 0 && (s->kind == VIEW_READ || s->kind == VIEW_WRITE);
    if (has_binds && (unshare(CLONE_NEWNS) < 0 || mount_set(AT_FDCWD, "/", true, 0, 0, MS_PRIVATE) < 0))
        return -errno;
    view->root_fd = mount_overlay(s->container, s->kind);
    int r = view->root_fd < 0 ? view->root_fd : 0;
    if (r < 0 || !has_binds)
        return r;
    view->namespace_fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return view->namespace_fd < 0 ? -errno : attach_binds(s->container, view->root_fd);
}

// --- opening

// c->root for `kind`, and operation: in this order, but never waiting for one with the other in hand.
static void take_locks(struct container *c, bool is_written)
{
    for (;;) {
        if (is_written)
            pthread_rwlock_wrlock(&c->root);
        else
            pthread_rwlock_rdlock(&c->root);
        if (pthread_mutex_trylock(&c->operation) == 0)
            return;
        pthread_rwlock_unlock(&c->root);
        pthread_mutex_lock(&c->operation); // whoever has it will have done
        pthread_mutex_unlock(&c->operation);
    }
}

// The same whether the container runs or not.
static bool is_of_disk(enum container_view_kind kind)
{
    return kind == VIEW_IMAGE || kind == VIEW_LAYERS;
}

static int open_locked(struct container *c, enum container_view_kind kind, struct container_view *view)
{
    struct stopped stopped = { c, kind, view };
    pthread_mutex_lock(&c->lock);
    bool is_gone = c->is_gone || c->state.status == CONTAINER_REMOVING;
    bool is_running = c->state.status == CONTAINER_RUNNING || c->state.status == CONTAINER_PAUSED;
    pid_t pid = c->state.pid;
    pthread_mutex_unlock(&c->lock);
    if (is_gone)
        return -EIDRM;
    if (is_running && !is_of_disk(kind))
        return open_running(c, pid, kind == VIEW_ROOT, view);
    return thread_run_aside(open_stopped_aside, &stopped);
}

int container_view_open(struct container *c, enum container_view_kind kind, struct container_view *ret,
                        struct error *err)
{
    struct container_view view = { .root_fd = FD_NONE, .namespace_fd = FD_NONE, .held = &c->root };
    pthread_mutex_lock(&c->lock);
    if (kind == VIEW_READ && c->config.bind_count > 0)
        kind = VIEW_WRITE; // their places may have to be made
    pthread_mutex_unlock(&c->lock);
    int r = -ESRCH;
    for (int attempt = 0; attempt < 3 && r == -ESRCH;
         attempt++) { // it may end just now: then look at it as an ended one
        take_locks(c, kind == VIEW_WRITE);
        r = open_locked(c, kind, &view);
        pthread_mutex_unlock(&c->operation);
        if (r < 0 || view.is_of_process || is_of_disk(kind)) {
            pthread_rwlock_unlock(&c->root);
            view.held = r < 0 ? &c->root : NULL;
        }
        if (r == -ESRCH)
            (void)container_wait_stopped(c, 1000);
    }
    if (r == 0) {
        *ret = view;
        return 0;
    }
    view.held = NULL;
    container_view_close(&view);
    return r == -EIDRM ? error_set(err, ERROR_NOT_FOUND, "No such container: %s", c->id)
                       : error_errno(err, r, "open the files of container %s", c->id);
}

void container_view_close(struct container_view *view)
{
    if (view->root_fd > 0)
        view->root_fd = fd_close(view->root_fd);
    if (view->namespace_fd > 0)
        view->namespace_fd = fd_close(view->namespace_fd);
    if (view->held)
        pthread_rwlock_unlock(view->held);
    view->held = NULL;
}

void container_view_act_begin(const struct container_view *view)
{
    struct capability_sets saved;
    if (view->ids.count == 0 || capability_get(&saved) < 0)
        return;
    setfsgid(view->ids.first);
    setfsuid(view->ids.first);
    (void)capability_set(&saved); // such a change takes those of files away
}

void container_view_act_end(const struct container_view *view)
{
    struct capability_sets saved;
    if (view->ids.count == 0 || capability_get(&saved) < 0)
        return;
    setfsuid(geteuid());
    setfsgid(getegid());
    (void)capability_set(&saved);
}

void container_views_await(struct container *c)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += START_WAITS_S;
    if (pthread_rwlock_clockwrlock(&c->root, CLOCK_MONOTONIC, &until) == 0)
        pthread_rwlock_unlock(&c->root);
}
