#include "../test.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/plan.h"

#include <string.h>

struct made {
    struct dockerfile file;
    struct dockerfile_plan plan;
    struct dockerfile_error err;
    int result;
};

static void made_done(struct made *m)
{
    if (m->result == 0)
        dockerfile_plan_done(&m->plan);
    dockerfile_done(&m->file);
}

static char *build_arguments[] = { (char[]){ "tag=9" }, NULL };

// In place, since the plan borrows the file.
static void make(struct made *m, const char *text, const char *target, char *const *contexts)
{
    const struct dockerfile_inputs inputs = { .build_arguments = build_arguments,
                                              .build_platform = "linux/amd64",
                                              .target_platform = "linux/amd64",
                                              .target = target,
                                              .contexts = contexts };
    *m = (struct made){ 0 };
    if (dockerfile_read(text, strlen(text), &m->file, &m->err) < 0)
        fail_msg("line %zu: %s", m->err.lines.first, m->err.cause.message);
    m->result = dockerfile_plan_make(&m->file, &inputs, &m->plan, &m->err);
}

static void must(const struct made *m)
{
    if (m->result < 0)
        fail_msg("line %zu: %s", m->err.lines.first, m->err.cause.message);
}

// Which stages are wanted: "+-+".
static void wants(const struct dockerfile_plan *plan, const char *want)
{
    char got[32] = { 0 };
    for (size_t i = 0; i < plan->count; i++)
        got[i] = plan->stages[i].is_wanted ? '+' : '-';
    assert_string_equal(got, want);
}

static void reading(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        size_t line;
    } bad[] = {
        { "ARG a\nRUN x\nFROM y", "no build stage in current context", 2 },
        { "ARG a\n", "dockerfile contains no stages to build", 0 },
        { "FROM a\n\nRUNN x \\\n y",
          "dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)", 3 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dockerfile file;
        struct dockerfile_error err;
        assert_int_equal(dockerfile_read(bad[i].text, strlen(bad[i].text), &file, &err), -1);
        assert_string_equal(err.cause.message, bad[i].message);
        assert_int_equal(err.lines.first, bad[i].line);
    }
}

static const char graph[] =
    "ARG tag=3\nFROM alpine:$tag AS Base\nFROM base AS tools\nRUN x\nFROM scratch AS unused\n"
    "FROM --platform=linux/$TARGETARCH debian\nCOPY --from=TOOLS a b\nCOPY --from=0 c d\n"
    "RUN --mount=from=busybox,target=/b --mount=type=bind,from=tools,target=/c x\n"
    "COPY --from=nginx:1 e f\n";

static void needs_and_target(void **state)
{
    (void)state;
    struct made m CLEANUP(made_done);
    make(&m, graph, NULL, NULL);
    must(&m);
    wants(&m.plan, "++-+");
    assert_int_equal(m.plan.stages[0].base.kind, DOCKERFILE_SOURCE_IMAGE);
    assert_string_equal(m.plan.stages[0].base.name, "alpine:9");
    assert_string_equal(m.plan.stages[0].label, "base");
    assert_int_equal(m.plan.stages[1].base.kind, DOCKERFILE_SOURCE_STAGE);
    assert_int_equal(m.plan.stages[2].base.kind, DOCKERFILE_SOURCE_SCRATCH);
    const struct dockerfile_planned_stage *last = &m.plan.stages[3];
    assert_string_equal(last->label, "stage-3");
    assert_string_equal(last->platform, "linux/amd64");
    assert_int_equal(last->need_count, 5);
    assert_int_equal(last->needs[0].source.stage, 1);
    assert_int_equal(last->needs[1].source.kind, DOCKERFILE_SOURCE_STAGE);
    assert_int_equal(last->needs[1].source.stage, 0);
    assert_string_equal(last->needs[2].source.name, "busybox");
    assert_int_equal(last->needs[3].mount, 1);
    assert_int_equal(last->needs[3].source.stage, 1);
    assert_int_equal(last->needs[4].source.kind, DOCKERFILE_SOURCE_IMAGE);

    static const struct {
        const char *target, *wants;
    } targets[] = {
        { "base", "+---" }, { "Tools", "++--" }, { "unused", "--+-" }, { "2", "--+-" }, { "", "++-+" }
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct made t CLEANUP(made_done);
        make(&t, graph, targets[i].target, NULL);
        must(&t);
        wants(&t.plan, targets[i].wants);
    }
    struct made none CLEANUP(made_done);
    make(&none, graph, "tols", NULL);
    assert_int_equal(none.result, -1);
    assert_int_equal(none.err.cause.kind, ERROR_NOT_FOUND);
    assert_string_equal(none.err.cause.message,
                        "target stage \"tols\" could not be found (did you mean tools?)");
}

