// Theory of operation. One pass over the text, writing into a sink: one string, and (when words are wanted) the word that
// is being built. ${name:-word} recurses for its word with a sink of its own, up to '}'; as in BuildKit the word is read,
// and its faults are reported, whether it is needed or not.
#include "build/dockerfile/words.h"

#include "base/mem.h"
#include "base/str.h"
#include "build/dockerfile/pattern.h"
#include "build/dockerfile/word_list.h"

#include <ctype.h>
#include <string.h>

struct sink {
    struct str text; // all of it
    struct str word; // the word so far
    bool in_word;
    struct word_list words;
};

struct lexer {
    const struct words_rules *rules;
    const char *at;
    bool keeps_escapes; // rules->keeps_escapes, or inside a pattern
    unsigned depth;
    struct error *err;
};

static int read_until(struct lexer *lx, char stop, struct sink *sink);

static void sink_init(struct sink *s)
{
    *s = (struct sink){ 0 };
    str_init(&s->text, WORDS_MAX_BYTES);
    str_init(&s->word, WORDS_MAX_BYTES);
}

static void sink_done(struct sink *s)
{
    str_done(&s->text);
    str_done(&s->word);
    strv_free(s->words.words);
}

static void sink_end_word(struct sink *s)
{
    if (s->word.len)
        word_list_take(&s->words, xstrdup(s->word.ptr));
    str_clear(&s->word);
    s->in_word = false;
}

// A character that belongs to the word whatever it is.
static void sink_put(struct sink *s, char c)
{
    str_append_char(&s->text, c);
    str_append_char(&s->word, c);
    s->in_word = true;
}

// A character that ends the word when it is white space.
static void sink_put_plain(struct sink *s, char c)
{
    if (!isspace((unsigned char)c)) {
        sink_put(s, c);
        return;
    }
    str_append_char(&s->text, c);
    if (s->in_word)
        sink_end_word(s);
}

static int fault(struct lexer *lx, const char *message)
{
    return error_set(lx->err, ERROR_INVALID, "%s", message);
}

// --- variables

const char *words_value(char *const *values, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (; values && *values; values++)
        if (strncmp(*values, name, n) == 0 && (*values)[n] == '=')
            found = *values + n + 1;
    return found;
}

static void note(char ***names, const char *name)
{
    if (names && strv_len(*names) < WORDS_NAMES_MAX && !strv_contains(*names, name))
        strv_push(names, name);
}

static const char *look_up(struct lexer *lx, const char *name)
{
    const char *value = words_value(lx->rules->values, name);
    note(value ? lx->rules->used : lx->rules->missing, name);
    return value;
}

// The name at lx->at, empty when there is none. Owned.
static char *read_name(struct lexer *lx)
{
    const char *start = lx->at;
    if (isdigit((unsigned char)*lx->at)) {
        while (isdigit((unsigned char)*lx->at))
            lx->at++;
    } else if (*lx->at && strchr("@*#?-$!", *lx->at)) {
        lx->at++;
    } else {
        while (isalnum((unsigned char)*lx->at) || *lx->at == '_')
            lx->at++;
    }
    return xstrndup(start, (size_t)(lx->at - start));
}

// The word of a ${} up to `stop`, which is consumed. *ret owned.
static int read_operand(struct lexer *lx, char stop, bool is_pattern, char **ret)
{
    struct sink sink CLEANUP(sink_done);
    bool kept = lx->keeps_escapes;
    sink_init(&sink);
    if (++lx->depth > WORDS_DEPTH_MAX)
        return fault(lx, "syntax error: substitutions are nested too deeply");
    lx->keeps_escapes = is_pattern;
    int r = read_until(lx, stop, &sink);
    lx->keeps_escapes = kept;
    lx->depth--;
    if (r < 0)
        return -1;
    *ret = str_take(&sink.text);
    return 0;
}

// What stands in ${name:-word}.
struct substitution {
    const char *name, *value; // value: NULL when unset
    char sign;                // - + ? # %
    bool has_colon;
    char *word;
};

// ${name-word} ${name+word} ${name?word}, with or without the colon.
static int substitute(struct lexer *lx, const struct substitution *s, struct str *out)
{
    bool is_unset = !s->value || (s->has_colon && !*s->value);
    if (s->sign == '?' && is_unset) {
        const char *why = !s->value ? "is not allowed to be unset" : "is not allowed to be empty";
        return error_set(lx->err, ERROR_INVALID, "%s: %s", s->name, *s->word ? s->word : why);
    }
    if (s->sign == '+')
        str_append(out, is_unset ? "" : s->word);
    else
        str_append(out, is_unset ? s->word : s->value);
    return 0;
}

