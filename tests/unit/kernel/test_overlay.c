#include "../test.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/overlay.h"
#include "kernel/version.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int view_opener(const char *parent, char *const *lower);

static void put(const char *root, const char *path, const char *text)
{
    char *full CLEANUP(cleanup_free) = xasprintf("%s/%s", root, path);
    assert_int_equal(file_replace_at(AT_FDCWD, full, 0644, text, strlen(text), false), 0);
}

static void expect(int view, const char *path, const char *text)
{
    struct str got CLEANUP(str_done) = STR_INIT;
    int r = file_read_at(view, path, 100, &got);
    if (!text) {
        assert_int_equal(r, -ENOENT);
        return;
    }
    assert_int_equal(r, 0);
    assert_string_equal(got.ptr, text);
}

static void check(const char *root, view_opener *open_it)
{
    char *lower[] = { (char[]){ "top" }, (char[]){ "middle" }, (char[]){ "bottom" }, NULL };
    char *missing[] = { (char[]){ "top" }, (char[]){ "nope" }, NULL };
    int view CLEANUP(cleanup_close) = open_it(root, lower);
    assert_true(view >= 0);
    expect(view, "d/same", "top");
    expect(view, "d/below", "bottom");
    expect(view, "d/gone", NULL); // a whiteout in the middle
    assert_int_equal(mkdirat(view, "d/new", 0755), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(open_it(root, missing), -ENOENT);
    char here[64];
    assert_non_null(getcwd(here, sizeof here));
    assert_string_not_equal(here, "/proc/self/fd"); // the other thread's own affair
}

static void test_views(void **state)
{
    (void)state;
    static const char *const directories[] = { "top", "top/d", "middle", "middle/d", "bottom", "bottom/d" };
    char root[] = "/tmp/skiff-test-XXXXXX";
    if (geteuid() != 0)
        skip();
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", root, directories[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    put(root, "top/d/same", "top");
    put(root, "bottom/d/same", "bottom");
    put(root, "bottom/d/below", "bottom");
    put(root, "bottom/d/gone", "bottom");
    char *whiteout CLEANUP(cleanup_free) = xasprintf("%s/middle/d/gone", root);
    assert_int_equal(mknod(whiteout, S_IFCHR, 0), 0);
    check(root, overlay_open_view_by_one_option);
    if (kernel_is_at_least(6, 7))
        check(root, overlay_open_view);
    assert_int_equal(dir_remove_all_at(AT_FDCWD, root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_views) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
