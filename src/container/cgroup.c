// The little that skiffd itself does with a running container's cgroup: list its processes, freeze it. Where
// the cgroup lies is read from the container's first process, so that v1, hybrid and v2 hosts, and hosts that
// are containers themselves, need no case of their own.
#include "container/container_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "kernel/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PROC_FILE_MAX = 1 << 20, FREEZE_TIMEOUT_MS = 10000, SWEEP_TIMEOUT_MS = 2000, PIDS_MAX = 1 << 20 };
#define CGROUP_ROOT "/sys/fs/cgroup"

char *cgroup_directory(const char *cgroup_path, pid_t pid, const char *controller)
{
    char name[64];
    CLEANUP(str_done) struct str text = STR_INIT;
    snprintf(name, sizeof name, "/proc/%d/cgroup", pid);
    if (file_read_at(AT_FDCWD, name, PROC_FILE_MAX, &text) < 0)
        return NULL;
    const char *leaf = strrchr(cgroup_path, '/');
    CLEANUP(strv_freep) char **lines = strv_split(text.ptr, "\n", false);
    for (size_t i = 0; lines && lines[i]; i++) { // "7:cpu,cpuacct:/skiff/x", v2: "0::/skiff/x"
        char *controllers = strchr(lines[i], ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path || !strstr(path, leaf ? leaf : cgroup_path)) // not in its cgroup there
            continue;
        *path++ = 0;
        controllers++;
        CLEANUP(strv_freep) char **words = strv_split(controllers, ",", false);
        if (*controllers && controller && !strv_contains(words, controller))
            continue;
        const char *hierarchy = str_has_prefix(controllers, "name=") ? controllers + 5 : controllers;
        char *directory = xasprintf(CGROUP_ROOT "%s%s%s", *hierarchy ? "/" : "", hierarchy, path);
        if (access(directory, X_OK) == 0)
            return directory;
        free(directory);
        directory = *hierarchy ? NULL : xasprintf(CGROUP_ROOT "/unified%s", path);
        if (directory && access(directory, X_OK) == 0)
            return directory;
        free(directory);
    }
    return NULL;
}

int cgroup_pids(const char *cgroup_path, pid_t pid, pid_t **ret, size_t *ret_count)
{
    CLEANUP(cleanup_free) char *directory = cgroup_directory(cgroup_path, pid, NULL);
    CLEANUP(str_done) struct str text = STR_INIT;
    if (!directory)
        return -ENOENT;
    CLEANUP(cleanup_free) char *path = xasprintf("%s/cgroup.procs", directory);
    int r = file_read_at(AT_FDCWD, path, 16 * PROC_FILE_MAX, &text);
    if (r < 0)
        return r;
    pid_t *pids = NULL;
    size_t count = 0;
    CLEANUP(strv_freep) char **lines = strv_split(text.ptr, "\n", false);
    for (size_t i = 0; lines && lines[i] && count < PIDS_MAX; i++) {
        uint32_t n;
        if (!parse_u32(lines[i], INT32_MAX, &n) || n == 0)
            continue;
        pids = xreallocarray(pids, count + 1, sizeof *pids);
        pids[count++] = (pid_t)n;
    }
    *ret = pids;
    *ret_count = count;
    return 0;
}

static bool is_state(const char *directory, const char *file, const char *wanted)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", directory, file);
    CLEANUP(str_done) struct str text = STR_INIT;
    return file_read_at(AT_FDCWD, path, 4096, &text) == 0 && strstr(text.ptr, wanted);
}