static int trim(struct lexer *lx, const struct substitution *s, struct str *out)
{
    bool greedy = *s->word == s->sign;
    const char *pattern = s->word + greedy, *value = s->value ? s->value : "";
    if (s->sign == '#')
        return pattern_trim_start(pattern, value, greedy, out, lx->err);
    return pattern_trim_end(pattern, value, greedy, out, lx->err);
}

// Behind "${name" and perhaps ":", at a sign that takes one operand.
static int expand_operator(struct lexer *lx, const char *name, bool has_colon, struct str *out)
{
    char *word CLEANUP(cleanup_free) = NULL;
    char sign = *lx->at++;
    bool is_trim = sign == '#' || sign == '%';
    if (read_operand(lx, '}', is_trim, &word) < 0)
        return -1;
    const struct substitution s = { name, look_up(lx, name), sign, has_colon, word };
    if (!s.value && lx->rules->keeps_unset) {
        str_appendf(out, "${%s%s%c%s}", name, has_colon ? ":" : "", sign, word);
        return 0;
    }
    return is_trim ? trim(lx, &s, out) : substitute(lx, &s, out);
}

// Behind "${name/".
static int expand_replacement(struct lexer *lx, const char *name, struct str *out)
{
    char *pattern CLEANUP(cleanup_free) = NULL, *replacement CLEANUP(cleanup_free) = NULL;
    bool all = *lx->at == '/';
    lx->at += all;
    if (read_operand(lx, '/', true, &pattern) < 0)
        return -1;
    if (read_operand(lx, '}', true, &replacement) < 0)
        return -1;
    const char *value = look_up(lx, name);
    if (!value && lx->rules->keeps_unset) {
        str_appendf(out, "${%s%s%s/%s}", name, all ? "//" : "/", pattern, replacement);
        return 0;
    }
    return pattern_replace(pattern, value ? value : "", replacement, all, out, lx->err);
}

static int unsupported_modifier(struct lexer *lx, bool has_colon)
{
    if (!*lx->at)
        return fault(lx, "syntax error: missing '}'");
    return error_set(lx->err, ERROR_INVALID, "unsupported modifier (%s%c) in substitution",
                     has_colon ? ":" : "", *lx->at);
}

// Behind "${".
static int expand_braces(struct lexer *lx, struct str *out)
{
    if (!*lx->at)
        return fault(lx, "syntax error: missing '}'");
    if (strchr("{}:", *lx->at))
        return fault(lx, "syntax error: bad substitution");
    char *name CLEANUP(cleanup_free) = read_name(lx);
    bool has_colon = *lx->at == ':';
    lx->at += has_colon;
    if (*lx->at == '}' && !has_colon) {
        const char *value = look_up(lx, name);
        lx->at++;
        if (!value && lx->rules->keeps_unset)
            str_appendf(out, "${%s}", name);
        else
            str_append(out, value ? value : "");
        return 0;
    }
    if (*lx->at == '/' && !has_colon) {
        lx->at++;
        return expand_replacement(lx, name, out);
    }
    if (*lx->at && strchr(has_colon ? "-+?" : "-+?#%", *lx->at))
        return expand_operator(lx, name, has_colon, out);
    return unsupported_modifier(lx, has_colon);
}

// Behind "$".
static int expand_dollar(struct lexer *lx, struct str *out)
{
    if (*lx->at == '{') {
        lx->at++;
        return expand_braces(lx, out);
    }
    char *name CLEANUP(cleanup_free) = read_name(lx);
    if (!*name) {
        str_append_char(out, '$');
        return 0;
    }
    const char *value = look_up(lx, name);
    if (!value && lx->rules->keeps_unset)
        str_appendf(out, "$%s", name);
    else
        str_append(out, value ? value : "");
    return 0;
}

// --- quotes

static int read_single_quotes(struct lexer *lx, struct str *out)
{
    const char *end = strchr(lx->at + 1, '\'');
    if (!end)
        return fault(lx, "unexpected end of statement while looking for matching single-quote");
    size_t outside = lx->rules->keeps_quotes ? 0 : 1;
    str_append_n(out, lx->at + outside, (size_t)(end - lx->at) + 1 - 2 * outside);
    lx->at = end + 1;
    return 0;
}

