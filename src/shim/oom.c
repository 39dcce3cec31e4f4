// Out-of-memory kills while they happen. Only a container with a memory limit of its own is watched, from after its start on, by one
// descriptor in the loop. cgroup v1: an eventfd that memory.oom_control signals when the limit is met and nothing can be freed,
// just before the kernel picks its victim. v2: memory.events, which polls as changed when one of its counters has, whichever; the
// one that counts kills is compared. What happens while no engine listens is told to the next one that subscribes.
// Source: Documentation/admin-guide/cgroup-v1/memory.rst (OOM Control), cgroup-v2.rst (memory.events).
#include "shim/shim_internal.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_FILE_MAX = 4096 };
#define V1_ROOT "/sys/fs/cgroup/memory"
#define V2_ROOT "/sys/fs/cgroup"

static uint64_t kills_of(const char *text)
{
    static const char key[] = "oom_kill ";
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

// False when there is no such file.
static bool kills_in(const char *root, const char *cgroup_path, const char *name, uint64_t *ret)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s%s/%s", root, cgroup_path, name);
    struct str text CLEANUP(str_done) = STR_INIT;
    if (file_read_at(AT_FDCWD, path, EVENTS_FILE_MAX, &text) < 0)
        return false;
    *ret = kills_of(text.ptr);
    return true;
}

static bool has_kills(const char *cgroup_path)
{
    uint64_t kills = 0;
    if (!str_is_empty(cgroup_path) && !kills_in(V1_ROOT, cgroup_path, "memory.oom_control", &kills))
        (void)kills_in(V2_ROOT, cgroup_path, "memory.events", &kills);
    return kills > 0;
}

static void tell(struct shim *shim)
{
    shim->was_oom_killed = true;
    shim->is_oom_told = shim_has_subscriber(shim);
    if (shim->is_oom_told)
        shim_tell(shim, &(struct shim_message){ .type = SHIM_OOM });
}

static void v1_ready(struct watch *watch, uint32_t events)
{
    uint64_t count;
    (void)events;
    if (read(watch->fd, &count, sizeof count) == (ssize_t)sizeof count)
        tell(watch->owner);
}

// The kills that v2's file shows now; reading is also what ends its being "changed".
static uint64_t v2_read(int fd)
{
    char text[EVENTS_FILE_MAX];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return kills_of(text);
}

static void v2_ready(struct watch *watch, uint32_t events)
{
    struct shim *shim = watch->owner;
    (void)events;
    uint64_t kills = v2_read(watch->fd);
    if (kills > shim->oom_kills)
        tell(shim);
    shim->oom_kills = kills;
}

static int v1_open(const char *cgroup_path)
{
    char text[32];
    char *control CLEANUP(cleanup_free) = xasprintf(V1_ROOT "%s/memory.oom_control", cgroup_path);
    char *events CLEANUP(cleanup_free) = xasprintf(V1_ROOT "%s/cgroup.event_control", cgroup_path);
    int source CLEANUP(cleanup_close) = open(control, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return FD_NONE;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return FD_NONE;
    snprintf(text, sizeof text, "%d %d", fd, source);
    return file_write_existing_at(AT_FDCWD, events, text) < 0 ? fd_close(fd) : fd;
}

void oom_watch(struct shim *shim)
{
    const char *cgroup_path = shim->container.cgroup_path;
    if (shim->oom.fd >= 0 || shim->is_exited || str_is_empty(cgroup_path))
        return;
    int fd = v1_open(cgroup_path);
    if (fd >= 0) {
        shim->oom = watch_for(fd, v1_ready, shim);
        loop_ask(&shim->loop, &shim->oom, EPOLLIN);
        return;
    }
    char *path CLEANUP(cleanup_free) = xasprintf(V2_ROOT "%s/memory.events", cgroup_path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    shim->oom = watch_for(fd, v2_ready, shim);
    loop_ask(&shim->loop, &shim->oom, EPOLLPRI);
    v2_ready(&shim->oom, 0); // what came before the watch
}

void oom_settle(struct shim *shim)
{
    loop_close(&shim->loop, &shim->oom);
    shim->was_oom_killed |= has_kills(shim->container.cgroup_path);
}

void oom_tell_missed(struct shim *shim)
{
    if (shim->was_oom_killed && !shim->is_oom_told)
        tell(shim);
}
