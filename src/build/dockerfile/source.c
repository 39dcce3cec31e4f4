#include "build/dockerfile/source.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    AROUND_ONE_LINE = 2,      // lines shown before and after a single line at fault
    AROUND_MANY_LINES = 1,    // the same for several
    SUGGESTION_DISTANCE = 3,  // a suggestion is nearer than this
    SUGGESTION_WORD_MAX = 64, // longer words get none
};

int dockerfile_error_set(struct dockerfile_error *err, struct dockerfile_lines lines, const char *fmt, ...)
{
    char message[ERROR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    err->lines = lines;
    return error_set(&err->cause, ERROR_INVALID, "%s", message);
}

static size_t count_lines(const char *text, size_t n)
{
    size_t count = 1;
    for (size_t i = 0; i + 1 < n; i++)
        count += text[i] == '\n';
    return count;
}

// Append the line that starts at text[at]; where the next one starts.
static size_t append_line(const char *text, size_t n, size_t at, size_t number, bool is_marked,
                          struct str *out)
{
    const char *end = memchr(text + at, '\n', n - at);
    size_t length = end ? (size_t)(end - text) - at : n - at;
    size_t shown = length && text[at + length - 1] == '\r' ? length - 1 : length;
    str_appendf(out, " %3zu | %s ", number, is_marked ? ">>>" : "   ");
    str_append_n(out, text + at, shown);
    str_append_char(out, '\n');
    return at + length + 1;
}

void dockerfile_excerpt(struct dockerfile_lines lines, const char *name, const char *text, size_t n,
                        struct str *out)
{
    size_t count = count_lines(text, n);
    size_t last = lines.last < count ? lines.last : count;
    if (lines.first < 1 || lines.first > count || n == 0)
        return;
    size_t around = last > lines.first ? AROUND_MANY_LINES : AROUND_ONE_LINE;
    size_t from = lines.first > around ? lines.first - around : 1;
    size_t to = last + around < count ? last + around : count;
    str_appendf(out, "%s:%zu\n--------------------\n", name, lines.first);
    size_t at = 0;
    for (size_t number = 1; number <= to && at < n; number++) {
        if (number < from) {
            const char *end = memchr(text + at, '\n', n - at);
            at = end ? (size_t)(end - text) + 1 : n;
        } else {
            at = append_line(text, n, at, number, number >= lines.first && number <= last, out);
        }
    }
    str_append(out, "--------------------\n");
}

void dockerfile_error_print(const struct dockerfile_error *err, const char *name, const char *text, size_t n,
                            struct str *out)
{
    dockerfile_excerpt(err->lines, name, text, n, out);
    str_appendf(out, "ERROR: %s\n", err->cause.message);
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

// Levenshtein's distance, one row at a time.
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t row[SUGGESTION_WORD_MAX + 1];
    if (n > SUGGESTION_WORD_MAX || m > SUGGESTION_WORD_MAX)
        return SUGGESTION_DISTANCE;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

const char *dockerfile_suggest(const char *word, const char *const *options)
{
    const char *best = NULL;
    size_t least = SUGGESTION_DISTANCE;
    for (; *options; options++) {
        size_t d = distance(word, *options);
        if (d == 0)
            return NULL;
        if (d < least) {
            least = d;
            best = *options;
        }
    }
    return best;
}

void dockerfile_error_suggest(struct error *err, const char *word, const char *const *options)
{
    const char *nearest = dockerfile_suggest(word, options);
    size_t used = strlen(err->message);
    if (nearest)
        (void)snprintf(err->message + used, sizeof err->message - used, " (did you mean %s?)", nearest);
}
