// Theory of operation. The stages that are wanted are gone through in order, as a build would, on a copy of the file of our
// own. A global argument counts when a FROM uses it, a stage names it, or a global that counts is made of it: globals are
// therefore taken from the last to the first, since a default can only use what precedes it.
#include "build/dockerfile/outline.h"

#include "base/mem.h"
#include "build/dockerfile/plan.h"
#include "build/dockerfile/words.h"

#include <string.h>

// --- targets

static void add_target(struct dockerfile_targets *targets, const struct dockerfile_instruction *from,
                       bool is_default)
{
    targets->items[targets->count++] = (struct dockerfile_target){
        .name = xstrdup(from->from.name),
        .description = xstrdup(from->from.description),
        .base = xstrdup(from->from.base),
        .platform = xstrdup(from->from.platform),
        .is_default = is_default,
        .lines = from->lines,
    };
}

int dockerfile_targets_list(const char *text, size_t n, struct dockerfile_targets *ret,
                            struct dockerfile_error *err)
{
    struct dockerfile CLEANUP(dockerfile_done) file = { 0 };
    if (dockerfile_read(text, n, &file, err) < 0)
        return -1;
    struct dockerfile_targets targets = { .items = xcalloc(file.stage_count, sizeof *targets.items) };
    for (size_t i = 0; i < file.stage_count; i++)
        add_target(&targets, &file.stages[i].from, i + 1 == file.stage_count);
    *ret = targets;
    return 0;
}

void dockerfile_targets_done(struct dockerfile_targets *targets)
{
    for (size_t i = 0; i < targets->count; i++) {
        free(targets->items[i].name);
        free(targets->items[i].description);
        free(targets->items[i].base);
        free(targets->items[i].platform);
    }
    free(targets->items);
    *targets = (struct dockerfile_targets){ 0 };
}

// --- outline

struct outliner {
    const struct dockerfile_inputs *inputs;
    struct dockerfile_plan plan;
    struct dockerfile_scope *scopes; // one for each stage
    char **used;                     // global arguments that count, by name
    struct dockerfile_outline out;
    struct dockerfile_error *err;
};

static void use(struct outliner *o, const char *name)
{
    if (!strv_contains(o->used, name))
        strv_push(&o->used, name);
}

static void use_names_in(struct outliner *o, const char *text)
{
    char **used CLEANUP(strv_freep) = NULL;
    const struct words_rules rules = { .escape = o->plan.file->directives.escape,
                                       .values = o->plan.globals,
                                       .used = &used };
    char *ignored CLEANUP(cleanup_free) = NULL;
    struct error err;
    if (text && words_expand(text, &rules, &ignored, &err) == 0)
        for (char **name = used; name && *name; name++)
            use(o, *name);
}

static void add_argument(struct outliner *o, const struct dockerfile_pair *pair, const char *value,
                         struct dockerfile_lines lines)
{
    struct dockerfile_outline *out = &o->out;
    for (size_t i = 0; i < out->argument_count; i++)
        if (streq(out->arguments[i].name, pair->name))
            return;
    out->arguments = xreallocarray(out->arguments, out->argument_count + 1, sizeof *out->arguments);
    out->arguments[out->argument_count++] =
        (struct dockerfile_outline_argument){ xstrdup(pair->name), xstrdup(pair->description), xstrdup(value),
                                              lines };
}

static bool is_global(const struct outliner *o, const char *name)
{
    const struct dockerfile *file = o->plan.file;
    for (size_t i = 0; i < file->argument_count; i++)
        for (size_t j = 0; j < file->arguments[i].pairs.count; j++)
            if (streq(file->arguments[i].pairs.items[j].name, name))
                return true;
    return false;
}

// had_default: by the stage itself, before expansion has filled in what holds.
static void outline_pair(struct outliner *o, const struct dockerfile_pair *pair, bool had_default,
                         struct dockerfile_lines lines)
{
    if (!had_default && is_global(o, pair->name))
        use(o, pair->name);
    else
        add_argument(o, pair, pair->value, lines);
}

