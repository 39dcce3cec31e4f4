#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/ignore.h"

#include <string.h>

static struct dockerignore ignore_of(const char *text)
{
    struct dockerignore ignore;
    struct error err;
    if (dockerignore_read(text, strlen(text), &ignore, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return ignore;
}

// The path through the walk's way of asking, folder by folder.
static bool walked(const struct dockerignore *ignore, const char *path)
{
    bool parent[16] = { 0 }, own[16];
    bool is_out = false;
    assert_true(ignore->count <= 16);
    const bool *above = NULL;
    for (const char *end = path; end;) {
        end = strchr(end + (end != path), '/');
        char *part CLEANUP(cleanup_free) = xstrndup(path, end ? (size_t)(end - path) : strlen(path));
        is_out = dockerignore_matches_below(ignore, part, above, own);
        memcpy(parent, own, sizeof parent);
        above = parent;
    }
    return is_out;
}

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *text, *out, *in; // paths, separated by blanks
    } cases[] = {
        { "foo", "foo foo/bar foo/a/b", "food a/foo fo" },
        { "/foo", "foo foo/x", "a/foo" },
        { "foo/", "foo foo/x", "a/foo" },
        { "./a//b/../c", "a/c a/c/d", "a/b a" },
        { "*", "a a/b .x", "" },
        { "*.c", "a.c .c a.c/x", "a.h d/a.c" },
        { "*/*.c", "d/a.c", "a.c d/e/a.c" },
        { "?oo", "foo", "oo fooo" },
        { "a?c",
          "abc a\xc3\xa9"
          "c",
          "a/c ac" },
        { "**", "a a/b", "" },
        { "**/foo", "foo a/foo a/b/foo a/foo/x", "afoo foox" },
        { "**foo", "foo a/foo afoo", "foox" },
        { "foo/**", "foo/x foo/x/y", "foo food/x" },
        { "**/*.go", "a.go d/a.go d/e/a.go", "a.c" },
        { "a/**/b", "a/b a/x/b a/x/y/b", "a/xb ab" },
        { "**/a/**", "a/x q/a/x", "a ba/x" },
        { "**/**", "a a/b", "" },
        { "[a-c]x", "ax cx", "dx a" },
        { "[^a]x", "bx", "ax" },
        { "[a\\]]x", "]x ax", "\\x" },
        { "a\\*b", "a*b", "axb" },
        { "a.b+(c)|$^{}", "a.b+(c)|$^{}", "axb" },
        { "# no comment\n  spaced  \n#x\n #y", "spaced #y", "x" },
        { "\xef\xbb\xbf"
          "bom\r\n",
          "bom", "x" },
        { "*\n!keep", "a", "keep keep/x" },
        { "dir\n!dir/keep", "dir/x dir", "dir/keep dir/keep/y" },
        { "*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md README-x.md" },
        { "!a\na", "a", "b" },
        { "a\n! /a/b \n", "a/c", "a/b" },
        { "../x", "", "x" },
        { ".", "", "a" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dockerignore CLEANUP(dockerignore_done) ignore = ignore_of(cases[i].text);
        for (int want = 0; want < 2; want++) {
            char **paths CLEANUP(strv_freep) = strv_split(want ? cases[i].out : cases[i].in, " ", false);
            for (char **path = paths; path && *path; path++) {
                if (dockerignore_matches(&ignore, *path) != want || walked(&ignore, *path) != want)
                    fail_msg("%s on %s: not %d", cases[i].text, *path, want);
            }
        }
    }
}

static void taking_back(void **state)
{
    (void)state;
    struct dockerignore CLEANUP(dockerignore_done) ignore = ignore_of("*\n!a/b/c\n!d/*.x\n!**/e\n");
    struct dockerignore CLEANUP(dockerignore_done) plain = ignore_of("*\n!a/b/c\n!d/x*\n");
    assert_true(ignore.has_exceptions);
    assert_true(dockerignore_may_take_back(&ignore, "zzz")); // **/e may be anywhere
    assert_true(dockerignore_may_take_back(&plain, "a"));
    assert_true(dockerignore_may_take_back(&plain, "a/b"));
    assert_false(dockerignore_may_take_back(&plain, "a/c"));
    assert_false(dockerignore_may_take_back(&plain, "ab"));
    assert_true(dockerignore_may_take_back(&plain, "d"));
    assert_true(dockerignore_may_take_back(&plain, "d/xyz"));
    assert_false(dockerignore_may_take_back(&plain, "e"));
    assert_true(dockerignore_excludes_root(&plain));
    struct dockerignore CLEANUP(dockerignore_done) other = ignore_of("a*\n!**\n");
    assert_false(dockerignore_excludes_root(&other));
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "!/..", "illegal exclusion pattern: \"!\"" }, { "a\n!\n", "illegal exclusion pattern: \"!\"" },
        { "[", "syntax error in pattern: [" },          { "[]a]", "syntax error in pattern: []a]" },
        { "[a-]", "syntax error in pattern: [a-]" },    { "[^]", "syntax error in pattern: [^]" },
        { "x\\", "syntax error in pattern: x\\" },      { "!a[", "syntax error in pattern: a[" },
        { "[-x]", "syntax error in pattern: [-x]" },
    };
    struct dockerignore ignore;
    struct error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (dockerignore_read(bad[i].text, strlen(bad[i].text), &ignore, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(err.message, bad[i].message);
    }
    assert_int_equal(dockerignore_read("a\0b", 3, &ignore, &err), -1);
    struct str many CLEANUP(str_done) = STR_INIT;
    for (int i = 0; i <= DOCKERIGNORE_PATTERNS_MAX; i++)
        str_append(&many, "x\n");
    assert_int_equal(dockerignore_read(many.ptr, many.len, &ignore, &err), -1);
    assert_string_equal(err.message, ".dockerignore has more than 10000 patterns");
}

static void cleaning(void **state)
{
    (void)state;
    static const struct {
        const char *path, *want;
    } cases[] = {
        { "", "." },
        { "a//b/./c", "a/b/c" },
        { "a/..", "." },
        { "../../a/..", "../.." },
        { "/..", "/" },
        { "/a/..", "/" },
        { "/a/b/..", "/a" },
        { "a/b/../../c", "c" },
        { "..a", "..a" },
        { "/", "/" },
        { "../a/b", "../a/b" },
        { "a/../..", ".." },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got CLEANUP(cleanup_free) = path_cleaned(cases[i].path, strlen(cases[i].path));
        assert_string_equal(got, cases[i].want);
    }
    char *name CLEANUP(cleanup_free) = dockerignore_name_for("docker/web.Dockerfile");
    assert_string_equal(name, "docker/web.Dockerfile.dockerignore");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(taking_back),
        cmocka_unit_test(faults),
        cmocka_unit_test(cleaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
