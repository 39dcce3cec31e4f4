#include "runtime/apply/hooks.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "oci/state.h"
#include "runtime/apply/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_KEPT = 512, LOOK_EVERY_MS = 20, POSTSTOP_TIMEOUT_S = 60 };

// --- one hook
struct run {
    const struct oci_hook *hook;
    int state_fd, output_fd; // its standard input; the reading end of what it prints
    pid_t pid;
    int64_t deadline_ns; // 0: none
    bool is_late;
    char output[OUTPUT_KEPT + 1]; // what it printed last
    size_t output_n;
};

// Never returns. Only what the hook is to have: three descriptors, its environment, default signals.
static _Noreturn void become_hook(const struct hook_context *context, const struct run *run, int output_fd)
{
    const struct oci_hook *h = run->hook;
    char *const none[] = { NULL }, *const name_only[] = { h->path, NULL };
    struct stat st;
    process_reset_signals();
    umask(022);
    errno = 0;
    if (dup2(run->state_fd, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(output_fd, 2) < 0)
        _exit(CHILD_FAILED);
    (void)syscall(SYS_close_range, 3, ~0u, 0);
    bool is_self = context->self_ino && stat(h->path, &st) == 0 && st.st_dev == context->self_dev &&
                   st.st_ino == context->self_ino; // /proc/self/exe would be us (CVE-2019-5736)
    if (is_self)
        errno = EACCES;
    else
        execve(h->path, h->args && h->args[0] ? h->args : name_only, h->env ? h->env : none);
    dprintf(2, "%s", strerror(errno));
    _exit(127);
}

// The end of what it prints is kept, nothing of it is waited for.
static void keep_output(struct run *run, const char *bytes, size_t n)
{
    size_t fits = n < OUTPUT_KEPT ? n : OUTPUT_KEPT, kept = run->output_n;
    if (kept > OUTPUT_KEPT - fits)
        kept = OUTPUT_KEPT - fits;
    memmove(run->output, run->output + run->output_n - kept, kept);
    memcpy(run->output + kept, bytes + n - fits, fits);
    run->output_n = kept + fits;
    run->output[run->output_n] = 0;
}

static void read_output(struct run *run)
{
    char bytes[4096];
    ssize_t n;
    while (run->output_fd >= 0 && (n = read(run->output_fd, bytes, sizeof bytes)) != 0) {
        if (n > 0)
            keep_output(run, bytes, (size_t)n);
        else if (errno != EINTR)
            return; // nothing more just now
    }
    run->output_fd = fd_close(run->output_fd);
}

// Its wait status. The end of its output is the end of nearly every hook; one that leaves somebody behind with it, or has closed
// it, is looked at now and then. (pidfds would do without, but the container's filter may forbid them.)
static int await(struct run *run)
{
    int status = 0;
    for (pid_t r = 0; r == 0 || (r < 0 && errno == EINTR);) {
        struct pollfd p = { .fd = run->output_fd, .events = POLLIN };
        (void)poll(&p, 1, run->output_fd < 0 ? 1 : LOOK_EVERY_MS);
        read_output(run);
        if (run->deadline_ns && !run->is_late && time_monotonic_ns() >= run->deadline_ns) {
            run->is_late = true;
            (void)kill(run->pid, SIGKILL);
        }
        r = waitpid(run->pid, &status, WNOHANG);
    }
    read_output(run);
    return status;
}

static int start(const struct hook_context *context, struct run *run, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "make a pipe for a hook");
    run->output_fd = ends[0];
    run->pid = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 || lseek(run->state_fd, 0, SEEK_SET) < 0 ? -1 : fork();
    if (run->pid == 0)
        become_hook(context, run, ends[1]);
    int errnum = errno;
    close(ends[1]);
    return run->pid < 0 ? error_errno(err, errnum, "fork a hook") : 0;
}

static void describe(int status, const struct run *run, struct str *out)
{
    if (run->is_late)
        str_appendf(out, "timed out after %d s", run->hook->timeout_s);
    else if (WIFSIGNALED(status))
        str_appendf(out, "signal: %s", strsignal(WTERMSIG(status)));
    else
        str_appendf(out, "exit status %d", WEXITSTATUS(status));
    if (run->output_n)
        str_appendf(out, ", output: %s", run->output);
    while (out->len && out->ptr[out->len - 1] == '\n')
        out->ptr[--out->len] = 0;
}

