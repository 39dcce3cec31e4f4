// Theory of operation. Stages are planned in the file's order, so that a FROM can only name what precedes it. Then every
// --from is resolved, against all stages; that a stage needs a later one is an error only when it is wanted, that two need
// each other always. What the target reaches is marked last.
#include "build/dockerfile/plan.h"

#include "base/mem.h"
#include "base/num.h"
#include "build/dockerfile/words.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static const size_t no_stage = SIZE_MAX;

static const struct dockerfile_from *from_of(const struct dockerfile_plan *plan, size_t i)
{
    return &plan->file->stages[i].from.from;
}

// The last of the first `count` stages that has this name; names are compared as they are.
static size_t find_stage(const struct dockerfile_plan *plan, const char *name, size_t count)
{
    for (size_t i = count; i-- > 0;)
        if (streq(from_of(plan, i)->name, name))
            return i;
    return no_stage;
}

static size_t find_stage_any_case(const struct dockerfile_plan *plan, const char *name)
{
    for (size_t i = plan->count; i-- > 0;)
        if (from_of(plan, i)->name && strcasecmp(from_of(plan, i)->name, name) == 0)
            return i;
    return no_stage;
}

// --- names that are no stages

// "docker.io/library/alpine:latest" as people write it: "alpine". Owned.
static char *familiar(const char *name)
{
    static const char *const prefixes[] = { "docker.io/library/", "docker.io/", "library/" };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (str_has_prefix(name, prefixes[i])) {
            name += strlen(prefixes[i]);
            break;
        }
    }
    size_t n = strlen(name);
    return xstrndup(name, str_has_suffix(name, ":latest") ? n - strlen(":latest") : n);
}

static const char *find_context(const struct dockerfile_plan *plan, const char *name)
{
    char *wanted CLEANUP(cleanup_free) = familiar(name);
    for (char *const *context = plan->inputs.contexts; context && *context; context++) {
        char *offered CLEANUP(cleanup_free) = familiar(*context);
        if (strcasecmp(offered, wanted) == 0)
            return *context;
    }
    return NULL;
}

static struct dockerfile_source source_outside(const struct dockerfile_plan *plan, const char *name)
{
    const char *context = find_context(plan, name);
    if (streq(name, "scratch"))
        return (struct dockerfile_source){ .kind = DOCKERFILE_SOURCE_SCRATCH };
    return (struct dockerfile_source){ .kind = context ? DOCKERFILE_SOURCE_CONTEXT : DOCKERFILE_SOURCE_IMAGE,
                                       .name = xstrdup(context ? context : name) };
}

static struct dockerfile_source source_stage(size_t stage)
{
    return (struct dockerfile_source){ .kind = DOCKERFILE_SOURCE_STAGE, .stage = stage };
}

// --- FROM

static int expand_from(const struct dockerfile_plan *plan, const char *text, char ***missing, char **ret,
                       struct error *err)
{
    const struct words_rules rules = { .escape = plan->file->directives.escape,
                                       .values = plan->globals,
                                       .missing = missing };
    return words_expand(text, &rules, ret, err);
}

// The globals' names, for a suggestion. Owned strv.
static char **names_of(char *const *values)
{
    char **names = NULL;
    for (; values && *values; values++)
        strv_take(&names, xstrndup(*values, strcspn(*values, "=")));
    return names;
}

static int plan_platform(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                         struct error *err)
{
    const char *text = planned->stage->from.from.platform;
    char **missing CLEANUP(strv_freep) = NULL, **names CLEANUP(strv_freep) = names_of(plan->globals);
    if (str_is_empty(text))
        return 0;
    if (expand_from(plan, text, &missing, &planned->platform, err) < 0)
        return error_wrap(err, "failed to process arguments for platform %s", text);
    if (*planned->platform)
        return 0;
    (void)error_set(err, ERROR_INVALID, "empty platform value from expression %s", text);
    if (missing && missing[0])
        dockerfile_error_suggest(err, missing[0], (const char *const *)names);
    return -1;
}

