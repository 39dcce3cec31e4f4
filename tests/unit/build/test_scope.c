#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/ports.h"
#include "build/dockerfile/scope.h"
#include "build/dockerfile/words.h"

#include <string.h>

static char *build_arguments[] = { (char[]){ "given=from outside" }, (char[]){ "TARGETVARIANT=v9" },
                                   (char[]){ "https_proxy=http://p" }, (char[]){ "FTP_PROXY=f" }, NULL };

static const struct dockerfile_inputs inputs = { .build_arguments = build_arguments,
                                                 .build_platform = "linux/amd64",
                                                 .target_platform = "linux/arm64/v8" };

static struct dockerfile file_of(const char *text)
{
    struct dockerfile file;
    struct dockerfile_error err;
    if (dockerfile_read(text, strlen(text), &file, &err) < 0)
        fail_msg("line %zu: %s", err.lines.first, err.cause.message);
    return file;
}

static void is_list(char *const *list, const char *want)
{
    char *joined CLEANUP(cleanup_free) = list ? strv_join(list, "|") : xstrdup("");
    assert_string_equal(joined, want);
}

// Run the first stage of a file; what goes wrong at its last instruction is returned.
static int run_stage(struct dockerfile *file, char *const *environment, struct dockerfile_scope *scope,
                     char ***missing, struct dockerfile_error *err)
{
    char **globals CLEANUP(strv_freep) = NULL;
    assert_int_equal(dockerfile_globals_read(file, &inputs, true, &globals, err), 0);
    const struct dockerfile_expansion how = { &inputs, globals, file->directives.escape, missing };
    dockerfile_scope_init(scope, environment);
    int r = 0;
    for (size_t i = 0; i < file->stages[0].count && r == 0; i++)
        r = dockerfile_scope_apply(scope, &file->stages[0].instructions[i], &how, err);
    return r;
}

static void globals(void **state)
{
    (void)state;
    struct dockerfile CLEANUP(dockerfile_done) file =
        file_of("ARG a=1 b=${a}2 given=default none\nARG a=$b-$none$TARGETARCH\nFROM x AS last");
    char **values CLEANUP(strv_freep) = NULL, **defaults CLEANUP(strv_freep) = NULL;
    struct dockerfile_error err;
    assert_int_equal(dockerfile_globals_read(&file, &inputs, true, &values, &err), 0);
    assert_string_equal(words_value(values, "a"), "12-arm64");
    assert_string_equal(words_value(values, "given"), "from outside");
    assert_null(words_value(values, "none"));
    assert_string_equal(words_value(values, "TARGETPLATFORM"), "linux/arm64/v8");
    assert_string_equal(words_value(values, "TARGETVARIANT"), "v9");
    assert_string_equal(words_value(values, "BUILDPLATFORM"), "linux/amd64");
    assert_string_equal(words_value(values, "BUILDVARIANT"), "");
    assert_string_equal(words_value(values, "TARGETSTAGE"), "last");
    assert_int_equal(dockerfile_globals_read(&file, &inputs, false, &defaults, &err), 0);
    assert_string_equal(words_value(defaults, "given"), "default");
}

static void arguments_and_environment(void **state)
{
    (void)state;
    struct dockerfile CLEANUP(dockerfile_done) file =
        file_of("ARG version=3 unused=1\nFROM x\nENV early=$version\nARG version given=inner "
                "local=${version}.1 TARGETARCH\n"
                "ENV a=1 b=$a c=$base\nENV a=2 b=$a\nARG a=3\nENV d=$a-$local-$given-$TARGETARCH-$unused\n");
    struct dockerfile_scope CLEANUP(dockerfile_scope_done) scope = { 0 };
    char **missing CLEANUP(strv_freep) = NULL;
    char *environment[] = { (char[]){ "base=of the base" }, NULL };
    struct dockerfile_error err;
    assert_int_equal(run_stage(&file, environment, &scope, &missing, &err), 0);
    assert_string_equal(words_value(scope.environment, "early"), "");
    assert_string_equal(words_value(scope.environment, "a"), "2");
    assert_string_equal(words_value(scope.environment, "b"), "1"); // of the line before
    assert_string_equal(words_value(scope.environment, "c"), "of the base");
    assert_string_equal(words_value(scope.environment, "d"), "3-3.1-from outside-arm64-");
    assert_null(words_value(scope.environment, "version"));
    assert_non_null(strstr(words_value(scope.environment, "PATH"), "/usr/bin"));
    is_list(scope.arguments, "version|given|local|TARGETARCH|a");
    is_list(missing, "version|a|unused");

    struct dockerfile_scope CLEANUP(dockerfile_scope_done) child = { 0 };
    dockerfile_scope_copy(&child, &scope);
    assert_string_equal(words_value(child.values, "local"), "3.1");
}

