// Containers made for real. Needs root and busybox; skips without.
#include "container.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup(void **state)
{
    if (!container_is_possible())
        return 0;
    struct container *c = NEW(struct container);
    container_init(c);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    if (*state)
        container_done(*state);
    free(*state);
    return 0;
}

static struct container *need(void **state)
{
    if (!*state)
        skip();
    return *state;
}

static void expect_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void expect_not_in(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" must not be in:\n%s", part, text);
}

static void expect_shell(struct container *c, const char *command, const char *output)
{
    int status;
    container_set_shell(c, command);
    char *text CLEANUP(cleanup_free) = container_run(c, &status);
    if (!streq(text, output) || status != 0)
        fail_msg("%s: status %d, output:\n%s", command, status, text);
}

static void runs_and_exits(void **state)
{
    struct container *c = need(state);
    int status;
    container_set_shell(c, "echo hello; cat; exit 7");
    c->input = "from stdin\n";
    char *text CLEANUP(cleanup_free) = container_run(c, &status);
    assert_string_equal(text, "hello\nfrom stdin\n");
    assert_int_equal(status, 7);
}

static void runs_in_user_namespace(void **state)
{
    struct container *c = need(state);
    c->wants_userns = true;
    expect_shell(c,
                 "cat /proc/self/uid_map; stat -c '%u:%g %n' / /bin/busybox /etc/marker /dev /dev/null "
                 "/proc/1; cat /etc/marker; touch /made;"
                 "stat -c '%u:%g' /made; echo x > /dev/null && echo null; ip addr show lo | grep -c "
                 "'LOOPBACK,UP'; echo $$; hostname",
                 "         0     300000      65536\n0:0 /\n0:0 /bin/busybox\n0:0 /etc/marker\n0:0 /dev\n0:0 "
                 "/dev/null\n0:0 /proc/1\n"
                 "extra\n0:0\nnull\n1\n1\ntester\n");
    char *path CLEANUP(cleanup_free) = xasprintf("%s/c/upper/made", c->folder);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 0); // plain owners on disk
}

static bool has_cgroup_v1(void)
{
    return access("/sys/fs/cgroup/memory", F_OK) == 0;
}

static void grows_from_an_embryo(void **state)
{
    struct container *c = need(state);
    int status;
    if (!has_cgroup_v1())
        skip();
    c->wants_userns = c->has_embryo = true;
    c->input = "typed\n";
    container_add_mount(c, "bind", "/proc/sys/kernel/ostype", "/tmp/file", "bind,ro");
    container_set_shell(
        c, "cat; cat /etc/marker /tmp/file /proc/self/uid_map; echo $$; hostname; ls /proc/self/fd | wc -l;"
           "grep memory /proc/self/cgroup; ip link show lo | grep -c UP; exit 3");
    char *output CLEANUP(cleanup_free) = container_run(c, &status);
    assert_int_equal(status, 3);
    expect_in(output, "typed\nextra\nLinux\n         0     300000      65536\n1\ntester\n4\n");
    expect_in(output, ":memory:/\n1\n"); // a cgroup namespace of its own; the interface is up
    assert_int_equal(access("/sys/fs/cgroup/memory/skiff-test/embryo", F_OK), -1);
}

// Namespaces that it was not born with: a child is born for them, and the embryo goes.
static void an_embryo_that_does_not_suit_is_passed_over(void **state)
{
    struct container *c = need(state);
    if (!has_cgroup_v1())
        skip();
    c->has_embryo = true;
    expect_shell(c, "echo $$", "1\n");
    assert_int_equal(access("/sys/fs/cgroup/memory/skiff-test/embryo", F_OK), -1);
}

static void runs_on_a_plain_directory(void **state)
{
    struct container *c = need(state);
    c->has_layers = false;
    expect_shell(c, "test -e /etc/marker || echo plain; stat -c '%u' /bin/busybox", "plain\n0\n");
}

static void plain_directory_in_user_namespace(void **state)
{
    struct container *c = need(state);
    c->has_layers = false;
    c->wants_userns = true;
    expect_shell(c, "stat -c '%u' /bin/busybox; touch /x && stat -c '%u' /x", "0\n0\n");
}

static void mounts_have_their_flags(void **state)
{
    struct container *c = need(state);
    container_set_shell(c, "cat /proc/self/mounts; ls /sys/fs/cgroup; ls -l /dev");
    c->wants_userns = true;
    char *text CLEANUP(cleanup_free) = container_run(c, NULL);
    expect_in(text, "proc /proc proc rw,nosuid,nodev,noexec,relatime");
    expect_in(text, "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755");
    expect_in(text, "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=");
    expect_in(text, "sysfs /sys sysfs ro,nosuid,nodev,noexec");
    expect_in(text, "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec");
    expect_in(text, "shm /dev/shm tmpfs rw,nosuid,nodev,noexec");
    expect_in(text, "/proc/kcore");
    expect_in(text, "proc /proc/sys proc ro");
    expect_in(text, "/sys/fs/cgroup");
    expect_in(text, "stdin -> /proc/self/fd/0");
    expect_in(text, "ptmx -> pts/ptmx");
    expect_not_in(text, "/tmp/skiff-runtime");
}