static int plan_base(struct dockerfile_plan *plan, size_t i, struct error *err)
{
    struct dockerfile_planned_stage *planned = &plan->stages[i];
    char *name CLEANUP(cleanup_free) = NULL;
    if (expand_from(plan, from_of(plan, i)->base, NULL, &name, err) < 0)
        return -1;
    if (!*name)
        return error_set(err, ERROR_INVALID, "base name (%s) should not be blank", from_of(plan, i)->base);
    size_t stage = find_stage(plan, name, i);
    planned->base = stage == no_stage ? source_outside(plan, name) : source_stage(stage);
    return 0;
}

static int plan_stage(struct dockerfile_plan *plan, size_t i, struct error *err)
{
    struct dockerfile_planned_stage *planned = &plan->stages[i];
    const char *name = from_of(plan, i)->name;
    planned->stage = &plan->file->stages[i];
    planned->label = name ? xstrdup(name) : xasprintf("stage-%zu", i);
    if (plan_base(plan, i, err) < 0 || plan_platform(plan, planned, err) < 0)
        return -1;
    const char *context =
        name && !streq(name, "scratch") && !streq(name, "context") ? find_context(plan, name) : NULL;
    if (context) {
        free(planned->base.name);
        planned->base =
            (struct dockerfile_source){ .kind = DOCKERFILE_SOURCE_CONTEXT, .name = xstrdup(context) };
        planned->is_replaced = true;
    }
    return 0;
}

// --- --from

static void add_need(struct dockerfile_planned_stage *planned,
                     const struct dockerfile_instruction *instruction, size_t mount,
                     struct dockerfile_source source)
{
    planned->needs = xreallocarray(planned->needs, planned->need_count + 1, sizeof *planned->needs);
    planned->needs[planned->need_count++] = (struct dockerfile_need){ instruction, mount, source };
}

static int check_no_variable(const struct dockerfile_plan *plan, const char *name, struct error *err)
{
    const struct words_rules rules = { .escape = plan->file->directives.escape };
    char *expanded CLEANUP(cleanup_free) = NULL;
    if (words_expand(name, &rules, &expanded, err) < 0)
        return -1;
    if (!streq(expanded, name))
        return error_set(
            err, ERROR_INVALID,
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
            "global scope as a workaround");
    return 0;
}

static int plan_copy(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                     const struct dockerfile_instruction *instruction, struct error *err)
{
    const char *from = instruction->copy.from;
    int64_t number;
    if (str_is_empty(from))
        return 0;
    if (check_no_variable(plan, from, err) < 0)
        return -1;
    if (parse_i64(from, INT64_MIN, INT64_MAX, &number)) {
        if (number < 0 || (uint64_t)number >= plan->count)
            return error_set(err, ERROR_INVALID, "invalid stage index %s", from);
        add_need(planned, instruction, 0, source_stage((size_t)number));
        return 0;
    }
    size_t stage = find_stage_any_case(plan, from);
    add_need(planned, instruction, 0, stage == no_stage ? source_outside(plan, from) : source_stage(stage));
    return 0;
}

static void plan_run(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                     const struct dockerfile_instruction *instruction)
{
    for (size_t i = 0; i < instruction->run.mount_count; i++) {
        const char *from = instruction->run.mounts[i].from;
        if (str_is_empty(from))
            continue;
        size_t stage = find_stage_any_case(plan, from);
        add_need(planned, instruction, i,
                 stage == no_stage ? source_outside(plan, from) : source_stage(stage));
    }
}

static int plan_instruction(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                            const struct dockerfile_instruction *instruction, struct dockerfile_error *err)
{
    if (instruction->kind == DOCKERFILE_RUN)
        plan_run(plan, planned, instruction);
    if (instruction->kind == DOCKERFILE_COPY && plan_copy(plan, planned, instruction, &err->cause) < 0) {
        err->lines = instruction->lines;
        return -1;
    }
    return 0;
}

// --- ONBUILD

static int add_trigger(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                       const char *text, struct dockerfile_error *err)
{
    if (plan->trigger_count++ == DOCKERFILE_INSTRUCTIONS_MAX)
        return dockerfile_error_set(err, planned->stage->from.lines, "more than %d ONBUILD triggers",
                                    DOCKERFILE_INSTRUCTIONS_MAX);
    struct dockerfile_instruction *trigger = NEW(struct dockerfile_instruction);
    planned->triggers =
        xreallocarray(planned->triggers, planned->trigger_count + 1, sizeof(struct dockerfile_instruction *));
    planned->triggers[planned->trigger_count++] = trigger;
    if (dockerfile_trigger_read(text, plan->file->directives.escape, planned->stage->from.lines, trigger,
                                err) < 0)
        return -1;
    return plan_instruction(plan, planned, trigger, err);
}