static void where_variables_are_replaced(void **state)
{
    (void)state;
    struct dockerfile CLEANUP(dockerfile_done) file =
        file_of("FROM x\nENV v=val p=80 q=\"1 2-3\"\nCOPY --chown=$v --chmod=$v --exclude=$v \"$v\" /$v\n"
                "COPY <<A <<'B' /x\n\"$v\" \\$v\nA\n$v\nB\nADD --checksum=$v a b\nLABEL $v=$v\nEXPOSE $p "
                "$q\nUSER $v\nWORKDIR /$v\n"
                "VOLUME [\"$v\"]\nSTOPSIGNAL $v\nRUN --mount=type=cache,target=/$v,id=$v echo $v\nCMD "
                "$v\nENTRYPOINT [\"$v\"]\n"
                "HEALTHCHECK CMD $v\nSHELL [\"$v\"]\nONBUILD RUN $v\nCOPY --from=x '$v' \\$v /\n");
    struct dockerfile_scope CLEANUP(dockerfile_scope_done) scope = { 0 };
    struct dockerfile_error err;
    if (run_stage(&file, NULL, &scope, NULL, &err) < 0)
        fail_msg("%s", err.cause.message);
    const struct dockerfile_instruction *i = file.stages[0].instructions + 1;
    assert_string_equal(i->copy.chown, "val");
    assert_string_equal(i->copy.chmod, "val");
    is_list(i->copy.excludes, "$v");
    is_list(i->copy.sources, "val");
    assert_string_equal(i->copy.destination, "/val");
    i++;
    assert_string_equal(i->copy.files[0].content, "\"val\" $v\n");
    assert_string_equal(i->copy.files[1].content, "$v\n");
    assert_string_equal((++i)->copy.checksum, "val");
    i++;
    assert_string_equal(i->pairs.items[0].name, "val");
    is_list((++i)->words, "80|1|2-3");
    assert_string_equal((++i)->text, "val");
    assert_string_equal((++i)->text, "/val");
    is_list((++i)->words, "val");
    assert_string_equal((++i)->text, "val");
    i++;
    assert_string_equal(i->run.mounts[0].target, "/val");
    assert_string_equal(i->run.mounts[0].id, "val");
    is_list(i->run.command.words, "echo $v");
    is_list((++i)->command.words, "$v");
    is_list((++i)->command.words, "$v");
    is_list((++i)->healthcheck.command.words, "$v");
    is_list((++i)->words, "$v");
    assert_string_equal((++i)->text, "RUN $v");
    is_list((++i)->copy.sources, "$v|$v");
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        size_t line;
    } bad[] = {
        { "FROM x\n\nUSER ${a:?who}\n", "failed to process \"${a:?who}\": a: who", 3 },
        { "FROM x\nRUN --mount=type=nope true\n", "unsupported mount type \"nope\"", 2 },
        { "FROM x\nVOLUME $none\n", "VOLUME specified can not be an empty string", 2 },
        { "FROM x\nARG a=${\n", "failed to process \"${\": syntax error: missing '}'", 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dockerfile CLEANUP(dockerfile_done) file = file_of(bad[i].text);
        struct dockerfile_scope CLEANUP(dockerfile_scope_done) scope = { 0 };
        struct dockerfile_error err;
        assert_int_equal(run_stage(&file, NULL, &scope, NULL, &err), -1);
        assert_string_equal(err.cause.message, bad[i].message);
        assert_int_equal(err.lines.first, bad[i].line);
    }
}

static void growth_is_bounded(void **state)
{
    (void)state;
    struct str text CLEANUP(str_done) = STR_INIT;
    struct dockerfile_error err;
    str_append(&text, "FROM x\nENV a=0123456789\n");
    for (int i = 0; i < 40; i++)
        str_append(&text, "ENV a=$a$a\n");
    struct dockerfile CLEANUP(dockerfile_done) file = file_of(text.ptr);
    struct dockerfile_scope CLEANUP(dockerfile_scope_done) scope = { 0 };
    assert_int_equal(run_stage(&file, NULL, &scope, NULL, &err), -1);
    assert_non_null(strstr(err.cause.message, "variables expand to more than"));
}

static void proxies(void **state)
{
    (void)state;
    char **environment CLEANUP(strv_freep) = dockerfile_proxy_environment(build_arguments);
    is_list(environment, "HTTPS_PROXY=http://p|https_proxy=http://p|FTP_PROXY=f|ftp_proxy=f");
}

static void ports(void **state)
{
    (void)state;
    char *words[] = { (char[]){ "80" },
                      (char[]){ "80/TCP" },
                      (char[]){ "8000-8002/udp" },
                      (char[]){ "127.0.0.1:1:81" },
                      (char[]){ "[::1]::82/sctp" },
                      (char[]){ "0" },
                      NULL };
    char **list CLEANUP(strv_freep) = NULL;
    struct dockerfile_port port;
    struct error err;
    assert_int_equal(dockerfile_ports_list(words, &list, &err), 0);
    is_list(list, "80/tcp|8000/udp|8001/udp|8002/udp|81/tcp|82/sctp|0/tcp");
    assert_int_equal(dockerfile_port_read("80/TCP", &port, &err), 0);
    assert_true(port.has_protocol_casing && !port.has_host_part);
    assert_int_equal(dockerfile_port_read("1:80", &port, &err), 0);
    assert_true(port.has_host_part);
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "/tcp", "invalid port: \"/tcp\": no port specified" },
        { "80/xyz", "invalid port: \"80/xyz\": invalid proto: xyz" },
        { "65536", "invalid containerPort: 65536" },
        { "9-8", "invalid containerPort: 9-8" },
        { "a:80", "invalid hostPort: a" },
        { "1.2.3:1:80", "invalid IP address: 1.2.3" },
        { "1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dockerfile_port_read(bad[i].text, &port, &err), -1);
        assert_string_equal(err.message, bad[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globals),
        cmocka_unit_test(arguments_and_environment),
        cmocka_unit_test(where_variables_are_replaced),
        cmocka_unit_test(faults),
        cmocka_unit_test(growth_is_bounded),
        cmocka_unit_test(proxies),
        cmocka_unit_test(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
