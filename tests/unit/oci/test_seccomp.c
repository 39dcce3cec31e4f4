// Filters are loaded for real in a child: loading needs no privilege with no_new_privs.
#include "base/mem.h"
#include "codec/json.h"
#include "oci/seccomp.h"

#include "../test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int compile(const char *text, void **program, size_t *size, struct error *err)
{
    json_t *j = NULL;
    if (json_parse(text, strlen(text), &j, err) < 0)
        fail_msg("%s", err->message);
    int r = oci_seccomp_compile(j, program, size, err);
    json_decref(j);
    return r;
}

// errno of the call under the filter, 0 when it went through.
static int errno_under(void *program, size_t size, long nr, long argument)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sock_fprog filter = { (unsigned short)(size / sizeof(struct sock_filter)), program };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
            _exit(255);
        // A bare system call to end with: the sanitizers' _exit makes others, which the filter refuses.
        syscall(SYS_exit_group, syscall(nr, argument, 0, 0, 0, 0) < 0 ? errno : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void judges_as_written(void **state)
{
    (void)state;
    void *program = NULL;
    size_t size = 0;
    struct error err = { 0 };
    int r = compile("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"architectures\":[\"SCMP_"
                    "ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],"
                    "\"syscalls\":[{\"names\":[\"exit_group\",\"getpid\",\"landlock_create_ruleset\",\"no_"
                    "such_call\"],\"action\":\"SCMP_ACT_ALLOW\"},"
                    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,"
                    "\"value\":4294967295,\"op\":\"SCMP_CMP_EQ\"}]},"
                    "{\"names\":[\"sched_yield\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}]}",
                    &program, &size, &err);
    if (r < 0)
        fail_msg("%s", err.message);
    assert_int_equal(errno_under(program, size, SYS_getpid, 0), 0);
    assert_int_equal(errno_under(program, size, SYS_getuid, 0), EPERM);
    assert_int_equal(errno_under(program, size, SYS_sched_yield, 0), ENOSYS);
    assert_int_equal(errno_under(program, size, SYS_personality, 0xffffffffL), 0);
    assert_int_equal(errno_under(program, size, SYS_personality, 0), EPERM);
    assert_int_equal(errno_under(program, size, 460, 0), ENOSYS); // beyond what the profile names
    free(program);
}

static void refuses_bad_profiles(void **state)
{
    (void)state;
    void *program = NULL;
    size_t size;
    struct error err = { 0 };
    assert_int_equal(compile("{\"defaultAction\":\"SCMP_ACT_MAYBE\"}", &program, &size, &err), -1);
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_int_equal(compile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_MOON\"]}",
                             &program, &size, &err),
                     -1);
    assert_int_equal(compile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
                             "\"action\":\"SCMP_ACT_ERRNO\","
                             "\"args\":[{\"index\":9,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}",
                             &program, &size, &err),
                     -1);
    assert_null(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(judges_as_written),
                                        cmocka_unit_test(refuses_bad_profiles) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
