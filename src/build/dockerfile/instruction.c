// Theory of operation. A table names the reader of each kind. A reader takes the node's flags into their places, then its
// arguments; what it has allocated hangs in the instruction from the start, so that one dockerfile_instruction_done()
// releases whatever a failure left behind.
#include "build/dockerfile/instruction.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "build/dockerfile/arguments.h"
#include "build/dockerfile/flags.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { NANOSECONDS_PER_MILLISECOND = 1000000 };

struct parser {
    const struct dockerfile_node *node;
    char escape;
    struct dockerfile_instruction *out;
    struct error *err;
};

static int no_flags(struct parser *p)
{
    static const struct flag none[] = { { NULL, FLAG_TEXT, NULL } };
    return flags_read(p->node->flags, none, p->err);
}

static int needs_one_or_more(struct parser *p)
{
    return error_set(p->err, ERROR_INVALID, "%s requires at least one argument",
                     dockerfile_kind_name(p->out->kind));
}

// What stands behind "name " in a comment above; NULL when nothing does. Owned.
static char *description_of(char *const *comments, const char *name)
{
    size_t n = strlen(name);
    for (; n && comments && *comments; comments++)
        if (strncmp(*comments, name, n) == 0 && (*comments)[n] == ' ')
            return xstrdup(*comments + n + 1);
    return NULL;
}

static char **words_of(const struct dockerfile_node *node)
{
    if (!node->is_json)
        return arguments_plain_words(node->rest);
    return node->json ? strv_copy(node->json) : NULL;
}

static struct dockerfile_heredoc *copy_heredocs(const struct dockerfile_node *node)
{
    struct dockerfile_heredoc *copies = xcalloc(node->heredoc_count, sizeof *copies);
    for (size_t i = 0; i < node->heredoc_count; i++) {
        copies[i] = node->heredocs[i];
        copies[i].name = xstrdup(node->heredocs[i].name);
        copies[i].content = xstrdup(node->heredocs[i].content);
    }
    return copies;
}

// --- name=value

static void add_pair(struct dockerfile_pairs *pairs, const char *name, size_t name_length, const char *value,
                     bool is_legacy)
{
    pairs->items = xreallocarray(pairs->items, pairs->count + 1, sizeof *pairs->items);
    pairs->items[pairs->count++] =
        (struct dockerfile_pair){ xstrndup(name, name_length), xstrdup(value), is_legacy, NULL };
}

// "ENV name the rest"
static int read_legacy_pair(struct parser *p)
{
    const char *rest = p->node->rest;
    size_t n = strcspn(rest, " \t\v\f\r\n");
    if (!rest[n])
        return error_set(p->err, ERROR_INVALID, "%s must have two arguments",
                         dockerfile_kind_name(p->out->kind));
    add_pair(&p->out->pairs, rest, n, rest + n + strspn(rest + n, " \t\v\f\r\n"), true);
    return 0;
}

static int read_pairs(struct parser *p)
{
    char **words CLEANUP(strv_freep) = arguments_words(p->node->rest, p->escape);
    if (no_flags(p) < 0)
        return -1;
    if (!words)
        return needs_one_or_more(p);
    if (!strchr(words[0], '='))
        return read_legacy_pair(p);
    for (size_t i = 0; words[i]; i++) {
        const char *equals = strchr(words[i], '=');
        if (!equals)
            return error_set(p->err, ERROR_INVALID,
                             "Syntax error - can't find = in \"%s\". Must be of the form: name=value",
                             words[i]);
        if (equals == words[i])
            return error_set(p->err, ERROR_INVALID, "%s names can not be blank",
                             dockerfile_kind_name(p->out->kind));
        add_pair(&p->out->pairs, words[i], (size_t)(equals - words[i]), equals + 1, false);
    }
    return 0;
}

