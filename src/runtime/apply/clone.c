// Theory of operation. A child that must be born inside a namespace which exists already (a joined user
// namespace owns the new ones; a pid namespace only takes children) needs a parent that has entered it. The
// shim must not enter, so a helper does: it shares our memory and descriptors (as vfork's child does, and
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

static int helper_main(void *context)
{
    struct helper *h = context;
    const struct clone_request *q = h->request;
    h->step = "join namespaces";
    if ((q->userns_fd >= 0 && setns(q->userns_fd, CLONE_NEWUSER) < 0) ||
        (q->pidns_fd >= 0 && setns(q->pidns_fd, CLONE_NEWPID) < 0) ||
        (q->target_pidfd >= 0 && setns(q->target_pidfd, q->join_flags) < 0)) {
        h->pid = -errno;
        _exit(1);
    }
    h->step = "clone the container's process";
    int pidfd = FD_NONE;
    pid_t pid = process_clone(q->flags | CLONE_PARENT, q->cgroup_fd, &pidfd);
    if (pid == 0)
        q->run(q->context);
    h->pid = pid;
    h->pidfd = pidfd;
    _exit(0);
}

static int clone_by_helper(struct helper *h, struct error *err)
{
    static char stack[HELPER_STACK] __attribute__((aligned(16)));
    int status;
    pid_t helper =
        clone(helper_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, h);
    if (helper < 0)
        return error_errno(err, errno, "clone a helper");
    while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

int clone_child(const struct clone_request *request, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
    struct helper h = {
        .request = request, .pid = -ECHILD, .pidfd = FD_NONE, .step = "clone the container's process"
    };
    if (request->userns_fd >= 0 || request->pidns_fd >= 0 || request->target_pidfd >= 0) {
        if (clone_by_helper(&h, err) < 0)
            return -1;
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
