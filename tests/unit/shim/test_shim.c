// The real skiff-shim (its path is the first argument) through skiffd's own client code, with a busybox
// container. Needs root and a static busybox; skipped otherwise.
#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "codec/json.h"
#include "container/shim_client.h"

#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shim_program program = { NULL, "/skiff-test-shim" };
static pid_t main_pid;
static char base[] = "/tmp/skiff-shim-XXXXXX";

struct box {
    char id[ID_LEN + 1];
    char *dir, *socket, *log;
    struct shim_start start;
};

static const char CONFIG[] =
    "{\"ociVersion\":\"1.1.0\",\"root\":{\"path\":\"%s/rootfs\"},\"hostname\":\"box\","
    "\"process\":{\"terminal\":%s,\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0},\"env\":[\"PATH=/bin\"],"
    "\"args\":[\"/bin/sh\",\"-c\",\"\"]},"
    "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]},"
    "{\"destination\":\"/dev/"
    "pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"newinstance\",\"ptmxmode=0666\"]}],"
    "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":"
    "\"ipc\"},{\"type\":\"uts\"}]}}";

enum { TERMINAL = 1, STDIN = 2, STDIN_ONCE = 4, SMALL_MEMORY = 8 };

static json_t *config_for(const char *script, unsigned flags)
{
    char *text CLEANUP(cleanup_free) = xasprintf(CONFIG, base, flags & TERMINAL ? "true" : "false");
    json_t *j = NULL;
    struct error err;
    assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
    if (flags & SMALL_MEMORY)
        json_object_set_new(json_get_object(j, "linux"), "resources",
                            json_pack("{s:{s:i,s:i}}", "memory", "limit", 16 << 20, "swap", 16 << 20));
    json_t *args = json_get_array(json_get_object(j, "process"), "args");
    if (script)
        json_array_set_new(args, 2, json_string(script));
    else
        json_array_set_new(args, 0, json_string("/bin/no-such-program"));
    return j;
}

static void box_spawn(struct box *box, const char *script, unsigned flags)
{
    struct error err = { 0 };
    id_new(box->id);
    box->dir = xasprintf("%s/%.12s", base, box->id);
    box->socket = xasprintf("%s/shim.sock", box->dir);
    box->log = xasprintf("%s/log", box->dir);
    assert_int_equal(mkdir(box->dir, 0700), 0);
    struct shim_create create = { .id = box->id,
                                  .socket_path = box->socket,
                                  .state_dir = box->dir,
                                  .has_stdin = flags & STDIN,
                                  .is_stdin_once = flags & STDIN_ONCE };
    char *cgroup CLEANUP(cleanup_free) = xasprintf("/skiff-test-%d/%s", (int)main_pid, box->id);
    create.cgroup_path = cgroup;
    create.log = (struct shim_log_options){
        .driver = SHIM_LOG_JSON_FILE, .path = box->log, .max_size_bytes = -1, .max_files = 1
    };
    create.oci_config = config_for(script, flags);
    int r = shim_spawn(&program, NULL, &create, FD_NONE, &box->start, &err);
    json_decref(create.oci_config);
    if (r < 0)
        fail_msg("spawn: %s", err.message);
    assert_true(box->start.container_pid > 0);
}

static void box_go(struct box *box)
{
    struct error err = { 0 };
    if (shim_go(&box->start, &err) < 0)
        fail_msg("go: %s", err.message);
}

// The next event of this type, within ten seconds.
static struct shim_message wait_event(int fd, uint32_t type)
{
    struct shim_message m;
    int fds[SHIM_FDS_MAX];
    size_t count;
    do {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(shimproto_receive(fd, &m, fds, &count), 1);
    } while (m.type != type);
    return m;
}

static void box_done(struct box *box)
{
    box->start.control_fd = fd_close(box->start.control_fd);
    if (box->start.shim_pid > 0)
        assert_int_equal(waitpid(box->start.shim_pid, NULL, 0), box->start.shim_pid);
    assert_int_equal(access(box->socket, F_OK), -1);
    (void)dir_remove_all_at(AT_FDCWD, box->dir);
    free(box->dir);
    free(box->socket);
    free(box->log);
}

