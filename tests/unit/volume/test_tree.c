#include "../test.h"

#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "kernel/tree_size.h"
#include "volume/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

struct place {
    char *root;
    int from, to;
};

static int open_below(const char *root, const char *name)
{
    char *path CLEANUP(cleanup_free) = xasprintf("%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int set_up(void **state)
{
    struct place *p = NEW(struct place);
    p->root = xstrdup("/tmp/skiff-test-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    p->from = open_below(p->root, "from");
    p->to = open_below(p->root, "to");
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    fd_close(p->from);
    fd_close(p->to);
    int r = dir_remove_all_at(AT_FDCWD, p->root);
    free(p->root);
    free(p);
    return r;
}

static void put(int dir, const char *name, const char *text)
{
    int fd CLEANUP(cleanup_close) = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static struct stat stat_of(int dir, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static void copy(const struct place *p)
{
    struct error err;
    if (tree_copy(p->from, p->to, &err) < 0)
        fail_msg("%s", err.message);
}

static void test_everything_is_kept(void **state)
{
    const struct place *p = *state;
    const struct timespec times[2] = { { 1000, 5 }, { 2000, 7 } };
    char text[64];
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdirat(p->from, "d", 0755), 0);
    put(p->from, "d/file", "hello");
    assert_int_equal(linkat(p->from, "d/file", p->from, "again", 0), 0);
    assert_int_equal(symlinkat("../../../etc/passwd", p->from, "link"), 0);
    assert_int_equal(mkfifoat(p->from, "fifo", 0600), 0);
    assert_int_equal(fchownat(p->from, "d/file", 12, 34, 0), 0);
    assert_int_equal(fchmodat(p->from, "d/file", 04751, 0), 0);
    assert_int_equal(fchownat(p->from, "link", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(fchownat(p->from, "d", 7, 8, 0), 0);
    int fd CLEANUP(cleanup_close) = openat(p->from, "d/file", O_RDONLY | O_CLOEXEC);
    bool has_xattrs = fsetxattr(fd, "user.note", "x", 1, 0) == 0;
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(utimensat(p->from, "d", times, 0), 0);
    copy(p);
    struct stat file = stat_of(p->to, "d/file"), link = stat_of(p->to, "link"), d = stat_of(p->to, "d");
    assert_true(file.st_uid == 12 && file.st_gid == 34 && (file.st_mode & 07777) == 04751);
    assert_true(file.st_mtim.tv_sec == 2000 && file.st_mtim.tv_nsec == 7 && file.st_size == 5);
    assert_true(file.st_nlink == 2 && file.st_ino == stat_of(p->to, "again").st_ino);
    assert_true(S_ISLNK(link.st_mode) && link.st_uid == 5 && link.st_gid == 6);
    assert_int_equal(readlinkat(p->to, "link", text, sizeof text), (int)strlen("../../../etc/passwd"));
    assert_true(S_ISFIFO(stat_of(p->to, "fifo").st_mode));
    assert_true(d.st_uid == 7 && d.st_gid == 8 && d.st_mtim.tv_sec == 2000);
    int copied CLEANUP(cleanup_close) = openat(p->to, "d/file", O_RDONLY | O_CLOEXEC);
    if (has_xattrs)
        assert_int_equal(fgetxattr(copied, "user.note", text, sizeof text), 1);
    assert_int_equal(read(copied, text, sizeof text), 5);
    assert_memory_equal(text, "hello", 5);
}

static void test_holes_stay_holes(void **state)
{
    const struct place *p = *state;
    enum { SIZE = 64 << 20 };
    put(p->from, "sparse", "begin");
    int fd CLEANUP(cleanup_close) = openat(p->from, "sparse", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "middle", 6, SIZE / 2), 6);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    copy(p);
    struct stat st = stat_of(p->to, "sparse");
    char text[6];
    assert_int_equal(st.st_size, SIZE);
    assert_true(st.st_blocks * 512 < SIZE / 8);
    int copied CLEANUP(cleanup_close) = openat(p->to, "sparse", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(copied, text, 6, SIZE / 2), 6);
    assert_memory_equal(text, "middle", 6);
}

static void test_existing_names_are_a_conflict(void **state)
{
    const struct place *p = *state;
    struct error err;
    put(p->from, "a", "new");
    put(p->to, "a", "old!");
    assert_int_equal(tree_copy(p->from, p->to, &err), -1);
    assert_int_equal(err.kind, ERROR_CONFLICT);
    assert_int_equal(stat_of(p->to, "a").st_size, 4);
}

static void test_size_counts_a_file_once(void **state)
{
    const struct place *p = *state;
    assert_int_equal(mkdirat(p->from, "d", 0755), 0);
    put(p->from, "d/a", "12345");
    put(p->from, "b", "678");
    assert_int_equal(linkat(p->from, "d/a", p->from, "c", 0), 0);
    assert_int_equal(tree_size(p->from), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_holes_stay_holes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_existing_names_are_a_conflict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_size_counts_a_file_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