static int read_arg(struct parser *p)
{
    char **words CLEANUP(strv_freep) = arguments_words(p->node->rest, p->escape);
    struct dockerfile_pairs *pairs = &p->out->pairs;
    if (no_flags(p) < 0)
        return -1;
    if (!words)
        return needs_one_or_more(p);
    for (size_t i = 0; words[i]; i++) {
        const char *equals = strchr(words[i], '=');
        if (equals == words[i])
            return error_set(p->err, ERROR_INVALID, "ARG names can not be blank");
        add_pair(pairs, words[i], equals ? (size_t)(equals - words[i]) : strlen(words[i]),
                 equals ? equals + 1 : "", false);
        struct dockerfile_pair *pair = &pairs->items[pairs->count - 1];
        if (!equals)
            free_and_strdup(&pair->value, NULL);
        pair->description = description_of(p->node->comments, pair->name);
    }
    return 0;
}

// --- ADD and COPY

static void add_inline_file(struct dockerfile_copy *copy, const struct dockerfile_node *node,
                            const char *name, bool expands)
{
    char *content = NULL;
    for (size_t i = 0; i < node->heredoc_count; i++)
        if (streq(node->heredocs[i].name, name)) {
            free(content);
            content = dockerfile_heredoc_text(&node->heredocs[i]);
        }
    copy->files = xreallocarray(copy->files, copy->file_count + 1, sizeof *copy->files);
    copy->files[copy->file_count++] =
        (struct dockerfile_inline_file){ xstrdup(name), content ? content : xstrdup(""), expands };
}

// A JSON array's elements are paths whatever they look like; only the plain form has heredocs.
static bool read_source(struct dockerfile_copy *copy, const struct dockerfile_node *node, const char *word)
{
    struct dockerfile_heredoc heredoc;
    if (node->is_json || !dockerfile_heredoc_read(word, &heredoc))
        return false;
    add_inline_file(copy, node, heredoc.name, heredoc.expands);
    dockerfile_heredoc_done(&heredoc);
    return true;
}

// "<< EOF" is one word of the statement, but two for white space.
static char **copy_words(const struct dockerfile_node *node)
{
    char **plain CLEANUP(strv_freep) = words_of(node);
    char **words = NULL;
    for (size_t i = 0; plain && plain[i]; i++) {
        bool is_open = !node->is_json && node->heredoc_count && plain[i + 1] &&
                       (str_has_suffix(plain[i], "<<") || str_has_suffix(plain[i], "<<-"));
        if (is_open) {
            strv_take(&words, xasprintf("%s%s", plain[i], plain[i + 1]));
            i++;
        } else {
            strv_push(&words, plain[i]);
        }
    }
    return words;
}

// At least a source and the destination. *ret owned.
static int read_copy_words(struct parser *p, char ***ret)
{
    char **words CLEANUP(strv_freep) = copy_words(p->node);
    if (strv_len(words) < 2)
        return error_set(
            p->err, ERROR_INVALID,
            "%s requires at least two arguments, but only one was provided. Destination could not be "
            "determined",
            dockerfile_kind_name(p->out->kind));
    *ret = TAKE_PTR(words);
    return 0;
}

static int read_sources(struct parser *p, char *const *words)
{
    struct dockerfile_copy *copy = &p->out->copy;
    struct dockerfile_heredoc heredoc;
    size_t count = strv_len(words);
    if (!p->node->is_json && dockerfile_heredoc_read(words[count - 1], &heredoc)) {
        dockerfile_heredoc_done(&heredoc);
        return error_set(p->err, ERROR_INVALID, "%s cannot accept a heredoc as a destination",
                         dockerfile_kind_name(p->out->kind));
    }
    copy->destination = xstrdup(words[count - 1]);
    for (size_t i = 0; i + 1 < count; i++)
        if (!read_source(copy, p->node, words[i]))
            strv_push(&copy->sources, words[i]);
    return 0;
}

