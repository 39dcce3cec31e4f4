#include "container/shim_client.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ABANDON_TIMEOUT_MS = 10000 };

enum { TITLE_MAX = 256 };

static void close_received(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fds[i] = fd_close(fds[i]);
}

// The next message, with a deadline; its SHIM_ERROR becomes *err. Descriptors are not part of any answer.
static int receive(int fd, int64_t deadline_ns, struct shim_message *message, struct error *err)
{
    for (;;) {
        int64_t left = deadline_ns - time_monotonic_ns();
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int r = left <= 0 ? 0 : poll(&p, 1, (int)(left / NS_PER_MS) + 1);
        if (r < 0 && errno == EINTR)
            continue;
        if (r == 0)
            return error_set(err, ERROR_UNAVAILABLE, "the container's monitor does not answer");
        int fds[SHIM_FDS_MAX];
        size_t count = 0;
        r = r < 0 ? -errno : shimproto_receive(fd, message, fds, &count);
        if (r == 0)
            return error_set(err, ERROR_UNAVAILABLE, "the container's monitor has gone");
        if (r < 0)
            return error_errno(err, r, "receive from the container's monitor");
        close_received(fds, count);
        if (message->type != SHIM_ERROR)
            return 0;
        error_set(err, message->error_kind ? message->error_kind : ERROR_INTERNAL, "%s",
                  message->error_message);
        err->errnum = message->error_errno;
        return -1;
    }
}

// Events may come before the answer that is waited for.
static int receive_type(int fd, uint32_t type, struct shim_message *message, struct error *err)
{
    int64_t deadline = time_monotonic_ns() + SHIM_REPLY_TIMEOUT_MS * NS_PER_MS;
    do {
        if (receive(fd, deadline, message, err) < 0)
            return -1;
    } while (message->type != type);
    return 0;
}