static void named_contexts(void **state)
{
    (void)state;
    char *contexts[] = { (char[]){ "tools" }, (char[]){ "docker.io/library/alpine:9" }, (char[]){ "nginx:1" },
                         NULL };
    struct made m CLEANUP(made_done);
    make(&m, graph, NULL, contexts);
    must(&m);
    assert_int_equal(m.plan.stages[0].base.kind, DOCKERFILE_SOURCE_CONTEXT);
    assert_string_equal(m.plan.stages[0].base.name, "docker.io/library/alpine:9");
    assert_false(m.plan.stages[0].is_replaced);
    assert_true(m.plan.stages[1].is_replaced);
    assert_int_equal(m.plan.stages[1].base.kind, DOCKERFILE_SOURCE_CONTEXT);
    assert_int_equal(m.plan.stages[3].needs[4].source.kind, DOCKERFILE_SOURCE_CONTEXT);
    wants(&m.plan, "++-+"); // 0 by number
}

static void the_same_name_twice(void **state)
{
    (void)state;
    struct made m CLEANUP(made_done);
    make(&m, "FROM a AS x\nFROM x AS y\nFROM b AS x\nFROM x\nCOPY --from=x a b\n", NULL, NULL);
    must(&m);
    assert_int_equal(m.plan.stages[1].base.stage, 0);
    assert_int_equal(m.plan.stages[3].base.stage, 2);
    assert_int_equal(m.plan.stages[3].needs[0].source.stage, 2);
}

static void triggers(void **state)
{
    (void)state;
    struct made m CLEANUP(made_done);
    make(&m,
         "FROM a AS tool\nFROM b AS base\nONBUILD COPY --from=tool x y\nONBUILD RUN z\nFROM base AS "
         "mid\nFROM mid\n",
         NULL, NULL);
    must(&m);
    wants(&m.plan, "++++");
    assert_int_equal(m.plan.stages[2].trigger_count, 2);
    assert_int_equal(m.plan.stages[2].triggers[0]->kind, DOCKERFILE_COPY);
    assert_int_equal(m.plan.stages[2].triggers[0]->lines.first, 5);
    assert_int_equal(m.plan.stages[3].trigger_count, 0);

    char *of_image[] = { (char[]){ "COPY --from=mid q r" }, NULL }, *bad[] = { (char[]){ "FROM x" }, NULL };
    struct made i CLEANUP(made_done);
    make(&i, "FROM a AS mid\nFROM b\n", NULL, NULL);
    must(&i);
    wants(&i.plan, "-+");
    assert_int_equal(dockerfile_plan_add_triggers(&i.plan, 1, of_image, &i.err), 0);
    wants(&i.plan, "++");
    assert_int_equal(dockerfile_plan_add_triggers(&i.plan, 1, bad, &i.err), -1);
    assert_string_equal(i.err.cause.message, "FROM isn't allowed as an ONBUILD trigger");
    assert_int_equal(i.err.lines.first, 2);
}

static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        size_t line;
    } bad[] = {
        { "FROM $none", "base name ($none) should not be blank", 1 },
        { "FROM ${", "failed to process \"${\": syntax error: missing '}'", 1 },
        { "FROM a\nFROM --platform=$TARGETPLATFRM b",
          "empty platform value from expression $TARGETPLATFRM (did you mean TARGETPLATFORM?)", 2 },
        { "FROM a\nCOPY --from=3 b c", "invalid stage index 3", 2 },
        { "FROM a\nCOPY --from=-1 b c", "invalid stage index -1", 2 },
        { "FROM a AS x\nCOPY --from=$x b c",
          "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
          "global scope as a "
          "workaround",
          2 },
        { "FROM a AS x\nCOPY --from=x b c", "circular dependency detected on stage: x", 2 },
        { "FROM a AS x\nCOPY --from=y b c\nFROM x AS y", "circular dependency detected on stage: x", 3 },
        { "FROM a AS x\nCOPY --from=y b c\nFROM b AS y\nFROM x",
          "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"", 2 },
        { "FROM a AS x\nRUN --mount=from=y,target=/y z\nFROM b AS y\nFROM x",
          "cannot mount from stage \"y\", stage needs to be defined before current command", 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct made m CLEANUP(made_done);
        make(&m, bad[i].text, NULL, NULL);
        if (m.result == 0)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(m.err.cause.message, bad[i].message);
        assert_int_equal(m.err.lines.first, bad[i].line);
    }
    // A stage that nobody wants may name a later one.
    struct made m CLEANUP(made_done);
    make(&m, "FROM a AS x\nCOPY --from=y b c\nFROM b AS y\n", NULL, NULL);
    must(&m);
    wants(&m.plan, "-+");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading),  cmocka_unit_test(needs_and_target),    cmocka_unit_test(named_contexts),
        cmocka_unit_test(triggers), cmocka_unit_test(the_same_name_twice), cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
