#include "build/dockerfile/scope.h"

#include "base/mem.h"
#include "build/dockerfile/words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { EXPANSION_OVERHEAD = 256 }; // what each counts at least: bounds their number, too

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Set NAME in a strv of "NAME=value", at the place where it is already.
static void set_value(char ***values, const char *name, const char *value)
{
    size_t n = strlen(name);
    char *text = xasprintf("%s=%s", name, value);
    for (char **v = *values; v && *v; v++) {
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=') {
            free(*v);
            *v = text;
            return;
        }
    }
    strv_take(values, text);
}

// Count what an expansion has made: without a bound a few lines of "ENV a=$a$a" would fill the memory.
static int spend(size_t *spent, const char *expanded, struct error *err)
{
    *spent += strlen(expanded) + EXPANSION_OVERHEAD;
    if (*spent > DOCKERFILE_EXPANSION_MAX)
        return error_set(err, ERROR_INVALID, "variables expand to more than %d bytes",
                         DOCKERFILE_EXPANSION_MAX);
    return 0;
}

// --- globals

// "linux/arm64/v8" as NAMEPLATFORM, NAMEOS, NAMEARCH and NAMEVARIANT.
static void set_platform(char ***values, const char *prefix, const char *platform)
{
    static const char *const parts[] = { "OS", "ARCH", "VARIANT" };
    char **pieces CLEANUP(strv_freep) = strv_split(platform ? platform : "", "/", true);
    char *name CLEANUP(cleanup_free) = xasprintf("%sPLATFORM", prefix);
    set_value(values, name, platform ? platform : "");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *part CLEANUP(cleanup_free) = xasprintf("%s%s", prefix, parts[i]);
        set_value(values, part, i < strv_len(pieces) ? pieces[i] : "");
    }
    char *version CLEANUP(cleanup_free) = xasprintf("%sOSVERSION", prefix);
    set_value(values, version, "");
}

static void set_predefined(const struct dockerfile *file, const struct dockerfile_inputs *inputs,
                           char ***values)
{
    const char *last = file->stages[file->stage_count - 1].from.from.name;
    const char *target = str_is_empty(inputs->target) ? last : inputs->target;
    set_platform(values, "BUILD", inputs->build_platform);
    set_platform(values, "TARGET", inputs->target_platform);
    set_value(values, "TARGETSTAGE", target ? target : "default");
    for (char **v = *values; *v; v++) {
        char *name CLEANUP(cleanup_free) = xstrndup(*v, strcspn(*v, "="));
        const char *given = words_value(inputs->build_arguments, name);
        if (given) {
            free(*v);
            *v = xasprintf("%s=%s", name, given);
        }
    }
}

struct globals {
    const struct dockerfile *file;
    char **values;
    size_t expanded_bytes;
};

static int set_global(struct globals *g, const struct dockerfile_pair *pair, const char *given,
                      struct error *err)
{
    const struct words_rules rules = { .escape = g->file->directives.escape, .values = g->values };
    char *value CLEANUP(cleanup_free) = given ? xstrdup(given) : NULL;
    if (!given && pair->value && words_expand(pair->value, &rules, &value, err) < 0)
        return -1;
    if (!value)
        return 0;
    set_value(&g->values, pair->name, value);
    return spend(&g->expanded_bytes, value, err);
}

int dockerfile_globals_read(const struct dockerfile *file, const struct dockerfile_inputs *inputs, bool given,
                            char ***ret, struct dockerfile_error *err)
{
    struct globals globals = { .file = file };
    int r = 0;
    set_predefined(file, inputs, &globals.values);
    for (size_t i = 0; r == 0 && i < file->argument_count; i++) {
        const struct dockerfile_instruction *arg = &file->arguments[i];
        for (size_t j = 0; r == 0 && j < arg->pairs.count; j++) {
            const struct dockerfile_pair *pair = &arg->pairs.items[j];
            r = set_global(&globals, pair, given ? words_value(inputs->build_arguments, pair->name) : NULL,
                           &err->cause);
        }
        err->lines = arg->lines;
    }
    if (r < 0)
        strv_free(globals.values);
    else
        *ret = globals.values;
    return r;
}

// --- scopes

void dockerfile_scope_init(struct dockerfile_scope *scope, char *const *environment)
{
    *scope = (struct dockerfile_scope){ 0 };
    for (; environment && *environment; environment++)
        strv_push(&scope->environment, *environment);
    if (!words_value(scope->environment, "PATH"))
        strv_push(&scope->environment, DEFAULT_PATH);
    scope->values = strv_copy(scope->environment);
}