static int read_add(struct parser *p)
{
    struct dockerfile_copy *c = &p->out->copy;
    char **words CLEANUP(strv_freep) = NULL;
    const struct flag table[] = {
        { "chown", FLAG_TEXT, &c->chown },       { "chmod", FLAG_TEXT, &c->chmod },
        { "link", FLAG_BOOL, &c->link },         { "keep-git-dir", FLAG_CHOICE, &c->keep_git_dir },
        { "checksum", FLAG_TEXT, &c->checksum }, { "unpack", FLAG_CHOICE, &c->unpack },
        { "exclude", FLAG_TEXTS, &c->excludes }, { NULL, FLAG_TEXT, NULL },
    };
    if (read_copy_words(p, &words) < 0 || flags_read(p->node->flags, table, p->err) < 0)
        return -1;
    return read_sources(p, words);
}

static int read_copy(struct parser *p)
{
    struct dockerfile_copy *c = &p->out->copy;
    char **words CLEANUP(strv_freep) = NULL;
    const struct flag table[] = {
        { "chown", FLAG_TEXT, &c->chown },
        { "from", FLAG_TEXT, &c->from },
        { "chmod", FLAG_TEXT, &c->chmod },
        { "link", FLAG_BOOL, &c->link },
        { "parents", FLAG_BOOL, &c->parents },
        { "exclude", FLAG_TEXTS, &c->excludes },
        { NULL, FLAG_TEXT, NULL },
    };
    if (read_copy_words(p, &words) < 0 || flags_read(p->node->flags, table, p->err) < 0)
        return -1;
    return read_sources(p, words);
}

// --- commands

static void read_command_line(struct parser *p, const char *rest, struct dockerfile_command *command)
{
    command->is_shell = !p->node->is_json;
    if (p->node->is_json)
        command->words = words_of(p->node);
    else if (*rest)
        strv_push(&command->words, rest);
    command->heredocs = copy_heredocs(p->node);
    command->heredoc_count = p->node->heredoc_count;
}

static int read_command(struct parser *p)
{
    if (no_flags(p) < 0)
        return -1;
    read_command_line(p, p->node->rest, &p->out->command);
    return 0;
}

static int read_network(struct parser *p, const char *value)
{
    static const char *const names[] = { "default", "none", "host" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (streq(names[i], value)) {
            p->out->run.network = (enum dockerfile_network)i;
            p->out->run.has_network = true;
            return 0;
        }
    }
    return error_set(p->err, ERROR_INVALID, "invalid network mode \"%s\"", value);
}

static int read_security(struct parser *p, const char *value)
{
    if (!streq(value, "insecure") && !streq(value, "sandbox"))
        return error_set(p->err, ERROR_INVALID, "security \"%s\" is not valid", value);
    p->out->run.is_insecure = streq(value, "insecure");
    return 0;
}

static int read_device_field(struct dockerfile_device *device, const char *field, struct error *err)
{
    static const char *const keys[] = { "name", "required", NULL };
    const char *equals = strchr(field, '=');
    char *key CLEANUP(cleanup_free) = xstrndup(field, equals ? (size_t)(equals - field) : strlen(field));
    if (strcasecmp(key, "required") == 0) {
        const char *value = equals ? equals + 1 : "true";
        if (!streq(value, "true") && !streq(value, "false"))
            return error_set(err, ERROR_INVALID, "invalid value for required: %s", value);
        device->is_required = streq(value, "true");
        return 0;
    }
    bool is_name = equals && strcasecmp(key, "name") == 0;
    if (device->name && is_name)
        return error_set(err, ERROR_INVALID, "device name already set to %s", device->name);
    if (device->name && !equals)
        return error_set(err, ERROR_INVALID, "invalid field '%s' must be a key=value pair", field);
    if (device->name) {
        (void)error_set(err, ERROR_INVALID, "unexpected key '%s' in '%s'", key, field);
        dockerfile_error_suggest(err, key, keys);
        return -1;
    }
    // "vendor.com/class=name" is a CDI name and no key.
    device->name = xstrdup(is_name ? equals + 1 : field);
    return 0;
}