// What the stage that this one is from leaves for it.
static int plan_triggers(struct dockerfile_plan *plan, struct dockerfile_planned_stage *planned,
                         struct dockerfile_error *err)
{
    if (planned->base.kind != DOCKERFILE_SOURCE_STAGE)
        return 0;
    const struct dockerfile_stage *base = plan->stages[planned->base.stage].stage;
    for (size_t i = 0; i < base->count; i++)
        if (base->instructions[i].kind == DOCKERFILE_ONBUILD &&
            add_trigger(plan, planned, base->instructions[i].text, err) < 0)
            return -1;
    return 0;
}

static int plan_needs(struct dockerfile_plan *plan, size_t i, struct dockerfile_error *err)
{
    struct dockerfile_planned_stage *planned = &plan->stages[i];
    if (planned->is_replaced)
        return 0;
    if (plan_triggers(plan, planned, err) < 0)
        return -1;
    for (size_t j = 0; j < planned->stage->count; j++)
        if (plan_instruction(plan, planned, &planned->stage->instructions[j], err) < 0)
            return -1;
    return 0;
}

// --- order

enum mark { MARK_NEW, MARK_OPEN, MARK_DONE };

struct frame {
    size_t stage, edge;
};

// The edge-th stage that a stage stands on, its base first; no_stage for a source outside. False past the last.
static bool edge_of(const struct dockerfile_planned_stage *planned, size_t edge, size_t *ret,
                    struct dockerfile_lines *ret_lines)
{
    if (edge > planned->need_count)
        return false;
    const struct dockerfile_source *source = edge == 0 ? &planned->base : &planned->needs[edge - 1].source;
    *ret = source->kind == DOCKERFILE_SOURCE_STAGE ? source->stage : no_stage;
    *ret_lines = edge == 0 ? planned->stage->from.lines : planned->needs[edge - 1].instruction->lines;
    return true;
}

// Depth first from one stage, with a stack of its own: a file may chain thousands of stages.
static int check_rings_from(const struct dockerfile_plan *plan, size_t start, unsigned char *marks,
                            struct frame *stack, struct dockerfile_error *err)
{
    size_t depth = 1;
    stack[0] = (struct frame){ start, 0 };
    marks[start] = MARK_OPEN;
    while (depth) {
        struct frame *top = &stack[depth - 1];
        struct dockerfile_lines lines;
        size_t next;
        if (!edge_of(&plan->stages[top->stage], top->edge++, &next, &lines)) {
            marks[top->stage] = MARK_DONE;
            depth--;
        } else if (next != no_stage && marks[next] == MARK_OPEN) {
            return dockerfile_error_set(err, lines, "circular dependency detected on stage: %s",
                                        plan->stages[start].label);
        } else if (next != no_stage && marks[next] == MARK_NEW) {
            marks[next] = MARK_OPEN;
            stack[depth++] = (struct frame){ next, 0 };
        }
    }
    return 0;
}

static int check_rings(const struct dockerfile_plan *plan, struct dockerfile_error *err)
{
    unsigned char *marks CLEANUP(cleanup_free) = xcalloc(plan->count, 1);
    struct frame *stack CLEANUP(cleanup_free) = xcalloc(plan->count, sizeof *stack);
    for (size_t i = 0; i < plan->count; i++)
        if (marks[i] == MARK_NEW && check_rings_from(plan, i, marks, stack, err) < 0)
            return -1;
    return 0;
}

static int refuse_later(const struct dockerfile_plan *plan, size_t i, const struct dockerfile_need *need,
                        struct dockerfile_error *err)
{
    const struct dockerfile_instruction *instruction = need->instruction;
    if (instruction->kind == DOCKERFILE_COPY)
        return dockerfile_error_set(
            err, instruction->lines,
            "cannot copy from stage \"%s\", it needs to be defined before current stage \"%s\"",
            instruction->copy.from, plan->stages[i].label);
    return dockerfile_error_set(
        err, instruction->lines,
        "cannot mount from stage \"%s\", stage needs to be defined before current command",
        instruction->run.mounts[need->mount].from);
}