void dockerfile_scope_copy(struct dockerfile_scope *scope, const struct dockerfile_scope *base)
{
    scope->values = strv_copy(base->values);
    scope->environment = strv_copy(base->environment);
    scope->arguments = strv_copy(base->arguments);
    scope->expanded_bytes = base->expanded_bytes;
}

void dockerfile_scope_done(struct dockerfile_scope *scope)
{
    strv_free(scope->values);
    strv_free(scope->environment);
    strv_free(scope->arguments);
    *scope = (struct dockerfile_scope){ 0 };
}

// --- expansion

struct expander {
    struct dockerfile_scope *scope;
    const struct dockerfile_expansion *how;
    struct words_rules rules;
    char **missing;
    struct error *err;
};

// Replace the variables of one owned text in place; NULL stays.
static int expand_text(struct expander *e, char **text)
{
    char *expanded;
    if (!*text)
        return 0;
    if (words_expand(*text, &e->rules, &expanded, e->err) < 0)
        return -1;
    free(*text);
    *text = expanded;
    return spend(&e->scope->expanded_bytes, expanded, e->err);
}

static int expand_texts(struct expander *e, char **texts)
{
    for (; texts && *texts; texts++)
        if (expand_text(e, texts) < 0)
            return -1;
    return 0;
}

static int expand_pairs(struct expander *e, struct dockerfile_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (expand_text(e, &pairs->items[i].name) < 0 || expand_text(e, &pairs->items[i].value) < 0)
            return -1;
    return 0;
}

// All of an ENV's values are expanded before the first takes effect: "ENV a=1 b=$a" sees the former a.
static int apply_env(struct expander *e, struct dockerfile_pairs *pairs)
{
    if (expand_pairs(e, pairs) < 0)
        return -1;
    for (size_t i = 0; i < pairs->count; i++) {
        set_value(&e->scope->values, pairs->items[i].name, pairs->items[i].value);
        set_value(&e->scope->environment, pairs->items[i].name, pairs->items[i].value);
    }
    return 0;
}

// Arguments that say how the build is to be described, and are no variables of RUN.
static bool is_hidden(const char *name)
{
    return streq(name, "BUILDKIT_SBOM_SCAN_CONTEXT") || streq(name, "BUILDKIT_SBOM_SCAN_STAGE");
}

static int apply_arg(struct expander *e, struct dockerfile_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        struct dockerfile_pair *pair = &pairs->items[i];
        const char *given = words_value(e->how->inputs->build_arguments, pair->name);
        e->rules.values = e->scope->values;
        if (spend(&e->scope->expanded_bytes, pair->name, e->err) < 0)
            return -1;
        if (given)
            free_and_strdup(&pair->value, given);
        else if (!pair->value)
            free_and_strdup(&pair->value, words_value(e->how->globals, pair->name));
        else if (expand_text(e, &pair->value) < 0)
            return -1;
        if (pair->value && !is_hidden(pair->name))
            set_value(&e->scope->values, pair->name, pair->value);
        if (!strv_contains(e->scope->arguments, pair->name))
            strv_push(&e->scope->arguments, pair->name);
    }
    return 0;
}

static int expand_copy(struct expander *e, struct dockerfile_copy *copy)
{
    if (expand_text(e, &copy->chown) < 0 || expand_text(e, &copy->chmod) < 0 ||
        expand_text(e, &copy->checksum) < 0)
        return -1;
    if (expand_texts(e, copy->sources) < 0 || expand_text(e, &copy->destination) < 0)
        return -1;
    // The content of a file is text: quotes mean nothing in it, and the escape is '\' whatever the directive says.
    e->rules.escape = '\\';
    e->rules.ignores_quotes = true;
    for (size_t i = 0; i < copy->file_count; i++)
        if (copy->files[i].expands && expand_text(e, &copy->files[i].content) < 0)
            return -1;
    return 0;
}

static int expand_mount_value(void *data, const char *value, char **ret, struct error *err)
{
    struct expander *e = data;
    char *expanded CLEANUP(cleanup_free) = NULL;
    if (words_expand(value, &e->rules, &expanded, err) < 0 ||
        spend(&e->scope->expanded_bytes, expanded, err) < 0)
        return -1;
    *ret = TAKE_PTR(expanded);
    return 0;
}