static int read_device(struct dockerfile_run *run, const char *text, struct error *err)
{
    char **fields CLEANUP(strv_freep) = NULL;
    if (arguments_comma_separated(text, &fields, err) < 0)
        return error_wrap(err, "failed to parse csv devices");
    run->devices = xreallocarray(run->devices, run->device_count + 1, sizeof *run->devices);
    struct dockerfile_device *device = &run->devices[run->device_count++];
    *device = (struct dockerfile_device){ 0 };
    for (size_t i = 0; fields[i]; i++)
        if (read_device_field(device, fields[i], err) < 0)
            return -1;
    return 0;
}

static int read_mounts(struct parser *p)
{
    struct dockerfile_run *run = &p->out->run;
    run->mounts = xcalloc(strv_len(run->mount_flags), sizeof *run->mounts);
    for (size_t i = 0; run->mount_flags && run->mount_flags[i]; i++) {
        if (dockerfile_mount_read(run->mount_flags[i], NULL, NULL, &run->mounts[i], p->err) < 0)
            return -1;
        run->mount_count++;
    }
    return 0;
}

static int read_run(struct parser *p)
{
    struct dockerfile_run *run = &p->out->run;
    char *network CLEANUP(cleanup_free) = NULL, *security CLEANUP(cleanup_free) = NULL;
    char **devices CLEANUP(strv_freep) = NULL;
    const struct flag table[] = {
        { "mount", FLAG_TEXTS, &run->mount_flags },
        { "network", FLAG_TEXT, &network },
        { "security", FLAG_TEXT, &security },
        { "device", FLAG_TEXTS, &devices },
        { NULL, FLAG_TEXT, NULL },
    };
    if (flags_read(p->node->flags, table, p->err) < 0)
        return -1;
    read_command_line(p, p->node->rest, &run->command);
    if (read_mounts(p) < 0)
        return -1;
    if (network && read_network(p, network) < 0)
        return -1;
    if (security && read_security(p, security) < 0)
        return -1;
    for (size_t i = 0; devices && devices[i]; i++)
        if (read_device(run, devices[i], p->err) < 0)
            return -1;
    return 0;
}

// --- HEALTHCHECK

static int read_duration(struct parser *p, const char *name, const char *text, int64_t *ret_ns)
{
    if (str_is_empty(text))
        return 0;
    if (!duration_parse(text, ret_ns))
        return error_set(p->err, ERROR_INVALID, "time: invalid duration \"%s\"", text);
    if (*ret_ns != 0 && *ret_ns < NANOSECONDS_PER_MILLISECOND)
        return error_set(p->err, ERROR_INVALID, "Interval \"%s\" cannot be less than 1ms", name);
    return 0;
}

