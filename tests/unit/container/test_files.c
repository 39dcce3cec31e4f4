// What of diff and archive is pure: the comparison of a prepared upper directory, and how a path is described.
#include "base/fd.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"
#include "container/archive.h"
#include "container/changes.h"

#include "../test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void put(int dir, const char *name, const char *text, mode_t mode, int64_t mtime)
{
    const struct timespec times[2] = { { .tv_sec = mtime }, { .tv_sec = mtime } };
    if (!text)
        assert_int_equal(mkdirat(dir, name, mode), 0);
    else
        assert_int_equal(file_replace_at(dir, name, mode, text, strlen(text), false), 0);
    assert_int_equal(utimensat(dir, name, times, 0), 0);
}

static void an_upper_directory_is_compared(void **state)
{
    (void)state;
    char path[] = "/tmp/skiff-changes-XXXXXX";
    struct error err = { 0 };
    json_t *changes CLEANUP(json_cleanup) = NULL;
    assert_non_null(mkdtemp(path));
    int top CLEANUP(cleanup_close) = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(top, "upper", NULL, 0755, 1);
    put(top, "lower", NULL, 0755, 1);
    int u CLEANUP(cleanup_close) = openat(top, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int l CLEANUP(cleanup_close) = openat(top, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mknodat(u, "gone", S_IFCHR, 0) < 0 || mknodat(u, "never", S_IFCHR, 0) < 0) {
        dir_remove_all_at(AT_FDCWD, path);
        skip(); // not root
    }
    put(l, "gone", "x", 0644, 1);
    put(l, "same", "x", 0644, 1); // copied up, not changed
    put(u, "same", "x", 0644, 1);
    put(l, "touched", "x", 0644, 1);
    put(u, "touched", "x", 0644, 2);
    put(l, "mode", "x", 0644, 1);
    put(u, "mode", "x", 0600, 1);
    put(l, "size", "x", 0644, 1);
    put(u, "size", "xy", 0644, 1);
    put(l, "quiet", NULL, 0755, 1); // copied up for what came and went in it
    put(u, "quiet", NULL, 0755, 9);
    put(l, "parent", NULL, 0755, 1);
    put(u, "parent", NULL, 0755, 1);
    put(u, "parent/new", NULL, 0755, 1);
    put(u, "parent/new/file", "x", 0644, 1);
    put(l, "opaque", NULL, 0755, 1);
    put(l, "opaque/old", "x", 0644, 1);
    put(l, "opaque/kept", "x", 0644, 1);
    put(u, "opaque", NULL, 0755, 1);
    put(u, "opaque/kept", "x", 0644, 1);
    int opaque CLEANUP(cleanup_close) = openat(u, "opaque", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fsetxattr(opaque, "trusted.overlay.opaque", "y", 1, 0), 0);
    put(l, "turned", NULL, 0755, 1);
    put(l, "turned/x", "x", 0644, 1);
    put(u, "turned", "file", 0644, 1);
    put(l, "also", "file", 0644, 1);
    put(u, "also", NULL, 0755, 1);
    put(u, "also/x", "x", 0644, 1);
    assert_int_equal(changes_between(u, l, &changes, &err), 0);
    struct str text CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *c = json_array_get(changes, i);
        str_appendf(&text, "%c%s ", "CAD"[json_get_int(c, "Kind", 0)], json_get_string(c, "Path", "?"));
    }
    assert_int_equal(dir_remove_all_at(AT_FDCWD, path), 0);
    assert_string_equal(text.ptr, "C/also A/also/x D/gone C/mode C/opaque D/opaque/old C/parent A/parent/new "
                                  "A/parent/new/file C/size C/touched C/turned ");
}

static void modes_are_go_s(void **state)
{
    (void)state;
    assert_int_equal(container_go_mode(S_IFREG | 0644), 0644);
    assert_int_equal(container_go_mode(S_IFDIR | 01777), 2148532735u);
    assert_int_equal(container_go_mode(S_IFLNK | 0777), 134218239u);
    assert_int_equal(container_go_mode(S_IFREG | 04755), 0755u | 1u << 23);
    assert_int_equal(container_go_mode(S_IFREG | 02755), 0755u | 1u << 22);
    assert_int_equal(container_go_mode(S_IFCHR | 0666), 0666u | 1u << 26 | 1u << 21);
    assert_int_equal(container_go_mode(S_IFBLK | 0660), 0660u | 1u << 26);
    assert_int_equal(container_go_mode(S_IFIFO | 0600), 0600u | 1u << 25);
    assert_int_equal(container_go_mode(S_IFSOCK | 0600), 0600u | 1u << 24);
}

static void paths_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "/", "/" },       { "//", "/" },   { "/a/b", "b" }, { "a", "a" },
        { "/a/b//", "b" },  { "/a/.", "." }, { ".", "." },    { "/.", "." },
        { "/a/b/..", "a" }, { "/..", "/" },  { "../a", "a" }, { "/a/../..", "/" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name CLEANUP(cleanup_free) = container_path_base(cases[i][0]);
        assert_string_equal(name, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upper_directory_is_compared),
        cmocka_unit_test(modes_are_go_s),
        cmocka_unit_test(paths_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