// posix_spawn: the kernel suspends us until the execve, no memory is copied, and no code of ours runs in
// between. The shim gets its control socket, /dev/null, an empty environment and no other descriptor; default
// dispositions, empty mask. Its first argument is room for the socket path, which it writes there for people who read `ps`.
static int spawn(const struct shim_program *program, int socket, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    char title[TITLE_MAX] = "spare";
    memset(title + strlen(title), ' ', sizeof title - strlen(title) - 1);
    char *parent CLEANUP(cleanup_free) = xstrdup(program->cgroup_parent);
    char *argv[] = { (char[]){ "skiff-shim" }, title, parent, NULL }, *envp[] = { NULL };
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    if ((r = posix_spawnattr_init(&attributes)) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if ((r = posix_spawn_file_actions_adddup2(&actions, socket, SHIM_CONTROL_FD)) == 0 &&
        (r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, 0, 1)) == 0 &&
        (r = posix_spawn_file_actions_adddup2(&actions, 0, 2)) == 0 &&
        (r = posix_spawn_file_actions_addclosefrom_np(&actions, SHIM_CONTROL_FD + 1)) == 0)
        r = posix_spawn(ret_pid, program->path, &actions, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int send_create(int fd, const struct shim_create *create, int seccomp_fd)
{
    char *text CLEANUP(cleanup_free) = shim_create_emit(create);
    int document CLEANUP(cleanup_close) = fd_from_bytes("skiff-create", text, strlen(text));
    if (document < 0)
        return document;
    struct shim_message message = { .type = SHIM_CREATE };
    return shimproto_send(fd, &message, (int[]){ document, seccomp_fd }, seccomp_fd >= 0 ? 2 : 1);
}

// The shim ends by itself once its control socket has closed before STARTED; one that is stuck is not waited
// for.
static void reap(pid_t pid)
{
    int pidfd CLEANUP(cleanup_close) = pidfd_open(pid, 0);
    struct pollfd p = { .fd = pidfd, .events = POLLIN };
    if (pidfd >= 0 && poll(&p, 1, ABANDON_TIMEOUT_MS) == 0)
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int shim_prepare(const struct shim_program *program, struct shim_spare *ret, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "make the monitor's socket");
    int ours CLEANUP(cleanup_close) = pair[0], theirs CLEANUP(cleanup_close) = pair[1];
    pid_t pid;
    int r = spawn(program, theirs, &pid);
    if (r < 0)
        return error_errno(err, r, "start %s", program->path);
    *ret = (struct shim_spare){ .pid = pid, .control_fd = TAKE_FD(ours) };
    return 0;
}

void shim_spare_done(struct shim_spare *spare)
{
    if (spare->pid == 0)
        return;
    fd_close(spare->control_fd);
    reap(spare->pid);
    *spare = (struct shim_spare){ 0 };
}

// A spare that died meanwhile is replaced.
static int start_with(const struct shim_program *program, struct shim_spare *spare,
                      const struct shim_create *create, int seccomp_fd, struct error *err)
{
    for (int attempt = 0;; attempt++) {
        if (spare->pid == 0 && shim_prepare(program, spare, err) < 0)
            return -1;
        int r = send_create(spare->control_fd, create, seccomp_fd);
        if (r == 0)
            return 0;
        shim_spare_done(spare);
        if (attempt > 0)
            return error_errno(err, r, "send the monitor its document");
    }
}

int shim_spawn(const struct shim_program *program, struct shim_spare *spare, const struct shim_create *create,
               int seccomp_fd, struct shim_start *ret, struct error *err)
{
    struct shim_spare used = spare ? *spare : (struct shim_spare){ 0 };
    if (spare)
        *spare = (struct shim_spare){ 0 };
    if (start_with(program, &used, create, seccomp_fd, err) < 0)
        return -1;
    struct shim_start start = { .shim_pid = used.pid };
    int ours CLEANUP(cleanup_close) = used.control_fd;
    struct shim_message message;
    if (receive_type(ours, SHIM_NAMESPACES, &message, err) < 0) {
        ours =
            fd_close(ours); // before GO, the end of the conversation makes the shim undo everything and end
        reap(start.shim_pid);
        return -1;
    }
    start.container_pid = message.pid;
    start.control_fd = TAKE_FD(ours);
    *ret = start;
    return 0;
}

int shim_hand_over(struct shim_start *start, const struct shim_message *attach, int socket, struct error *err)
{
    int r = shimproto_send(start->control_fd, attach, &socket, 1);
    return r < 0 ? error_errno(err, r, "send to the container's monitor") : 0;
}

int shim_go(struct shim_start *start, struct error *err)
{
    struct shim_message message = { .type = SHIM_GO };
    // Even when the shim has given up by now, its ERROR may be waiting.
    int r = shimproto_send(start->control_fd, &message, NULL, 0);
    if (r < 0 && r != -EPIPE)
        return error_errno(err, r, "send to the container's monitor");
    if (receive_type(start->control_fd, SHIM_STARTED, &message, err) < 0) {
        shim_abandon(start);
        return -1;
    }
    start->started_ns = message.started_ns;
    return 0;
}

void shim_abandon(struct shim_start *start)
{
    start->control_fd = fd_close(start->control_fd);
    if (start->shim_pid > 0)
        reap(start->shim_pid);
    start->shim_pid = 0;
}

int shim_connect(const char *socket_path, int *ret_fd, struct error *err)
{
    int fd = shimproto_connect(socket_path);
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        return error_set(err, ERROR_NOT_FOUND, "no monitor at %s", socket_path);
    if (fd < 0)
        return error_errno(err, fd, "connect to %s", socket_path);
    *ret_fd = fd;
    return 0;
}

int shim_call(const char *socket_path, const struct shim_message *request, const int *fds, size_t fd_count,
              struct shim_message *reply, struct error *err)
{
    int fd CLEANUP(cleanup_close) = FD_NONE;
    struct shim_message ignored;
    if (shim_connect(socket_path, &fd, err) < 0)
        return -1;
    int r = shimproto_send(fd, request, fds, fd_count);
    if (r < 0)
        return error_errno(err, r, "send to %s", socket_path);
    return receive(fd, time_monotonic_ns() + SHIM_REPLY_TIMEOUT_MS * NS_PER_MS, reply ? reply : &ignored,
                   err);
}

int shim_subscribe(const char *socket_path, int *ret_fd, struct error *err)
{
    int fd CLEANUP(cleanup_close) = FD_NONE;
    struct shim_message message = { .type = SHIM_SUBSCRIBE };
    if (shim_connect(socket_path, &fd, err) < 0)
        return -1;
    int r = shimproto_send(fd, &message, NULL, 0);
    if (r < 0)
        return error_errno(err, r, "send to %s", socket_path);
    if (receive_type(fd, SHIM_OK, &message, err) < 0)
        return -1;
    *ret_fd = TAKE_FD(fd);
    return 0;
}