static char *log_text(struct box *box)
{
    struct str text CLEANUP(str_done) = STR_INIT, all = STR_INIT;
    assert_int_equal(file_read_at(AT_FDCWD, box->log, 1 << 22, &text), 0);
    for (char *line = text.ptr, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct error err;
        json_t *j CLEANUP(json_cleanup) = NULL;
        assert_int_equal(json_parse(line, (size_t)(end - line), &j, &err), 0);
        str_append(&all, json_get_string(j, "log", ""));
    }
    return str_take(&all);
}

static int attach(struct box *box, const char *exec_id, uint32_t flags)
{
    int pair[2];
    struct error err = { 0 };
    struct shim_message m = { .type = SHIM_ATTACH, .flags = flags };
    (void)snprintf(m.exec_id, sizeof m.exec_id, "%s", exec_id);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(shim_call(box->socket, &m, &pair[1], 1, NULL, &err), 0);
    fd_close(pair[1]);
    return pair[0];
}

// Everything until the other side closes.
static struct str read_all(int fd)
{
    struct str text = STR_INIT;
    char buffer[4096];
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, 10000), 1);
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            return text;
        str_append_n(&text, buffer, (size_t)n);
    }
}

static void read_until(int fd, const char *wanted)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    char buffer[4096];
    while (!strstr(text.ptr, wanted)) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, 10000), 1);
        ssize_t n = read(fd, buffer, sizeof buffer);
        assert_true(n > 0);
        str_append_n(&text, buffer, (size_t)n);
    }
}

static void output_and_exit_code(void **state)
{
    (void)state;
    struct box box;
    box_spawn(&box, "echo out; echo err >&2; exit 7", 0);
    int client = attach(&box, "", SHIM_ATTACH_STDOUT | SHIM_ATTACH_STDERR | SHIM_ATTACH_MULTIPLEX);
    box_go(&box);
    struct shim_message exit = wait_event(box.start.control_fd, SHIM_EXIT);
    assert_int_equal(exit.exit_code, 7);
    assert_true(exit.finished_ns >= exit.started_ns && exit.started_ns == box.start.started_ns);
    struct shim_exit_record record; // on disk before EXIT was sent
    assert_int_equal(shim_exit_record_read(box.dir, &record), 0);
    assert_int_equal(record.exit_code, 7);
    assert_int_equal(record.finished_ns, exit.finished_ns);
    struct str got CLEANUP(str_done) = read_all(client);
    assert_int_equal(got.len, 24);
    assert_non_null(memmem(got.ptr, got.len, "\1\0\0\0\0\0\0\4out\n", 12));
    assert_non_null(memmem(got.ptr, got.len, "\2\0\0\0\0\0\0\4err\n", 12));
    fd_close(client);
    char *log CLEANUP(cleanup_free) = log_text(&box);
    assert_non_null(strstr(log, "out\n"));
    assert_non_null(strstr(log, "err\n"));
    box_done(&box);
}