static void leaves_no_mount_behind(void **state)
{
    struct container *c = need(state);
    struct str before = STR_INIT, after = STR_INIT;
    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 22, &before), 0);
    c->wants_userns = true;
    container_set_shell(c, "read x; echo $x");
    struct error err;
    char *text = NULL;
    c->input = "inside\n";
    assert_int_equal(container_begin(c, &err), 0);
    assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 22, &after), 0);
    assert_int_equal(container_end(c, &text), 0);
    assert_string_equal(text, "inside\n");
    assert_string_equal(before.ptr, after.ptr);
    free(text);
    str_done(&before);
    str_done(&after);
}

static void drops_privileges(void **state)
{
    struct container *c = need(state);
    json_t *user = json_pack("{s:i, s:i, s:[i,i], s:i}", "uid", 1000, "gid", 1001, "additionalGids", 10, 20,
                             "umask", 027);
    json_object_set_new(container_process(c), "user", user);
    json_object_set_new(container_process(c), "noNewPrivileges", json_true());
    expect_shell(
        c, "id; umask; grep -E '^(Cap|NoNew)' /proc/self/status",
        "uid=1000 gid=1001 groups=10,20\n0027\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
        "CapEff:\t0000000000000000\nCapBnd:\t00000000080000e3\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
}

static void keeps_root_capabilities(void **state)
{
    struct container *c = need(state);
    c->wants_userns = true;
    expect_shell(c, "grep -E '^Cap' /proc/self/status",
                 "CapInh:\t0000000000000000\nCapPrm:\t00000000080000e3\nCapEff:\t00000000080000e3\nCapBnd:"
                 "\t00000000080000e3\n"
                 "CapAmb:\t0000000000000000\n");
}

static void binds_get_the_map(void **state)
{
    struct container *c = need(state);
    char *source CLEANUP(cleanup_free) = xasprintf("%s/volume", c->folder),
                 *file CLEANUP(cleanup_free) = xasprintf("%s/volume/f", c->folder);
    assert_int_equal(mkdir(source, 0700), 0);
    assert_int_equal(file_replace_at(AT_FDCWD, file, 0600, "data\n", 5, false), 0);
    assert_int_equal(chown(file, 33, 33), 0);
    container_add_mount(c, "bind", source, "/data/deep", "rbind,rprivate");
    container_add_mount(c, "bind", source, "/ro", "rbind,ro");
    container_add_mount(c, "bind", file, "/etc/one-file", "bind,ro");
    c->wants_userns = true;
    expect_shell(c,
                 "stat -c '%u' /data/deep /data/deep/f; cat /etc/one-file; touch /data/deep/new; touch /ro/x "
                 "2>/dev/null || echo refused",
                 "0\n33\ndata\nrefused\n");
    char *made CLEANUP(cleanup_free) = xasprintf("%s/new", source);
    struct stat st;
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_uid, 0);
}

static void destinations_stay_inside(void **state)
{
    struct container *c = need(state);
    char *source CLEANUP(cleanup_free) = xasprintf("%s/volume", c->folder),
                 *link_path CLEANUP(cleanup_free) = xasprintf("%s/layers/base/escape", c->folder);
    assert_int_equal(mkdir(source, 0755), 0);
    assert_int_equal(symlink("../../../../../../tmp", link_path), 0);
    container_add_mount(c, "bind", source, "/escape/skiff-escaped", "rbind");
    expect_shell(c, "ls -d /tmp/skiff-escaped", "/tmp/skiff-escaped\n");
    assert_int_equal(access("/tmp/skiff-escaped", F_OK), -1);
}

static void readonly_root(void **state)
{
    struct container *c = need(state);
    json_object_set_new(json_object_get(c->document, "root"), "readonly", json_true());
    container_add_mount(c, "tmpfs", "tmpfs", "/tmp", "nosuid,nodev,size=1m");
    expect_shell(c, "touch /x 2>/dev/null || echo refused; touch /tmp/x && echo fine", "refused\nfine\n");
}

static void expect_failure(struct container *c, enum error_kind kind, const char *message)
{
    struct error err = { 0 };
    assert_int_equal(container_begin(c, &err), -1);
    if (err.kind != kind || !strstr(err.message, message))
        fail_msg("kind %s, message: %s", error_kind_name(err.kind), err.message);
    char *cgroup CLEANUP(cleanup_free) = xasprintf("/sys/fs/cgroup/memory%s", c->cgroup_path);
    assert_int_equal(access(cgroup, F_OK), -1);
}

