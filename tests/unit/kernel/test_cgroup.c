// Device rules as BPF, attached to a v2 cgroup of our own. Skips where there is no v2 hierarchy or no root.
#include "base/fd.h"
#include "kernel/cgroup.h"

#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_v2(void)
{
    bool is_v2 = false;
    int base = cgroup_open_base(&is_v2);
    if (base < 0 || is_v2)
        return base;
    int unified = openat(base, "unified", O_PATH | O_DIRECTORY | O_CLOEXEC);
    fd_close(base);
    return unified;
}

// errno of opening the device inside the cgroup.
static int open_inside(int base, const char *name, const char *device, int flags)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (cgroup_write(base, name, "cgroup.procs", "0") < 0)
            _exit(250);
        _exit(open(device, flags) < 0 ? errno : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static void later_rules_win(void **state)
{
    (void)state;
    char name[64];
    int base = geteuid() == 0 ? open_v2() : -1;
    snprintf(name, sizeof name, "skiff-test-%d", (int)getpid());
    if (base < 0 || cgroup_make(base, "", name) < 0) {
        fd_close(base);
        skip();
    }
    int fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const struct cgroup_device_rule rules[] = {
        { true, 'c', 1, 3, 7 },
        { false, 'a', -1, -1, 7 },
        { true, 'c', 1, 3, CGROUP_DEVICE_READ },
        { true, 'c', 1, 5, 7 },
        { false, 'c', 1, 5, CGROUP_DEVICE_WRITE },
    };
    int r = cgroup_attach_device_rules(fd, rules, sizeof rules / sizeof *rules);
    fd_close(fd);
    int got[] = { open_inside(base, name, "/dev/null", O_RDONLY),
                  open_inside(base, name, "/dev/null", O_WRONLY),
                  open_inside(base, name, "/dev/zero", O_RDONLY),
                  open_inside(base, name, "/dev/zero", O_RDWR),
                  open_inside(base, name, "/dev/full", O_RDONLY) };
    for (int i = 0; i < 200 && cgroup_remove(base, name) == -EBUSY; i++)
        usleep(1000);
    fd_close(base);
    assert_int_equal(r, 0);
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], EPERM);
    assert_int_equal(got[2], 0);
    assert_int_equal(got[3], EPERM);
    assert_int_equal(got[4], EPERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(later_rules_win) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
