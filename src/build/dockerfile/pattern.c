// Theory of operation. A pattern is a row of tokens; matching runs all of its states over the text at once (Thompson), so
// that a hostile pattern costs tokens x characters and never backtracks. Each live state carries the place where its match
// began, the earliest when two meet: that makes a search for the leftmost match one pass as well. The end of a text is
// trimmed by turning pattern and text around.
#include "build/dockerfile/pattern.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

enum { TOKEN_ANY = -1, TOKEN_RUN = -2 };

static const size_t nowhere = SIZE_MAX;

// Characters (or, in a pattern, tokens), each with the bytes it came from.
struct runes {
    int32_t *values;
    size_t *offsets; // of the bytes; offsets[count] is the end
    size_t count;
};

static void runes_done(struct runes *r)
{
    free(r->values);
    free(r->offsets);
    *r = (struct runes){ 0 };
}

// One character's length in bytes; a byte that is not UTF-8 stands for itself.
static size_t rune_length(const char *s)
{
    unsigned char lead = (unsigned char)*s;
    size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

// Distinct for distinct bytes, and never negative: nobody needs the code point itself.
static int32_t rune_value(const char *s, size_t n)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 7 | ((unsigned char)s[i] & 0x7f);
    return (int32_t)(value | (uint32_t)(n - 1) << 28 | (n == 1 && (*s & 0x80) ? 1U << 8 : 0));
}

static void runes_init(struct runes *r, size_t length)
{
    r->values = xreallocarray(NULL, length + 1, sizeof *r->values);
    r->offsets = xreallocarray(NULL, length + 1, sizeof *r->offsets);
    r->count = 0;
}

static void runes_of_text(const char *text, struct runes *r)
{
    size_t at = 0;
    runes_init(r, strlen(text));
    while (text[at]) {
        size_t n = rune_length(text + at);
        r->values[r->count] = rune_value(text + at, n);
        r->offsets[r->count++] = at;
        at += n;
    }
    r->offsets[r->count] = at;
}

static int bad_pattern(const char *pattern, const char *why, struct error *err)
{
    return error_set(err, ERROR_INVALID, "invalid pattern (%s) in substitution: %s", pattern, why);
}

// '}' and '/' are escaped for the sake of ${}; the backslash before them is no part of the pattern.
static bool may_be_escaped(char c)
{
    return c && strchr("*?\\}/", c);
}

static int runes_of_pattern(const char *pattern, struct runes *r, struct error *err)
{
    const char *s = pattern;
    if (strlen(pattern) > PATTERN_MAX)
        return bad_pattern("...", "too long", err);
    runes_init(r, strlen(pattern));
    while (*s) {
        bool is_escaped = *s == '\\';
        s += is_escaped;
        if (is_escaped && !may_be_escaped(*s))
            return bad_pattern(pattern, "invalid escape", err);
        size_t n = rune_length(s);
        int32_t value = rune_value(s, n);
        if (!is_escaped && (*s == '*' || *s == '?'))
            value = *s == '*' ? TOKEN_RUN : TOKEN_ANY;
        r->values[r->count++] = value;
        s += n;
    }
    return 0;
}

static void turn_around(int32_t *values, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        int32_t kept = values[i];
        values[i] = values[count - 1 - i];
        values[count - 1 - i] = kept;
    }
}

// starts[i]: where the earliest match began that has the first i tokens behind it, or nowhere.
struct matcher {
    const struct runes *pattern;
    size_t *starts, *next;
};

static void matcher_init(struct matcher *m, const struct runes *pattern)
{
    m->pattern = pattern;
    m->starts = xreallocarray(NULL, pattern->count + 1, sizeof *m->starts);
    m->next = xreallocarray(NULL, pattern->count + 1, sizeof *m->next);
    for (size_t i = 0; i <= pattern->count; i++)
        m->starts[i] = nowhere;
}

static void matcher_done(struct matcher *m)
{
    free(m->starts);
    free(m->next);
}

static void keep_earlier(size_t *place, size_t start)
{
    if (start < *place)
        *place = start;
}

// A run may be empty: its state passes what it has to the next.
static void pass_runs(const struct runes *pattern, size_t *starts)
{
    for (size_t i = 0; i < pattern->count; i++)
        if (pattern->values[i] == TOKEN_RUN)
            keep_earlier(&starts[i + 1], starts[i]);
}

static void matcher_begin(struct matcher *m, size_t start)
{
    keep_earlier(&m->starts[0], start);
    pass_runs(m->pattern, m->starts);
}