static int expand_run(struct expander *e, struct dockerfile_run *run)
{
    for (size_t i = 0; i < run->mount_count; i++) {
        struct dockerfile_mount mount;
        if (dockerfile_mount_read(run->mount_flags[i], expand_mount_value, e, &mount, e->err) < 0)
            return -1;
        dockerfile_mount_done(&run->mounts[i]);
        run->mounts[i] = mount;
    }
    return 0;
}

static int expand_ports(struct expander *e, char ***ports)
{
    char **expanded CLEANUP(strv_freep) = NULL;
    for (size_t i = 0; (*ports)[i]; i++) {
        char **words CLEANUP(strv_freep) = NULL;
        if (words_split((*ports)[i], &e->rules, &words, e->err) < 0)
            return -1;
        for (size_t j = 0; words && words[j]; j++) {
            strv_push(&expanded, words[j]);
            if (spend(&e->scope->expanded_bytes, words[j], e->err) < 0)
                return -1;
        }
    }
    strv_free(*ports);
    *ports = TAKE_PTR(expanded);
    return 0;
}

static int expand_volumes(struct expander *e, char **volumes)
{
    if (expand_texts(e, volumes) < 0)
        return -1;
    for (; *volumes; volumes++)
        if (!**volumes)
            return error_set(e->err, ERROR_INVALID, "VOLUME specified can not be an empty string");
    return 0;
}

static int apply(struct expander *e, struct dockerfile_instruction *instruction)
{
    switch (instruction->kind) {
    case DOCKERFILE_ADD:
    case DOCKERFILE_COPY:
        return expand_copy(e, &instruction->copy);
    case DOCKERFILE_ARG:
        return apply_arg(e, &instruction->pairs);
    case DOCKERFILE_ENV:
        return apply_env(e, &instruction->pairs);
    case DOCKERFILE_LABEL:
        return expand_pairs(e, &instruction->pairs);
    case DOCKERFILE_EXPOSE:
        return expand_ports(e, &instruction->words);
    case DOCKERFILE_VOLUME:
        return expand_volumes(e, instruction->words);
    case DOCKERFILE_RUN:
        return expand_run(e, &instruction->run);
    case DOCKERFILE_STOPSIGNAL:
    case DOCKERFILE_USER:
    case DOCKERFILE_WORKDIR:
        return expand_text(e, &instruction->text);
    case DOCKERFILE_CMD:
    case DOCKERFILE_ENTRYPOINT:
    case DOCKERFILE_FROM:
    case DOCKERFILE_HEALTHCHECK:
    case DOCKERFILE_MAINTAINER:
    case DOCKERFILE_ONBUILD:
    case DOCKERFILE_SHELL:
    case DOCKERFILE_KIND_COUNT:
        break;
    }
    return 0;
}

// A variable that ARG has declared may be unset; only others are missed.
static void report_missing(const struct expander *e)
{
    for (char *const *name = e->missing; name && *name; name++) {
        bool is_declared = strv_contains(e->scope->arguments, *name) || is_hidden(*name);
        if (!is_declared && !strv_contains(*e->how->missing, *name))
            strv_push(e->how->missing, *name);
    }
}

int dockerfile_scope_apply(struct dockerfile_scope *scope, struct dockerfile_instruction *instruction,
                           const struct dockerfile_expansion *expansion, struct dockerfile_error *err)
{
    struct expander e = { .scope = scope, .how = expansion, .err = &err->cause };
    e.rules =
        (struct words_rules){ .escape = expansion->escape, .values = scope->values, .missing = &e.missing };
    int r = apply(&e, instruction);
    if (expansion->missing)
        report_missing(&e);
    strv_free(e.missing);
    if (r < 0)
        err->lines = instruction->lines;
    return r;
}

// --- proxies

char **dockerfile_proxy_environment(char *const *build_arguments)
{
    static const char *const names[] = { "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY" };
    char **environment = NULL;
    for (; build_arguments && *build_arguments; build_arguments++) {
        const char *argument = *build_arguments;
        size_t n = strcspn(argument, "=");
        for (size_t i = 0; argument[n] && i < sizeof names / sizeof *names; i++) {
            if (strlen(names[i]) != n || strncasecmp(names[i], argument, n) != 0)
                continue;
            char *lower CLEANUP(cleanup_free) = xstrdup(names[i]);
            for (char *s = lower; *s; s++)
                *s = (char)tolower((unsigned char)*s);
            set_value(&environment, names[i], argument + n + 1);
            set_value(&environment, lower, argument + n + 1);
        }
    }
    return environment;
}
