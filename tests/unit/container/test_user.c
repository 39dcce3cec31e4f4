#include "../test.h"

#include "base/file.h"
#include "base/str.h"
#include "container/rootfs.h"
#include "container/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# comment\n"
                             "broken line\n"
                             "web:x:33:33::/var/www:/bin/sh\n"
                             "1000:x:55:55::/home/digits:\n"
                             "0x0:x:77:77::/hex:\n"
                             "big:x:4294967296:0::/:\n"
                             "noeol:x:44:45::/n:";
static const char group[] = "root:x:0:\nwheel:x:10:root,web\nweb:x:33:\nstaff:x:50:\nvideo:x:44:web\n";

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int64_t uid, gid; // uid -1: refused
        const char *home;
        size_t groups;
    } rows[] = {
        { "", 0, 0, "/root", 2 },
        { "root", 0, 0, "/root", 2 },
        { "0", 0, 0, "/root", 2 },
        { "web", 33, 33, "/var/www", 3 },
        { "33", 33, 33, "/var/www", 3 },
        { "web:staff", 33, 50, "/var/www", 1 },
        { "web:0", 33, 0, "/var/www", 1 },
        { "1000", 1000, 0, "/", 1 }, // a number, although a user is named so
        { "1000:1000", 1000, 1000, "/", 1 },
        { "1:", 1, 0, "/", 1 },
        { ":50", 0, 50, "/root", 1 },
        { "noeol", 44, 45, "/n", 1 },
        { "0x0", 77, 77, "/hex", 1 }, // a name, never hexadecimal
        { "2147483647", 2147483647, 0, "/", 1 },
        { "+1", -1, 0, NULL, 0 },
        { "-1", -1, 0, NULL, 0 },
        { " 1", -1, 0, NULL, 0 },
        { "1 ", -1, 0, NULL, 0 },
        { "0x1", -1, 0, NULL, 0 },
        { "2147483648", -1, 0, NULL, 0 },
        { "4294967296", -1, 0, NULL, 0 },
        { "18446744073709551616", -1, 0, NULL, 0 },
        { "big", -1, 0, NULL, 0 },
        { "nobody", -1, 0, NULL, 0 },
        { "web:nogroup", -1, 0, NULL, 0 },
        { "web:4294967296", -1, 0, NULL, 0 },
        { "web:staff:x", -1, 0, NULL, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct user_identity u = { 0 };
        struct error err;
        int r = user_lookup(passwd, group, rows[i].spec, NULL, &u, &err);
        if ((r < 0) != (rows[i].uid < 0))
            fail_msg("\"%s\": %s", rows[i].spec, r < 0 ? err.message : "accepted");
        if (r == 0 && (u.uid != rows[i].uid || u.gid != rows[i].gid || !streq(u.home, rows[i].home) ||
                       u.additional_gid_count != rows[i].groups || u.additional_gids[0] != u.gid))
            fail_msg("\"%s\": uid %u gid %u home %s groups %zu", rows[i].spec, u.uid, u.gid, u.home,
                     u.additional_gid_count);
        user_identity_done(&u);
    }
}

static void test_words(void **state)
{
    (void)state;
    struct user_identity u;
    struct error err;
    char *add[] = { (char[]){ "video" }, (char[]){ "7" }, NULL };
    assert_int_equal(user_lookup(passwd, group, "nobody", NULL, &u, &err), -1);
    assert_string_equal(err.message, "unable to find user nobody: no matching entries in passwd file");
    assert_int_equal(user_lookup(passwd, group, "0:none", NULL, &u, &err), -1);
    assert_string_equal(err.message, "unable to find group none: no matching entries in group file");
    assert_int_equal(user_lookup(passwd, group, "99", add, &u, &err), 0);
    assert_int_equal(u.additional_gid_count, 3);
    assert_int_equal(u.additional_gids[1], 44);
    assert_int_equal(u.additional_gids[2], 7);
    user_identity_done(&u);
}

static char base[] = "/tmp/skiff-test-rootfs-XXXXXX";

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", base, path);
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void make(const char *path)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", base, path);
    assert_int_equal(mkdir(full, 0755), 0);
}

static void link_to(const char *target, const char *path)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", base, path);
    assert_int_equal(symlink(target, full), 0);
}

// Two layers; links that try to leave; a fifo that must not hang; a file in the lower layer behind a link in the upper one.
static void test_rootfs(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(base));
    make("upper"), make("upper/etc"), make("lower"), make("lower/etc"), make("lower/data");
    put("secret", "host\n");
    put("lower/etc/passwd", "lower\n");
    put("lower/etc/group", "group\n");
    put("upper/etc/passwd", "upper\n");
    put("lower/data/real", "real\n");
    link_to("../../../../../../secret", "upper/etc/escape");
    link_to("/data/real", "upper/etc/absolute");
    link_to("../data/real", "upper/etc/relative");
    link_to("loop", "upper/etc/loop");
    char fifo[256], top[256], bottom[256];
    snprintf(fifo, sizeof fifo, "%s/upper/etc/fifo", base);
    assert_int_equal(mkfifo(fifo, 0644), 0);
    struct rootfs root = { 0 };
    snprintf(top, sizeof top, "%s/upper", base);
    snprintf(bottom, sizeof bottom, "%s/lower", base);
    assert_int_equal(rootfs_add(&root, top), 0);
    assert_int_equal(rootfs_add(&root, bottom), 0);
    static const struct {
        const char *path;
        int result;
        const char *text;
    } rows[] = {
        { "/etc/passwd", 0, "upper\n" },  { "/etc/group", 0, "group\n" }, { "/etc/absolute", 0, "real\n" },
        { "/etc/relative", 0, "real\n" }, { "/etc/escape", -ENOENT, "" }, { "/etc/loop", -ELOOP, "" },
        { "/etc/fifo", -EINVAL, "" },     { "/etc", -EINVAL, "" },        { "/../secret", -ENOENT, "" },
        { "/etc/missing", -ENOENT, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str text = STR_INIT;
        int r = rootfs_read(&root, rows[i].path, &text);
        if (r != rows[i].result || (r == 0 && !streq(text.ptr, rows[i].text)))
            fail_msg("%s: %d \"%s\"", rows[i].path, r, text.ptr);
        str_done(&text);
    }
    rootfs_done(&root);
}

static int clean(void **state)
{
    (void)state;
    return base[strlen(base) - 1] == 'X' ? 0 : dir_remove_all_at(AT_FDCWD, base);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_words),
                                        cmocka_unit_test_teardown(test_rootfs, clean) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
