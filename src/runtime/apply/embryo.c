// Theory of operation. An embryo is a fork of the caller, in namespaces of its own, that waits for two packets:
//
//   parent                                             embryo
//   runtime_embryo_new: cgroups, clone3         ------> waits, with nothing but its end of the channel
//   embryo_adopt: PLAN (document)               ------> makes the plan from it, as the parent did
//   (opens what the child gets, maps ids, creates the overlay)
//   embryo_equip: EQUIP (every descriptor)      ------> child_run from its first barrier on
//
// A plan is a function of the document, so both sides have the same one, and the descriptors need no names:
// slots() lists the places they belong to in one order, and a bit each tells whether it is filled. The mount
// namespace is not among those it is born with: idling in a copy of the host's mounts would keep them busy.
#include "runtime/apply/apply.h"

#include "base/fd.h"
#include "base/mem.h"
#include "kernel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS_MAX = 253 /* SCM_MAX_FD */, CHANNEL_FD = 3 };
enum { BORN_WITH = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC };

struct packet {
    uint64_t self_dev, self_ino;
    const char *tops[CGROUP_TOPS_MAX]; // constants of this program: a fork has them at the same place
    size_t top_count;
    uint8_t is_filled[FDS_MAX];
};

struct slots {
    int *at[FDS_MAX];
    size_t count;
};

static void add_slot(struct slots *s, int *fd)
{
    if (s->count < FDS_MAX)
        s->at[s->count++] = fd;
}

static struct slots slots(struct apply *a)
{
    struct slots s = { .count = 0 };
    add_slot(&s, &a->plan->spec.seccomp_fd);
    for (int i = 0; i < 3; i++)
        add_slot(&s, &a->plan->spec.stdio[i]);
    add_slot(&s, &a->null_fd);
    add_slot(&s, &a->place_fd);
    add_slot(&s, &a->root_fd);
    add_slot(&s, &a->overlay_fd);
    for (size_t i = 0; i < CGROUP_TOPS_MAX; i++)
        add_slot(&s, &a->cgroup_mounts[i]);
    for (size_t i = 0; i < a->plan->join_count; i++)
        add_slot(&s, &a->plan->joins[i].fd);
    for (size_t i = 0; i < a->plan->mount_count; i++)
        add_slot(&s, &a->plan->mounts[i].fd);
    return s;
}

// --- packets with descriptors
static int send_fds(int sock, const void *bytes, size_t size, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { (void *)(uintptr_t)bytes, size };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    memset(&control, 0, msg.msg_controllen);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

// Number of descriptors, or -1: the parent is gone, or gave the embryo up.
static int receive_fds(int sock, void *bytes, size_t size, int fds[static FDS_MAX])
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { bytes, size };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    ssize_t n;
    do
        n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n == (ssize_t)size ? CMSG_FIRSTHDR(&msg) : NULL;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return -1;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    return (int)count;
}

// --- the embryo's side
static int take_equipment(struct apply *a, struct error *err)
{
    struct packet packet;
    int fds[FDS_MAX], count = receive_fds(a->sock[1], &packet, sizeof packet, fds), next = 0;
    if (count < 0)
        return error_set(err, ERROR_CANCELLED, "the runtime has gone away");
    struct slots s = slots(a);
    for (size_t i = 0; i < s.count; i++)
        *s.at[i] = packet.is_filled[i] && next < count ? fds[next++] : FD_NONE;
    a->self_dev = packet.self_dev;
    a->self_ino = packet.self_ino;
    memcpy(a->cgroups.tops, packet.tops, sizeof packet.tops);
    a->cgroups.top_count = packet.top_count;
    for (size_t i = 0; i < a->plan->mount_count; i++) {
        struct plan_mount *m = &a->plan->mounts[i];
        struct stat st;
        if (m->kind == PLAN_MOUNT_BIND)
            m->is_source_directory = fstat(m->fd, &st) == 0 && S_ISDIR(st.st_mode);
    }
    return process_map_filter(a->plan->spec.seccomp_fd, &a->filter, &a->filter_size, err);
}

