#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"

#include "../test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folder(void **state)
{
    char *path = xstrdup("/tmp/skiff-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    *state = path;
    return 0;
}

static int remove_folder(void **state)
{
    int r = dir_remove_all_at(AT_FDCWD, *state);
    free(*state);
    return r;
}

static void replace_and_read(void **state)
{
    int dir CLEANUP(cleanup_close) = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(file_replace_at(dir, "f", 0640, "one", 3, false), 0);
    assert_int_equal(file_replace_at(dir, "f", 0640, "two!", 4, true), 0);
    struct str s = STR_INIT;
    assert_int_equal(file_read_at(dir, "f", 100, &s), 0);
    assert_string_equal(s.ptr, "two!");
    assert_int_equal(file_read_at(dir, "f", 3, &s), -EFBIG);
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(file_read_at(dir, "fifo", 100, &s), -EINVAL);
    str_done(&s);
}

static void removal_follows_no_link(void **state)
{
    char *kept CLEANUP(cleanup_free) = xasprintf("%s/kept/deep", (char *)*state);
    char *doomed CLEANUP(cleanup_free) = xasprintf("%s/doomed", (char *)*state);
    char *link CLEANUP(cleanup_free) = xasprintf("%s/doomed/link", (char *)*state);
    assert_int_equal(dir_make_all(kept, 0755), 0);
    assert_int_equal(dir_make_all(doomed, 0755), 0);
    assert_int_equal(symlink("../kept", link), 0);
    assert_int_equal(dir_remove_all_at(AT_FDCWD, doomed), 0);
    assert_int_equal(access(kept, F_OK), 0);
    assert_int_equal(access(doomed, F_OK), -1);
    assert_int_equal(dir_remove_all_at(AT_FDCWD, doomed), 0);
}

enum { LEVELS = 5000 };

static void *remove_it(void *path)
{
    return (void *)(intptr_t)dir_remove_all_at(AT_FDCWD, path);
}

// On a thread with little stack, as the engine's are; with files at each level and names that the removal itself likes.
static void removal_has_no_depth(void **state)
{
    char *doomed CLEANUP(cleanup_free) = xasprintf("%s/nested", (char *)*state);
    assert_int_equal(mkdir(doomed, 0755), 0);
    int fd = open(doomed, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(fd, ".deep-0", 0755), 0);
    for (int i = 0; i < LEVELS; i++) {
        assert_int_equal(mkdirat(fd, "d", 0755), 0);
        assert_int_equal(mknodat(fd, "file", S_IFREG | 0600, 0), 0);
        int below = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        close(fd);
        fd = below;
    }
    close(fd);
    pthread_t thread;
    pthread_attr_t attributes;
    void *result;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    assert_int_equal(pthread_create(&thread, &attributes, remove_it, doomed), 0);
    pthread_join(thread, &result);
    pthread_attr_destroy(&attributes);
    assert_null(result);
    assert_int_equal(access(doomed, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replace_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(removal_follows_no_link, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(removal_has_no_depth, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
