// Both resolvers over the same traps: the kernel's and the walk for kernels without openat2.
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "kernel/path.h"

#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_tree(void **state)
{
    char *path = xstrdup("/tmp/skiff-path-XXXXXX");
    if (!mkdtemp(path))
        return -1;
    *state = path;
    int dir CLEANUP(cleanup_close) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return mkdirat(dir, "in", 0755) || mkdirat(dir, "in/a", 0755) ||
           file_replace_at(dir, "in/a/f", 0644, "in", 2, false) ||
           file_replace_at(dir, "secret", 0644, "out", 3, false) ||
           symlinkat("../../../secret", dir, "in/up") || symlinkat("/a/f", dir, "in/absolute") ||
           symlinkat("loop", dir, "in/loop") || symlinkat("a/../a/./f", dir, "in/winding") ||
           symlinkat("/../../a", dir, "in/over");
}

static int remove_tree(void **state)
{
    int r = dir_remove_all_at(AT_FDCWD, *state);
    free(*state);
    return r;
}

static void both_agree(void **state)
{
    char *in CLEANUP(cleanup_free) = xasprintf("%s/in", (char *)*state);
    int root CLEANUP(cleanup_close) = open(in, O_PATH | O_DIRECTORY | O_CLOEXEC);
    static const struct {
        const char *path;
        int expected; // 0: opens
        int flags;
    } cases[] = {
        { "a/f", 0, O_RDONLY },
        { "/a/f", 0, O_RDONLY },
        { "../../secret", -ENOENT, O_RDONLY },
        { "up", -ENOENT, O_RDONLY },
        { "absolute", 0, O_RDONLY },
        { "loop", -ELOOP, O_RDONLY },
        { "winding", 0, O_RDONLY },
        { "over/f", 0, O_RDONLY },
        { "a/f/g", -ENOTDIR, O_RDONLY },
        { "a//./../a/f", 0, O_RDONLY },
        { "up", 0, O_PATH | O_NOFOLLOW },
        { "/", 0, O_PATH },
        { "missing/x", -ENOENT, O_PATH },
        { "..", 0, O_PATH },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fds[2] = { path_open(root, cases[i].path, cases[i].flags, 0),
                       path_open_by_walk(root, cases[i].path, cases[i].flags, 0) };
        for (int k = 0; k < 2; k++) {
            if (cases[i].expected < 0 ? fds[k] != cases[i].expected : fds[k] < 0)
                fail_msg("%s by %s: %d", cases[i].path, k ? "walk" : "kernel", fds[k]);
        }
        struct stat a, b;
        if (cases[i].expected == 0)
            assert_true(fstat(fds[0], &a) == 0 && fstat(fds[1], &b) == 0 && a.st_ino == b.st_ino);
        fd_close(fds[0]);
        fd_close(fds[1]);
    }
}

static void makes_targets_inside(void **state)
{
    char *in CLEANUP(cleanup_free) = xasprintf("%s/in", (char *)*state),
             *made CLEANUP(cleanup_free) = xasprintf("%s/in/x/y/z", (char *)*state);
    char *escaped CLEANUP(cleanup_free) = xasprintf("%s/new", (char *)*state);
    int root CLEANUP(cleanup_close) = open(in, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = path_make_target(root, "/x/y/z", false);
    assert_true(fd >= 0);
    fd_close(fd);
    assert_int_equal(access(made, F_OK), 0);
    fd = path_make_target(root, "../../new", true);
    assert_true(fd >= 0);
    fd_close(fd);
    assert_int_equal(access(escaped, F_OK), -1);
    assert_int_equal(path_make_target(root, "a/f/deeper", true), -ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_agree, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(makes_targets_inside, make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
