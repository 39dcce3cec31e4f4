// Theory of operation. The file is read once, line by line. A line that is neither empty nor a comment begins a
// statement; a trailing escape character continues it on the next line, comments between its lines are dropped and empty
// lines skipped (and remembered: they will be an error one day). Heredocs of a RUN, COPY or ADD are read off the lines
// that follow their statement, in the order in which they are named.
#include "build/dockerfile/lexer.h"

#include "base/mem.h"
#include "base/num.h"
#include "build/dockerfile/arguments.h"
#include "build/dockerfile/words.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct reader {
    const char *text;
    size_t n, at;
    size_t number; // of the line that was read last, from 1
    bool has_directives;
    char **comments;
    struct dockerfile_tokens *out;
    struct dockerfile_error *err;
};

// One line of the file, its end included.
struct line {
    const char *start;
    size_t n;
};

// --- lines

static struct dockerfile_lines one_line(size_t number)
{
    return (struct dockerfile_lines){ number, number };
}

// 1, 0 at the end of the file, -1: the line is too long.
static int next_line(struct reader *r, struct line *ret)
{
    if (r->at == r->n)
        return 0;
    const char *start = r->text + r->at;
    const char *end = memchr(start, '\n', r->n - r->at);
    size_t n = end ? (size_t)(end - start) + 1 : r->n - r->at;
    r->at += n;
    r->number++;
    if (n > DOCKERFILE_LINE_MAX)
        return dockerfile_error_set(r->err, one_line(r->number),
                                    "dockerfile line greater than max allowed size of %d",
                                    DOCKERFILE_LINE_MAX);
    *ret = (struct line){ start, n };
    return 1;
}

static struct line without_line_end(struct line line)
{
    while (line.n && (line.start[line.n - 1] == '\n' || line.start[line.n - 1] == '\r'))
        line.n--;
    return line;
}

static struct line without_leading_space(struct line line)
{
    while (line.n && isspace((unsigned char)*line.start)) {
        line.start++;
        line.n--;
    }
    return line;
}

// Drop a continuation character (and blanks behind it) off the end. Two of them in a row are none.
static bool cut_continuation(struct line *line, char escape)
{
    size_t n = line->n;
    while (n && (line->start[n - 1] == ' ' || line->start[n - 1] == '\t'))
        n--;
    if (!n || line->start[n - 1] != escape || (n > 1 && line->start[n - 2] == escape))
        return false;
    line->n = n - 1;
    return true;
}

// --- comments and directives

// Take "name = value" out of a comment's text; false when it is none.
static bool split_directive(struct line comment, char **ret_name, char **ret_value)
{
    const char *s = comment.start, *end = comment.start + comment.n;
    while (s < end && isalnum((unsigned char)*s))
        s++;
    size_t name_length = (size_t)(s - comment.start);
    while (s < end && isspace((unsigned char)*s))
        s++;
    if (!name_length || isdigit((unsigned char)*comment.start) || s == end || *s != '=')
        return false;
    char *value = arguments_trimmed(s + 1, (size_t)(end - s - 1));
    if (!*value) {
        free(value);
        return false;
    }
    *ret_name = xstrndup(comment.start, name_length);
    *ret_value = value;
    return true;
}

static int keep_directive(struct reader *r, const char *name, const char *value)
{
    struct dockerfile_directives *d = &r->out->directives;
    bool is_syntax = strcasecmp(name, "syntax") == 0;
    char **place = is_syntax ? &d->syntax : &d->check;
    if (*place)
        return dockerfile_error_set(r->err, one_line(r->number), "only one %s parser directive can be used",
                                    is_syntax ? "syntax" : "check");
    *place = xstrdup(value);
    *(is_syntax ? &d->syntax_lines : &d->check_lines) = one_line(r->number);
    return 0;
}

static int keep_escape(struct reader *r, const char *value)
{
    struct dockerfile_directives *d = &r->out->directives;
    if (d->escape)
        return dockerfile_error_set(r->err, one_line(r->number),
                                    "only one escape parser directive can be used");
    if (!streq(value, "\\") && !streq(value, "`"))
        return dockerfile_error_set(r->err, one_line(r->number),
                                    "invalid escape token '%s' does not match ` or \\", value);
    d->escape = *value;
    return 0;
}

