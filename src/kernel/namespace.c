#include "kernel/namespace.h"

#include "base/thread.h"
#include "kernel/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>

enum { STACK_SIZE = 128 * 1024 };

struct aside {
    int (*work)(void *context);
    void *context;
    int result;
};

static void *run_aside(void *argument)
{
    struct aside *aside = argument;
    aside->result = unshare(CLONE_FS) < 0 ? -errno : aside->work(aside->context);
    return NULL;
}

int thread_run_aside(int (*work)(void *context), void *context)
{
    struct aside aside = { .work = work, .context = context };
    pthread_t thread;
    int r = thread_start(&thread, STACK_SIZE, run_aside, &aside);
    if (r < 0)
        return r;
    pthread_join(thread, NULL);
    return aside.result;
}

struct root_of {
    int pidfd;
    bool is_bare;
};

// From setns on "/" is the namespace's root (mount_namespaces(7)); nothing but one system call is done there.
static int open_root(void *context)
{
    const struct root_of *of = context;
    if (setns(of->pidfd, CLONE_NEWNS) < 0)
        return -errno;
    if (of->is_bare)
        return mount_clone(AT_FDCWD, "/", false);
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int mount_namespace_root(int pidfd, bool is_bare)
{
    struct root_of of = { pidfd, is_bare };
    return thread_run_aside(open_root, &of);
}
