// Theory of operation
//
// One cursor walks the source. Text up to "{{" is a node; an action is read by recursive descent straight
// from the characters (no token list). Blocks nest by recursion, bounded by DEPTH_MAX. What is built hangs on
// the template from the first moment, so that an error leaves nothing behind but one template_free.
#include "cli/template.h"
#include "cli/template_internal.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>

enum { DEPTH_MAX = 50 };

struct source {
    const char *at;
    bool trims_next; // the action before ended with "-}}"
    unsigned depth;
    struct error *err;
};

static int fail(struct source *s, const char *why)
{
    return error_set(s->err, ERROR_INVALID, "template parsing error: template: :1: %s", why);
}

static void skip_space(struct source *s)
{
    while (isspace((unsigned char)*s->at))
        s->at++;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static char *read_word(struct source *s)
{
    const char *from = s->at;
    while (is_word(*s->at))
        s->at++;
    return xstrndup(from, (size_t)(s->at - from));
}

// Is this keyword next (as a whole word)? Steps over it.
static bool accept_word(struct source *s, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(s->at, word, n) != 0 || is_word(s->at[n]))
        return false;
    s->at += n;
    skip_space(s);
    return true;
}

static bool at_action_end(const struct source *s)
{
    return strncmp(s->at, "}}", 2) == 0 || (s->at[0] == '-' && strncmp(s->at + 1, "}}", 2) == 0);
}