// 1: the comment is a directive; 0: it is none, and no more may follow; -1: at fault.
static int read_directive(struct reader *r, struct line comment)
{
    char *name CLEANUP(cleanup_free) = NULL, *value CLEANUP(cleanup_free) = NULL;
    r->has_directives = false;
    if (!split_directive(comment, &name, &value))
        return 0;
    bool is_escape = strcasecmp(name, "escape") == 0;
    if (!is_escape && strcasecmp(name, "syntax") != 0 && strcasecmp(name, "check") != 0)
        return 0;
    r->has_directives = true;
    if ((is_escape ? keep_escape(r, value) : keep_directive(r, name, value)) < 0)
        return -1;
    return 1;
}

static void forget_comments(struct reader *r)
{
    strv_free(r->comments);
    r->comments = NULL;
}

// A line that begins with '#', outside a statement. An empty comment parts what is above from what is below.
static int read_comment(struct reader *r, struct line line)
{
    struct line text = without_leading_space((struct line){ line.start + 1, line.n - 1 });
    if (r->has_directives) {
        int directive = read_directive(r, text);
        if (directive != 0)
            return directive < 0 ? -1 : 0;
    }
    if (text.n)
        strv_take(&r->comments, arguments_trimmed(text.start, text.n));
    else
        forget_comments(r);
    return 0;
}

static char escape_of(const struct reader *r)
{
    return r->out->directives.escape ? r->out->directives.escape : '\\';
}

// --- nodes

static bool is_keyword(const char *keyword, const char *const *names)
{
    for (; *names; names++)
        if (strcasecmp(keyword, *names) == 0)
            return true;
    return false;
}

// HEALTHCHECK's command stands behind its type.
static const char *json_part(const struct dockerfile_node *node)
{
    static const char *const names[] = { "ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME", NULL };
    if (is_keyword(node->keyword, names))
        return node->rest;
    if (strcasecmp(node->keyword, "HEALTHCHECK") == 0)
        return node->rest + strcspn(node->rest, " \t\v\f\r");
    return "";
}

int dockerfile_node_read(const char *statement, char escape, struct dockerfile_lines lines,
                         struct dockerfile_node *ret, struct dockerfile_error *err)
{
    struct dockerfile_node node = { .lines = lines,
                                    .original = arguments_trimmed(statement, strlen(statement)) };
    arguments_split_statement(statement, escape, &node.keyword, &node.flags, &node.rest);
    if (arguments_json(json_part(&node), &node.is_json, &node.json, &err->cause) < 0) {
        dockerfile_node_done(&node);
        err->lines = lines;
        return -1;
    }
    *ret = node;
    return 0;
}

void dockerfile_node_done(struct dockerfile_node *node)
{
    free(node->keyword);
    free(node->original);
    strv_free(node->flags);
    free(node->rest);
    strv_free(node->json);
    for (size_t i = 0; i < node->heredoc_count; i++)
        dockerfile_heredoc_done(&node->heredocs[i]);
    free(node->heredocs);
    strv_free(node->comments);
    *node = (struct dockerfile_node){ 0 };
}

// --- heredocs

void dockerfile_heredoc_done(struct dockerfile_heredoc *heredoc)
{
    free(heredoc->name);
    free(heredoc->content);
    *heredoc = (struct dockerfile_heredoc){ 0 };
}

static size_t count_quotes(const char *s)
{
    size_t count = 0;
    for (; *s; s++)
        count += *s == '\'' || *s == '"';
    return count;
}

// The name behind "<<": one word. Quotes in it that unquoting removes say that the content is not to be expanded.
static bool read_heredoc_name(const char *text, struct dockerfile_heredoc *ret)
{
    struct words_rules rules = { .escape = '\\', .keeps_unset = true };
    char **words CLEANUP(strv_freep) = NULL, **raw CLEANUP(strv_freep) = NULL;
    struct error err;
    if (words_split(text, &rules, &words, &err) < 0 || strv_len(words) != 1)
        return false;
    rules.keeps_quotes = true;
    if (words_split(text, &rules, &raw, &err) < 0 || strv_len(raw) != 1)
        return false;
    ret->expands = count_quotes(words[0]) == count_quotes(raw[0]);
    ret->name = xstrdup(words[0]);
    return true;
}