static void command_not_found(void **state)
{
    struct container *c = need(state);
    container_set_args(c, "nonesuch", NULL);
    expect_failure(c, ERROR_NOT_FOUND, "exec: \"nonesuch\": executable file not found in $PATH");
    container_set_args(c, "/bin/nonesuch", NULL);
    expect_failure(c, ERROR_NOT_FOUND,
                   "exec: \"/bin/nonesuch\": stat /bin/nonesuch: no such file or directory");
}

static void command_not_executable(void **state)
{
    struct container *c = need(state);
    container_set_args(c, "/etc/marker", NULL);
    expect_failure(c, ERROR_DENIED, "exec: \"/etc/marker\": permission denied");
    container_set_args(c, "/bin", NULL);
    expect_failure(c, ERROR_DENIED, "exec: \"/bin\": is a directory");
    container_set_args(c, "/proc/self/exe", NULL);
    expect_failure(c, ERROR_DENIED, "permission denied");
    char *path CLEANUP(cleanup_free) = xasprintf("%s/layers/base/bin/odd", c->folder);
    assert_int_equal(file_replace_at(AT_FDCWD, path, 0755, "odd", 3, false), 0);
    container_set_args(c, "/bin/odd", NULL);
    expect_failure(c, ERROR_INVALID, "exec format error");
}

static void bad_sources_undo_everything(void **state)
{
    struct container *c = need(state);
    container_add_mount(c, "bind", "/nonexistent/source", "/x", "rbind");
    expect_failure(c, ERROR_IO, "/nonexistent/source");
}

static void working_directory(void **state)
{
    struct container *c = need(state);
    json_object_set_new(container_process(c), "cwd", json_string("/made/for/me"));
    expect_shell(c, "pwd", "/made/for/me\n");
    json_object_set_new(container_process(c), "cwd", json_string("/proc/self/fd/9"));
    container_set_args(c, "/bin/true", NULL);
    expect_failure(c, ERROR_INVALID,
                   "current working directory is outside of container mount namespace root");
}

static void no_descriptor_leaks(void **state)
{
    struct container *c = need(state);
    int loose = open("/", O_RDONLY | O_DIRECTORY); // not close-on-exec, on purpose
    assert_true(loose >= 0);
    expect_shell(c, "ls /proc/1/fd; true", "0\n1\n2\n");
    close(loose);
}

static void small_memory_limit(void **state)
{
    struct container *c = need(state);
    json_object_set_new(container_linux(c), "resources",
                        json_pack("{s:{s:i}, s:{s:i}, s:{s:i,s:i,s:i}}", "memory", "limit", 6 << 20, "pids",
                                  "limit", 50, "cpu", "shares", 512, "quota", 50000, "period", 100000));
    c->wants_userns = true;
    if (access("/sys/fs/cgroup/memory", F_OK) == 0)
        expect_shell(c,
                     "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares; cat "
                     "/proc/self/cgroup | grep -c memory:/$",
                     "6291456\n50\n512\n1\n");
    else
        expect_shell(c, "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max", "6291456\n50\n50000 100000\n");
}

static void devices_are_judged(void **state)
{
    struct container *c = need(state);
    json_object_set_new(container_linux(c), "devices",
                        json_pack("[{s:s,s:s,s:i,s:i,s:i}]", "path", "/dev/mine", "type", "c", "major", 1,
                                  "minor", 5, "fileMode", 0600));
    expect_shell(c,
                 "dd if=/dev/mine of=/dev/null bs=4 count=1 2>/dev/null && echo zero; mknod /tmp/kmsg c 1 11 "
                 "&& (cat /tmp/kmsg >/dev/null 2>&1 || echo refused)",
                 "zero\nrefused\n");
}

static void rlimits_and_sysctls(void **state)
{
    struct container *c = need(state);
    json_object_set_new(container_process(c), "rlimits",
                        json_pack("[{s:s,s:i,s:i}]", "type", "RLIMIT_NOFILE", "hard", 64, "soft", 32));
    json_object_set_new(container_linux(c), "sysctl",
                        json_pack("{s:s}", "net.ipv4.ip_unprivileged_port_start", "80"));
    c->wants_userns = true;
    expect_shell(c, "ulimit -n; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
                 "32\n64\n80\n");
}

static void joins_the_hosts_network(void **state)
{
    struct container *c = need(state);
    char here[64] = { 0 }, *expected CLEANUP(cleanup_free) = NULL;
    assert_true(readlink("/proc/self/ns/net", here, sizeof here - 1) > 0);
    expected = xasprintf("%s\n", here);
    container_remove_namespace(c, "network", "/proc/self/ns/net");
    char *command CLEANUP(cleanup_free) = xstrdup("ls -l /proc/self/ns/net | grep -o 'net:.*'");
    expect_shell(c, command, expected);
    container_remove_namespace(c, "network", NULL);
    container_set_shell(c, command);
    expect_shell(c, command, expected);
}

