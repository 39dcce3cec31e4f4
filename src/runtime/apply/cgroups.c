// Theory of operation. The cgroup is made and limited before the process enters it. On v1 that is one
// directory in each hierarchy the kernel offers, on v2 one directory. Hierarchies that are not there are
// passed over unless a limit needs them: then the limit is refused by name. A directory that exists is used
// as it is (v1 hierarchies may be one and the same under two names, cpu and cpuacct).
#include "runtime/apply/apply.h"
#include "runtime/apply/hooks.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/cgroup.h"
#include "kernel/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const v1_tops[] = { "memory",  "cpu",     "cpuacct", "pids",
                                       "devices", "freezer", "blkio",   "cpuset" };
static const char *const v2_controllers[] = { "cpu", "memory", "pids", "io", "cpuset", NULL };
static_assert(sizeof v1_tops / sizeof *v1_tops <= CGROUP_TOPS_MAX, "every hierarchy has a place");

enum { DIRECTORY_MAX = 512 };

static int directory_of(char out[static DIRECTORY_MAX], const char *top, const char *path)
{
    int n = snprintf(out, DIRECTORY_MAX, "%s%s%s", top, *top ? "/" : "", path + strspn(path, "/"));
    return n < 0 || n >= DIRECTORY_MAX ? -ENAMETOOLONG : 0;
}

static bool has_top(const struct cgroups *c, const char *top)
{
    for (size_t i = 0; i < c->top_count; i++)
        if (strcmp(c->tops[i], top) == 0)
            return true;
    return false;
}

// From the embryo's name to the container's. False: it is not there to be renamed, or not to that parent.
static bool rename_early(const struct cgroups *c, const char *top, const char *from, const char *to)
{
    char old[DIRECTORY_MAX], new[DIRECTORY_MAX];
    if (directory_of(old, top, from) < 0 || directory_of(new, top, to) < 0)
        return false;
    if (renameat(c->base_fd, old, c->base_fd, new) == 0)
        return true;
    // Renamed already under its other name (cpu and cpuacct).
    return errno == ENOENT && faccessat(c->base_fd, new, F_OK, 0) == 0;
}

static int make_v1(struct apply *a, const struct runtime_embryo *embryo, const char *path, struct error *err)
{
    struct cgroups *c = &a->cgroups;
    for (size_t i = 0; i < sizeof v1_tops / sizeof *v1_tops; i++) {
        bool is_cpuset = strcmp(v1_tops[i], "cpuset") == 0;
        if (is_cpuset && !a->plan->wants_cpuset)
            continue;
        if (embryo && (embryo->cgroups & 1u << i) && rename_early(c, v1_tops[i], embryo->cgroup_path, path)) {
            c->entered |= 1u << i;
            c->tops[c->top_count++] = v1_tops[i];
            continue;
        }
        int r = cgroup_make(c->base_fd, v1_tops[i], path);
        if (r == 0 && is_cpuset)
            r = cgroup_inherit_cpuset(c->base_fd, path);
        if (r == -ENOENT || r == -EROFS) // tmpfs without that hierarchy
            continue;
        if (r < 0)
            return error_errno(err, r, "create cgroup %s in %s", path, v1_tops[i]);
        c->tops[c->top_count++] = v1_tops[i];
    }
    return 0;
}

