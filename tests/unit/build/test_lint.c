#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/lint.h"

#include <string.h>

static char *java[] = { (char[]){ "JAVA_HOME=/java" }, NULL }, *empty[] = { NULL };

static char *const *environment_of(void *data, const char *image)
{
    (void)data;
    return streq(image, "java") ? java : streq(image, "unknown") ? NULL : empty;
}

static struct lint_report lint(const char *text, const char *target, const char *ignored)
{
    const struct dockerfile_inputs inputs = { .build_platform = "linux/amd64",
                                              .target_platform = "linux/amd64",
                                              .target = target };
    struct dockerignore ignore CLEANUP(dockerignore_done) = { 0 };
    struct lint_options options = { .find_environment = environment_of };
    struct lint_report report;
    struct dockerfile_error err;
    if (ignored) {
        assert_int_equal(dockerignore_read(ignored, strlen(ignored), &ignore, &err.cause), 0);
        options.ignore = &ignore;
    }
    if (dockerfile_lint(text, strlen(text), &inputs, &options, &report, &err) < 0)
        fail_msg("%s: %s", text, err.cause.message);
    return report;
}

// "line Rule: message" of each warning, a line each.
static char *told(const struct lint_report *report)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    for (size_t i = 0; i < report->count; i++)
        str_appendf(&out, "%zu %s: %s\n", report->warnings[i].lines.first,
                    lint_rule_name(report->warnings[i].rule), report->warnings[i].message);
    return str_take(&out);
}

static void expect(const char *text, const char *ignored, const char *want)
{
    struct lint_report CLEANUP(lint_report_done) report = lint(text, NULL, ignored);
    char *got CLEANUP(cleanup_free) = told(&report);
    if (report.has_error)
        fail_msg("%s: %s", text, report.error.cause.message);
    if (!streq(got ? got : "", want))
        fail_msg("%s\ngave\n%swanted\n%s", text, got, want);
}

static void each_rule(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ignored, *want;
    } cases[] = {
        { "FROM a AS Base\n", NULL, "1 StageNameCasing: Stage name 'Base' should be lowercase\n" },
        { "FROM a as b\n", NULL, "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match\n" },
        { "from a AS b\n", NULL, "1 FromAsCasing: 'AS' and 'from' keywords' casing do not match\n" },
        { "FROM a\nRUN x \\\n\n y\n", NULL, "4 NoEmptyContinuation: Empty continuation line\n" },
        { "FROM a\nrun x\nRUN y\nEnv a=b\n", NULL,
          "2 ConsistentInstructionCasing: Command 'run' should match the case of the command majority "
          "(uppercase)\n"
          "4 ConsistentInstructionCasing: Command 'Env' should match the case of the command majority "
          "(uppercase)\n" },
        { "from a\nrun x\nRUN y\n", NULL,
          "3 ConsistentInstructionCasing: Command 'RUN' should match the case of the command majority "
          "(lowercase)\n" },
        { "FROM a AS b\nFROM c AS b\n", NULL,
          "2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique\n" },
        { "FROM a AS scratch\n", NULL,
          "1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\"\n" },
        { "FROM a\nCMD x\n", NULL,
          "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related "
          "to OS signals\n" },
        { "FROM a\nSHELL [\"b\"]\nENTRYPOINT x\nCMD [\"y\"]\n", NULL, "" },
        { "FROM a\nMAINTAINER me\n", NULL,
          "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label\n" },
        { "ARG version=1 bare=a\nFROM a:1$versoin\nFROM a:1$bare\n", NULL,
          "2 UndefinedArgInFrom: FROM argument 'versoin' is not declared (did you mean version?)\n" },
        { "FROM a\nENV abc=1\nUSER $abd\nWORKDIR /$PATH\n", NULL,
          "3 UndefinedVar: Usage of undefined variable '$abd' (did you mean $abc?)\n" },
        { "FROM java\nENV x=$JAVA_HOME y=$NOTHING\n", NULL,
          "2 UndefinedVar: Usage of undefined variable '$NOTHING'\n" },
        { "FROM unknown\nENV x=$JAVA_HOME\n", NULL, "" },
        { "FROM a\nARG x\nENV y=$x z=${w:-}\n", NULL,
          "3 UndefinedVar: Usage of undefined variable '$w' (did you mean $y?)\n" },
        { "FROM a\nCMD [\"x\"]\nCMD [\"y\"]\nHEALTHCHECK NONE\nHEALTHCHECK CMD x\n", NULL,
          "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage "
          "because only the "
          "last one will be used\n"
          "4 MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the "
          "same stage because "
          "only the last one will be used\n" },
        { "FROM a AS b\nCMD [\"x\"]\nFROM b\nCMD [\"y\"]\n", NULL, "" },
        { "FROM a\nWORKDIR x\nWORKDIR y\n", NULL,
          "2 WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image "
          "changes\n" },
        { "FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n", NULL, "" },
        { "ARG t\nFROM a:${t}\n", NULL,
          "2 InvalidDefaultArgInFrom: Default value for ARG a:${t} results in empty or invalid base image "
          "name\n" },
        { "ARG t=1\nFROM quay.io:5000/a/b-c:${t}\nFROM a@sha256:0\n", NULL, "" },
        { "FROM a\nENV x y\nLABEL q r\n", NULL,
          "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" "
          "format\n"
          "3 LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" "
          "format\n" },
        { "FROM --platform=$TARGETPLATFORM a\n", NULL,
          "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as "
          "this is the "
          "default behavior\n" },
        { "FROM --platform=$BUILDPLATFORM a\n", NULL, "" },
        { "FROM a\nARG API_KEY\nENV password=x TOKEN_FILE=y PUBLIC_KEY=z monkey=1\n", NULL,
          "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"API_KEY\")\n"
          "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
          "\"password\")\n" },
        { "FROM --platform=linux/amd64 a\n", NULL,
          "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "
          "\"linux/amd64\"\n" },
        { "FROM --platform=linux/amd64 a AS build-amd64\n", NULL, "" },
        { "FROM a\nCOPY a.o b /x/\nADD http://x/a.o c.o /\nCOPY --from=y a.o /\n", "*.o\n",
          "2 CopyIgnoredFile: Attempting to Copy file \"a.o\" that is excluded by .dockerignore\n"
          "3 CopyIgnoredFile: Attempting to Add file \"c.o\" that is excluded by .dockerignore\n" },
        { "FROM a\nCOPY . /x/\n", "*\n",
          "2 CopyIgnoredFile: Attempting to Copy file \".\" that is excluded by .dockerignore\n" },
        { "FROM a\nCOPY a.o /x/\n", "*\n!a.o\n", "" },
        { "# check=experimental=all\n# what\nFROM a AS b\n# c d\nARG c\n# x\nARG d e\n", NULL,
          "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>`\n"
          "7 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> "
          "<description>`\n" },
        { "# what\nFROM a AS b\n", NULL, "" },
        { "FROM a\nEXPOSE 80/TCP 1:81\n", NULL,
          "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, "
          "found '1:81'\n"
          "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect(cases[i].text, cases[i].ignored, cases[i].want);
    }
}