bool dockerfile_heredoc_read(const char *word, struct dockerfile_heredoc *ret)
{
    struct dockerfile_heredoc heredoc = { 0 };
    size_t digits = strspn(word, "0123456789");
    const char *s = word + digits;
    if (!str_has_prefix(s, "<<"))
        return false;
    s += 2;
    heredoc.chomps = *s == '-';
    s += heredoc.chomps;
    s += strspn(s, " \t\v\f\r\n");
    if (!*s || strchr(s, '<') || !read_heredoc_name(s, &heredoc))
        return false;
    char *number CLEANUP(cleanup_free) = xstrndup(word, digits);
    if (!parse_u32(number, UINT32_MAX, &heredoc.descriptor))
        heredoc.descriptor = 0;
    *ret = heredoc;
    return true;
}

char *dockerfile_heredoc_text(const struct dockerfile_heredoc *heredoc)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    bool at_start = true;
    for (const char *s = heredoc->content; *s; s++) {
        if (heredoc->chomps && at_start && *s == '\t')
            continue;
        str_append_char(&text, *s);
        at_start = *s == '\n';
    }
    return str_take(&text);
}

static bool may_have_heredocs(const struct dockerfile_node *node, char escape)
{
    static const char *const names[] = { "ADD", "COPY", "RUN", NULL };
    struct dockerfile_node trigger;
    struct dockerfile_error err;
    if (strcasecmp(node->keyword, "ONBUILD") != 0)
        return is_keyword(node->keyword, names) && !node->is_json;
    if (dockerfile_node_read(node->rest, escape, node->lines, &trigger, &err) < 0)
        return false;
    bool may = is_keyword(trigger.keyword, names) && !trigger.is_json;
    dockerfile_node_done(&trigger);
    return may;
}

static bool is_terminator(struct line line, const struct dockerfile_heredoc *heredoc)
{
    line = without_line_end(line);
    while (heredoc->chomps && line.n && *line.start == '\t') {
        line.start++;
        line.n--;
    }
    return line.n == strlen(heredoc->name) && memcmp(line.start, heredoc->name, line.n) == 0;
}

static int read_heredoc_content(struct reader *r, struct dockerfile_node *node,
                                struct dockerfile_heredoc *heredoc)
{
    struct str content CLEANUP(str_done);
    struct line line;
    int got;
    str_init(&content, DOCKERFILE_HEREDOC_MAX);
    while ((got = next_line(r, &line)) > 0) {
        if (is_terminator(line, heredoc)) {
            heredoc->content = str_take(&content);
            return 0;
        }
        str_append_n(&content, line.start, line.n);
        if (content.failed)
            return dockerfile_error_set(r->err, node->lines, "heredoc %s is larger than %d bytes",
                                        heredoc->name, DOCKERFILE_HEREDOC_MAX);
    }
    if (got < 0)
        return -1;
    return dockerfile_error_set(r->err, (struct dockerfile_lines){ node->lines.first, r->number },
                                "unterminated heredoc");
}

static int read_heredocs(struct reader *r, struct dockerfile_node *node)
{
    const struct words_rules rules = {
        .escape = '\\', .keeps_quotes = true, .keeps_escapes = true, .keeps_unset = true
    };
    char **words CLEANUP(strv_freep) = NULL;
    struct error err;
    if (!strstr(node->original, "<<") || !may_have_heredocs(node, escape_of(r)))
        return 0;
    // What does not lex is the shell's business: it has no heredocs of ours.
    if (words_split(node->original, &rules, &words, &err) < 0)
        return 0;
    for (size_t i = 0; words && words[i]; i++) {
        struct dockerfile_heredoc heredoc;
        if (!dockerfile_heredoc_read(words[i], &heredoc))
            continue;
        node->heredocs = xreallocarray(node->heredocs, node->heredoc_count + 1, sizeof heredoc);
        node->heredocs[node->heredoc_count++] = heredoc;
        if (read_heredoc_content(r, node, &node->heredocs[node->heredoc_count - 1]) < 0)
            return -1;
    }
    node->lines.last = r->number;
    return 0;
}

// --- statements

static void keep_empty_continuation(struct reader *r)
{
    struct dockerfile_tokens *out = r->out;
    out->empty_continuations = xreallocarray(out->empty_continuations, out->empty_continuation_count + 1,
                                             sizeof *out->empty_continuations);
    out->empty_continuations[out->empty_continuation_count++] = one_line(r->number);
}

