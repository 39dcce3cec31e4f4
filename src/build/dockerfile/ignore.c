// Theory of operation. A pattern is read into tokens once. Three plain shapes are told apart, as patternmatcher does and
// with its results: all literal (equal), literal with ** at the end (starts with), ** and then literal (ends with).
// Everything else runs all states over the path at once, so that no pattern costs more than tokens x characters.
#include "build/dockerfile/ignore.h"

#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum token_kind { TOKEN_CHARACTER, TOKEN_ANY, TOKEN_RUN, TOKEN_FOLDERS, TOKEN_REST, TOKEN_CLASS };

struct token {
    enum token_kind kind;
    int32_t character;   // CHARACTER
    size_t first, count; // CLASS: its ranges
    bool is_negated;
};

struct range {
    int32_t low, high;
};

enum shape { SHAPE_EQUAL, SHAPE_START, SHAPE_END, SHAPE_TOKENS };

struct ignore_pattern {
    char *text; // cleaned, without '!'
    bool is_exception;
    enum shape shape;
    struct token *tokens;
    size_t count;
    struct range *ranges;
    size_t range_count;
};

// --- characters

// One UTF-8 character; a byte that is none stands for itself, out of Unicode's way.
static int32_t next_character(const char **at)
{
    const unsigned char *s = (const unsigned char *)*at;
    size_t n = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 1;
    int32_t c = n == 1 ? *s : *s & (0xff >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *at += 1;
            return 0x110000 + *s;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    *at += n;
    return n == 1 && *s >= 0x80 ? 0x110000 + *s : c;
}

// --- reading

static struct token *add_token(struct ignore_pattern *p, enum token_kind kind)
{
    struct token *token = &p->tokens[p->count++];
    *token = (struct token){ .kind = kind };
    return token;
}

// A character inside brackets, which '\' may take the meaning from. False when it is none that may stand there.
static bool read_class_character(const char **at, int32_t *ret)
{
    if (!**at || **at == '-' || **at == ']')
        return false;
    if (**at == '\\')
        (*at)++;
    if (!**at)
        return false;
    *ret = next_character(at);
    return true;
}

// Behind '['. As in Go's filepath.Match: at least one range, and closed.
static bool read_class(struct ignore_pattern *p, const char **at)
{
    struct token *token = add_token(p, TOKEN_CLASS);
    token->first = p->range_count;
    token->is_negated = **at == '^';
    *at += token->is_negated;
    do {
        struct range range;
        if (!read_class_character(at, &range.low))
            return false;
        range.high = range.low;
        if (**at == '-') {
            (*at)++;
            if (!read_class_character(at, &range.high))
                return false;
        }
        p->ranges[p->range_count++] = range;
        token->count++;
    } while (**at && **at != ']');
    if (!**at)
        return false;
    (*at)++;
    return true;
}

static void read_stars(struct ignore_pattern *p, const char **at)
{
    bool is_first = p->count == 0;
    if (**at != '*') {
        add_token(p, TOKEN_RUN);
        p->shape = SHAPE_TOKENS;
        return;
    }
    (*at)++;
    *at += **at == '/';
    bool is_last = !**at;
    add_token(p, is_last ? TOKEN_REST : TOKEN_FOLDERS);
    if (is_first)
        p->shape = SHAPE_END;
    else
        p->shape = is_last && p->shape == SHAPE_EQUAL ? SHAPE_START : SHAPE_TOKENS;
}

static bool read_tokens(struct ignore_pattern *p)
{
    const char *at = p->text;
    while (*at) {
        if (*at == '*') {
            at++;
            read_stars(p, &at);
        } else if (*at == '?') {
            at++;
            add_token(p, TOKEN_ANY);
            p->shape = SHAPE_TOKENS;
        } else if (*at == '[') {
            at++;
            if (!read_class(p, &at))
                return false;
            p->shape = SHAPE_TOKENS;
        } else {
            if (*at == '\\') {
                if (!*++at)
                    return false;
                p->shape = SHAPE_TOKENS;
            }
            add_token(p, TOKEN_CHARACTER)->character = next_character(&at);
        }
    }
    return true;
}

static void pattern_done(struct ignore_pattern *p)
{
    free(p->text);
    free(p->tokens);
    free(p->ranges);
    *p = (struct ignore_pattern){ 0 };
}

// text: cleaned. Takes it.
static int pattern_init(struct ignore_pattern *p, char *text, bool is_exception, struct error *err)
{
    size_t n = strlen(text);
    *p = (struct ignore_pattern){ .text = text, .is_exception = is_exception };
    p->tokens = xcalloc(n + 1, sizeof *p->tokens);
    p->ranges = xcalloc(n + 1, sizeof *p->ranges);
    if (n <= DOCKERIGNORE_PATTERN_MAX && read_tokens(p))
        return 0;
    (void)error_set(
        err, ERROR_INVALID,
        n > DOCKERIGNORE_PATTERN_MAX ? "pattern is too long: %.40s..." : "syntax error in pattern: %s", text);
    pattern_done(p);
    return -1;
}

char *path_cleaned(const char *path, size_t n)
{
    struct str out CLEANUP(str_done) = STR_INIT;
    bool is_absolute = n && *path == '/';
    size_t kept = 0; // leading ".." that cannot be resolved, or the root
    if (is_absolute)
        str_append_char(&out, '/');
    for (size_t at = 0; at < n;) {
        const char *slash = memchr(path + at, '/', n - at);
        size_t length = slash ? (size_t)(slash - path) - at : n - at;
        const char *name = path + at;
        at += length + 1;
        bool is_up = length == 2 && memcmp(name, "..", 2) == 0;
        if (length == 0 || (length == 1 && *name == '.') || (is_up && is_absolute && out.len == 1))
            continue;
        if (is_up && out.len > kept + (is_absolute && kept == 0 ? 1 : 0)) {
            while (out.len && out.ptr[out.len - 1] != '/')
                out.len--;
            if (out.len > (is_absolute ? 1U : 0U))
                out.len--;
            out.ptr[out.len] = 0;
            continue;
        }
        if (out.len && out.ptr[out.len - 1] != '/')
            str_append_char(&out, '/');
        str_append_n(&out, name, length);
        if (is_up)
            kept = out.len;
    }
    return out.len ? str_take(&out) : xstrdup(".");
}

static void trim(const char **s, size_t *n)
{
    while (*n && isspace((unsigned char)**s)) {
        (*s)++;
        (*n)--;
    }
    while (*n && isspace((unsigned char)(*s)[*n - 1]))
        (*n)--;
}

static int read_line(struct dockerignore *ignore, const char *line, size_t n, struct error *err)
{
    bool is_comment = n && *line == '#';
    trim(&line, &n);
    if (!n || is_comment)
        return 0;
    bool is_exception = *line == '!';
    line += is_exception;
    n -= is_exception;
    trim(&line, &n);
    if (ignore->count == DOCKERIGNORE_PATTERNS_MAX)
        return error_set(err, ERROR_INVALID, ".dockerignore has more than %d patterns",
                         DOCKERIGNORE_PATTERNS_MAX);
    char *cleaned CLEANUP(cleanup_free) = path_cleaned(line, n);
    if (is_exception && (!n || streq(cleaned, "/")))
        return error_set(err, ERROR_INVALID, "illegal exclusion pattern: \"!\"");
    char *text = xstrdup(cleaned[0] == '/' && cleaned[1] ? cleaned + 1 : cleaned);
    if ((ignore->count & (ignore->count - 1)) == 0)
        ignore->patterns =
            xreallocarray(ignore->patterns, ignore->count ? 2 * ignore->count : 1, sizeof *ignore->patterns);
    if (pattern_init(&ignore->patterns[ignore->count], text, is_exception, err) < 0)
        return -1;
    ignore->count++;
    ignore->has_exceptions |= is_exception;
    return 0;
}

int dockerignore_read(const char *text, size_t n, struct dockerignore *ret, struct error *err)
{
    struct dockerignore ignore = { 0 };
    if (n > DOCKERIGNORE_MAX_BYTES)
        return error_set(err, ERROR_INVALID, ".dockerignore is larger than %d bytes", DOCKERIGNORE_MAX_BYTES);
    if (n && memchr(text, 0, n))
        return error_set(err, ERROR_INVALID, ".dockerignore holds a NUL byte");
    size_t at = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at;
        if (read_line(&ignore, text + at, length, err) < 0) {
            dockerignore_done(&ignore);
            return -1;
        }
        at += length + 1;
    }
    *ret = ignore;
    return 0;
}