// Take one character. False when no state is left.
static bool matcher_step(struct matcher *m, int32_t c)
{
    bool is_alive = false;
    size_t count = m->pattern->count;
    for (size_t i = 0; i <= count; i++)
        m->next[i] = nowhere;
    for (size_t i = 0; i < count; i++) {
        int32_t token = m->pattern->values[i];
        if (m->starts[i] == nowhere)
            continue;
        if (token == TOKEN_RUN && c != '\n')
            keep_earlier(&m->next[i], m->starts[i]);
        else if (token == c || (token == TOKEN_ANY && c != '\n'))
            keep_earlier(&m->next[i + 1], m->starts[i]);
    }
    pass_runs(m->pattern, m->next);
    for (size_t i = 0; i <= count; i++)
        is_alive |= m->next[i] != nowhere;
    size_t *kept = m->starts;
    m->starts = m->next;
    m->next = kept;
    return is_alive;
}

// How many characters of text, from its first on, match: the fewest or (greedy) the most; nowhere when none do.
static size_t match_start(const struct runes *pattern, const struct runes *text, bool greedy)
{
    struct matcher m;
    size_t found = nowhere;
    matcher_init(&m, pattern);
    matcher_begin(&m, 0);
    for (size_t i = 0;; i++) {
        if (m.starts[pattern->count] != nowhere) {
            found = i;
            if (!greedy)
                break;
        }
        if (i == text->count || !matcher_step(&m, text->values[i]))
            break;
    }
    matcher_done(&m);
    return found;
}

// Drop what state `limit` and later beginnings hold: a match that began earlier has been found.
static bool matcher_forget_after(struct matcher *m, size_t start)
{
    bool is_alive = false;
    for (size_t i = 0; i <= m->pattern->count; i++) {
        if (m->starts[i] != nowhere && m->starts[i] > start)
            m->starts[i] = nowhere;
        is_alive |= m->starts[i] != nowhere;
    }
    return is_alive;
}

// The leftmost match at or after `from`, and of those the longest.
static bool find(const struct runes *pattern, const struct runes *text, size_t from, size_t *ret_start,
                 size_t *ret_end)
{
    struct matcher m;
    size_t start = nowhere, end = nowhere;
    matcher_init(&m, pattern);
    for (size_t i = from;; i++) {
        if (start == nowhere)
            matcher_begin(&m, i);
        if (m.starts[pattern->count] != nowhere && m.starts[pattern->count] <= start) {
            start = m.starts[pattern->count];
            end = i;
        }
        if (i == text->count || (start != nowhere && !matcher_forget_after(&m, start)))
            break;
        if (!matcher_step(&m, text->values[i]) && start != nowhere)
            break;
    }
    matcher_done(&m);
    *ret_start = start;
    *ret_end = end;
    return start != nowhere;
}

static int prepare(const char *pattern, const char *value, struct runes *p, struct runes *text,
                   struct error *err)
{
    if (runes_of_pattern(pattern, p, err) < 0)
        return -1;
    if (strlen(value) > PATTERN_TEXT_MAX)
        return error_set(err, ERROR_INVALID, "value of %zu bytes is too long for a pattern", strlen(value));
    runes_of_text(value, text);
    return 0;
}

int pattern_trim_start(const char *pattern, const char *value, bool greedy, struct str *out,
                       struct error *err)
{
    struct runes p CLEANUP(runes_done) = { 0 }, text CLEANUP(runes_done) = { 0 };
    if (prepare(pattern, value, &p, &text, err) < 0)
        return -1;
    size_t found = match_start(&p, &text, greedy);
    str_append(out, value + (found == nowhere ? 0 : text.offsets[found]));
    return 0;
}

int pattern_trim_end(const char *pattern, const char *value, bool greedy, struct str *out, struct error *err)
{
    struct runes p CLEANUP(runes_done) = { 0 }, text CLEANUP(runes_done) = { 0 };
    if (prepare(pattern, value, &p, &text, err) < 0)
        return -1;
    turn_around(p.values, p.count);
    turn_around(text.values, text.count);
    size_t found = match_start(&p, &text, greedy);
    str_append_n(out, value, text.offsets[found == nowhere ? text.count : text.count - found]);
    return 0;
}

int pattern_replace(const char *pattern, const char *value, const char *replacement, bool all,
                    struct str *out, struct error *err)
{
    struct runes p CLEANUP(runes_done) = { 0 }, text CLEANUP(runes_done) = { 0 };
    size_t start, end, copied = 0, from = 0, matched_to = nowhere;
    if (prepare(pattern, value, &p, &text, err) < 0)
        return -1;
    while (from <= text.count && !out->failed && find(&p, &text, from, &start, &end)) {
        bool is_leftover = start == end && start == matched_to; // nothing, just behind a match
        if (!is_leftover) {
            str_append_n(out, value + text.offsets[copied], text.offsets[start] - text.offsets[copied]);
            str_append(out, replacement);
            copied = matched_to = end;
        }
        if (!all)
            break;
        from = end > start ? end : end + 1;
    }
    str_append(out, value + text.offsets[copied]);
    return 0;
}
