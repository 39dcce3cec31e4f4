// Theory of operation. A child that must be born inside a namespace which exists already (a joined user
// namespace owns the new ones; a pid namespace only takes children; one that belongs to another user namespace
// can be joined with the host's privileges only) needs a parent that has entered it. The shim must not enter, so
// a helper does: it shares our memory and descriptors (as vfork's child does, and
// like there we sleep until it is gone), enters, and clones the child as *our* child (CLONE_PARENT). Pid and
// pidfd arrive through the shared memory and table.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "kernel/process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELPER_STACK = 256 * 1024 };

struct helper {
    const struct clone_request *request;
    pid_t pid; // negative errno on failure
    int pidfd;
    const char *step;
};

// The user namespace last: what belongs to another one can only be joined with the host's privileges. -errno.
static int join(const struct plan_join *joins, size_t count, bool with_user)
{
    for (size_t i = 0; i < count; i++)
        if (joins[i].type != OCI_NS_USER && setns(joins[i].fd, 0) < 0)
            return -errno;
    for (size_t i = 0; with_user && i < count; i++)
        if (joins[i].type == OCI_NS_USER && setns(joins[i].fd, CLONE_NEWUSER) < 0)
            return -errno;
    return 0;
}

static int helper_main(void *context)
{
    struct helper *h = context;
    const struct clone_request *q = h->request;
    h->step = "join namespaces";
    h->pid = join(q->joins, q->join_count, true);
    if (h->pid == 0 && q->target_pidfd >= 0 && setns(q->target_pidfd, q->join_flags) < 0)
        h->pid = -errno;
    if (h->pid < 0)
        _exit(1);
    h->step = "clone the container's process";
    int pidfd = FD_NONE;
    pid_t pid = process_clone(q->flags | CLONE_PARENT, q->cgroup_fd, &pidfd);
    if (pid == 0)
        q->run(q->context);
    h->pid = pid;
    h->pidfd = pidfd;
    _exit(0);
}

// As vfork does, but somewhere else. stack: HELPER_STACK bytes.
static int run_borrowing(int (*work)(void *context), void *context, char *stack)
{
    int status;
    pid_t helper = clone(work, stack + HELPER_STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, context);
    if (helper < 0)
        return -errno;
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

struct visit {
    const struct plan_join *joins;
    size_t join_count;
    int (*visit)(void *context);
    void *context;
    int result;
};

static int visit_inside(void *context)
{
    struct visit *v = context;
    v->result = v->visit(v->context);
    _exit(0);
}

// A pid namespace is entered by a child only.
static int visit_main(void *context)
{
    static char stack[HELPER_STACK] __attribute__((aligned(16)));
    struct visit *v = context;
    v->result = join(v->joins, v->join_count, false);
    if (v->result == 0) {
        v->result = -ECHILD;
        int r = run_borrowing(visit_inside, v, stack);
        v->result = r < 0 ? r : v->result;
    }
    _exit(0);
}

int clone_visit(const struct plan_join *joins, size_t join_count, int (*visit)(void *context), void *context,
                struct error *err)
{
    static char stack[HELPER_STACK] __attribute__((aligned(16)));
    struct visit v = {
        .joins = joins, .join_count = join_count, .visit = visit, .context = context, .result = -ECHILD
    };
    int r = run_borrowing(visit_main, &v, stack);
    r = r < 0 ? r : v.result;
    return r < 0 ? error_errno(err, r, "look into joined namespaces") : r;
}

int clone_child(const struct clone_request *request, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
    struct helper h = {
        .request = request, .pid = -ECHILD, .pidfd = FD_NONE, .step = "clone the container's process"
    };
    if (request->join_count || request->target_pidfd >= 0) {
        static char stack[HELPER_STACK] __attribute__((aligned(16)));
        int r = run_borrowing(helper_main, &h, stack);
        if (r < 0)
            return error_errno(err, r, "clone a helper");
    } else {
        h.pid = process_clone(request->flags, request->cgroup_fd, &h.pidfd);
        if (h.pid == 0)
            request->run(request->context);
    }
    if (h.pid < 0)
        return error_errno(err, h.pid, "%s", h.step);
    *ret_pid = h.pid;
    *ret_pidfd = h.pidfd;
    return 0;
}