// Nothing of the parent's is kept while it waits.
static int keep_only(int sock)
{
    if (dup3(sock, CHANNEL_FD, O_CLOEXEC) < 0 && errno != EINVAL) // is that one already
        return -errno;
    return syscall(SYS_close_range, CHANNEL_FD + 1, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void embryo_run(int sock, runtime_replan *replan)
{
    struct error err = { 0 };
    struct apply a;
    struct runtime_plan *plan = NULL;
    int document[FDS_MAX];
    char byte;
    if (keep_only(sock) < 0 || child_prepare(true, &err) < 0 ||
        receive_fds(CHANNEL_FD, &byte, sizeof byte, document) != 1)
        _exit(0);
    if (replan(document[0], &plan, &err) < 0) {
        report_error(CHANNEL_FD, &err);
        _exit(CHILD_FAILED);
    }
    close(document[0]);
    apply_init(&a, plan);
    a.sock[1] = CHANNEL_FD;
    a.late_flags = CLONE_NEWNS;
    child_run(&a, take_equipment);
}

// --- the parent's side
int runtime_embryo_new(const char *cgroup_path, runtime_replan *replan, struct runtime_embryo *ret,
                       struct error *err)
{
    struct runtime_embryo e = { .pidfd = FD_NONE, .report_fd = FD_NONE };
    int sock[2];
    (void)prctl(PR_SET_DUMPABLE, 0); // see begin() in create.c
    if (report_channel(sock, err) < 0)
        return -1;
    e.report_fd = sock[0];
    e.pid = process_clone(BORN_WITH, FD_NONE, &e.pidfd);
    if (e.pid == 0)
        embryo_run(sock[1], replan);
    fd_close(sock[1]);
    e.cgroup_path = xstrdup(cgroup_path);
    int r = e.pid < 0 ? error_errno(err, e.pid, "clone")
                      : cgroups_make_early(cgroup_path, e.pid, &e.cgroups, err);
    if (r < 0) {
        runtime_embryo_done(&e);
        return -1;
    }
    *ret = e;
    return 0;
}

bool runtime_embryo_suits(const struct runtime_embryo *embryo, const struct runtime_plan *plan)
{
    struct apply a;
    apply_init(&a, (struct runtime_plan *)(uintptr_t)plan);
    for (size_t i = 0; i < plan->join_count; i++)
        if (plan->joins[i].type == OCI_NS_USER || plan->joins[i].type == OCI_NS_PID)
            return false;
    return embryo->pid > 0 && plan->clone_flags == (BORN_WITH | CLONE_NEWNS) && plan->has_userns &&
           plan->spec.cgroup_path && slots(&a).count < FDS_MAX;
}

void runtime_embryo_done(struct runtime_embryo *embryo)
{
    struct runtime_container c = { .pid = embryo->pid,
                                   .pidfd = embryo->pidfd,
                                   .report_fd = embryo->report_fd,
                                   .terminal_fd = FD_NONE,
                                   .late_fds = { FD_NONE, FD_NONE },
                                   .cgroup_path = embryo->cgroup_path };
    struct error ignored;
    if (embryo->cgroup_path)
        (void)runtime_destroy(&c, &ignored);
    *embryo = (struct runtime_embryo){ .pidfd = FD_NONE, .report_fd = FD_NONE };
}

int embryo_adopt(struct apply *a, struct runtime_embryo *embryo, int document_fd, struct error *err)
{
    int r = send_fds(embryo->report_fd, "p", 1, &document_fd, 1);
    a->pid = embryo->pid;
    a->pidfd = TAKE_FD(embryo->pidfd);
    a->sock[0] = TAKE_FD(embryo->report_fd);
    free(TAKE_PTR(embryo->cgroup_path));
    embryo->pid = 0;
    return r < 0 ? error_errno(err, r, "tell the container's process its plan") : 0;
}

int embryo_equip(struct apply *a, struct error *err)
{
    struct packet packet = { .self_dev = a->self_dev,
                             .self_ino = a->self_ino,
                             .top_count = a->cgroups.top_count };
    struct slots s = slots(a);
    int fds[FDS_MAX];
    size_t count = 0;
    memcpy(packet.tops, a->cgroups.tops, sizeof packet.tops);
    for (size_t i = 0; i < s.count; i++) {
        packet.is_filled[i] = *s.at[i] >= 0;
        if (packet.is_filled[i])
            fds[count++] = *s.at[i];
    }
    int r = send_fds(a->sock[0], &packet, sizeof packet, fds, count);
    return r < 0 ? error_errno(err, r, "equip the container's process") : 0;
}