void dockerignore_done(struct dockerignore *ignore)
{
    for (size_t i = 0; i < ignore->count; i++)
        pattern_done(&ignore->patterns[i]);
    free(ignore->patterns);
    *ignore = (struct dockerignore){ 0 };
}

// --- matching

// Which tokens may come next: `at` before token i, `inside` in the middle of **/.
struct states {
    bool *at, *inside;
};

static bool class_holds(const struct ignore_pattern *p, const struct token *token, int32_t c)
{
    bool is_in = false;
    for (size_t i = 0; i < token->count; i++)
        is_in |= c >= p->ranges[token->first + i].low && c <= p->ranges[token->first + i].high;
    return is_in != token->is_negated;
}

// What may match nothing passes its state on.
static void pass_empty(const struct ignore_pattern *p, bool *at)
{
    for (size_t i = 0; i < p->count; i++) {
        enum token_kind kind = p->tokens[i].kind;
        if (at[i] && (kind == TOKEN_RUN || kind == TOKEN_FOLDERS || kind == TOKEN_REST))
            at[i + 1] = true;
    }
}

static void step_token(const struct ignore_pattern *p, size_t i, int32_t c, const struct states *from,
                       struct states *to)
{
    const struct token *token = &p->tokens[i];
    if (token->kind == TOKEN_FOLDERS && (from->at[i] || from->inside[i])) {
        to->inside[i] = true;
        to->at[i + 1] |= c == '/';
    }
    if (!from->at[i])
        return;
    if (token->kind == TOKEN_REST || (token->kind == TOKEN_RUN && c != '/'))
        to->at[i] = true;
    else if ((token->kind == TOKEN_CHARACTER && c == token->character) ||
             (token->kind == TOKEN_ANY && c != '/') ||
             (token->kind == TOKEN_CLASS && class_holds(p, token, c)))
        to->at[i + 1] = true;
}

