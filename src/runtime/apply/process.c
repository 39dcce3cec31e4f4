// Theory of operation. The last steps of a process before it becomes the user's, in the order in which the
// kernel lets them be done: limits (the host's privileges are gone: only lowering and keeping works),
// bounding set, groups and user with the permitted capabilities kept, filter, final capabilities. Without
// no_new_privs loading a filter needs CAP_SYS_ADMIN, so that one stays until the filter is in; it is the
// capset right behind it that takes it away. Rule R8: all arithmetic on privileges is in this file.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void process_reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;
    for (int n = 1; n < NSIG; n++)
        (void)sigaction(n, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int process_identify_self(uint64_t *ret_dev, uint64_t *ret_ino, struct error *err)
{
    struct stat st;
    if (stat("/proc/self/exe", &st) < 0)
        return error_errno(err, errno, "stat our own executable");
    *ret_dev = st.st_dev;
    *ret_ino = st.st_ino;
    return 0;
}

// --- stdio

int process_open_terminal(const struct oci_process *p, int devpts_fd, int report_fd, int *ret_slave,
                          struct error *err)
{
    int unlock = 0;
    int master CLEANUP(cleanup_close) = openat(devpts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return error_errno(err, errno, "open a terminal");
    struct winsize size = { .ws_row = (unsigned short)p->console_height,
                            .ws_col = (unsigned short)p->console_width };
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
        ((size.ws_row || size.ws_col) && ioctl(master, TIOCSWINSZ, &size) < 0))
        return error_errno(err, errno, "set the terminal up");
    int slave CLEANUP(cleanup_close) = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return error_errno(err, errno, "open the terminal's other side");
    if (fchown(slave, p->user.uid, (gid_t)-1) < 0 && errno != EPERM)
        return error_errno(err, errno, "own the terminal");
    if (report_terminal(report_fd, master, err) < 0)
        return -1;
    *ret_slave = TAKE_FD(slave);
    return 0;
}

int process_stdio(const int stdio[3], int null_fd, int terminal_slave, struct error *err)
{
    int from[3];
    for (int i = 0; i < 3; i++) { // out of the way of 0, 1 and 2 first
        int fd = terminal_slave >= 0 ? terminal_slave : stdio[i] >= 0 ? stdio[i] : null_fd;
        from[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (from[i] < 0)
            return error_errno(err, errno, "standard descriptor %d", i);
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(from[i], i) < 0)
            return error_errno(err, errno, "standard descriptor %d", i);
        close(from[i]);
    }
    if (terminal_slave >= 0 && ioctl(0, TIOCSCTTY, 0) < 0)
        return error_errno(err, errno, "make the terminal the controlling one");
    return 0;
}

void process_own_stdio(const int stdio[3], uint32_t host_uid)
{
    struct stat st;
    for (int i = 0; i < 3; i++) // else the user cannot open /dev/stdout again
        if (stdio[i] >= 0 && fstat(stdio[i], &st) == 0 && S_ISFIFO(st.st_mode))
            (void)!fchown(stdio[i], host_uid, (gid_t)-1);
}

// --- from outside

static int raise_limit(const struct oci_rlimit *limit, pid_t pid, struct error *err)
{
    struct rlimit now;
    if (prlimit(pid, (__rlimit_resource_t)limit->resource, NULL, &now) < 0)
        return error_errno(err, errno, "read %s", oci_rlimit_name(limit->resource));
    if (limit->hard <= now.rlim_max)
        return 0;
    struct rlimit want = { .rlim_cur = now.rlim_cur, .rlim_max = limit->hard };
    if (prlimit(pid, (__rlimit_resource_t)limit->resource, &want, NULL) == 0)
        return 0;
    return error_errno(err, errno, "cannot raise %s to %llu (the hard limit here is %llu)",
                       oci_rlimit_name(limit->resource), (unsigned long long)limit->hard,
                       (unsigned long long)now.rlim_max);
}

int process_dress_outside(const struct oci_process *p, pid_t pid, struct error *err)
{
    for (size_t i = 0; i < p->rlimit_count; i++)
        if (raise_limit(&p->rlimits[i], pid, err) < 0)
            return -1;
    if (!p->has_oom_score_adj)
        return 0;
    char path[64], text[16];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
    snprintf(text, sizeof text, "%d", p->oom_score_adj);
    int fd CLEANUP(cleanup_close) = open(path, O_WRONLY | O_CLOEXEC);
    // Lowering needs CAP_SYS_RESOURCE, which even a host's root may lack; the container runs, merely less
    // protected.
    if ((fd < 0 || write(fd, text, strlen(text)) < 0) && errno != EACCES && errno != EPERM)
        return error_errno(err, errno, "set the oom score");
    return 0;
}

// --- from inside

int process_map_filter(int seccomp_fd, const void **ret, size_t *ret_size, struct error *err)
{
    struct stat st;
    if (seccomp_fd < 0)
        return 0;
    if (fstat(seccomp_fd, &st) < 0 || st.st_size <= 0 || st.st_size > 1 << 20)
        return error_set(err, ERROR_INVALID, "the seccomp filter has no sensible size");
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, seccomp_fd, 0);
    if (p == MAP_FAILED)
        return error_errno(err, errno, "map the seccomp filter");
    *ret = p;
    *ret_size = (size_t)st.st_size;
    return 0;
}

void process_unmap_filter(const void *filter, size_t size)
{
    if (filter)
        munmap((void *)(uintptr_t)filter, size);
}

static int set_limits(const struct oci_process *p, struct error *err)
{
    for (size_t i = 0; i < p->rlimit_count; i++) {
        const struct oci_rlimit *l = &p->rlimits[i];
        struct rlimit want = { .rlim_cur = l->soft, .rlim_max = l->hard };
        if (setrlimit((__rlimit_resource_t)l->resource, &want) < 0)
            return error_errno(err, errno, "set %s", oci_rlimit_name(l->resource));
    }
    return 0;
}

