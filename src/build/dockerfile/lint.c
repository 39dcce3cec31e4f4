// The rules about how a file is written; those about what it does are in lint_stages.c.
#include "build/dockerfile/lint_internal.h"

#include "base/mem.h"
#include "build/dockerfile/words.h"

#include <ctype.h>
#include <string.h>

static bool is_lower(const char *s)
{
    for (; *s; s++)
        if (isupper((unsigned char)*s))
            return false;
    return true;
}

static bool is_upper(const char *s)
{
    for (; *s; s++)
        if (islower((unsigned char)*s))
            return false;
    return true;
}

// --- one instruction

static void check_from_casing(struct linter *l, const struct dockerfile_instruction *i)
{
    const struct dockerfile_from *from = &i->from;
    const char *as = from->as_as_written;
    if (!as)
        return;
    if (!is_lower(from->name_as_written))
        lint_warn(l, LINT_STAGE_NAME_CASING, i->comments, i->lines, "Stage name '%s' should be lowercase",
                  from->name_as_written);
    bool differs = (is_lower(i->keyword) && !is_lower(as)) || (is_upper(i->keyword) && !is_upper(as));
    if (differs)
        lint_warn(l, LINT_FROM_AS_CASING, i->comments, i->lines,
                  "'%s' and '%s' keywords' casing do not match", as, i->keyword);
}

static void check_description(struct linter *l, const struct dockerfile_instruction *i)
{
    const char *single = NULL;
    size_t comments = strv_len(i->comments), names = 1;
    if (!comments)
        return;
    const char *comment = i->comments[comments - 1];
    char *word CLEANUP(cleanup_free) = xstrndup(comment, strcspn(comment, " "));
    if (i->kind == DOCKERFILE_FROM) {
        single = i->from.name;
        if (!single || streq(single, word))
            return;
    } else {
        names = i->pairs.count;
        single = i->pairs.items[0].name;
        for (size_t j = 0; j < names; j++)
            if (streq(i->pairs.items[j].name, word))
                return;
    }
    lint_warn(l, LINT_INVALID_DEFINITION_DESCRIPTION, i->comments, i->lines,
              "Comment for %s should follow the format: `# %s <description>`", dockerfile_kind_name(i->kind),
              names > 1 ? "<arg_key>" : single);
}

static void check_instruction(struct linter *l, const struct dockerfile_instruction *i)
{
    if (i->kind == DOCKERFILE_MAINTAINER)
        lint_warn(l, LINT_MAINTAINER_DEPRECATED, i->comments, i->lines,
                  "Maintainer instruction is deprecated in favor of using label");
    if (i->kind == DOCKERFILE_FROM)
        check_from_casing(l, i);
    if (i->kind == DOCKERFILE_FROM || i->kind == DOCKERFILE_ARG)
        check_description(l, i);
}

// --- all of them

static void check_stage_names(struct linter *l, const struct dockerfile *file)
{
    for (size_t i = 0; i < file->stage_count; i++) {
        const struct dockerfile_instruction *from = &file->stages[i].from;
        const char *name = from->from.name;
        if (!name)
            continue;
        if (streq(name, "context") || streq(name, "scratch"))
            lint_warn(l, LINT_RESERVED_STAGE_NAME, NULL, from->lines,
                      "Stage name should not use the same name as reserved stage \"%s\"", name);
        size_t other = 0;
        while (other < i && !streq(file->stages[other].from.from.name, name))
            other++;
        if (other < i)
            lint_warn(l, LINT_DUPLICATE_STAGE_NAME, NULL, from->lines,
                      "Duplicate stage name \"%s\", stage names should be unique", name);
    }
}

static void count_casing(const struct dockerfile_instruction *i, size_t *lower, size_t *upper)
{
    if (is_lower(i->keyword))
        (*lower)++;
    else if (is_upper(i->keyword))
        (*upper)++;
}

static void check_casing(struct linter *l, const struct dockerfile_instruction *i, bool majority_is_lower)
{
    if (majority_is_lower ? is_lower(i->keyword) : is_upper(i->keyword))
        return;
    lint_warn(l, LINT_CONSISTENT_INSTRUCTION_CASING, NULL, i->lines,
              "Command '%s' should match the case of the command majority (%s)", i->keyword,
              majority_is_lower ? "lowercase" : "uppercase");
}

static void check_all_casing(struct linter *l, const struct dockerfile *file)
{
    size_t lower = 0, upper = 0;
    for (size_t i = 0; i < file->stage_count; i++) {
        count_casing(&file->stages[i].from, &lower, &upper);
        for (size_t j = 0; j < file->stages[i].count; j++)
            count_casing(&file->stages[i].instructions[j], &lower, &upper);
    }
    for (size_t i = 0; i < file->stage_count; i++) {
        check_casing(l, &file->stages[i].from, lower > upper);
        for (size_t j = 0; j < file->stages[i].count; j++)
            check_casing(l, &file->stages[i].instructions[j], lower > upper);
    }
}

// --- base names