static void add_grant(struct dockerfile_outline_grant **list, size_t *count, const char *name,
                      bool is_required, struct dockerfile_lines lines)
{
    for (size_t i = 0; i < *count; i++) {
        if (streq((*list)[i].name, name)) {
            (*list)[i].is_required |= is_required;
            return;
        }
    }
    *list = xreallocarray(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = (struct dockerfile_outline_grant){ xstrdup(name), is_required, lines };
}

// A secret is called by its id, else its source, else the last name of its target.
static void outline_mount(struct outliner *o, const struct dockerfile_mount *mount,
                          struct dockerfile_lines lines)
{
    struct dockerfile_outline *out = &o->out;
    const char *id = !str_is_empty(mount->id) ? mount->id : mount->source;
    if (mount->type == DOCKERFILE_MOUNT_SECRET)
        add_grant(&out->secrets, &out->secret_count, !str_is_empty(id) ? id : path_last_name(mount->target),
                  mount->is_required, lines);
    if (mount->type == DOCKERFILE_MOUNT_SSH)
        add_grant(&out->agents, &out->agent_count, !str_is_empty(mount->id) ? mount->id : "default",
                  mount->is_required, lines);
}

static int outline_instruction(struct outliner *o, struct dockerfile_scope *scope,
                               struct dockerfile_instruction *i)
{
    const struct dockerfile_expansion how = { o->inputs, o->plan.globals, o->plan.file->directives.escape,
                                              NULL };
    bool is_arg = i->kind == DOCKERFILE_ARG;
    bool *had_default CLEANUP(cleanup_free) = is_arg ? xcalloc(i->pairs.count, sizeof *had_default) : NULL;
    for (size_t j = 0; is_arg && j < i->pairs.count; j++)
        had_default[j] = i->pairs.items[j].value;
    if (dockerfile_scope_apply(scope, i, &how, o->err) < 0)
        return -1;
    for (size_t j = 0; is_arg && j < i->pairs.count; j++)
        outline_pair(o, &i->pairs.items[j], had_default[j], i->lines);
    for (size_t j = 0; i->kind == DOCKERFILE_RUN && j < i->run.mount_count; j++)
        outline_mount(o, &i->run.mounts[j], i->lines);
    return 0;
}

static int outline_stage(struct outliner *o, size_t index)
{
    struct dockerfile_planned_stage *planned = &o->plan.stages[index];
    struct dockerfile_scope *scope = &o->scopes[index];
    if (planned->is_replaced)
        return 0;
    use_names_in(o, planned->stage->from.from.base);
    use_names_in(o, planned->stage->from.from.platform);
    if (planned->base.kind == DOCKERFILE_SOURCE_STAGE)
        dockerfile_scope_copy(scope, &o->scopes[planned->base.stage]);
    else
        dockerfile_scope_init(scope, NULL);
    for (size_t i = 0; i < planned->trigger_count; i++)
        if (outline_instruction(o, scope, planned->triggers[i]) < 0)
            return -1;
    for (size_t i = 0; i < planned->stage->count; i++)
        if (outline_instruction(o, scope, &planned->stage->instructions[i]) < 0)
            return -1;
    return 0;
}

static void outline_globals(struct outliner *o)
{
    const struct dockerfile *file = o->plan.file;
    for (size_t i = file->argument_count; i-- > 0;) {
        for (size_t j = file->arguments[i].pairs.count; j-- > 0;) {
            const struct dockerfile_pair *pair = &file->arguments[i].pairs.items[j];
            if (!strv_contains(o->used, pair->name))
                continue;
            add_argument(o, pair, words_value(o->plan.globals, pair->name), file->arguments[i].lines);
            use_names_in(o, pair->value);
        }
    }
}

static int compare_arguments(const void *a, const void *b)
{
    const struct dockerfile_outline_argument *first = a, *second = b;
    if (first->lines.first != second->lines.first)
        return first->lines.first < second->lines.first ? -1 : 1;
    return strcmp(first->name, second->name);
}

static int outline_all(struct outliner *o)
{
    const struct dockerfile_from *target = &o->plan.stages[o->plan.target].stage->from.from;
    o->out.name = xstrdup(target->name);
    o->out.description = xstrdup(target->description);
    for (size_t i = 0; i < o->plan.count; i++)
        if (o->plan.stages[i].is_wanted && outline_stage(o, i) < 0)
            return -1;
    outline_globals(o);
    if (o->out.argument_count)
        qsort(o->out.arguments, o->out.argument_count, sizeof *o->out.arguments, compare_arguments);
    return 0;
}

int dockerfile_outline(const char *text, size_t n, const struct dockerfile_inputs *inputs,
                       struct dockerfile_outline *ret, struct dockerfile_error *err)
{
    struct dockerfile CLEANUP(dockerfile_done) file = { 0 };
    struct outliner o = { .inputs = inputs, .err = err };
    if (dockerfile_read(text, n, &file, err) < 0 || dockerfile_plan_make(&file, inputs, &o.plan, err) < 0)
        return -1;
    o.scopes = xcalloc(o.plan.count, sizeof *o.scopes);
    int r = outline_all(&o);
    for (size_t i = 0; i < o.plan.count; i++)
        dockerfile_scope_done(&o.scopes[i]);
    free(o.scopes);
    strv_free(o.used);
    dockerfile_plan_done(&o.plan);
    if (r < 0)
        dockerfile_outline_done(&o.out);
    else
        *ret = o.out;
    return r;
}

static void grants_done(struct dockerfile_outline_grant *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].name);
    free(list);
}

void dockerfile_outline_done(struct dockerfile_outline *outline)
{
    free(outline->name);
    free(outline->description);
    for (size_t i = 0; i < outline->argument_count; i++) {
        free(outline->arguments[i].name);
        free(outline->arguments[i].description);
        free(outline->arguments[i].value);
    }
    free(outline->arguments);
    grants_done(outline->secrets, outline->secret_count);
    grants_done(outline->agents, outline->agent_count);
    *outline = (struct dockerfile_outline){ 0 };
}
