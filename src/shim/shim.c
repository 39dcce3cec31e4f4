// Theory of operation. One process, one thread, one container. Set-up is a straight line: prepare what can be
// prepared (an embryo), read CREATE, make the streams, plan, clone or adopt, say NAMESPACES; while the child mounts, do what nobody waits for (pid file, log,
// loop); then the loop. GO lets init execve. From there on nothing here depends on skiffd: connections come
// and go, the log is written, and the end is recorded on disk. What was needed for the start only (documents,
// plan) is given back before the container's first line. Failure before STARTED: everything is undone, ERROR
// is sent, the process ends with 1. skiffd gone before GO: the same.
#include "shim/shim.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "codec/json.h"
#include "shim/shim_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOCUMENT_MAX = 16 << 20, RELEASED_LINGER_MS = 10000 };

// What is there before the container is known.
struct preparation {
    struct runtime_embryo embryo;
    int document_fd;
};

static void ignore_signal(int signal)
{
    (void)signal;
}

// Handlers that do nothing rather than SIG_IGN: execve resets handlers, but would hand SIG_IGN on to the
// container.
static void detach_from_parent(void)
{
    static const int SIGNALS[] = { SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT };
    struct sigaction action = { .sa_handler = ignore_signal, .sa_flags = SA_RESTART };
    for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++)
        (void)sigaction(SIGNALS[i], &action, NULL);
    (void)setsid();
    (void)!chdir("/");
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)fcntl(SHIM_CONTROL_FD, F_SETFD, FD_CLOEXEC);
    // jansson would open /dev/urandom for its hash seed; the kernel has put sixteen random bytes on our stack
    // already.
    size_t seed;
    memcpy(&seed, (const void *)getauxval(AT_RANDOM), sizeof seed);
    json_object_seed(seed ? seed : 1);
}

static int send_error(int fd, const struct error *err)
{
    struct shim_message message = { .type = SHIM_ERROR, .error_kind = err->kind, .error_errno = err->errnum };
    memcpy(message.error_message, err->message, sizeof message.error_message);
    (void)shimproto_send(fd, &message, NULL, 0);
    return 1;
}

static int read_document(int fd, struct shim_create *create, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > DOCUMENT_MAX)
        return error_set(err, ERROR_INVALID, "shim: bad document");
    void *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return error_errno(err, errno, "map the document");
    int r = shim_create_parse(text, (size_t)st.st_size, create, err);
    (void)munmap(text, (size_t)st.st_size);
    return r;
}

static int receive_create(struct shim_create *create, int *ret_document_fd, int *ret_seccomp_fd,
                          struct error *err)
{
    struct shim_message message;
    int fds[SHIM_FDS_MAX];
    size_t count = 0;
    int r = shimproto_receive(SHIM_CONTROL_FD, &message, fds, &count);
    if (r < 1)
        return r == 0 ? error_set(err, ERROR_CANCELLED, "no request")
                      : error_errno(err, r, "receive the request");
    if (message.type != SHIM_CREATE || count < 1 || count > 2)
        r = error_set(err, ERROR_INVALID, "shim: expected CREATE with a document");
    else
        r = read_document(fds[0], create, err);
    *ret_seccomp_fd = r >= 0 && count == 2 ? TAKE_FD(fds[1]) : FD_NONE;
    *ret_document_fd = r >= 0 ? TAKE_FD(fds[0]) : FD_NONE;
    for (size_t i = 0; i < count; i++)
        fd_close(fds[i]);
    return r;
}

static void init_process(struct shim *shim, const struct shim_create *create,
                         const struct oci_runtime_config *config)
{
    struct process *init = &shim->init;
    init->shim = shim;
    init->has_terminal = config->process.has_terminal;
    init->has_stdin = create->has_stdin;
    init->closes_stdin = create->is_stdin_once;
    init->in = init->out = init->err = WATCH_NONE;
    init->pidfd = FD_NONE;
    str_init(&init->pending_in, 0);
}

static void write_pid(const struct shim *shim)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/pid", shim->state_dir);
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)shim->container.pid);
    int fd CLEANUP(cleanup_close) = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)fd_write_all(fd, text, (size_t)n);
}

static void say_namespaces(pid_t pid)
{
    struct shim_message message = { .type = SHIM_NAMESPACES, .pid = pid };
    (void)shimproto_send(SHIM_CONTROL_FD, &message, NULL, 0);
}