static int change_directory(const char *cwd, struct error *err)
{
    if (chdir(cwd) < 0) {
        int errnum = errno;
        error_errno(err, errnum, "chdir to cwd (\"%s\") set in config.json failed", cwd);
        err->kind = errnum == EACCES ? ERROR_DENIED : ERROR_INVALID;
        return -1;
    }
    char at[PATH_MAX]; // outside of the root the kernel says "(unreachable)"
    if (syscall(SYS_getcwd, at, sizeof at) < 0 || at[0] != '/')
        return error_set(err, ERROR_INVALID,
                         "current working directory is outside of container mount namespace root");
    return 0;
}

static int become_user(const struct oci_process *p, struct error *err)
{
    const struct oci_user *u = &p->user;
    if (syscall(SYS_setgroups, u->additional_gid_count, u->additional_gids) < 0)
        return error_errno(err, errno, "setgroups");
    if (syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0)
        return error_errno(err, errno, "setgid %u", u->gid);
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
        return error_errno(err, errno, "setuid %u", u->uid);
    return 0;
}

// May be refused: what the bounding set or our own permitted set lacks cannot be given.
static void clamp(struct oci_capabilities *want, oci_capset permitted)
{
    want->permitted &= permitted;
    want->effective &= want->permitted;
    want->inheritable &= permitted;
    want->ambient &= want->permitted & want->inheritable;
}

static int load_filter(const void *filter, size_t filter_size, struct error *err)
{
    int r = seccomp_load(filter, filter_size);
    return r < 0 ? error_errno(err, r, "load the seccomp filter") : 0;
}

int process_dress(const struct oci_process *p, const void *filter, size_t filter_size, struct error *err)
{
    struct capability_sets have;
    struct oci_capabilities want = p->capabilities;
    int r = capability_get(&have);
    if (r < 0)
        return error_errno(err, r, "read capabilities");
    if (set_limits(p, err) < 0)
        return -1;
    if (p->has_capabilities && (r = capability_bound(want.bounding)) < 0)
        return error_errno(err, r, "drop from the bounding set");
    if (!p->has_capabilities)
        want = (struct oci_capabilities){ .effective = have.permitted, .permitted = have.permitted };
    clamp(&want, have.permitted);
    int early = chdir(p->cwd); // as root first: a user may be put where it could not have gone
    if (become_user(p, err) < 0)
        return -1;
    struct capability_sets full = { have.permitted, have.permitted, want.inheritable };
    if ((r = capability_set(&full)) < 0)
        return error_errno(err, r, "keep capabilities");
    if (change_directory(early == 0 ? "." : p->cwd, err) < 0)
        return -1;
    umask(p->user.has_umask ? p->user.umask : 022);
    if (p->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_errno(err, errno, "set no_new_privs");
    if (filter && load_filter(filter, filter_size, err) < 0)
        return -1;
    struct capability_sets final = { want.effective, want.permitted, want.inheritable };
    if (!p->has_capabilities && p->user.uid != 0)
        final = (struct capability_sets){ 0 };
    if ((r = capability_set(&final)) < 0 || (r = capability_set_ambient(want.ambient)) < 0)
        return error_errno(err, r, "set capabilities");
    return 0;
}

// --- execve

static int exec_error(const struct oci_process *p, const char *file, int errnum, struct error *err)
{
    error_errno(err, errnum, strchr(p->args[0], '/') && errnum == ENOEXEC ? "exec %s" : "exec: \"%s\"", file);
    err->kind = errnum == ENOENT                                          ? ERROR_NOT_FOUND
                : errnum == EACCES || errnum == EPERM || errnum == EISDIR ? ERROR_DENIED
                                                                          : ERROR_INVALID;
    return -1;
}

// errno of the attempt.
static int try_file(const struct oci_process *p, const char *file, uint64_t self_dev, uint64_t self_ino)
{
    struct stat st;
    static char *const empty[] = { NULL };
    if (stat(file, &st) < 0 && errno != EPERM && errno != ENOSYS) // those are a filter's answers
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    if (st.st_dev == self_dev && st.st_ino == self_ino) // /proc/self/exe would be us (CVE-2019-5736)
        return EACCES;
    execve(file, p->args, p->env ? p->env : empty);
    return errno;
}

int process_execute(const struct oci_process *p, uint64_t self_dev, uint64_t self_ino, struct error *err)
{
    const char *name = p->args[0], *path = default_path;
    char file[PATH_MAX];
    int result = ENOENT;
    if (strchr(name, '/')) {
        result = try_file(p, name, self_dev, self_ino);
        if (result == ENOENT && lstat(name, &(struct stat){ 0 }) < 0)
            return error_set(err, ERROR_NOT_FOUND, "exec: \"%s\": stat %s: no such file or directory", name,
                             name);
        return exec_error(p, name, result, err);
    }
    for (size_t i = 0; p->env && p->env[i]; i++)
        if (str_has_prefix(p->env[i], "PATH="))
            path = p->env[i] + strlen("PATH=");
    for (size_t n; *name; path += n + 1) {
        n = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s%s%s", (int)n, path, n ? "/" : "./", name);
        int errnum = try_file(p, file, self_dev, self_ino);
        if (errnum == EACCES || errnum == EPERM)
            result = errnum;
        else if (errnum != ENOENT && errnum != ENOTDIR && errnum != EISDIR)
            return exec_error(p, file, errnum, err);
        if (!path[n])
            break;
    }
    if (result == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "exec: \"%s\": executable file not found in $PATH", name);
    return exec_error(p, name, result, err);
}