int cgroup_freeze(const char *cgroup_path, pid_t pid, bool is_frozen)
{
    CLEANUP(cleanup_free) char *directory = cgroup_directory(cgroup_path, pid, "freezer");
    if (!directory)
        return -ENOENT;
    CLEANUP(cleanup_free) char *v1 = xasprintf("%s/freezer.state", directory);
    CLEANUP(cleanup_free) char *v2 = xasprintf("%s/cgroup.freeze", directory);
    bool is_v1 = access(v1, W_OK) == 0;
    int r = is_v1 ? file_write_existing_at(AT_FDCWD, v1, is_frozen ? "FROZEN" : "THAWED")
                  : file_write_existing_at(AT_FDCWD, v2, is_frozen ? "1" : "0");
    for (int waited_ms = 0; r == 0 && waited_ms < FREEZE_TIMEOUT_MS; waited_ms++) {
        if (is_v1 ? is_state(directory, "freezer.state", is_frozen ? "FROZEN" : "THAWED")
                  : is_state(directory, "cgroup.events", is_frozen ? "frozen 1" : "frozen 0"))
            return 0;
        poll(NULL, 0, 1); // the freezer has no other way to tell (v1)
    }
    return r < 0 ? r : -ETIMEDOUT;
}

bool cgroup_is_frozen(const char *cgroup_path, pid_t pid)
{
    CLEANUP(cleanup_free) char *directory = cgroup_directory(cgroup_path, pid, "freezer");
    return directory && (is_state(directory, "freezer.state", "FROZEN") ||
                         is_state(directory, "cgroup.events", "frozen 1"));
}

static int sweep_one(int base_fd, const char *directory, int64_t deadline_ns)
{
    for (;;) {
        int r = cgroup_remove(base_fd, directory);
        if (r != -EBUSY || time_monotonic_ns() > deadline_ns)
            return r;
        (void)cgroup_kill(base_fd, directory);
        // A frozen process dies when it thaws.
        (void)cgroup_write(base_fd, directory, "freezer.state", "THAWED");
        poll(NULL, 0, 1); // the kernel tells nobody when a zombie has left
    }
}

int cgroup_sweep(const char *cgroup_path)
{
    bool is_v2 = false;
    CLEANUP(cleanup_close) int base_fd = cgroup_open_base(&is_v2);
    int64_t deadline_ns = time_monotonic_ns() + SWEEP_TIMEOUT_MS * NS_PER_MS;
    const char *relative = cgroup_path + strspn(cgroup_path, "/");
    if (base_fd < 0 || !*relative)
        return base_fd < 0 ? base_fd : -EINVAL;
    if (is_v2)
        return sweep_one(base_fd, relative, deadline_ns);
    int result = 0;
    DIR *hierarchies = opendir(CGROUP_ROOT);
    for (struct dirent *e; hierarchies && (e = readdir(hierarchies));) {
        if (e->d_name[0] == '.' || e->d_type == DT_LNK) // "cpu" -> "cpu,cpuacct"
            continue;
        CLEANUP(cleanup_free) char *directory = xasprintf("%s/%s", e->d_name, relative);
        int r = sweep_one(base_fd, directory, deadline_ns);
        result = r < 0 && r != -ENOTDIR ? r : result;
    }
    if (hierarchies)
        closedir(hierarchies);
    return result;
}

// A spare shim that was killed leaves its container's cgroup, which has no process in it.
void cgroup_sweep_spares(const char *parent)
{
    bool is_v2 = false;
    CLEANUP(cleanup_close) int base_fd = cgroup_open_base(&is_v2);
    DIR *hierarchies = base_fd < 0 || is_v2 ? NULL : opendir(CGROUP_ROOT);
    for (struct dirent *e; hierarchies && (e = readdir(hierarchies));) {
        if (e->d_name[0] == '.' || e->d_type == DT_LNK)
            continue;
        CLEANUP(cleanup_free) char *path = xasprintf(CGROUP_ROOT "/%s%s", e->d_name, parent);
        DIR *directory = opendir(path);
        for (struct dirent *d; directory && (d = readdir(directory));) {
            CLEANUP(cleanup_free) char *relative = xasprintf("%s%s/%s", e->d_name, parent, d->d_name);
            if (str_has_prefix(d->d_name, "spare-"))
                (void)cgroup_remove(base_fd, relative); // another engine's, in use, is busy
        }
        if (directory)
            closedir(directory);
    }
    if (hierarchies)
        closedir(hierarchies);
}