static bool tokens_match(const struct ignore_pattern *p, const char *path, size_t n)
{
    size_t width = p->count + 1;
    bool *memory CLEANUP(cleanup_free) = xcalloc(4, width);
    struct states from = { memory, memory + width }, to = { memory + 2 * width, memory + 3 * width };
    const char *end = path + n;
    from.at[0] = true;
    pass_empty(p, from.at);
    while (path < end) {
        int32_t c = next_character(&path);
        memset(to.at, 0, width);
        memset(to.inside, 0, width);
        for (size_t i = 0; i < p->count; i++)
            step_token(p, i, c, &from, &to);
        pass_empty(p, to.at);
        struct states kept = from;
        from = to;
        to = kept;
    }
    return from.at[p->count];
}

static bool starts_with(const char *path, size_t n, const char *start, size_t length)
{
    return n >= length && memcmp(path, start, length) == 0;
}

static bool ends_with(const char *path, size_t n, const char *end)
{
    size_t length = strlen(end);
    if (n >= length && memcmp(path + n - length, end, length) == 0)
        return true;
    // "**/foo" is "foo" at the top, too.
    return *end == '/' && n == length - 1 && memcmp(path, end + 1, n) == 0;
}

static bool pattern_matches(const struct ignore_pattern *p, const char *path, size_t n)
{
    switch (p->shape) {
    case SHAPE_EQUAL:
        return n == strlen(p->text) && memcmp(path, p->text, n) == 0;
    case SHAPE_START:
        return starts_with(path, n, p->text, strlen(p->text) - 2);
    case SHAPE_END:
        return ends_with(path, n, p->text + 2);
    case SHAPE_TOKENS:
        break;
    }
    return tokens_match(p, path, n);
}

static bool matches_with_parents(const struct ignore_pattern *p, const char *path)
{
    if (pattern_matches(p, path, strlen(path)))
        return true;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        if (pattern_matches(p, path, (size_t)(slash - path)))
            return true;
    return false;
}

bool dockerignore_matches(const struct dockerignore *ignore, const char *path)
{
    bool is_out = false;
    if (streq(path, "."))
        return false;
    for (size_t i = 0; i < ignore->count; i++) {
        const struct ignore_pattern *p = &ignore->patterns[i];
        if (p->is_exception == is_out && matches_with_parents(p, path))
            is_out = !p->is_exception;
    }
    return is_out;
}

bool dockerignore_matches_below(const struct dockerignore *ignore, const char *path, const bool *parent,
                                bool *own)
{
    bool is_out = false;
    for (size_t i = 0; i < ignore->count; i++) {
        const struct ignore_pattern *p = &ignore->patterns[i];
        own[i] = (parent && parent[i]) ||
                 (parent ? pattern_matches(p, path, strlen(path)) : matches_with_parents(p, path));
        if (own[i])
            is_out = !p->is_exception;
    }
    return is_out;
}

// What a pattern says literally before its first wildcard.
static size_t literal_length(const char *text)
{
    return strcspn(text, "*?[\\");
}

bool dockerignore_may_take_back(const struct dockerignore *ignore, const char *folder)
{
    size_t n = strlen(folder);
    for (size_t i = 0; i < ignore->count; i++) {
        const struct ignore_pattern *p = &ignore->patterns[i];
        if (!p->is_exception)
            continue;
        size_t literal = literal_length(p->text);
        bool is_below = literal > n && memcmp(p->text, folder, n) == 0 && p->text[n] == '/';
        bool is_open = literal <= n && p->text[literal] && memcmp(p->text, folder, literal) == 0;
        if (is_below || is_open)
            return true;
    }
    return false;
}

bool dockerignore_excludes_root(const struct dockerignore *ignore)
{
    for (size_t i = 0; i < ignore->count; i++) {
        const char *text = ignore->patterns[i].text;
        if (!ignore->patterns[i].is_exception &&
            (streq(text, "*") || streq(text, "**") || streq(text, "**/*")))
            return true;
    }
    return false;
}

char *dockerignore_name_for(const char *dockerfile)
{
    return xasprintf("%s.dockerignore", dockerfile);
}