static int make_v2(struct apply *a, const char *path, struct error *err)
{
    struct cgroups *c = &a->cgroups;
    int r = cgroup_make(c->base_fd, "", path);
    if (r == 0)
        r = cgroup_enable_controllers(c->base_fd, path, v2_controllers);
    if (r == 0)
        c->fd = r = openat(c->base_fd, path + strspn(path, "/"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r < 0)
        return error_errno(err, r == -1 ? errno : r, "create cgroup %s", path);
    c->tops[c->top_count++] = "";
    return 0;
}

static int write_limit(const struct cgroups *c, const char *path, const struct plan_write *w,
                       struct error *err)
{
    char directory[DIRECTORY_MAX], file[256];
    const char *top = c->is_v2 ? "" : w->controller;
    snprintf(file, sizeof file, "%.*s", (int)strcspn(w->file, "="), w->file);
    if (!has_top(c, top))
        return error_set(err, ERROR_UNSUPPORTED, "cgroup: cannot set %s: the host has no %s controller", file,
                         top);
    int r = directory_of(directory, top, path);
    if (r == 0)
        r = cgroup_write(c->base_fd, directory, file, w->value);
    if (r == -ENOENT && w->other_file)
        r = cgroup_write(c->base_fd, directory, w->other_file, w->value);
    if (r == -ENOENT || r == -EOPNOTSUPP)
        return error_set(err, ERROR_UNSUPPORTED, "cgroup: cannot set %s: the host's kernel does not offer it",
                         file);
    return r < 0 ? error_errno(err, r, "cgroup: write %s to %s", w->value, file) : 0;
}

static void rule_text(const struct oci_device_rule *d, char text[static 64])
{
    char major[24], minor[24];
    snprintf(major, sizeof major, d->major < 0 ? "*" : "%" PRId64, d->major);
    snprintf(minor, sizeof minor, d->minor < 0 ? "*" : "%" PRId64, d->minor);
    if (d->type == 'a' && d->major < 0 && d->minor < 0)
        snprintf(text, 64, "a");
    else
        snprintf(text, 64, "%c %s:%s %s", d->type, major, minor, d->access);
}

// One rule a write; a file stays open for the rules that follow each other in it.
static int devices_v1(const struct cgroups *c, const char *path, const struct oci_device_rule *rules,
                      size_t count, struct error *err)
{
    char directory[DIRECTORY_MAX], text[64];
    if (!has_top(c, "devices"))
        return error_set(err, ERROR_UNSUPPORTED,
                         "cgroup: cannot restrict devices: the host has no devices controller");
    int r = directory_of(directory, "devices", path);
    int directory_fd CLEANUP(cleanup_close) =
        r < 0 ? r : openat(c->base_fd, directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd CLEANUP(cleanup_close) = FD_NONE;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || rules[i].is_allow != rules[i - 1].is_allow) {
            fd_close(fd);
            fd = openat(directory_fd, rules[i].is_allow ? "devices.allow" : "devices.deny",
                        O_WRONLY | O_CLOEXEC | O_NOCTTY);
        }
        rule_text(&rules[i], text);
        if (fd < 0 || write(fd, text, strlen(text)) < 0)
            return error_errno(err, errno, "cgroup: device rule \"%s\"", text);
    }
    return 0;
}

// Owned.
static struct cgroup_device_rule *list_of_rules(const struct oci_device_rule *rules, size_t count)
{
    struct cgroup_device_rule *list = xcalloc(count, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct cgroup_device_rule){ rules[i].is_allow, rules[i].type, rules[i].major,
                                               rules[i].minor, 0 };
        list[i].access = (strchr(rules[i].access, 'm') ? CGROUP_DEVICE_MKNOD : 0u) |
                         (strchr(rules[i].access, 'r') ? CGROUP_DEVICE_READ : 0u) |
                         (strchr(rules[i].access, 'w') ? CGROUP_DEVICE_WRITE : 0u);
    }
    return list;
}

static int devices_v2(const struct cgroups *c, const struct oci_device_rule *rules, size_t count,
                      struct error *err)
{
    struct cgroup_device_rule *list CLEANUP(cleanup_free) = list_of_rules(rules, count);
    int r = cgroup_attach_device_rules(c->fd, list, count);
    return r < 0 ? error_errno(err, r, "cgroup: device rules") : 0;
}

// Bits of one rule that no rule of the list with the same numbers has: an entry of the kernel's list is one pair of numbers.
static bool rest_of_rule(const struct oci_device_rule *rule, const struct oci_device_rule *list, size_t count,
                         struct oci_device_rule *ret)
{
    *ret = (struct oci_device_rule){ .type = rule->type, .major = rule->major, .minor = rule->minor };
    for (const char *p = rule->access; *p; p++) {
        bool is_kept = false;
        for (size_t i = 0; i < count && !is_kept; i++)
            is_kept = list[i].is_allow && list[i].type == rule->type && list[i].major == rule->major &&
                      list[i].minor == rule->minor && strchr(list[i].access, *p);
        if (!is_kept)
            ret->access[strlen(ret->access)] = *p;
    }
    return ret->access[0] != 0;
}