// The log's socket takes more again: read on.
static void log_has_room(void *context)
{
    struct shim *shim = context;
    process_update(&shim->init);
}

// From the child's birth to its barrier; skiffd plugs the network meanwhile.
static int create_container(struct shim *shim, struct shim_create *create, struct runtime_plan *plan,
                            struct preparation *early, struct error *err)
{
    int r = shimproto_listen(shim->socket_path); // first: clients may be handed over from NAMESPACES on
    if (r < 0)
        return error_errno(err, r, "listen at %s", shim->socket_path);
    shim->listener = watch_for(r, connection_accept, shim);
    bool has_namespaces = runtime_embryo_suits(&early->embryo, plan);
    if (has_namespaces)
        say_namespaces(early->embryo.pid);
    if (runtime_create_begin(plan, &early->embryo, early->document_fd, &shim->container, err) < 0)
        return -1;
    shim->init.pid = shim->container.pid;
    if (!has_namespaces)
        say_namespaces(shim->container.pid);
    write_pid(shim);
    (void)shim_log_open(&shim->log, &create->log);
    shim_log_listen(&shim->log, &shim->loop, log_has_room, shim);
    if ((r = loop_open(&shim->loop)) < 0 || (r = fcntl(SHIM_CONTROL_FD, F_SETFL, O_NONBLOCK)) < 0) {
        (void)runtime_destroy(&shim->container, &(struct error){ 0 });
        return error_errno(err, r, "set up the loop");
    }
    return runtime_create_finish(plan, &shim->container, err);
}

// The document's request in the runtime's terms; config and rootfs are the caller's memory, and must outlive the plan.
static int spec_of(struct shim_create *create, struct oci_runtime_config *config,
                   struct runtime_rootfs *rootfs, struct runtime_spec *ret, struct error *err)
{
    if (oci_runtime_config_parse(create->oci_config, config, err) < 0)
        return -1;
    json_decref(create->oci_config);
    create->oci_config = NULL;
    *rootfs = (struct runtime_rootfs){ .layers_dir = create->layers_dir,
                                       .lower = create->lower,
                                       .upper_parent = create->upper_parent,
                                       .is_volatile = create->is_volatile };
    *ret = (struct runtime_spec){ .config = config,
                                  .rootfs = create->lower && create->lower[0] ? rootfs : NULL,
                                  .id = create->id,
                                  .bundle = create->state_dir,
                                  .cgroup_path = create->cgroup_path,
                                  .seccomp_fd = FD_NONE,
                                  .stdio = { FD_NONE, FD_NONE, FD_NONE } };
    return 0;
}

// In the embryo: the same plan as plan_and_create's, from the same document.
static int replan(int document_fd, struct runtime_plan **ret, struct error *err)
{
    static struct shim_create create;
    static struct oci_runtime_config config;
    static struct runtime_rootfs rootfs;
    struct runtime_spec spec;
    if (read_document(document_fd, &create, err) < 0 || spec_of(&create, &config, &rootfs, &spec, err) < 0)
        return -1;
    return runtime_plan_new(&spec, ret, err);
}

static int plan_and_create(struct shim *shim, struct shim_create *create, int seccomp_fd,
                           struct preparation *early, struct error *err)
{
    struct oci_runtime_config config;
    struct runtime_rootfs rootfs;
    struct runtime_spec spec;
    struct process_stdio stdio;
    struct runtime_plan *plan = NULL;
    if (spec_of(create, &config, &rootfs, &spec, err) < 0)
        return -1;
    spec.id = shim->id; // taken from the document
    init_process(shim, create, &config);
    shim->has_memory_limit = config.resources.memory_limit > 0;
    int r = process_open_stdio(&shim->init, &stdio);
    if (r < 0)
        r = error_errno(err, r, "make pipes");
    spec.seccomp_fd = seccomp_fd;
    memcpy(spec.stdio, stdio.child, sizeof spec.stdio);
    if (r == 0)
        r = runtime_plan_new(&spec, &plan, err);
    if (r == 0)
        r = create_container(shim, create, plan, early, err);
    runtime_plan_free(plan);
    process_close_child_ends(&stdio);
    oci_runtime_config_done(&config);
    return r;
}

_Noreturn void shim_give_up(struct shim *shim)
{
    struct error err;
    (void)runtime_destroy(&shim->container, &err);
    (void)unlink(shim->socket_path);
    _exit(1);
}

