// Theory of operation. The stages are gone through as a build would, variables replaced on the way: a stage begins with
// what its base stage has left (struct lint_stage), and each instruction is looked at after it has taken effect. Of an
// image whose environment nobody knows no variable is called undefined.
#include "build/dockerfile/lint_internal.h"

#include "base/mem.h"
#include "build/dockerfile/arguments.h"
#include "build/dockerfile/ports.h"
#include "build/dockerfile/word_list.h"
#include "build/dockerfile/words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct lint_stage {
    struct dockerfile_scope scope;
    bool is_known; // the whole environment is
    bool has_shell, has_workdir;
    // This stage's own last ones; the base's do not count.
    const struct dockerfile_instruction *last[DOCKERFILE_KIND_COUNT];
};

struct walker {
    struct linter *linter;
    struct dockerfile_plan *plan;
    struct lint_stage *stages;
    struct dockerfile_error *err;
};

// Names out of a strv of "NAME=value", ending with NULL, for suggestions. Owned strv.
static char **names_of(char *const *values)
{
    struct word_list names = { 0 };
    for (; values && *values; values++)
        word_list_take(&names, xstrndup(*values, strcspn(*values, "=")));
    return names.words;
}

static const char *suggest(const char *word, char *const *names)
{
    return names ? dockerfile_suggest(word, (const char *const *)names) : NULL;
}

// --- FROM

static bool is_global(const struct dockerfile_plan *plan, const char *name)
{
    if (words_value(plan->globals, name))
        return true;
    for (size_t i = 0; i < plan->file->argument_count; i++)
        for (size_t j = 0; j < plan->file->arguments[i].pairs.count; j++)
            if (streq(plan->file->arguments[i].pairs.items[j].name, name))
                return true;
    return false;
}

static void check_arguments(struct walker *w, const struct dockerfile_instruction *from, char *const *missing)
{
    char **names CLEANUP(strv_freep) = missing ? names_of(w->plan->globals) : NULL;
    for (; missing && *missing; missing++) {
        if (is_global(w->plan, *missing))
            continue;
        const char *nearest = suggest(*missing, names);
        lint_warn(w->linter, LINT_UNDEFINED_ARG_IN_FROM, from->comments, from->lines,
                  "FROM argument '%s' is not declared%s%s%s", *missing, nearest ? " (did you mean " : "",
                  nearest ? nearest : "", nearest ? "?)" : "");
    }
}

// Does the stage's name say which platform it is for ("linux/arm64" and "build-arm64")?
static bool name_says_platform(const char *name, const char *platform)
{
    char **parts CLEANUP(strv_freep) = strv_split(platform, "/", false);
    for (size_t i = 0; name && i < 2 && parts && parts[i]; i++)
        if (strstr(name, parts[i]))
            return true;
    return false;
}

static void check_platform(struct walker *w, const struct dockerfile_instruction *from, char *const *used,
                           char *const *missing, const char *platform)
{
    size_t used_count = strv_len(used), missing_count = strv_len(missing);
    const char *target = words_value(w->plan->globals, "TARGETPLATFORM");
    if (!used_count && !missing_count && !name_says_platform(from->from.name, platform))
        lint_warn(w->linter, LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED, from->comments, from->lines,
                  "FROM --platform flag should not use constant value \"%s\"", platform);
    if (used_count == 1 && !missing_count && streq(used[0], "TARGETPLATFORM") && streq(platform, target))
        lint_warn(w->linter, LINT_REDUNDANT_TARGET_PLATFORM, from->comments, from->lines,
                  "Setting platform to predefined %s in FROM is redundant as this is the default behavior",
                  from->from.platform);
}

// The plan has expanded both already, so that neither can fail here.
static void check_from(struct walker *w, const struct dockerfile_planned_stage *planned)
{
    const struct dockerfile_instruction *from = &planned->stage->from;
    char **used CLEANUP(strv_freep) = NULL, **missing CLEANUP(strv_freep) = NULL,
                **base_missing CLEANUP(strv_freep) = NULL;
    struct words_rules rules = { .escape = w->plan->file->directives.escape, .values = w->plan->globals };
    char *base CLEANUP(cleanup_free) = NULL, *platform CLEANUP(cleanup_free) = NULL;
    struct error err;
    rules.missing = &base_missing;
    if (words_expand(from->from.base, &rules, &base, &err) == 0)
        check_arguments(w, from, base_missing);
    rules.missing = &missing;
    rules.used = &used;
    if (str_is_empty(from->from.platform) || words_expand(from->from.platform, &rules, &platform, &err) < 0)
        return;
    check_arguments(w, from, missing);
    check_platform(w, from, used, missing, platform);
}

// --- secrets

