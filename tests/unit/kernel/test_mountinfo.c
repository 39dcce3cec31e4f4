#include "base/mem.h"
#include "kernel/mount.h"
#include "kernel/mountinfo.h"

#include "../test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void lines_are_read(void **state)
{
    (void)state;
    struct mount_table t;
    mount_table_parse("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
                      "36 22 98:0 /sub /mnt\\040two\\134x rw,noatime master:1 shared:7 - tmpfs tmpfs rw\n"
                      "nonsense\n"
                      "37 x 1:1 / /a rw - ext4 b c\n"
                      "38 22 1:1 / /b rw no-dash\n"
                      "39 22 0:5 / /tail\\04 rw -\n"
                      "40 36 0:5 / /last\\777 rw - proc proc rw",
                      &t);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.entries[0].id, 22);
    assert_string_equal(t.entries[0].path, "/");
    assert_string_equal(mount_table_find(&t, 36)->path, "/mnt two\\x");
    assert_string_equal(mount_table_find(&t, 36)->type, "tmpfs");
    assert_int_equal(mount_table_find(&t, 36)->parent, 22);
    assert_string_equal(mount_table_find(&t, 40)->path, "/last\\777"); // no byte has that value
    assert_null(mount_table_find(&t, 39));
    mount_table_done(&t);
    assert_int_equal(t.count, 0);
    mount_table_parse("", &t);
    assert_int_equal(t.count, 0);
    mount_table_done(&t);
}

// The number that statx gives is the one that the table has.
static void own_table_has_the_mount_of_proc(void **state)
{
    (void)state;
    struct mount_table t;
    uint64_t id;
    bool is_root;
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), proc = open("/proc", O_PATH | O_CLOEXEC);
    assert_true(fd >= 0 && proc >= 0);
    assert_int_equal(mount_table_read(fd, &t), 0);
    assert_int_equal(mount_identify(proc, "", 0, &id, &is_root), 0);
    assert_true(is_root);
    assert_non_null(mount_table_find(&t, id));
    assert_string_equal(mount_table_find(&t, id)->path, "/proc");
    assert_int_equal(mount_identify(proc, "self", AT_SYMLINK_NOFOLLOW, &id, &is_root), 0);
    assert_false(is_root);
    mount_table_done(&t);
    close(fd);
    close(proc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),
        cmocka_unit_test(own_table_has_the_mount_of_proc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
