#include "../test.h"

#include "base/mem.h"
#include "image/reference.h"

#include <string.h>

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void good_ones(void **state)
{
    (void)state;
    const struct {
        const char *text, *full, *familiar, *name;
    } cases[] = {
        { "busybox", "docker.io/library/busybox:latest", "busybox:latest", "busybox" },
        { "busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36", "busybox" },
        { "docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest", "busybox" },
        { "index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest", "a/b" },
        { "library/busybox", "docker.io/library/busybox:latest", "busybox:latest", "busybox" },
        { "a/b", "docker.io/a/b:latest", "a/b:latest", "a/b" },
        { "quay.io/a/b:t", "quay.io/a/b:t", "quay.io/a/b:t", "quay.io/a/b" },
        { "localhost/x", "localhost/x:latest", "localhost/x:latest", "localhost/x" },
        { "localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest", "localhost:5000/x" },
        { "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest", "[::1]:5000/x" },
        { "UPPER/x", "UPPER/x:latest", "UPPER/x:latest", "UPPER/x" },
        { "a__b/c-d---e.f_g", "docker.io/a__b/c-d---e.f_g:latest", "a__b/c-d---e.f_g:latest",
          "a__b/c-d---e.f_g" },
        { "x@sha256:" HEX, "docker.io/library/x@sha256:" HEX, "x@sha256:" HEX, "x" },
        { "x:t@sha256:" HEX, "docker.io/library/x:t@sha256:" HEX, "x:t@sha256:" HEX, "x" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reference r;
        struct error err;
        if (reference_parse(cases[i].text, 1, &r, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.message);
        char *full CLEANUP(cleanup_free) = reference_full(&r),
                   *familiar CLEANUP(cleanup_free) = reference_familiar(&r);
        char *name CLEANUP(cleanup_free) = reference_familiar_name(&r);
        assert_string_equal(full, cases[i].full);
        assert_string_equal(familiar, cases[i].familiar);
        assert_string_equal(name, cases[i].name);
        reference_done(&r);
    }
}

static void bad_ones(void **state)
{
    (void)state;
    char long_name[300], long_tag[140] = "x:";
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    memset(long_tag + 2, 't', 129);
    const struct {
        const char *text, *message;
    } cases[] = {
        { "", "invalid reference format" },
        { "Busybox", "invalid reference format: repository name must be lowercase" },
        { "a/B", "invalid reference format: repository name must be lowercase" },
        { "busybox:", "invalid reference format" },
        { "busybox:-x", "invalid reference format" },
        { ":tag", "invalid reference format" },
        { "a//b", "invalid reference format" },
        { "/a", "invalid reference format" },
        { "a/", "invalid reference format" },
        { "../x", "invalid reference format" },
        { "a/../b", "invalid reference format" },
        { "a_-b", "invalid reference format" },
        { "a___b", "invalid reference format" },
        { "-a", "invalid reference format" },
        { "a b", "invalid reference format" },
        { "x@sha256:abc", "invalid reference format" },
        { "x@md5:" HEX, "invalid reference format" },
        { "-host.com/x", "invalid reference format" },
        { "host:port/x", "invalid reference format" },
        { "host:/x", "invalid reference format" },
        { "a\xc3\xa4", "invalid reference format" },
        { HEX, "invalid repository name (" HEX "), cannot specify 64-byte hexadecimal strings" },
        { long_name, "repository name must not be more than 255 characters" },
        { long_tag, "invalid reference format" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reference r;
        struct error err;
        if (reference_parse(cases[i].text, 1, &r, &err) == 0)
            fail_msg("\"%s\" was taken", cases[i].text);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.kind, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(good_ones), cmocka_unit_test(bad_ones) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