// The lines that follow one that ended with a continuation character.
static int read_continuation(struct reader *r, struct str *statement)
{
    bool has_empty_line = false, continues = true;
    struct line line;
    int got = 1;
    while (continues && (got = next_line(r, &line)) > 0) {
        line = without_line_end(line);
        struct line text = without_leading_space(line);
        if (text.n && *text.start == '#')
            continue;
        if (!text.n) {
            has_empty_line = true;
            continue;
        }
        continues = cut_continuation(&line, escape_of(r));
        str_append_n(statement, line.start, line.n);
    }
    if (has_empty_line)
        keep_empty_continuation(r);
    return got < 0 ? -1 : 0;
}

static int read_statement(struct reader *r, struct line line, struct str *statement)
{
    size_t first = r->number;
    bool continues = cut_continuation(&line, escape_of(r));
    str_append_n(statement, line.start, line.n);
    if (continues && read_continuation(r, statement) < 0)
        return -1;
    if (statement->failed)
        return dockerfile_error_set(r->err, (struct dockerfile_lines){ first, r->number },
                                    "instruction is longer than %d bytes", DOCKERFILE_STATEMENT_MAX);
    return 0;
}

// Read the instruction that begins with `line` into a new node at the end of the tokens.
static int read_instruction(struct reader *r, struct line line)
{
    struct dockerfile_tokens *out = r->out;
    struct str statement CLEANUP(str_done);
    struct dockerfile_lines lines = one_line(r->number);
    struct dockerfile_node node;
    str_init(&statement, DOCKERFILE_STATEMENT_MAX);
    if (read_statement(r, line, &statement) < 0)
        return -1;
    lines.last = r->number;
    if (out->count == DOCKERFILE_INSTRUCTIONS_MAX)
        return dockerfile_error_set(r->err, lines, "dockerfile has more than %d instructions",
                                    DOCKERFILE_INSTRUCTIONS_MAX);
    if (dockerfile_node_read(statement.ptr, escape_of(r), lines, &node, r->err) < 0)
        return -1;
    node.comments = TAKE_PTR(r->comments);
    if ((out->count & (out->count - 1)) == 0)
        out->nodes = xreallocarray(out->nodes, out->count ? 2 * out->count : 1, sizeof node);
    out->nodes[out->count++] = node;
    return read_heredocs(r, &out->nodes[out->count - 1]);
}

static int read_all(struct reader *r)
{
    struct line line;
    int got;
    while ((got = next_line(r, &line)) > 0) {
        line = without_leading_space(without_line_end(line));
        int result = 0;
        if (line.n && *line.start == '#') {
            result = read_comment(r, line);
        } else {
            r->has_directives = false;
            if (line.n)
                result = read_instruction(r, line);
        }
        if (result < 0)
            return -1;
    }
    if (got == 0 && r->out->count == 0)
        return dockerfile_error_set(r->err, one_line(r->number), "file with no instructions");
    return got;
}

static int check_bytes(const char *text, size_t n, struct dockerfile_error *err)
{
    const struct dockerfile_lines whole = { 0, 0 };
    if (n == 0)
        return dockerfile_error_set(err, whole, "the Dockerfile cannot be empty");
    if (n > DOCKERFILE_MAX_BYTES)
        return dockerfile_error_set(err, whole, "the Dockerfile is larger than %d bytes",
                                    DOCKERFILE_MAX_BYTES);
    const char *nul = memchr(text, 0, n);
    if (!nul)
        return 0;
    size_t number = 1;
    for (const char *s = text; s < nul; s++)
        number += *s == '\n';
    return dockerfile_error_set(err, one_line(number), "the Dockerfile holds a NUL byte");
}

int dockerfile_tokens_read(const char *text, size_t n, struct dockerfile_tokens *ret,
                           struct dockerfile_error *err)
{
    struct dockerfile_tokens tokens = { 0 };
    struct reader r = { .text = text, .n = n, .has_directives = true, .out = &tokens, .err = err };
    if (check_bytes(text, n, err) < 0)
        return -1;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        r.at = 3;
    int result = read_all(&r);
    tokens.directives.escape = escape_of(&r);
    forget_comments(&r);
    if (result < 0) {
        dockerfile_tokens_done(&tokens);
        return -1;
    }
    *ret = tokens;
    return 0;
}

void dockerfile_tokens_done(struct dockerfile_tokens *tokens)
{
    free(tokens->directives.syntax);
    free(tokens->directives.check);
    for (size_t i = 0; i < tokens->count; i++)
        dockerfile_node_done(&tokens->nodes[i]);
    free(tokens->nodes);
    free(tokens->empty_continuations);
    *tokens = (struct dockerfile_tokens){ 0 };
}