static void has_a_terminal(void **state)
{
    struct container *c = need(state);
    struct error err;
    char text[64] = { 0 };
    json_object_set_new(container_process(c), "terminal", json_true());
    json_object_set_new(container_process(c), "consoleSize",
                        json_pack("{s:i,s:i}", "height", 31, "width", 77));
    container_set_shell(c, "tty; test -t 0 && stat -c %t:%T /dev/console");
    c->wants_userns = true;
    if (container_begin(c, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(c->process.terminal_fd >= 0);
    ssize_t used = 0;
    for (int i = 0; i < 20 && !strstr(text, "88:0"); i++) {
        ssize_t n = read(c->process.terminal_fd, text + used, sizeof text - 1 - (size_t)used);
        if (n <= 0)
            break;
        used += n;
    }
    expect_in(text, "/dev/pts/0");
    expect_in(text, "88:0");
    char *output = NULL;
    assert_int_equal(container_end(c, &output), 0);
    free(output);
}

static char *exec_shell(struct container *c, const char *command, int *ret_status)
{
    struct error err;
    int out[2], pidfd, terminal;
    pid_t pid;
    char *args[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command, NULL };
    char *env[] = { (char[]){ "PATH=/bin" }, NULL };
    struct oci_process p = { .args = args, .env = env, .cwd = (char[]){ "/" }, .has_capabilities = true };
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct runtime_exec_spec spec = { .process = &p,
                                      .container_pid = c->process.pid,
                                      .cgroup_path = c->cgroup_path,
                                      .seccomp_fd = FD_NONE,
                                      .stdio = { FD_NONE, out[1], out[1] } };
    if (runtime_exec(&spec, &pid, &pidfd, &terminal, &err) < 0)
        fail_msg("exec: %s", err.message);
    fd_close(out[1]);
    struct str text = STR_INIT;
    assert_int_equal(file_read_fd(out[0], 1 << 16, &text), 0);
    siginfo_t info = { 0 };
    assert_int_equal(waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED), 0);
    *ret_status = info.si_status;
    fd_close(pidfd);
    fd_close(out[0]);
    return str_take(&text);
}

static void executes_in_running_container(void **state)
{
    struct container *c = need(state);
    struct error err;
    int status;
    c->wants_userns = true;
    container_set_args(c, "/bin/sleep", "60", NULL);
    if (container_begin(c, &err) < 0)
        fail_msg("%s", err.message);
    char *text CLEANUP(cleanup_free) =
        exec_shell(c,
                   "hostname; cat /proc/1/comm; cat /etc/marker; id -u; grep CapEff /proc/self/status; cat "
                   "/proc/self/cgroup | grep -c :/$; exit 3",
                   &status);
    expect_in(text, "tester\nsleep\nextra\n0\nCapEff:\t0000000000000000\n");
    assert_int_equal(status, 3);
    assert_int_equal(kill(c->process.pid, SIGKILL), 0);
    char *output CLEANUP(cleanup_free) = NULL;
    assert_int_equal(container_end(c, &output), 128 + SIGKILL);
}

static void destroy_kills_what_is_left(void **state)
{
    struct container *c = need(state);
    struct error err;
    container_set_args(c, "/bin/sleep", "60", NULL);
    if (container_begin(c, &err) < 0)
        fail_msg("%s", err.message);
    pid_t pid = c->process.pid;
    assert_int_equal(runtime_destroy(&c->process, &err), 0);
    assert_int_equal(kill(pid, 0), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_and_exits),
        TEST(runs_in_user_namespace),
        TEST(grows_from_an_embryo),
        TEST(an_embryo_that_does_not_suit_is_passed_over),
        TEST(runs_on_a_plain_directory),
        TEST(plain_directory_in_user_namespace),
        TEST(mounts_have_their_flags),
        TEST(leaves_no_mount_behind),
        TEST(drops_privileges),
        TEST(keeps_root_capabilities),
        TEST(binds_get_the_map),
        TEST(destinations_stay_inside),
        TEST(readonly_root),
        TEST(command_not_found),
        TEST(command_not_executable),
        TEST(bad_sources_undo_everything),
        TEST(working_directory),
        TEST(no_descriptor_leaks),
        TEST(small_memory_limit),
        TEST(devices_are_judged),
        TEST(rlimits_and_sysctls),
        TEST(joins_the_hosts_network),
        TEST(has_a_terminal),
        TEST(executes_in_running_container),
        TEST(destroy_kills_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