// What goes is denied bit by bit and never all at once: there is no moment in which the container has less than it keeps.
static int change_devices_v1(const struct cgroups *c, const char *path, const struct runtime_plan *from,
                             const struct runtime_plan *to, struct error *err)
{
    size_t n = 0;
    struct oci_device_rule *rules CLEANUP(cleanup_free) =
        xcalloc(from->device_rule_count + to->device_rule_count + 1, sizeof *rules);
    for (size_t i = 0; i < from->device_rule_count; i++)
        if (from->device_rules[i].is_allow)
            n += rest_of_rule(&from->device_rules[i], to->device_rules, to->device_rule_count, &rules[n]);
    for (size_t i = 0; i < to->device_rule_count; i++) {
        struct oci_device_rule fresh;
        if (to->device_rules[i].is_allow &&
            rest_of_rule(&to->device_rules[i], from->device_rules, from->device_rule_count, &fresh)) {
            fresh.is_allow = true;
            rules[n++] = fresh;
        }
    }
    return n ? devices_v1(c, path, rules, n, err) : 0;
}

int cgroups_change_devices(const struct cgroups *c, const char *path, const struct runtime_plan *from,
                           const struct runtime_plan *to, struct error *err)
{
    if (to->device_rule_count == 0)
        return 0;
    if (!c->is_v2)
        return change_devices_v1(c, path, from, to, err);
    int fd CLEANUP(cleanup_close) =
        openat(c->base_fd, path + strspn(path, "/"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "open cgroup %s", path);
    struct cgroup_device_rule *list CLEANUP(cleanup_free) =
        list_of_rules(to->device_rules, to->device_rule_count);
    int r = cgroup_replace_device_rules(fd, list, to->device_rule_count);
    return r < 0 ? error_errno(err, r, "cgroup: device rules") : 0;
}

static int limit(struct apply *a, const char *path, struct error *err)
{
    const struct cgroups *c = &a->cgroups;
    const struct oci_resources *resources = &a->plan->config->resources;
    struct plan_writes w CLEANUP(plan_writes_done) =
        c->is_v2 ? plan_limits_v2(resources) : plan_limits_v1(resources);
    if (w.refused)
        return error_set(err, ERROR_UNSUPPORTED, "cgroup: %s", w.refused);
    for (size_t i = 0; i < w.count; i++)
        if (write_limit(c, path, &w.items[i], err) < 0)
            return -1;
    if (a->plan->device_rule_count == 0)
        return 0;
    return c->is_v2 ? devices_v2(c, a->plan->device_rules, a->plan->device_rule_count, err)
                    : devices_v1(c, path, a->plan->device_rules, a->plan->device_rule_count, err);
}

int cgroups_make(struct apply *a, const struct runtime_embryo *embryo, struct error *err)
{
    struct cgroups *c = &a->cgroups;
    const char *path = a->plan->spec.cgroup_path;
    if (!path || !*path)
        return 0;
    c->base_fd = cgroup_open_base(&c->is_v2);
    if (c->base_fd < 0)
        return error_errno(err, c->base_fd, "open /sys/fs/cgroup");
    c->was_made = true;
    if ((c->is_v2 ? make_v2(a, path, err) : make_v1(a, embryo, path, err)) < 0)
        return -1;
    return limit(a, path, err);
}

// v1: a container that was started without a cpuset is in none. Its processes move over; what they fork meanwhile is found
// in a further round.
static int join_cpuset(struct cgroups *c, const char *path, struct error *err)
{
    enum { ROUNDS = 3, PIDS_FILE_MAX = 1 << 20 };
    char from[DIRECTORY_MAX], to[DIRECTORY_MAX];
    int r = cgroup_make(c->base_fd, "cpuset", path);
    if (r == 0)
        r = cgroup_inherit_cpuset(c->base_fd, path);
    if (r == 0 && c->top_count == 0)
        r = -ENOENT;
    if (r == 0)
        r = directory_of(from, c->tops[0], path);
    if (r == 0)
        r = directory_of(to, "cpuset", path);
    for (int round = 0; r == 0 && round < ROUNDS; round++) {
        struct str pids CLEANUP(str_done) = STR_INIT;
        char *file CLEANUP(cleanup_free) = xasprintf("%s/cgroup.procs", from);
        r = file_read_at(c->base_fd, file, PIDS_FILE_MAX, &pids);
        char **list CLEANUP(strv_freep) = r == 0 ? strv_split(pids.ptr, "\n", false) : NULL;
        for (size_t i = 0; list && list[i]; i++) {
            int w = cgroup_write(c->base_fd, to, "cgroup.procs", list[i]);
            r = w < 0 && w != -ESRCH ? w : r;
        }
    }
    if (r < 0)
        return error_errno(err, r, "cgroup: enter a cpuset");
    c->tops[c->top_count++] = "cpuset";
    return 0;
}

int runtime_update(const char *cgroup_path, const struct oci_resources *resources, struct error *err)
{
    struct cgroups c CLEANUP(cgroups_done) = { .base_fd = FD_NONE, .fd = FD_NONE };
    if (cgroups_find(&c, cgroup_path, err) < 0)
        return -1;
    struct plan_writes w CLEANUP(plan_writes_done) =
        c.is_v2 ? plan_limits_v2(resources) : plan_limits_v1(resources);
    if (w.refused)
        return error_set(err, ERROR_UNSUPPORTED, "cgroup: %s", w.refused);
    if (!c.is_v2 && (resources->cpus || resources->mems) && !has_top(&c, "cpuset") &&
        join_cpuset(&c, cgroup_path, err) < 0)
        return -1;
    bool *is_done CLEANUP(cleanup_free) = xcalloc(w.count + 1, sizeof *is_done);
    struct error refused;
    for (size_t i = 0; i < w.count; i++) {
        is_done[i] = write_limit(&c, cgroup_path, &w.items[i], &refused) == 0;
        if (!is_done[i] && refused.kind == ERROR_UNSUPPORTED) {
            *err = refused;
            return -1;
        }
    }
    for (size_t i = 0; i < w.count; i++)
        if (!is_done[i] && write_limit(&c, cgroup_path, &w.items[i], err) < 0)
            return -1;
    return 0;
}

int cgroups_find(struct cgroups *c, const char *path, struct error *err)
{
    char directory[DIRECTORY_MAX];
    if (!path || !*path)
        return 0;
    c->base_fd = cgroup_open_base(&c->is_v2);
    if (c->base_fd < 0)
        return error_errno(err, c->base_fd, "open /sys/fs/cgroup");
    if (c->is_v2)
        c->tops[c->top_count++] = "";
    for (size_t i = 0; !c->is_v2 && i < sizeof v1_tops / sizeof *v1_tops; i++)
        if (directory_of(directory, v1_tops[i], path) == 0 && faccessat(c->base_fd, directory, F_OK, 0) == 0)
            c->tops[c->top_count++] = v1_tops[i];
    return 0;
}

static bool is_entered(const struct cgroups *c, const char *top)
{
    for (size_t i = 0; i < sizeof v1_tops / sizeof *v1_tops; i++)
        if (strcmp(v1_tops[i], top) == 0)
            return c->entered & 1u << i;
    return false;
}

int cgroups_enter(const struct cgroups *c, const char *path, pid_t pid, struct error *err)
{
    char directory[DIRECTORY_MAX], text[16];
    snprintf(text, sizeof text, "%d", pid);
    for (size_t i = 0; i < c->top_count; i++) {
        if (is_entered(c, c->tops[i]))
            continue;
        int r = directory_of(directory, c->tops[i], path);
        if (r == 0)
            r = cgroup_write(c->base_fd, directory, "cgroup.procs", text);
        if (r < 0)
            return error_errno(err, r, "cgroup: enter %s", directory);
    }
    return 0;
}

int cgroups_make_early(const char *path, pid_t pid, unsigned *ret_entered, struct error *err)
{
    bool is_v2 = false;
    int base_fd CLEANUP(cleanup_close) = cgroup_open_base(&is_v2);
    char directory[DIRECTORY_MAX], text[16];
    if (base_fd < 0 || is_v2)
        return error_set(err, ERROR_UNSUPPORTED, "cgroup v2, or none");
    snprintf(text, sizeof text, "%d", pid);
    *ret_entered = 0;
    for (size_t i = 0; i < sizeof v1_tops / sizeof *v1_tops; i++) {
        if (strcmp(v1_tops[i], "cpuset") == 0) // only where it is asked for
            continue;
        int r = cgroup_make(base_fd, v1_tops[i], path);
        if (r == -ENOENT || r == -EROFS)
            continue;
        if (r == 0)
            r = directory_of(directory, v1_tops[i], path);
        if (r == 0)
            r = cgroup_write(base_fd, directory, "cgroup.procs", text);
        if (r < 0)
            return error_errno(err, r, "cgroup: enter %s in %s", path, v1_tops[i]);
        *ret_entered |= 1u << i;
    }
    return 0;
}

void cgroups_done(struct cgroups *c)
{
    c->base_fd = fd_close(c->base_fd);
    c->fd = fd_close(c->fd);
}

// --- removal

enum { REMOVE_TIMEOUT_MS = 2000, REMOVE_PAUSE_NS = 200000 };

static int remove_directory(int base_fd, const char *directory, int64_t deadline_ns)
{
    for (;;) {
        int r = cgroup_remove(base_fd, directory);
        if (r != -EBUSY || time_monotonic_ns() > deadline_ns)
            return r;
        (void)cgroup_kill(base_fd, directory);
        nanosleep(&(struct timespec){ .tv_nsec = REMOVE_PAUSE_NS },
                  NULL); // the kernel tells nobody when a zombie has left
    }
}

int cgroups_remove(const char *path, struct error *err)
{
    bool is_v2 = false;
    int base_fd CLEANUP(cleanup_close) = cgroup_open_base(&is_v2);
    char directory[DIRECTORY_MAX];
    int64_t deadline_ns = time_monotonic_ns() + REMOVE_TIMEOUT_MS * NS_PER_MS;
    int result = 0;
    for (size_t i = 0; base_fd >= 0 && i < (is_v2 ? 1 : sizeof v1_tops / sizeof *v1_tops); i++) {
        int r = directory_of(directory, is_v2 ? "" : v1_tops[i], path);
        if (r == 0)
            r = remove_directory(base_fd, directory, deadline_ns);
        if (r < 0)
            result = error_errno(err, r, "remove cgroup %s", directory);
    }
    return result;
}

int runtime_destroy(struct runtime_container *container, struct error *err)
{
    int result = 0;
    if (container->pidfd >= 0) {
        (void)pidfd_kill(container->pidfd, SIGKILL);
        if (pidfd_wait(container->pidfd, REMOVE_TIMEOUT_MS) <= 0)
            result = error_set(err, ERROR_INTERNAL, "process %d does not end", container->pid);
        else
            (void)waitid((idtype_t)P_PIDFD, (id_t)container->pidfd, &(siginfo_t){ 0 }, WEXITED | WNOHANG);
    }
    if (container->cgroup_path && *container->cgroup_path && cgroups_remove(container->cgroup_path, err) < 0)
        result = -1;
    container->pidfd = fd_close(container->pidfd);
    container->report_fd = fd_close(container->report_fd);
    container->terminal_fd = fd_close(container->terminal_fd);
    runtime_close_late(container);
    free(container->cgroup_path);
    container->cgroup_path = NULL;
    struct runtime_hooks *hooks = TAKE_PTR(container->hooks);
    if (hooks && hooks_poststop(hooks, result < 0 ? &(struct error){ 0 } : err) < 0)
        result = -1;
    hooks_free(hooks);
    return result;
}