static void switches(void **state)
{
    (void)state;
    expect("# check=skip=StageNameCasing, MaintainerDeprecated\nFROM a AS B\nMAINTAINER x\nWORKDIR y\n", NULL,
           "4 WorkdirRelativePath: Relative workdir \"y\" can have unexpected results if the base image "
           "changes\n");
    expect("# check=skip=all\nFROM a AS B\nMAINTAINER x\n", NULL, "");
    expect("FROM a\n# check=skip=WorkdirRelativePath\nWORKDIR y\n# check=skip=all\nMAINTAINER x\nENV a b\n",
           NULL,
           "6 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" "
           "format\n");
    struct lint_report CLEANUP(lint_report_done) failing =
        lint("# check=error=true\nFROM a AS B\nMAINTAINER x\nMAINTAINER y\n", NULL, NULL);
    char *violation CLEANUP(cleanup_free) = lint_report_violation(&failing);
    assert_true(failing.returns_error);
    assert_string_equal(violation, "lint violation found for rules: StageNameCasing, MaintainerDeprecated");
    struct lint_report CLEANUP(lint_report_done) clean = lint("# check=error=true\nFROM a\n", NULL, NULL);
    assert_false(clean.returns_error);

    struct lint_report report;
    struct dockerfile_error err;
    const struct dockerfile_inputs inputs = { 0 };
    const struct lint_options options = { 0 };
    const char *bad = "# check=skp=all\nFROM a\n";
    assert_int_equal(dockerfile_lint(bad, strlen(bad), &inputs, &options, &report, &err), -1);
    assert_string_equal(err.cause.message, "failed to parse check options: invalid check option \"skp\"");
    assert_int_equal(err.lines.first, 1);
}

static void errors_and_targets(void **state)
{
    (void)state;
    struct lint_report CLEANUP(lint_report_done) broken = lint("FROM a AS B\nUSER ${x:?}\n", NULL, NULL);
    assert_true(broken.has_error);
    assert_int_equal(broken.error.lines.first, 2);
    assert_int_equal(broken.count, 1);
    struct lint_report CLEANUP(lint_report_done) unread = lint("FROM a\nNOPE\n", NULL, NULL);
    assert_true(unread.has_error);
    struct lint_report CLEANUP(lint_report_done) one =
        lint("FROM a AS b\nWORKDIR x\nFROM c\nWORKDIR y\n", "b", NULL);
    assert_int_equal(one.count, 1);
    assert_int_equal(one.warnings[0].lines.first, 2);
}

static void every_rule_has_its_words(void **state)
{
    (void)state;
    for (unsigned rule = 0; rule < LINT_RULE_COUNT; rule++) {
        assert_true(strlen(lint_rule_name(rule)) > 0);
        assert_true(strlen(lint_rule_description(rule)) > 0);
        assert_true(str_has_prefix(lint_rule_url(rule), "https://docs.docker.com/go/dockerfile/rule/"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule),
        cmocka_unit_test(switches),
        cmocka_unit_test(errors_and_targets),
        cmocka_unit_test(every_rule_has_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
