#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/outline.h"

#include <string.h>

static const char text[] = "# version is of the base\n"
                           "ARG version=3\n"
                           "ARG registry=r.io image=$registry/a\n"
                           "ARG unused=1\n"
                           "# tools is where things are made\n"
                           "FROM $image:$version AS tools\n"
                           "ARG version local=1 given=2\n"
                           "RUN --mount=type=secret,id=key,required --mount=type=ssh make $local\n"
                           "FROM --platform=$BUILDPLATFORM scratch AS other\n"
                           "ARG elsewhere\n"
                           "RUN --mount=type=secret,target=/run/tok x\n"
                           "FROM tools\n"
                           "RUN --mount=type=secret,source=key --mount=type=ssh,id=git,required y\n";

static char *build_arguments[] = { (char[]){ "given=from outside" }, NULL };

static struct dockerfile_outline outline_of(const char *target)
{
    const struct dockerfile_inputs inputs = { .build_arguments = build_arguments,
                                              .build_platform = "linux/amd64",
                                              .target_platform = "linux/amd64",
                                              .target = target };
    struct dockerfile_outline outline;
    struct dockerfile_error err;
    if (dockerfile_outline(text, strlen(text), &inputs, &outline, &err) < 0)
        fail_msg("line %zu: %s", err.lines.first, err.cause.message);
    return outline;
}

static char *arguments_of(const struct dockerfile_outline *outline)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; i < outline->argument_count; i++)
        str_appendf(&out, "%zu %s=%s;", outline->arguments[i].lines.first, outline->arguments[i].name,
                    outline->arguments[i].value ? outline->arguments[i].value : "(none)");
    return str_take(&out);
}

static void targets(void **state)
{
    (void)state;
    struct dockerfile_targets CLEANUP(dockerfile_targets_done) list = { 0 };
    struct dockerfile_error err;
    assert_int_equal(dockerfile_targets_list(text, strlen(text), &list, &err), 0);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0].name, "tools");
    assert_string_equal(list.items[0].description, "is where things are made");
    assert_string_equal(list.items[0].base, "$image:$version");
    assert_string_equal(list.items[1].platform, "$BUILDPLATFORM");
    assert_null(list.items[2].name);
    assert_true(list.items[2].is_default && !list.items[0].is_default);
    assert_int_equal(list.items[2].lines.first, 12);
    assert_int_equal(dockerfile_targets_list("FRM", 3, &list, &err), -1);
}

static void outline(void **state)
{
    (void)state;
    struct dockerfile_outline CLEANUP(dockerfile_outline_done) last = outline_of(NULL);
    char *arguments CLEANUP(cleanup_free) = arguments_of(&last);
    assert_string_equal(arguments,
                        "2 version=3;3 image=r.io/a;3 registry=r.io;7 given=from outside;7 local=1;");
    assert_string_equal(last.arguments[0].description, "is of the base");
    assert_null(last.name);
    assert_int_equal(last.secret_count, 1);
    assert_string_equal(last.secrets[0].name, "key");
    assert_true(last.secrets[0].is_required);
    assert_int_equal(last.secrets[0].lines.first, 8);
    assert_int_equal(last.agent_count, 2);
    assert_string_equal(last.agents[0].name, "default");
    assert_false(last.agents[0].is_required);
    assert_string_equal(last.agents[1].name, "git");

    struct dockerfile_outline CLEANUP(dockerfile_outline_done) other = outline_of("other");
    char *elsewhere CLEANUP(cleanup_free) = arguments_of(&other);
    assert_string_equal(elsewhere, "10 elsewhere=(none);");
    assert_string_equal(other.name, "other");
    assert_string_equal(other.secrets[0].name, "tok");

    struct dockerfile_outline CLEANUP(dockerfile_outline_done) tools = outline_of("tools");
    assert_string_equal(tools.description, "is where things are made");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(targets), cmocka_unit_test(outline) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