static int read_retries(struct parser *p, const char *text)
{
    int64_t retries;
    if (str_is_empty(text))
        return 0;
    if (!parse_i64(text, INT32_MIN, INT32_MAX, &retries))
        return error_set(p->err, ERROR_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
    if (retries < 0)
        return error_set(p->err, ERROR_INVALID, "--retries cannot be negative (%lld)", (long long)retries);
    p->out->healthcheck.retries = (unsigned)retries;
    return 0;
}

static int read_health_options(struct parser *p)
{
    struct dockerfile_healthcheck *h = &p->out->healthcheck;
    char *texts[5] = { NULL };
    struct {
        const char *name;
        int64_t *place;
    } const durations[] = {
        { "interval", &h->interval_ns },
        { "timeout", &h->timeout_ns },
        { "start-period", &h->start_period_ns },
        { "start-interval", &h->start_interval_ns },
    };
    struct flag table[] = {
        { "interval", FLAG_TEXT, &texts[0] },     { "timeout", FLAG_TEXT, &texts[1] },
        { "start-period", FLAG_TEXT, &texts[2] }, { "start-interval", FLAG_TEXT, &texts[3] },
        { "retries", FLAG_TEXT, &texts[4] },      { NULL, FLAG_TEXT, NULL },
    };
    int r = flags_read(p->node->flags, table, p->err);
    for (size_t i = 0; r == 0 && i < 4; i++)
        r = read_duration(p, durations[i].name, texts[i], durations[i].place);
    if (r == 0)
        r = read_retries(p, texts[4]);
    for (size_t i = 0; i < 5; i++)
        free(texts[i]);
    return r;
}

static int read_healthcheck(struct parser *p)
{
    const char *rest = p->node->rest;
    size_t n = strcspn(rest, " \t\v\f\r\n");
    const char *command = rest + n + strspn(rest + n, " \t\v\f\r\n");
    char *type CLEANUP(cleanup_free) = xstrndup(rest, n);
    for (char *s = type; *s; s++)
        *s = (char)toupper((unsigned char)*s);
    if (!*type)
        return needs_one_or_more(p);
    if (streq(type, "NONE")) {
        p->out->healthcheck.is_none = true;
        return *command ? error_set(p->err, ERROR_INVALID, "HEALTHCHECK NONE takes no arguments")
                        : no_flags(p);
    }
    if (read_health_options(p) < 0)
        return -1;
    if (!streq(type, "CMD"))
        return error_set(p->err, ERROR_INVALID, "Unknown type \"%s\" in HEALTHCHECK (try CMD)", type);
    read_command_line(p, command, &p->out->healthcheck.command);
    if (!p->out->healthcheck.command.words)
        return error_set(p->err, ERROR_INVALID, "Missing command after HEALTHCHECK CMD");
    return 0;
}

// --- FROM

static bool stage_name_is_valid(const char *name)
{
    if (!(*name >= 'a' && *name <= 'z'))
        return false;
    for (; *name; name++)
        if (!(*name >= 'a' && *name <= 'z') && !isdigit((unsigned char)*name) && !strchr("-_.", *name))
            return false;
    return true;
}

static int read_stage_name(struct parser *p, const char *as, const char *name)
{
    struct dockerfile_from *from = &p->out->from;
    from->as_as_written = xstrdup(as);
    from->name_as_written = xstrdup(name);
    from->name = xstrdup(name);
    for (char *s = from->name; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    if (!stage_name_is_valid(from->name))
        return error_set(
            p->err, ERROR_INVALID,
            "invalid name for build stage: \"%s\", name can't start with a number or contain symbols", name);
    from->description = description_of(p->node->comments, from->name);
    return 0;
}

static int read_from(struct parser *p)
{
    struct dockerfile_from *from = &p->out->from;
    char **words CLEANUP(strv_freep) = arguments_plain_words(p->node->rest);
    const struct flag table[] = { { "platform", FLAG_TEXT, &from->platform }, { NULL, FLAG_TEXT, NULL } };
    size_t count = strv_len(words);
    if (count != 1 && !(count == 3 && strcasecmp(words[1], "as") == 0))
        return error_set(p->err, ERROR_INVALID, "FROM requires either one or three arguments");
    if (count == 3 && read_stage_name(p, words[1], words[2]) < 0)
        return -1;
    from->base = xstrdup(words[0]);
    return flags_read(p->node->flags, table, p->err);
}

// --- the others

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_expose(struct parser *p)
{
    if (no_flags(p) < 0)
        return -1;
    p->out->words = arguments_plain_words(p->node->rest);
    if (!p->out->words)
        return needs_one_or_more(p);
    qsort(p->out->words, strv_len(p->out->words), sizeof *p->out->words, compare_texts);
    return 0;
}

static int read_volume(struct parser *p)
{
    char **words CLEANUP(strv_freep) = words_of(p->node);
    if (no_flags(p) < 0)
        return -1;
    if (!words)
        return needs_one_or_more(p);
    for (size_t i = 0; words[i]; i++) {
        char *volume = arguments_trimmed(words[i], strlen(words[i]));
        strv_take(&p->out->words, volume);
        if (!*volume)
            return error_set(p->err, ERROR_INVALID, "VOLUME specified can not be an empty string");
    }
    return 0;
}

static int read_shell(struct parser *p)
{
    if (no_flags(p) < 0)
        return -1;
    if (!*p->node->rest || (p->node->is_json && !p->node->json))
        return needs_one_or_more(p);
    if (!p->node->is_json)
        return error_set(p->err, ERROR_INVALID, "SHELL requires the arguments to be in JSON form");
    p->out->words = strv_copy(p->node->json);
    return 0;
}

// MAINTAINER, STOPSIGNAL, USER, WORKDIR: all that stands there, as one.
static int read_text(struct parser *p)
{
    if (!*p->node->rest)
        return error_set(p->err, ERROR_INVALID, "%s requires exactly one argument",
                         dockerfile_kind_name(p->out->kind));
    p->out->text = xstrdup(p->node->rest);
    return no_flags(p);
}

static int refuse_trigger(const char *keyword, struct error *err)
{
    if (strcasecmp(keyword, "ONBUILD") == 0)
        return error_set(err, ERROR_INVALID, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (strcasecmp(keyword, "FROM") == 0 || strcasecmp(keyword, "MAINTAINER") == 0)
        return error_set(err, ERROR_INVALID, "%s isn't allowed as an ONBUILD trigger",
                         strcasecmp(keyword, "FROM") == 0 ? "FROM" : "MAINTAINER");
    return 0;
}

static int read_onbuild(struct parser *p)
{
    struct str trigger CLEANUP(str_done) = STR_INIT;
    const char *rest = p->node->rest;
    char *keyword CLEANUP(cleanup_free) = xstrndup(rest, strcspn(rest, " \t\v\f\r\n"));
    if (!*rest)
        return needs_one_or_more(p);
    if (no_flags(p) < 0 || refuse_trigger(keyword, p->err) < 0)
        return -1;
    str_append(&trigger, rest);
    for (size_t i = 0; i < p->node->heredoc_count; i++)
        str_appendf(&trigger, "\n%s%s", p->node->heredocs[i].content, p->node->heredocs[i].name);
    p->out->text = str_take(&trigger);
    return 0;
}

static const struct {
    const char *name;
    int (*read)(struct parser *p);
} kinds[] = {
    [DOCKERFILE_ADD] = { "ADD", read_add },
    [DOCKERFILE_ARG] = { "ARG", read_arg },
    [DOCKERFILE_CMD] = { "CMD", read_command },
    [DOCKERFILE_COPY] = { "COPY", read_copy },
    [DOCKERFILE_ENTRYPOINT] = { "ENTRYPOINT", read_command },
    [DOCKERFILE_ENV] = { "ENV", read_pairs },
    [DOCKERFILE_EXPOSE] = { "EXPOSE", read_expose },
    [DOCKERFILE_FROM] = { "FROM", read_from },
    [DOCKERFILE_HEALTHCHECK] = { "HEALTHCHECK", read_healthcheck },
    [DOCKERFILE_LABEL] = { "LABEL", read_pairs },
    [DOCKERFILE_MAINTAINER] = { "MAINTAINER", read_text },
    [DOCKERFILE_ONBUILD] = { "ONBUILD", read_onbuild },
    [DOCKERFILE_RUN] = { "RUN", read_run },
    [DOCKERFILE_SHELL] = { "SHELL", read_shell },
    [DOCKERFILE_STOPSIGNAL] = { "STOPSIGNAL", read_text },
    [DOCKERFILE_USER] = { "USER", read_text },
    [DOCKERFILE_VOLUME] = { "VOLUME", read_volume },
    [DOCKERFILE_WORKDIR] = { "WORKDIR", read_text },
};

static_assert(sizeof kinds / sizeof *kinds == DOCKERFILE_KIND_COUNT, "every kind has its reader");

const char *dockerfile_kind_name(enum dockerfile_kind kind)
{
    return kinds[kind].name;
}

static int unknown_instruction(const char *keyword, struct error *err)
{
    const char *names[DOCKERFILE_KIND_COUNT + 1] = { 0 };
    char *upper CLEANUP(cleanup_free) = xstrdup(keyword);
    bool is_upper = true; // "FRM" is meant to be FROM, "frm" and "Frm" from
    for (size_t i = 0; i < DOCKERFILE_KIND_COUNT; i++)
        names[i] = kinds[i].name;
    for (char *s = upper; *s; s++) {
        is_upper = is_upper && !islower((unsigned char)*s);
        *s = (char)toupper((unsigned char)*s);
    }
    const char *nearest = dockerfile_suggest(upper, names);
    if (!nearest)
        return error_set(err, ERROR_INVALID, "unknown instruction: %s", keyword);
    char *shown CLEANUP(cleanup_free) = xstrdup(nearest);
    for (char *s = shown; !is_upper && *s; s++)
        *s = (char)tolower((unsigned char)*s);
    return error_set(err, ERROR_INVALID, "unknown instruction: %s (did you mean %s?)", keyword, shown);
}

// What is cut into words has fewer of them than a command line may be long.
static int check_size(const struct dockerfile_node *node, enum dockerfile_kind kind, struct error *err)
{
    bool is_command = kind == DOCKERFILE_RUN || kind == DOCKERFILE_CMD || kind == DOCKERFILE_ENTRYPOINT ||
                      kind == DOCKERFILE_HEALTHCHECK || kind == DOCKERFILE_ONBUILD;
    if (strv_len(node->flags) > DOCKERFILE_FLAGS_MAX)
        return error_set(err, ERROR_INVALID, "%s has more than %d flags", kinds[kind].name,
                         DOCKERFILE_FLAGS_MAX);
    if (!is_command && strlen(node->rest) > DOCKERFILE_ARGUMENTS_MAX)
        return error_set(err, ERROR_INVALID, "%s has more than %d bytes of arguments", kinds[kind].name,
                         DOCKERFILE_ARGUMENTS_MAX);
    return 0;
}

int dockerfile_instruction_read(const struct dockerfile_node *node, char escape,
                                struct dockerfile_instruction *ret, struct dockerfile_error *err)
{
    struct dockerfile_instruction out = { .lines = node->lines };
    struct parser p = { .node = node, .escape = escape, .out = &out, .err = &err->cause };
    size_t kind = 0;
    err->lines = node->lines;
    while (kind < DOCKERFILE_KIND_COUNT && strcasecmp(kinds[kind].name, node->keyword) != 0)
        kind++;
    if (kind == DOCKERFILE_KIND_COUNT)
        return unknown_instruction(node->keyword, &err->cause);
    if (check_size(node, (enum dockerfile_kind)kind, &err->cause) < 0)
        return -1;
    out.kind = (enum dockerfile_kind)kind;
    out.keyword = xstrdup(node->keyword);
    out.original = xstrdup(node->original);
    out.comments = strv_copy(node->comments);
    if (kinds[kind].read(&p) < 0) {
        dockerfile_instruction_done(&out);
        return -1;
    }
    *ret = out;
    return 0;
}

int dockerfile_trigger_read(const char *trigger, char escape, struct dockerfile_lines lines,
                            struct dockerfile_instruction *ret, struct dockerfile_error *err)
{
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = { 0 };
    char *text CLEANUP(cleanup_free) =
        escape == '`' ? xasprintf("# escape=`\n%s\n", trigger) : xasprintf("%s\n", trigger);
    int r = dockerfile_tokens_read(text, strlen(text), &tokens, err);
    if (r == 0 && tokens.count != 1)
        r = error_set(&err->cause, ERROR_INVALID, "onbuild trigger should be a single expression");
    if (r == 0)
        r = refuse_trigger(tokens.nodes[0].keyword, &err->cause);
    if (r == 0)
        r = dockerfile_instruction_read(&tokens.nodes[0], escape, ret, err);
    if (r < 0)
        err->lines = lines;
    else
        ret->lines = lines;
    return r;
}