// May this be an image's name? The grammar of references without its bounds: what a default leaves behind is mostly
// nothing, a colon or an '@' at the end.
static bool reference_is_plausible(const char *name)
{
    const char *slash = strchr(name, '/');
    bool has_domain =
        slash && (memchr(name, '.', (size_t)(slash - name)) || memchr(name, ':', (size_t)(slash - name)) ||
                  str_has_prefix(name, "localhost/"));
    const char *path = has_domain ? slash + 1 : name;
    size_t n = strcspn(path, ":@");
    if (!n || !isalnum((unsigned char)path[0]) || !isalnum((unsigned char)path[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        bool is_separator = strchr("._-/", path[i]);
        if (!is_separator && !islower((unsigned char)path[i]) && !isdigit((unsigned char)path[i]))
            return false;
        if (path[i] == '/' && !isalnum((unsigned char)path[i + 1]))
            return false;
    }
    const char *rest = path + n;
    if (*rest == ':') {
        size_t tag = strspn(rest + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
        if (!tag || strchr(".-", rest[1]))
            return false;
        rest += 1 + tag;
    }
    return !*rest || (*rest == '@' && strchr(rest, ':') && strchr(rest, ':')[1]);
}

static void check_default_bases(struct linter *l, const struct dockerfile *file)
{
    char **globals CLEANUP(strv_freep) = NULL;
    struct dockerfile_error err;
    if (dockerfile_globals_read(file, l->inputs, false, &globals, &err) < 0)
        return;
    const struct words_rules rules = { .escape = file->directives.escape, .values = globals };
    for (size_t i = 0; i < file->stage_count; i++) {
        const struct dockerfile_instruction *from = &file->stages[i].from;
        char *name CLEANUP(cleanup_free) = NULL;
        if (words_expand(from->from.base, &rules, &name, &err.cause) < 0)
            return;
        if (!reference_is_plausible(name))
            lint_warn(l, LINT_INVALID_DEFAULT_ARG_IN_FROM, NULL, from->lines,
                      "Default value for ARG %s results in empty or invalid base image name",
                      from->from.base);
    }
}

// --- the whole

static void check_file(struct linter *l, const struct dockerfile *file)
{
    for (size_t i = 0; i < file->empty_continuation_count; i++)
        lint_warn(l, LINT_NO_EMPTY_CONTINUATION, NULL, file->empty_continuations[i],
                  "Empty continuation line");
    for (size_t i = 0; i < file->argument_count; i++)
        check_instruction(l, &file->arguments[i]);
    for (size_t i = 0; i < file->stage_count; i++) {
        check_instruction(l, &file->stages[i].from);
        for (size_t j = 0; j < file->stages[i].count; j++)
            check_instruction(l, &file->stages[i].instructions[j]);
    }
    check_stage_names(l, file);
    check_all_casing(l, file);
    check_default_bases(l, file);
}

static int compare_warnings(const void *a, const void *b)
{
    const struct lint_warning *first = a, *second = b;
    if (first->lines.first != second->lines.first)
        return first->lines.first < second->lines.first ? -1 : 1;
    if (first->rule != second->rule)
        return first->rule < second->rule ? -1 : 1;
    return strcmp(first->message, second->message);
}

static int lint_file(struct linter *l, struct dockerfile *file)
{
    struct dockerfile_plan CLEANUP(dockerfile_plan_done) plan = { 0 };
    check_file(l, file);
    if (dockerfile_plan_make(file, l->inputs, &plan, &l->report->error) < 0)
        return -1;
    return lint_stages(l, &plan, &l->report->error);
}

int dockerfile_lint(const char *text, size_t n, const struct dockerfile_inputs *inputs,
                    const struct lint_options *options, struct lint_report *ret, struct dockerfile_error *err)
{
    struct lint_report report = { 0 };
    struct linter linter = { .options = options, .inputs = inputs, .report = &report };
    struct dockerfile CLEANUP(dockerfile_done) file = { 0 };
    report.has_error = dockerfile_read(text, n, &file, &report.error) < 0;
    const char *check = options->check ? options->check : file.directives.check;
    if (lint_config_read(check, &linter.config, &err->cause) < 0) {
        err->lines = file.directives.check_lines;
        return error_wrap(&err->cause, "failed to parse check options");
    }
    if (!report.has_error)
        report.has_error = lint_file(&linter, &file) < 0;
    if (report.count)
        qsort(report.warnings, report.count, sizeof *report.warnings, compare_warnings);
    report.returns_error = linter.config.returns_error && report.count;
    *ret = report;
    return 0;
}

void lint_report_done(struct lint_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->warnings[i].message);
    free(report->warnings);
    *report = (struct lint_report){ 0 };
}

char *lint_report_violation(const struct lint_report *report)
{
    char **names CLEANUP(strv_freep) = NULL;
    for (size_t i = 0; i < report->count; i++)
        if (!strv_contains(names, lint_rule_name(report->warnings[i].rule)))
            strv_push(&names, lint_rule_name(report->warnings[i].rule));
    char *joined CLEANUP(cleanup_free) = strv_join(names, ", ");
    return xasprintf("lint violation found for rules: %s", joined);
}