// Is one of the words between '_' of this name among these?
static bool has_word(const char *name, const char *const *words)
{
    char **parts CLEANUP(strv_freep) = strv_split(name, "_", false);
    for (char **part = parts; part && *part; part++)
        for (const char *const *word = words; *word; word++)
            if (strcasecmp(*part, *word) == 0)
                return true;
    return false;
}

static void check_secrets(struct walker *w, const struct dockerfile_instruction *i)
{
    static const char *const secret[] = { "apikey", "auth",   "credential", "credentials", "key", "password",
                                          "pword",  "passwd", "secret",     "token",       NULL };
    static const char *const harmless[] = { "public", "file", "version", NULL };
    for (size_t j = 0; j < i->pairs.count; j++) {
        const char *name = i->pairs.items[j].name;
        if (has_word(name, secret) && !has_word(name, harmless))
            lint_warn(w->linter, LINT_SECRETS_USED_IN_ARG_OR_ENV, i->comments, i->lines,
                      "Do not use ARG or ENV instructions for sensitive data (%s \"%s\")",
                      dockerfile_kind_name(i->kind), name);
    }
}

// --- the others

static void check_pairs(struct walker *w, const struct dockerfile_instruction *i)
{
    for (size_t j = 0; j < i->pairs.count; j++)
        if (i->pairs.items[j].is_legacy)
            lint_warn(w->linter, LINT_LEGACY_KEY_VALUE_FORMAT, i->comments, i->lines,
                      "\"%s key=value\" should be used instead of legacy \"%s key value\" format", i->keyword,
                      i->keyword);
}

static void check_once(struct walker *w, struct lint_stage *stage, const struct dockerfile_instruction *i)
{
    const struct dockerfile_instruction *former = stage->last[i->kind];
    stage->last[i->kind] = i;
    // The former is the one that has no effect.
    if (former)
        lint_warn(w->linter, LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED, i->comments, former->lines,
                  "Multiple %s instructions should not be used in the same stage because only the last one "
                  "will be used",
                  i->keyword);
}

static void check_command(struct walker *w, struct lint_stage *stage, const struct dockerfile_instruction *i)
{
    check_once(w, stage, i);
    if (i->command.is_shell && !stage->has_shell)
        lint_warn(w->linter, LINT_JSON_ARGS_RECOMMENDED, i->comments, i->lines,
                  "JSON arguments recommended for %s to prevent unintended behavior related to OS signals",
                  i->keyword);
}

static void check_workdir(struct walker *w, struct lint_stage *stage, const struct dockerfile_instruction *i)
{
    if (!stage->has_workdir && *i->text != '/')
        lint_warn(w->linter, LINT_WORKDIR_RELATIVE_PATH, i->comments, i->lines,
                  "Relative workdir \"%s\" can have unexpected results if the base image changes", i->text);
    stage->has_workdir = true;
}

static int check_ports(struct walker *w, const struct dockerfile_instruction *i)
{
    struct dockerfile_port port;
    for (char **word = i->words; word && *word; word++) {
        if (dockerfile_port_read(*word, &port, &w->err->cause) < 0) {
            w->err->lines = i->lines;
            return -1;
        }
        if (port.has_protocol_casing)
            lint_warn(w->linter, LINT_EXPOSE_PROTO_CASING, i->comments, i->lines,
                      "Defined protocol '%s' in EXPOSE instruction should be lowercase", *word);
        if (port.has_host_part)
            lint_warn(w->linter, LINT_EXPOSE_INVALID_FORMAT, i->comments, i->lines,
                      "EXPOSE instruction should not define an IP address or host-port mapping, found '%s'",
                      *word);
    }
    return 0;
}

static bool is_remote(const char *source)
{
    return str_has_prefix(source, "http://") || str_has_prefix(source, "https://") ||
           str_has_prefix(source, "git@") || str_has_prefix(source, "git://") ||
           str_has_prefix(source, "ssh://");
}

// With "!" in the file a folder may be left out and still hold what is wanted: that is not looked into.
static void check_copy(struct walker *w, const struct dockerfile_instruction *i)
{
    const struct dockerignore *ignore = w->linter->options->ignore;
    bool is_add = i->kind == DOCKERFILE_ADD;
    if (!ignore || ignore->has_exceptions || i->copy.from)
        return;
    for (char **source = i->copy.sources; source && *source; source++) {
        if (is_add && is_remote(*source))
            continue;
        char *path CLEANUP(cleanup_free) = path_cleaned(*source, strlen(*source));
        bool is_root = streq(path, ".") || streq(path, "/");
        bool is_out = is_root ? dockerignore_excludes_root(ignore)
                              : dockerignore_matches(ignore, path[0] == '/' ? path + 1 : path);
        if (is_out)
            lint_warn(w->linter, LINT_COPY_IGNORED_FILE, i->comments, i->lines,
                      "Attempting to %s file \"%s\" that is excluded by .dockerignore",
                      is_add ? "Add" : "Copy", path);
    }
}