static int run_one(const struct hook_context *context, const char *name, size_t index,
                   const struct oci_hook *hook, int state_fd, struct error *err)
{
    struct run run = { .hook = hook, .state_fd = state_fd, .output_fd = FD_NONE };
    struct str what CLEANUP(str_done) = STR_INIT;
    if (hook->timeout_s)
        run.deadline_ns = time_monotonic_ns() + hook->timeout_s * NS_PER_S;
    if (start(context, &run, err) < 0) {
        run.output_fd = fd_close(run.output_fd);
        return -1;
    }
    int status = await(&run);
    run.output_fd = fd_close(run.output_fd);
    if (!run.is_late && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    describe(status, &run, &what);
    return error_set(err, ERROR_INTERNAL, "error running %s hook #%zu (%s): %s", name, index, hook->path,
                     what.ptr);
}

// --- those of one point
static int write_state(const struct hook_context *context, const char *status, pid_t pid, struct error *err)
{
    const struct oci_state state = { .oci_version = context->oci_version,
                                     .id = context->id,
                                     .status = status,
                                     .pid = pid,
                                     .bundle = context->bundle,
                                     .annotations = context->annotations };
    char *text CLEANUP(cleanup_free) = oci_state_text(&state);
    int fd = memfd_create("state", MFD_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, "state of the container");
    int r = fd_write_all(fd, text, strlen(text));
    if (r < 0) {
        close(fd);
        return error_errno(err, r, "state of the container");
    }
    return fd;
}

int hooks_run(const struct hook_context *context, enum oci_hook_point point, const struct oci_hook *hooks,
              size_t count, const char *status, pid_t pid, struct error *err)
{
    if (count == 0)
        return 0;
    int state_fd CLEANUP(cleanup_close) = write_state(context, status, pid, err);
    if (state_fd < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (run_one(context, oci_hook_name(point), i, &hooks[i], state_fd, err) < 0)
            return -1;
    return 0;
}

static struct hook_context context_of(const struct runtime_plan *plan)
{
    return (struct hook_context){ .id = plan->spec.id,
                                  .bundle = plan->spec.bundle,
                                  .oci_version = plan->config->oci_version,
                                  .annotations = plan->config->annotations };
}

int hooks_run_planned(const struct runtime_plan *plan, enum oci_hook_point point, const char *status,
                      pid_t pid, struct error *err)
{
    const struct hook_context context = context_of(plan);
    return hooks_run(&context, point, plan->config->hooks[point].hooks, plan->config->hooks[point].count,
                     status, pid, err);
}

int hooks_run_inside(const struct runtime_plan *plan, uint64_t self_dev, uint64_t self_ino, struct error *err)
{
    struct hook_context context = context_of(plan);
    context.self_dev = self_dev;
    context.self_ino = self_ino;
    return hooks_run(&context, OCI_HOOK_START_CONTAINER, plan->config->hooks[OCI_HOOK_START_CONTAINER].hooks,
                     plan->config->hooks[OCI_HOOK_START_CONTAINER].count, "created", getpid(), err);
}

// --- those that come later
struct runtime_hooks {
    char *id, *bundle, *oci_version;
    char **annotations;
    struct oci_hook *after[2]; // poststart, poststop
    size_t counts[2];
};
static const enum oci_hook_point late_points[2] = { OCI_HOOK_POSTSTART, OCI_HOOK_POSTSTOP };

struct runtime_hooks *hooks_keep(const struct runtime_plan *plan)
{
    const struct oci_runtime_config *c = plan->config;
    if (!c->hooks[OCI_HOOK_POSTSTART].count && !c->hooks[OCI_HOOK_POSTSTOP].count)
        return NULL;
    struct runtime_hooks *k = NEW(struct runtime_hooks);
    k->id = xstrdup(plan->spec.id);
    k->bundle = xstrdup(plan->spec.bundle);
    k->oci_version = xstrdup(c->oci_version);
    k->annotations = strv_copy(c->annotations);
    for (int p = 0; p < 2; p++) {
        k->counts[p] = c->hooks[late_points[p]].count;
        k->after[p] = xcalloc(k->counts[p], sizeof *k->after[p]);
        for (size_t i = 0; i < k->counts[p]; i++) {
            const struct oci_hook *h = &c->hooks[late_points[p]].hooks[i];
            k->after[p][i] = (struct oci_hook){ .path = xstrdup(h->path),
                                                .args = strv_copy(h->args),
                                                .env = strv_copy(h->env),
                                                .timeout_s = h->timeout_s };
        }
    }
    return k;
}

void hooks_free(struct runtime_hooks *k)
{
    if (!k)
        return;
    for (int p = 0; p < 2; p++) {
        for (size_t i = 0; i < k->counts[p]; i++) {
            free(k->after[p][i].path);
            strv_free(k->after[p][i].args);
            strv_free(k->after[p][i].env);
        }
        free(k->after[p]);
    }
    free(k->id);
    free(k->bundle);
    free(k->oci_version);
    strv_free(k->annotations);
    free(k);
}

static struct hook_context context_kept(const struct runtime_hooks *k)
{
    return (struct hook_context){
        .id = k->id, .bundle = k->bundle, .oci_version = k->oci_version, .annotations = k->annotations
    };
}

int hooks_poststart(const struct runtime_hooks *k, pid_t pid, struct error *err)
{
    const struct hook_context context = context_kept(k);
    return hooks_run(&context, OCI_HOOK_POSTSTART, k->after[0], k->counts[0], "running", pid, err);
}

// One without a timeout gets one: nobody is there to end it, and the container's end waits for it.
int hooks_poststop(const struct runtime_hooks *k, struct error *err)
{
    const struct hook_context context = context_kept(k);
    int result = 0;
    for (size_t i = 0; i < k->counts[1]; i++) {
        struct error ignored;
        struct oci_hook hook = k->after[1][i];
        hook.timeout_s = hook.timeout_s ? hook.timeout_s : POSTSTOP_TIMEOUT_S;
        if (hooks_run(&context, OCI_HOOK_POSTSTOP, &hook, 1, "stopped", 0, result < 0 ? &ignored : err) < 0)
            result = -1;
    }
    return result;
}