static int parse_quoted(struct source *s, json_t **ret)
{
    struct str text CLEANUP(str_done) = STR_INIT;
    char quote = *s->at++;
    for (; *s->at && *s->at != quote; s->at++) {
        char c = *s->at;
        if (quote == '"' && c == '\\' && s->at[1]) {
            c = *++s->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        str_append_char(&text, c);
    }
    if (!*s->at)
        return fail(s, "unterminated quoted string");
    s->at++;
    *ret = json_stringn(text.ptr, text.len);
    return *ret ? 0 : fail(s, "invalid string");
}

static int parse_number(struct source *s, json_t **ret)
{
    char *end;
    double real = strtod(s->at, &end);
    bool whole = !memchr(s->at, '.', (size_t)(end - s->at));
    *ret = whole ? json_integer((json_int_t)real) : json_real(real);
    s->at = end;
    return 0;
}

static void parse_fields(struct source *s, struct expr *expr)
{
    while (s->at[0] == '.' && is_word(s->at[1])) {
        s->at++;
        strv_take(&expr->fields, read_word(s));
    }
}

static int parse_pipe(struct source *s, struct pipe *pipe, char closing);

static int parse_group(struct source *s, struct expr *expr)
{
    if (++s->depth > DEPTH_MAX)
        return fail(s, "nested too deeply");
    s->at++;
    expr->kind = EXPR_GROUP;
    expr->group = NEW(struct pipe);
    if (parse_pipe(s, expr->group, ')') < 0)
        return -1;
    s->at++;
    s->depth--;
    parse_fields(s, expr);
    return 0;
}

static int parse_operand(struct source *s, struct expr *expr)
{
    char c = *s->at;
    if (c == '"' || c == '`')
        return parse_quoted(s, &expr->value);
    if (isdigit((unsigned char)c) || (c == '-' && isdigit((unsigned char)s->at[1])))
        return parse_number(s, &expr->value);
    if (c == '(')
        return parse_group(s, expr);
    if (c == '.') {
        expr->kind = EXPR_DOT;
        if (is_word(s->at[1]))
            parse_fields(s, expr);
        else
            s->at++;
        return 0;
    }
    if (c == '$') {
        s->at++;
        expr->kind = EXPR_VAR;
        expr->name = read_word(s);
        parse_fields(s, expr);
        return 0;
    }
    if (!is_word(c)) {
        char why[64];
        snprintf(why, sizeof why, "unexpected \"%c\" in operand", c ? c : ' ');
        return fail(s, c ? why : "unclosed action");
    }
    if (accept_word(s, "true") || accept_word(s, "false")) {
        const char *back = s->at;
        while (back[-1] == ' ')
            back--;
        expr->value = json_boolean(back[-2] == 'u'); // ...(u)e / ...(s)e
        return 0;
    }
    if (accept_word(s, "nil")) {
        expr->value = json_null();
        return 0;
    }
    expr->kind = EXPR_CALL;
    expr->name = read_word(s);
    return 0;
}

static int parse_command(struct source *s, struct command_node *command, char closing)
{
    for (;;) {
        skip_space(s);
        if (!*s->at || *s->at == '|' || *s->at == closing || at_action_end(s))
            break;
        command->operands = xreallocarray(command->operands, command->count + 1, sizeof *command->operands);
        command->operands[command->count] = (struct expr){ .kind = EXPR_LITERAL };
        if (parse_operand(s, &command->operands[command->count++]) < 0)
            return -1;
    }
    return command->count ? 0 : fail(s, "missing value for command");
}

// "$k, $v :=", "$v :=", "$v =" at the head of a pipe.
static void parse_variables(struct source *s, struct pipe *pipe)
{
    const char *start = s->at;
    char *names[2] = { NULL, NULL };
    size_t n = 0;
    while (n < 2 && *s->at == '$') {
        s->at++;
        names[n++] = read_word(s);
        skip_space(s);
        if (*s->at != ',')
            break;
        s->at++;
        skip_space(s);
    }
    size_t sign = strncmp(s->at, ":=", 2) == 0 ? 2 : s->at[0] == '=' ? 1 : 0;
    if (n == 0 || sign == 0) {
        free(names[0]);
        free(names[1]);
        s->at = start;
        return;
    }
    s->at += sign;
    pipe->value_var = n == 2 ? names[1] : names[0];
    pipe->key_var = n == 2 ? names[0] : NULL;
}

// closing: ')' inside parentheses, '\0' at the top of an action. Ends at the closing sign, not past it.
static int parse_pipe(struct source *s, struct pipe *pipe, char closing)
{
    skip_space(s);
    parse_variables(s, pipe);
    for (;;) {
        pipe->commands = xreallocarray(pipe->commands, pipe->count + 1, sizeof *pipe->commands);
        pipe->commands[pipe->count] = (struct command_node){ 0 };
        if (parse_command(s, &pipe->commands[pipe->count++], closing) < 0)
            return -1;
        if (*s->at != '|')
            break;
        s->at++;
    }
    if (closing ? *s->at == closing : at_action_end(s))
        return 0;
    return fail(s, closing ? "unclosed left paren" : "unclosed action");
}

static int close_action(struct source *s)
{
    skip_space(s);
    if (!at_action_end(s))
        return fail(s, *s->at ? "unexpected word in action" : "unclosed action");
    s->trims_next = *s->at == '-';
    s->at += s->trims_next ? 3 : 2;
    return 0;
}

enum list_end { END_OF_TEXT, END_WORD, END_ELSE, END_ELSE_IF, END_ERROR };

static enum list_end parse_list(struct source *s, struct node **list);

static int parse_block(struct source *s, struct node *node)
{
    if (++s->depth > DEPTH_MAX)
        return fail(s, "nested too deeply");
    node->pipe = NEW(struct pipe);
    if (parse_pipe(s, node->pipe, '\0') < 0 || close_action(s) < 0)
        return -1;
    enum list_end end = parse_list(s, &node->body);
    if (end == END_ELSE_IF) { // an if inside the else, sharing the one {{end}}
        node->otherwise = NEW(struct node);
        node->otherwise->kind = NODE_IF;
        s->depth--;
        return parse_block(s, node->otherwise);
    }
    if (end == END_ELSE)
        end = parse_list(s, &node->otherwise);
    s->depth--;
    if (end == END_ERROR)
        return -1;
    return end == END_WORD ? 0 : fail(s, "unexpected EOF");
}

// An action after "{{" and its spaces. *ret stays NULL for a comment.
static int parse_action(struct source *s, struct node **ret)
{
    struct node *node = *ret = NEW(struct node);
    node->kind = NODE_PIPE;
    if (accept_word(s, "if")) {
        node->kind = NODE_IF;
        return parse_block(s, node);
    }
    if (accept_word(s, "range")) {
        node->kind = NODE_RANGE;
        return parse_block(s, node);
    }
    if (accept_word(s, "with")) {
        node->kind = NODE_WITH;
        return parse_block(s, node);
    }
    node->pipe = NEW(struct pipe);
    return parse_pipe(s, node->pipe, '\0') < 0 ? -1 : close_action(s);
}

static struct node *text_node(struct source *s, const char *from, const char *to, bool trims_end)
{
    if (s->trims_next)
        while (from < to && isspace((unsigned char)*from))
            from++;
    if (trims_end)
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
    s->trims_next = false;
    if (from == to)
        return NULL;
    struct node *node = NEW(struct node);
    node->kind = NODE_TEXT;
    node->text = xstrndup(from, (size_t)(to - from));
    return node;
}

static int skip_comment(struct source *s)
{
    const char *end = strstr(s->at, "*/");
    if (!end)
        return fail(s, "unclosed comment");
    s->at = end + 2;
    return close_action(s);
}

static enum list_end list_word(struct source *s)
{
    if (accept_word(s, "end"))
        return close_action(s) < 0 ? END_ERROR : END_WORD;
    if (!accept_word(s, "else"))
        return END_OF_TEXT;
    if (accept_word(s, "if"))
        return END_ELSE_IF;
    return close_action(s) < 0 ? END_ERROR : END_ELSE;
}

static enum list_end parse_list(struct source *s, struct node **list)
{
    for (struct node **tail = list;;) {
        const char *open = strstr(s->at, "{{");
        const char *end = open ? open : s->at + strlen(s->at);
        bool trims = open && open[2] == '-' && isspace((unsigned char)open[3]);
        if ((*tail = text_node(s, s->at, end, trims)))
            tail = &(*tail)->next;
        s->at = end;
        if (!open)
            return END_OF_TEXT;
        s->at += trims ? 3 : 2;
        skip_space(s);
        if (strncmp(s->at, "/*", 2) == 0) {
            if (skip_comment(s) < 0)
                return END_ERROR;
            continue;
        }
        enum list_end word = list_word(s);
        if (word != END_OF_TEXT)
            return word;
        if (parse_action(s, tail) < 0)
            return END_ERROR;
        tail = &(*tail)->next;
    }
}

int template_parse(const char *text, struct template **ret, struct error *err)
{
    struct template *t = NEW(struct template);
    struct source s = { .at = text, .err = err };
    t->source = xstrdup(text);
    enum list_end end = parse_list(&s, &t->nodes);
    if (end == END_OF_TEXT) {
        *ret = t;
        return 0;
    }
    if (end != END_ERROR)
        fail(&s, end == END_WORD ? "unexpected {{end}}" : "unexpected {{else}}");
    template_free(t);
    return -1;
}

static void pipe_free(struct pipe *pipe)
{
    for (size_t i = 0; pipe && i < pipe->count; i++) {
        for (size_t k = 0; k < pipe->commands[i].count; k++) {
            struct expr *expr = &pipe->commands[i].operands[k];
            json_decref(expr->value);
            free(expr->name);
            strv_free(expr->fields);
            pipe_free(expr->group);
        }
        free(pipe->commands[i].operands);
    }
    if (pipe) {
        free(pipe->commands);
        free(pipe->key_var);
        free(pipe->value_var);
    }
    free(pipe);
}

void template_nodes_free(struct node *node)
{
    while (node) {
        struct node *next = node->next;
        template_nodes_free(node->body);
        template_nodes_free(node->otherwise);
        pipe_free(node->pipe);
        free(node->text);
        free(node);
        node = next;
    }
}

void template_free(struct template *t)
{
    if (t) {
        template_nodes_free(t->nodes);
        free(t->source);
    }
    free(t);
}