// A character inside double quotes; the escape character only escapes what would mean something there.
static void read_double_quoted(struct lexer *lx, struct str *out)
{
    char c = *lx->at++;
    if (c == lx->rules->escape) {
        if (lx->keeps_escapes)
            str_append_char(out, c);
        if (!*lx->at)
            return;
        if (*lx->at == '"' || *lx->at == '$' || *lx->at == lx->rules->escape)
            c = *lx->at++;
    }
    str_append_char(out, c);
}

static int read_double_quotes(struct lexer *lx, struct str *out)
{
    lx->at++;
    if (lx->rules->keeps_quotes)
        str_append_char(out, '"');
    while (*lx->at != '"') {
        if (!*lx->at)
            return fault(lx, "unexpected end of statement while looking for matching double-quote");
        if (*lx->at != '$') {
            read_double_quoted(lx, out);
            continue;
        }
        lx->at++;
        if (expand_dollar(lx, out) < 0)
            return -1;
    }
    lx->at++;
    if (lx->rules->keeps_quotes)
        str_append_char(out, '"');
    return 0;
}

// "<<" keeps the white space behind it in its word: "<< EOF" is one heredoc.
static void read_less_than(struct lexer *lx, struct str *out)
{
    str_append_char(out, *lx->at++);
    if (*lx->at != '<')
        return;
    str_append_char(out, *lx->at++);
    while (*lx->at == ' ' || *lx->at == '\t' || *lx->at == '\r')
        str_append_char(out, *lx->at++);
}

// --- the pass

static void read_escaped(struct lexer *lx, struct sink *sink)
{
    if (lx->keeps_escapes)
        sink_put(sink, *lx->at);
    lx->at++;
    if (*lx->at)
        sink_put(sink, *lx->at++);
}

// A quote, a variable or "<": what it stands for goes to the sink in one piece.
static int read_special(struct lexer *lx, struct sink *sink)
{
    struct str piece CLEANUP(str_done);
    char c = *lx->at;
    int r = 0;
    str_init(&piece, WORDS_MAX_BYTES);
    if (c == '$') {
        lx->at++;
        r = expand_dollar(lx, &piece);
    } else if (c == '\'') {
        r = read_single_quotes(lx, &piece);
    } else if (c == '"') {
        r = read_double_quotes(lx, &piece);
    } else {
        read_less_than(lx, &piece);
    }
    if (c != '$')
        sink->in_word = true;
    for (size_t i = 0; r == 0 && i < piece.len; i++)
        (c == '$' ? sink_put_plain : sink_put)(sink, piece.ptr[i]);
    sink->text.failed |= piece.failed;
    return r;
}

// stop: '}' or '/' inside a substitution, 0 for the end of the text.
static int read_until(struct lexer *lx, char stop, struct sink *sink)
{
    const char *special = lx->rules->ignores_quotes ? "$<" : "$<'\"";
    while (*lx->at && !sink->text.failed) {
        if (stop && *lx->at == stop) {
            lx->at++;
            return 0;
        }
        if (strchr(special, *lx->at)) {
            if (read_special(lx, sink) < 0)
                return -1;
        } else if (*lx->at == lx->rules->escape) {
            read_escaped(lx, sink);
        } else {
            sink_put_plain(sink, *lx->at++);
        }
    }
    if (sink->text.failed)
        return error_set(lx->err, ERROR_INVALID, "result is longer than %d bytes", WORDS_MAX_BYTES);
    if (stop)
        return fault(lx, stop == '/' ? "syntax error: missing '/' in ${}" : "syntax error: missing '}'");
    return 0;
}

static int run(const char *text, const struct words_rules *rules, struct sink *sink, struct error *err)
{
    struct lexer lx = { .rules = rules, .at = text, .keeps_escapes = rules->keeps_escapes, .err = err };
    if (read_until(&lx, 0, sink) < 0)
        return error_wrap(err, "failed to process \"%s\"", text);
    sink_end_word(sink);
    return 0;
}

int words_expand(const char *text, const struct words_rules *rules, char **ret, struct error *err)
{
    struct sink sink CLEANUP(sink_done);
    sink_init(&sink);
    if (run(text, rules, &sink, err) < 0)
        return -1;
    *ret = str_take(&sink.text);
    return 0;
}

int words_split(const char *text, const struct words_rules *rules, char ***ret, struct error *err)
{
    struct sink sink CLEANUP(sink_done);
    sink_init(&sink);
    if (run(text, rules, &sink, err) < 0)
        return -1;
    *ret = TAKE_PTR(sink.words.words);
    return 0;
}