// Mark what the target reaches. Without rings, and with needs of earlier stages only, one pass from the target down does.
static int mark_wanted(struct dockerfile_plan *plan, struct dockerfile_error *err)
{
    for (size_t i = 0; i < plan->count; i++)
        plan->stages[i].is_wanted = i == plan->target;
    for (size_t i = plan->target + 1; i-- > 0;) {
        const struct dockerfile_planned_stage *planned = &plan->stages[i];
        if (!planned->is_wanted)
            continue;
        if (planned->base.kind == DOCKERFILE_SOURCE_STAGE)
            plan->stages[planned->base.stage].is_wanted = true;
        for (size_t j = 0; j < planned->need_count; j++) {
            const struct dockerfile_source *source = &planned->needs[j].source;
            if (source->kind != DOCKERFILE_SOURCE_STAGE)
                continue;
            if (source->stage >= i)
                return refuse_later(plan, i, &planned->needs[j], err);
            plan->stages[source->stage].is_wanted = true;
        }
    }
    return 0;
}

// --- the whole

static int find_target(struct dockerfile_plan *plan, struct dockerfile_error *err)
{
    const char *target = plan->inputs.target;
    char **names CLEANUP(strv_freep) = NULL;
    uint64_t number;
    plan->target = plan->count - 1;
    if (str_is_empty(target))
        return 0;
    plan->target = find_stage_any_case(plan, target);
    if (plan->target == no_stage && parse_u64(target, plan->count - 1, &number))
        plan->target = (size_t)number;
    if (plan->target != no_stage)
        return 0;
    for (size_t i = 0; i < plan->count; i++)
        strv_push(&names, plan->stages[i].label);
    err->lines = (struct dockerfile_lines){ 0, 0 };
    (void)error_set(&err->cause, ERROR_NOT_FOUND, "target stage \"%s\" could not be found", target);
    dockerfile_error_suggest(&err->cause, target, (const char *const *)names);
    return -1;
}

static int make(struct dockerfile_plan *plan, struct dockerfile_error *err)
{
    if (dockerfile_globals_read(plan->file, &plan->inputs, true, &plan->globals, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan_stage(plan, i, &err->cause) < 0) {
            err->lines = plan->file->stages[i].from.lines;
            return -1;
        }
    }
    if (find_target(plan, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->count; i++)
        if (plan_needs(plan, i, err) < 0)
            return -1;
    if (check_rings(plan, err) < 0)
        return -1;
    return mark_wanted(plan, err);
}

int dockerfile_plan_make(struct dockerfile *file, const struct dockerfile_inputs *inputs,
                         struct dockerfile_plan *ret, struct dockerfile_error *err)
{
    struct dockerfile_plan plan = { .file = file, .inputs = *inputs, .count = file->stage_count };
    plan.stages = xcalloc(plan.count, sizeof *plan.stages);
    if (make(&plan, err) < 0) {
        dockerfile_plan_done(&plan);
        return -1;
    }
    *ret = plan;
    return 0;
}

int dockerfile_plan_add_triggers(struct dockerfile_plan *plan, size_t stage, char *const *triggers,
                                 struct dockerfile_error *err)
{
    for (; triggers && *triggers; triggers++)
        if (add_trigger(plan, &plan->stages[stage], *triggers, err) < 0)
            return -1;
    if (check_rings(plan, err) < 0)
        return -1;
    return mark_wanted(plan, err);
}

static void planned_done(struct dockerfile_planned_stage *planned)
{
    free(planned->label);
    free(planned->platform);
    free(planned->base.name);
    for (size_t i = 0; i < planned->trigger_count; i++) {
        dockerfile_instruction_done(planned->triggers[i]);
        free(planned->triggers[i]);
    }
    free(planned->triggers);
    for (size_t i = 0; i < planned->need_count; i++)
        free(planned->needs[i].source.name);
    free(planned->needs);
}

void dockerfile_plan_done(struct dockerfile_plan *plan)
{
    for (size_t i = 0; plan->stages && i < plan->count; i++)
        planned_done(&plan->stages[i]);
    free(plan->stages);
    strv_free(plan->globals);
    *plan = (struct dockerfile_plan){ 0 };
}