static void missing_program_is_not_found(void **state)
{
    (void)state;
    struct box box;
    struct error err = { 0 };
    box_spawn(&box, NULL, 0);
    assert_int_equal(shim_go(&box.start, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    struct shim_exit_record record;
    assert_int_equal(shim_exit_record_read(box.dir, &record), -ENOENT);
    box_done(&box);
}

static void abandoned_before_go_leaves_nothing(void **state)
{
    (void)state;
    struct box box;
    box_spawn(&box, "echo never", 0);
    pid_t pid = box.start.container_pid;
    shim_abandon(&box.start);
    for (int i = 0; i < 200 && kill(pid, 0) == 0; i++)
        (void)poll(NULL, 0, 10);
    assert_int_equal(kill(pid, 0), -1);
    char *log CLEANUP(cleanup_free) = log_text(&box);
    assert_string_equal(log, "");
    box_done(&box);
}

static void stdin_is_closed_with_its_client(void **state)
{
    (void)state;
    struct box box;
    box_spawn(&box, "cat; echo end", STDIN | STDIN_ONCE);
    int client = attach(&box, "", SHIM_ATTACH_STDIN | SHIM_ATTACH_STDOUT);
    box_go(&box);
    // More than pipe and socket hold together, so that back-pressure works both ways.
    enum { TOTAL = 1 << 20 };
    char *bytes CLEANUP(cleanup_free) = xmalloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        bytes[i] = i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
    pid_t writer = fork();
    if (writer == 0) {
        int r = fd_write_all(client, bytes, TOTAL);
        (void)shutdown(client, SHUT_WR);
        _exit(r == 0 ? 0 : 1);
    }
    struct str got CLEANUP(str_done) = read_all(client);
    int status;
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    assert_int_equal(got.len, TOTAL + 4);
    assert_memory_equal(got.ptr, bytes, TOTAL);
    assert_string_equal(got.ptr + TOTAL, "end\n");
    fd_close(client);
    assert_int_equal(wait_event(box.start.control_fd, SHIM_EXIT).exit_code, 0);
    char *log CLEANUP(cleanup_free) = log_text(&box);
    assert_int_equal(strlen(log), TOTAL + 4);
    box_done(&box);
}

static void terminal_resizes_and_detaches(void **state)
{
    (void)state;
    struct box box;
    struct error err = { 0 };
    box_spawn(&box, "trap 'stty size' WINCH; echo ready; while :; do read x && echo got $x; done",
              TERMINAL | STDIN);
    int first = attach(&box, "", SHIM_ATTACH_STDIN | SHIM_ATTACH_STDOUT),
        second = attach(&box, "", SHIM_ATTACH_STDOUT);
    box_go(&box);
    read_until(first, "ready");
    struct shim_message resize = { .type = SHIM_RESIZE, .rows = 33, .columns = 99 };
    assert_int_equal(shim_call(box.socket, &resize, NULL, 0, NULL, &err), 0);
    assert_int_equal(fd_write_all(first, "a\x10z\n", 4), 0); // half a sequence is input
    read_until(first, "got a");
    read_until(second, "got a");
    assert_int_equal(fd_write_all(first, "\x10\x11", 2), 0);
    (void)wait_event(box.start.control_fd, SHIM_DETACHED);
    struct str rest __attribute__((unused)) CLEANUP(str_done) = read_all(first); // closed
    struct shim_message kill9 = { .type = SHIM_SIGNAL, .signal = SIGKILL };
    assert_int_equal(shim_call(box.socket, &kill9, NULL, 0, NULL, &err), 0);
    assert_int_equal(wait_event(box.start.control_fd, SHIM_EXIT).exit_code, 137);
    fd_close(first);
    fd_close(second);
    box_done(&box);
}

static int send_exec(struct box *box, const char *exec_id, const char *script, struct shim_message *reply,
                     struct error *err)
{
    json_t *config CLEANUP(json_cleanup) = config_for(script, 0);
    struct shim_exec exec = { .exec_id = xstrdup(exec_id),
                              .has_stdin = true,
                              .process = json_incref(json_get_object(config, "process")) };
    char *text CLEANUP(cleanup_free) = shim_exec_emit(&exec);
    shim_exec_done(&exec);
    int fd CLEANUP(cleanup_close) = fd_from_bytes("exec", text, strlen(text));
    struct shim_message m = { .type = SHIM_EXEC };
    return shim_call(box->socket, &m, &fd, 1, reply, err);
}

static void exec_runs_beside_init(void **state)
{
    (void)state;
    struct box box;
    struct error err = { 0 };
    struct shim_message reply;
    box_spawn(&box, "sleep 1000", 0);
    box_go(&box);
    int client = attach(&box, "abc", SHIM_ATTACH_STDIN | SHIM_ATTACH_STDOUT | SHIM_ATTACH_STDERR);
    if (send_exec(&box, "abc", "echo in; cat; exit 5", &reply, &err) < 0)
        fail_msg("exec: %s", err.message);
    assert_int_equal(reply.type, SHIM_EXEC_STARTED);
    assert_true(reply.pid > 0);
    assert_int_equal(send_exec(&box, "abc", "true", NULL, &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    read_until(client, "in\n");
    assert_int_equal(fd_write_all(client, "typed", 5), 0);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    struct str got CLEANUP(str_done) = read_all(client);
    assert_string_equal(got.ptr, "typed");
    fd_close(client);
    struct shim_message exit = wait_event(box.start.control_fd, SHIM_EXEC_EXIT);
    assert_string_equal(exit.exec_id, "abc");
    assert_int_equal(exit.exit_code, 5);
    assert_int_equal(send_exec(&box, "def", NULL, NULL, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    struct shim_message term = { .type = SHIM_SIGNAL, .signal = SIGTERM, .exec_id = "abc" };
    assert_int_equal(shim_call(box.socket, &term, NULL, 0, NULL, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    term.exec_id[0] = 0;
    term.signal = SIGKILL;
    assert_int_equal(shim_call(box.socket, &term, NULL, 0, NULL, &err), 0);
    assert_int_equal(wait_event(box.start.control_fd, SHIM_EXIT).exit_code, 137);
    char *log CLEANUP(cleanup_free) = log_text(&box);
    assert_string_equal(log, ""); // an exec's output is not the container's log
    box_done(&box);
}

// The starter is killed; the container runs on, the log has no gap, a newcomer finds it and learns the end
// from disk.
static void container_survives_its_starter(void **state)
{
    (void)state;
    struct box box = { 0 };
    struct error err = { 0 };
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    id_new(box.id);
    pid_t starter = fork();
    if (starter == 0) {
        box_spawn(&box, "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 3", 0);
        box_go(&box);
        (void)!write(ready[1], &box.id, sizeof box.id);
        (void)!write(ready[1], &box.start, sizeof box.start);
        (void)pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], box.id, sizeof box.id), sizeof box.id);
    assert_int_equal(read(ready[0], &box.start, sizeof box.start), sizeof box.start);
    assert_int_equal(kill(starter, SIGKILL), 0);
    assert_int_equal(waitpid(starter, NULL, 0), starter);
    box.dir = xasprintf("%s/%.12s", base, box.id);
    box.socket = xasprintf("%s/shim.sock", box.dir);
    box.log = xasprintf("%s/log", box.dir);
    int events = FD_NONE;
    assert_int_equal(shim_subscribe(box.socket, &events, &err), 0);
    struct shim_message request = { .type = SHIM_STATE }, reply;
    assert_int_equal(shim_call(box.socket, &request, NULL, 0, &reply, &err), 0);
    assert_true(reply.is_running);
    assert_int_equal(reply.pid, box.start.container_pid);
    request.type = 99;
    assert_int_equal(shim_call(box.socket, &request, NULL, 0, &reply, &err), -1);
    assert_int_equal(err.kind, ERROR_UNSUPPORTED);
    assert_int_equal(wait_event(events, SHIM_EXIT).exit_code, 3);
    fd_close(events);
    struct shim_exit_record record;
    assert_int_equal(shim_exit_record_read(box.dir, &record), 0);
    assert_int_equal(record.exit_code, 3);
    char *log CLEANUP(cleanup_free) = log_text(&box);
    struct str expected CLEANUP(str_done) = STR_INIT;
    for (int i = 0; i < 20; i++)
        str_appendf(&expected, "line %d\n", i);
    assert_string_equal(log, expected.ptr);
    fd_close(ready[0]);
    fd_close(ready[1]);
    for (int i = 0; i < 200 && access(box.socket, F_OK) == 0; i++)
        (void)poll(NULL, 0, 10);
    box.start.shim_pid = 0;
    box.start.control_fd = FD_NONE;
    box_done(&box);
}

// Two clients, the slow one read up to `limit` bytes and no further; returns when the quick one's socket
// closes.
static void read_side_by_side(int slow, size_t limit, struct str *slow_text, int quick,
                              struct str *quick_text)
{
    for (bool is_open = true; is_open;) {
        char buffer[16384];
        struct pollfd p[2] = { { .fd = quick, .events = POLLIN },
                               { .fd = slow_text->len < limit ? slow : -1, .events = POLLIN } };
        assert_true(poll(p, 2, 10000) > 0);
        if (p[0].revents) {
            ssize_t n = read(quick, buffer, sizeof buffer);
            is_open = n > 0;
            str_append_n(quick_text, buffer, n > 0 ? (size_t)n : 0);
        }
        if (p[1].revents) {
            ssize_t n = read(slow, buffer, sizeof buffer);
            assert_true(n > 0);
            str_append_n(slow_text, buffer, (size_t)n);
        }
    }
}

// A client that does not read makes the container wait, but holds up neither its end nor the next start, and
// gets every byte.
static void slow_client_gets_all(void **state)
{
    (void)state;
    enum { LINES = 10000, TOTAL = LINES * 65 };
    struct box box;
    struct error err = { 0 };
    box_spawn(&box,
              "i=0; while [ $i -lt 10000 ]; do echo "
              "0123456789012345678901234567890123456789012345678901234567890123; "
              "i=$((i+1)); done",
              0);
    int slow = attach(&box, "", SHIM_ATTACH_STDOUT), quick = attach(&box, "", SHIM_ATTACH_STDOUT);
    box_go(&box);
    struct pollfd p = { .fd = box.start.control_fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 300), 0); // more output than the sockets take: it waits
    struct str first CLEANUP(str_done) = STR_INIT, second CLEANUP(str_done) = STR_INIT;
    read_side_by_side(slow, TOTAL - 90000, &first, quick, &second);
    assert_int_equal(second.len, TOTAL);
    assert_int_equal(wait_event(box.start.control_fd, SHIM_EXIT).exit_code, 0);
    int fd = FD_NONE;
    assert_int_equal(shim_connect(box.socket, &fd, &err), -1);
    assert_int_equal(err.kind, ERROR_NOT_FOUND);
    struct str tail CLEANUP(str_done) = read_all(slow);
    str_append_n(&first, tail.ptr, tail.len);
    assert_int_equal(first.len, TOTAL);
    assert_memory_equal(first.ptr, second.ptr, TOTAL);
    fd_close(slow);
    fd_close(quick);
    box_done(&box);
}

static void oom_kill_is_noticed(void **state)
{
    (void)state;
    struct box box;
    box_spawn(&box, "x=0123456789abcdef; while :; do x=$x$x; done", SMALL_MEMORY);
    box_go(&box);
    (void)wait_event(box.start.control_fd, SHIM_OOM);
    struct shim_message exit = wait_event(box.start.control_fd, SHIM_EXIT);
    assert_int_equal(exit.exit_code, 137);
    assert_true(exit.was_oom_killed);
    struct shim_exit_record record;
    assert_int_equal(shim_exit_record_read(box.dir, &record), 0);
    assert_true(record.was_oom_killed);
    box_done(&box);
}

static int64_t pss_kb(pid_t pid)
{
    char *path CLEANUP(cleanup_free) = xasprintf("/proc/%d/smaps_rollup", (int)pid);
    struct str text CLEANUP(str_done) = STR_INIT;
    assert_int_equal(file_read_at(AT_FDCWD, path, 65536, &text), 0);
    const char *at = strstr(text.ptr, "Pss:");
    assert_non_null(at);
    return strtoll(at + 4, NULL, 10);
}

static void memory_stays_small(void **state)
{
    (void)state;
    if (IS_SANITIZED)
        skip(); // the sanitizers' shadow is not ours
    enum { COUNT = 8 };
    struct box boxes[COUNT];
    struct error err = { 0 };
    int64_t total = 0;
    for (int i = 0; i < COUNT; i++) {
        box_spawn(&boxes[i], "sleep 1000", 0);
        box_go(&boxes[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        struct shim_message request = {
            .type = SHIM_STATE
        }; // its answer comes after everything the start left to do
        assert_int_equal(shim_call(boxes[i].socket, &request, NULL, 0, NULL, &err), 0);
        total += pss_kb(boxes[i].start.shim_pid);
    }
    print_message("PSS of a shim, %d running: %lld kB\n", COUNT, (long long)total / COUNT);
    assert_in_range(total / COUNT, 1, 300);
    for (int i = 0; i < COUNT; i++) {
        struct shim_message request = { .type = SHIM_SIGNAL, .signal = SIGKILL };
        assert_int_equal(shim_call(boxes[i].socket, &request, NULL, 0, NULL, &err), 0);
        (void)wait_event(boxes[i].start.control_fd, SHIM_EXIT);
        box_done(&boxes[i]);
    }
}

static int make_rootfs(void)
{
    char *command CLEANUP(cleanup_free) = xasprintf("%s/rootfs/bin", base);
    char *target CLEANUP(cleanup_free) = xasprintf("%s/rootfs/bin/busybox", base);
    struct str program_text CLEANUP(str_done) = STR_INIT;
    if (file_read_at(AT_FDCWD, "/bin/busybox", 16 << 20, &program_text) < 0 ||
        dir_make_all(command, 0755) < 0 ||
        file_replace_at(AT_FDCWD, target, 0755, program_text.ptr, program_text.len, false) < 0)
        return -1;
    const char *names[] = { "sh", "sleep", "cat", "stty", "true", "echo" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *link CLEANUP(cleanup_free) = xasprintf("%s/rootfs/bin/%s", base, names[i]);
        if (symlink("busybox", link) < 0)
            return -1;
    }
    const char *folders[] = { "proc", "dev", "sys" };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *folder CLEANUP(cleanup_free) = xasprintf("%s/rootfs/%s", base, folders[i]);
        if (dir_make_all(folder, 0755) < 0)
            return -1;
    }
    return 0;
}

// What a failed case left: its processes are killed, its shim then ends by itself and takes the cgroups away.
static void end_leftovers(void)
{
    glob_t found;
    char *pattern CLEANUP(cleanup_free) =
        xasprintf("/sys/fs/cgroup/*/skiff-test-%d/*/cgroup.procs", (int)main_pid);
    for (int tries = 0; tries < 300 && glob(pattern, 0, NULL, &found) == 0; tries++) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct str pids CLEANUP(str_done) = STR_INIT;
            if (file_read_at(AT_FDCWD, found.gl_pathv[i], 65536, &pids) < 0)
                continue;
            for (char *at = pids.ptr, *end; (end = strchr(at, '\n')); at = end + 1)
                (void)kill((pid_t)strtol(at, NULL, 10), SIGKILL);
        }
        globfree(&found);
        (void)poll(NULL, 0, 10);
    }
}

// The containers' own cgroups are the shim's to remove: 0 when each hierarchy's parent is empty.
static int remove_cgroup_parents(void)
{
    int left = 0;
    glob_t found;
    char *pattern CLEANUP(cleanup_free) = xasprintf("/sys/fs/cgroup/*/skiff-test-%d", (int)main_pid);
    char *unified CLEANUP(cleanup_free) = xasprintf("/sys/fs/cgroup/skiff-test-%d", (int)main_pid);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            left += rmdir(found.gl_pathv[i]) < 0;
        globfree(&found);
    }
    if (rmdir(unified) < 0 && errno != ENOENT)
        left++;
    if (left)
        printf("%d cgroups left behind\n", left);
    return left;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_exit_code),
        cmocka_unit_test(missing_program_is_not_found),
        cmocka_unit_test(abandoned_before_go_leaves_nothing),
        cmocka_unit_test(stdin_is_closed_with_its_client),
        cmocka_unit_test(terminal_resizes_and_detaches),
        cmocka_unit_test(exec_runs_beside_init),
        cmocka_unit_test(slow_client_gets_all),
        cmocka_unit_test(container_survives_its_starter),
        cmocka_unit_test(oom_kill_is_noticed),
        cmocka_unit_test(memory_stays_small),
    };
    if (argc != 2)
        return 2;
    if (geteuid() != 0 || access("/bin/busybox", X_OK) < 0) {
        puts("needs root and a static busybox");
        return 77; // meson: skipped
    }
    program.path = argv[1];
    main_pid = getpid();
    if (!mkdtemp(base) || make_rootfs() < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    if (r != 0)
        end_leftovers();
    r += remove_cgroup_parents();
    (void)dir_remove_all_at(AT_FDCWD, base);
    return r;
}