static void check_missing(struct walker *w, const struct lint_stage *stage,
                          const struct dockerfile_instruction *i, char *const *missing)
{
    char **names CLEANUP(strv_freep) = stage->is_known && missing ? names_of(stage->scope.values) : NULL;
    for (; names && missing && *missing; missing++) {
        const char *nearest = suggest(*missing, names);
        lint_warn(w->linter, LINT_UNDEFINED_VAR, i->comments, i->lines,
                  "Usage of undefined variable '$%s'%s%s%s", *missing, nearest ? " (did you mean $" : "",
                  nearest ? nearest : "", nearest ? "?)" : "");
    }
}

static int check(struct walker *w, struct lint_stage *stage, const struct dockerfile_instruction *i)
{
    if (i->kind == DOCKERFILE_ARG || i->kind == DOCKERFILE_ENV)
        check_secrets(w, i);
    if (i->kind == DOCKERFILE_ENV || i->kind == DOCKERFILE_LABEL)
        check_pairs(w, i);
    if (i->kind == DOCKERFILE_CMD || i->kind == DOCKERFILE_ENTRYPOINT)
        check_command(w, stage, i);
    if (i->kind == DOCKERFILE_HEALTHCHECK)
        check_once(w, stage, i);
    if (i->kind == DOCKERFILE_SHELL)
        stage->has_shell = true;
    if (i->kind == DOCKERFILE_WORKDIR)
        check_workdir(w, stage, i);
    if (i->kind == DOCKERFILE_ADD || i->kind == DOCKERFILE_COPY)
        check_copy(w, i);
    return i->kind == DOCKERFILE_EXPOSE ? check_ports(w, i) : 0;
}

static int walk_instruction(struct walker *w, struct lint_stage *stage, struct dockerfile_instruction *i)
{
    char **missing CLEANUP(strv_freep) = NULL;
    const struct dockerfile_expansion how = { w->linter->inputs, w->plan->globals,
                                              w->plan->file->directives.escape, &missing };
    if (dockerfile_scope_apply(&stage->scope, i, &how, w->err) < 0)
        return -1;
    check_missing(w, stage, i, missing);
    return check(w, stage, i);
}

// --- stages

static void begin(struct walker *w, size_t index)
{
    struct lint_stage *stage = &w->stages[index];
    const struct dockerfile_source *base = &w->plan->stages[index].base;
    const struct lint_options *options = w->linter->options;
    if (base->kind == DOCKERFILE_SOURCE_STAGE) {
        const struct lint_stage *from = &w->stages[base->stage];
        dockerfile_scope_copy(&stage->scope, &from->scope);
        stage->is_known = from->is_known;
        stage->has_shell = from->has_shell;
        stage->has_workdir = from->has_workdir;
        return;
    }
    char *const *environment = base->kind == DOCKERFILE_SOURCE_IMAGE && options->find_environment
                                   ? options->find_environment(options->data, base->name)
                                   : NULL;
    stage->is_known = environment || base->kind == DOCKERFILE_SOURCE_SCRATCH;
    dockerfile_scope_init(&stage->scope, environment);
}

static int walk_stage(struct walker *w, size_t index)
{
    struct dockerfile_planned_stage *planned = &w->plan->stages[index];
    struct lint_stage *stage = &w->stages[index];
    begin(w, index);
    if (planned->is_replaced)
        return 0;
    for (size_t i = 0; i < planned->trigger_count; i++)
        if (walk_instruction(w, stage, planned->triggers[i]) < 0)
            return -1;
    for (size_t i = 0; i < planned->stage->count; i++)
        if (walk_instruction(w, stage, &planned->stage->instructions[i]) < 0)
            return -1;
    return 0;
}

int lint_stages(struct linter *linter, struct dockerfile_plan *plan, struct dockerfile_error *err)
{
    struct walker w = { .linter = linter, .plan = plan, .err = err };
    bool all = str_is_empty(linter->inputs->target);
    int r = 0;
    for (size_t i = 0; i < plan->count; i++)
        check_from(&w, &plan->stages[i]);
    w.stages = xcalloc(plan->count, sizeof *w.stages);
    for (size_t i = 0; r == 0 && i < plan->count; i++)
        if (all || plan->stages[i].is_wanted)
            r = walk_stage(&w, i);
    for (size_t i = 0; i < plan->count; i++)
        dockerfile_scope_done(&w.stages[i].scope);
    free(w.stages);
    return r;
}