void shim_start(struct shim *shim, struct connection *control)
{
    struct error err = { 0 };
    if (runtime_start(&shim->container, &err) < 0) {
        struct error ignored;
        (void)runtime_destroy(&shim->container, &ignored);
        (void)unlink(shim->socket_path);
        connection_send_error(control, &err);
        _exit(1);
    }
    shim->started_ns = time_now_ns();
    shim->init.is_started = true;
    struct shim_message message = { .type = SHIM_STARTED,
                                    .pid = shim->container.pid,
                                    .started_ns = shim->started_ns };
    (void)shimproto_send(SHIM_CONTROL_FD, &message, NULL, 0);
    if (shim->has_memory_limit)
        oom_watch(shim);
    children_reap(shim);
}

// Until the end is told and every client has its output. Somebody who pages through it may take all day; only
// after RELEASE is that no longer waited for. What is left to do for the log is waited for as long at most.
static void run(struct shim *shim)
{
    int64_t deadline = 0;
    while (!shim->is_exited || shim->client_count > 0 || shim_log_is_busy(&shim->log)) {
        int timeout_ms = exits_timeout_ms(shim);
        if (shim->is_exited && (shim->is_released || shim->client_count == 0)) {
            int64_t now = time_monotonic_ns();
            deadline = deadline ? deadline : now + RELEASED_LINGER_MS * NS_PER_MS;
            if (now >= deadline)
                return;
            int left_ms = (int)((deadline - now) / NS_PER_MS) + 1;
            timeout_ms = timeout_ms < 0 || left_ms < timeout_ms ? left_ms : timeout_ms;
        }
        loop_run_once(&shim->loop, timeout_ms);
        if (shim_log_deadline_ns(&shim->log))
            shim_log_tick(&shim->log, time_monotonic_ns());
        exits_settle(shim);
    }
}

static void show_title(char *title, const char *text)
{
    size_t room = title ? strlen(title) : 0, n = strlen(text) < room ? strlen(text) : room;
    if (room == 0)
        return;
    memcpy(title, text, n);
    memset(title + n, 0, room - n);
}

// Failing costs time only: the container's process is then born when it is known.
static void prepare(struct preparation *early, const char *cgroup_parent)
{
    struct error ignored;
    *early =
        (struct preparation){ .embryo = { .pidfd = FD_NONE, .report_fd = FD_NONE }, .document_fd = FD_NONE };
    if (!cgroup_parent)
        return;
    char *path CLEANUP(cleanup_free) = xasprintf("%s/spare-%d", cgroup_parent, (int)getpid());
    (void)runtime_embryo_new(path, replan, &early->embryo, &ignored);
}

static void preparation_done(struct preparation *early)
{
    runtime_embryo_done(&early->embryo);
    early->document_fd = fd_close(early->document_fd);
}

int shim_main(char *title, const char *cgroup_parent)
{
    static struct shim shim = { .listener = { .fd = FD_NONE },
                                .children = { .fd = FD_NONE },
                                .oom = { .fd = FD_NONE } };
    struct shim_create create = { 0 };
    struct preparation early;
    struct error err = { 0 };
    int seccomp_fd = FD_NONE;
    detach_from_parent();
    prepare(&early, cgroup_parent);
    if (receive_create(&create, &early.document_fd, &seccomp_fd, &err) < 0) {
        preparation_done(&early);
        return send_error(SHIM_CONTROL_FD, &err);
    }
    shim.id = TAKE_PTR(create.id);
    shim.socket_path = TAKE_PTR(create.socket_path);
    show_title(title, shim.socket_path);
    shim.state_dir = xstrdup(create.state_dir);
    int r = plan_and_create(&shim, &create, seccomp_fd, &early, &err);
    preparation_done(&early);
    fd_close(seccomp_fd);
    shim_create_done(&create);
    if (r < 0) {
        (void)unlink(shim.socket_path);
        return send_error(SHIM_CONTROL_FD, &err);
    }
    if (children_watch(&shim) < 0)
        shim_give_up(&shim);
    (void)connection_add(&shim, SHIM_CONTROL_FD, true);
    loop_ask(&shim.loop, &shim.listener, EPOLLIN);
    process_listen(&shim.init, shim.container.terminal_fd);
    shim.container.terminal_fd = FD_NONE;
    run(&shim);
    return 0;
}
