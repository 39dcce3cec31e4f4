#include "cli/cp_path.h"

#include "base/mem.h"
#include "base/str.h"

#include "../test.h"

static void arguments_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *argument, *container, *path;
    } cases[] = {
        { "box:/etc", "box", "/etc" },
        { "box:etc", "box", "etc" },
        { "box:a:b", "box", "a:b" },
        { "box:", "box", "" },
        { "/a:b", NULL, "/a:b" },
        { "./a:b", NULL, "./a:b" },
        { "../box:x", NULL, "../box:x" },
        { "file", NULL, "file" },
        { "-", NULL, "-" },
        { ":x", NULL, ":x" },
        { "host/box:/x", "host/box", "/x" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *container CLEANUP(cleanup_free) = NULL, *path CLEANUP(cleanup_free) = NULL;
        cp_split(cases[i].argument, &container, &path);
        assert_true(streq(container, cases[i].container));
        assert_string_equal(path, cases[i].path);
    }
}

static void paths_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *path, *clean, *kept, *base, *directory;
    } cases[] = {
        { "/a/b", "/a/b", "/a/b", "b", "/a" },
        { "/a/b/", "/a/b", "/a/b/", "b", "/a" },
        { "/a/b/.", "/a/b", "/a/b/.", ".", "/a/b" },
        { "/", "/", "/", "/", "/" },
        { "/.", "/", "/.", ".", "/" },
        { ".", ".", ".", ".", "." },
        { "a", "a", "a", "a", "." },
        { "/../a//./b/..", "/a", "/a", "a", "/" },
        { "../../x", "../../x", "../../x", "x", "../.." },
        { "a/..", ".", ".", ".", "." },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *clean CLEANUP(cleanup_free) = cp_clean(cases[i].path);
        char *kept CLEANUP(cleanup_free) = cp_clean_keeping_end(cases[i].path);
        char *base CLEANUP(cleanup_free) = cp_base(cases[i].path);
        char *directory CLEANUP(cleanup_free) = cp_directory(cases[i].path);
        assert_string_equal(clean, cases[i].clean);
        assert_string_equal(kept, cases[i].kept);
        assert_string_equal(base, cases[i].base);
        assert_string_equal(directory, cases[i].directory);
    }
}

// The table in Docker's reference of `docker cp`.
static void destinations_are_planned(void **state)
{
    (void)state;
    enum { NOTHING, FILE_THERE, DIRECTORY_THERE };
    static const struct {
        bool source_is_directory;
        const char *name, *destination;
        int there;
        const char *directory, *as, *error;
    } cases[] = {
        { false, "f", "/x/new", NOTHING, "/x", "new", NULL },
        { false, "f", "/x/new/", NOTHING, NULL, NULL, "no such directory" },
        { false, "f", "/x/old", FILE_THERE, "/x", "old", NULL },
        { false, "f", "/x", DIRECTORY_THERE, "/x", "f", NULL },
        { true, "d", "/x/new", NOTHING, "/x", "new", NULL },
        { true, "d", "/x/new/", NOTHING, "/x", "new", NULL },
        { true, ".", "/x/new", NOTHING, "/x", "new", NULL },
        { true, "d", "/x/old", FILE_THERE, NULL, NULL, "cannot copy directory" },
        { true, "d", "/x", DIRECTORY_THERE, "/x", "d", NULL },
        { true, ".", "/x", DIRECTORY_THERE, "/x", ".", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cp_plan plan CLEANUP(cp_plan_done) = { 0 };
        struct error err = { 0 };
        const struct cp_end source = { "s", true, cases[i].source_is_directory };
        const struct cp_end end = { cases[i].destination, cases[i].there != NOTHING,
                                    cases[i].there == DIRECTORY_THERE };
        int r = cp_plan(&source, cases[i].name, &end, &plan, &err);
        assert_int_equal(r, cases[i].error ? -1 : 0);
        if (cases[i].error) {
            assert_string_equal(err.message, cases[i].error);
            continue;
        }
        assert_string_equal(plan.directory, cases[i].directory);
        assert_string_equal(plan.name, cases[i].as);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_split),
        cmocka_unit_test(paths_are_taken_apart),
        cmocka_unit_test(destinations_are_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
