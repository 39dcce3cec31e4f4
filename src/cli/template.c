// Theory of operation
//
// Values are JSON values, borrowed: those made on the way (a length, a joined text) are kept in `pool` until
// the execution ends, so that no operation owns anything. NULL stands for "no value". A null prints as Go's
// zero of the type the document has there: [] for lists, map[] for maps, <nil> for pointers, by the field's
// name, as JSON cannot tell.
#include "cli/template.h"
#include "cli/template_funcs.h"
#include "cli/template_internal.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

struct variable {
    const char *name;
    json_t *value;
};

struct run {
    struct template_data data;
    struct template_call call; // the pool, the error
    struct variable vars[32];
    size_t var_count;
    const char *last_field; // of the value just read: how its null prints
};

static json_t *borrow(const json_t *value)
{
    return (json_t *)(uintptr_t)value; // jansson's reference counts need it writable
}

static json_t *field_of(const json_t *object, const char *name)
{
    const char *key;
    json_t *value = json_object_get(object, name);
    if (value)
        return value;
    json_object_foreach(borrow(object), key, value) if (strcasecmp(key, name) == 0) return value;
    return NULL;
}

static int walk_fields(struct run *run, json_t *value, char *const *fields, json_t **ret)
{
    for (size_t i = 0; fields && fields[i]; i++) {
        bool at_top = value == run->data.root;
        if (value && !json_is_object(value) && !json_is_null(value))
            return template_fail(&run->call, "at <.%s>: can't evaluate field %s in type %s", fields[i],
                                 fields[i], json_is_array(value) ? "list" : "value");
        value = value ? field_of(value, fields[i]) : NULL;
        if (!value && at_top)
            return template_fail(&run->call, "at <.%s>: map has no entry for key \"%s\"", fields[i],
                                 fields[i]);
        run->last_field = fields[i];
    }
    *ret = value;
    return 0;
}

static int run_pipe(struct run *run, const struct pipe *pipe, json_t *dot, json_t **ret);

static int run_operand(struct run *run, const struct expr *expr, json_t *dot, json_t **ret)
{
    json_t *base = NULL;
    switch (expr->kind) {
    case EXPR_LITERAL:
        *ret = expr->value;
        return 0;
    case EXPR_DOT:
        return walk_fields(run, dot, expr->fields, ret);
    case EXPR_VAR:
        if (!expr->name[0])
            return walk_fields(run, borrow(run->data.root), expr->fields, ret);
        for (size_t i = run->var_count; i-- > 0;)
            if (streq(run->vars[i].name, expr->name))
                return walk_fields(run, run->vars[i].value, expr->fields, ret);
        return template_fail(&run->call, "undefined variable \"$%s\"", expr->name);
    case EXPR_GROUP:
        return run_pipe(run, expr->group, dot, &base) < 0 ? -1 : walk_fields(run, base, expr->fields, ret);
    case EXPR_CALL:
        return template_apply(&run->call, expr->name, NULL, 0, ret);
    case EXPR_KIND_COUNT:
        break;
    }
    return template_fail(&run->call, "unknown operand");
}

enum { ARGUMENTS_MAX = 32 };

static int run_command(struct run *run, const struct command_node *command, json_t *dot, json_t *piped,
                       bool is_piped, json_t **ret)
{
    json_t *args[ARGUMENTS_MAX];
    size_t n = 0;
    const struct expr *head = &command->operands[0];
    if (command->count >= ARGUMENTS_MAX)
        return template_fail(&run->call, "too many arguments");
    for (size_t i = 1; i < command->count; i++)
        if (run_operand(run, &command->operands[i], dot, &args[n++]) < 0)
            return -1;
    if (is_piped)
        args[n++] = piped;
    if (head->kind == EXPR_CALL) {
        run->last_field = NULL;
        return template_apply(&run->call, head->name, args, n, ret);
    }
    if (n == 0)
        return run_operand(run, head, dot, ret);
    if (head->kind == EXPR_DOT && strv_len(head->fields) == 1 && streq(head->fields[0], "Label") && n == 1) {
        json_t *label =
            json_object_get(run->data.labels, json_is_string(args[0]) ? json_string_value(args[0]) : "");
        *ret = label ? label : template_keep(&run->call, json_string(""));
        return 0;
    }
    return template_fail(&run->call, "can't give argument to non-function");
}

static int run_pipe(struct run *run, const struct pipe *pipe, json_t *dot, json_t **ret)
{
    json_t *value = NULL;
    run->last_field = NULL;
    for (size_t i = 0; i < pipe->count; i++)
        if (run_command(run, &pipe->commands[i], dot, value, i > 0, &value) < 0)
            return -1;
    *ret = value;
    return 0;
}

static int set_variable(struct run *run, const char *name, json_t *value)
{
    for (size_t i = run->var_count; i-- > 0;)
        if (streq(run->vars[i].name, name)) {
            run->vars[i].value = value;
            return 0;
        }
    if (run->var_count == sizeof run->vars / sizeof *run->vars)
        return template_fail(&run->call, "too many variables");
    run->vars[run->var_count++] = (struct variable){ name, value };
    return 0;
}

static int run_nodes(struct run *run, const struct node *node, json_t *dot, struct str *out);

static int run_once(struct run *run, const struct node *node, json_t *key, json_t *value, struct str *out)
{
    if (node->pipe->key_var && set_variable(run, node->pipe->key_var, key) < 0)
        return -1;
    if (node->pipe->value_var && set_variable(run, node->pipe->value_var, value) < 0)
        return -1;
    return run_nodes(run, node->body, value, out);
}

static int run_range_object(struct run *run, const struct node *node, json_t *object, struct str *out)
{
    size_t n = json_object_size(object);
    const char **keys CLEANUP(cleanup_free) = template_sorted_keys(object);
    for (size_t i = 0; i < n; i++)
        if (run_once(run, node, template_keep(&run->call, json_string(keys[i])),
                     json_object_get(object, keys[i]), out) < 0)
            return -1;
    return 0;
}

static int run_range(struct run *run, const struct node *node, json_t *dot, json_t *value, struct str *out)
{
    if (!template_is_true(value))
        return run_nodes(run, node->otherwise, dot, out);
    if (json_is_object(value))
        return run_range_object(run, node, value, out);
    if (!json_is_array(value))
        return template_fail(&run->call, "range can't iterate over a plain value");
    for (size_t i = 0; i < json_array_size(value); i++)
        if (run_once(run, node, template_keep(&run->call, json_integer((json_int_t)i)),
                     json_array_get(value, i), out) < 0)
            return -1;
    return 0;
}

static const char *null_text(const char *field)
{
    static const char *const maps[] = { "Labels",     "PortBindings", "Volumes",     "ExposedPorts",
                                        "Options",    "Sysctls",      "Annotations", "Tmpfs",
                                        "StorageOpt", "DriverOpts",   "Networks",    "ExecIDs" };
    static const char *const pointers[] = { "PidsLimit",   "Init",   "OomKillDisable", "MemorySwappiness",
                                            "Healthcheck", "Health", "StopTimeout",    "IPAMConfig" };
    if (!field)
        return "<nil>";
    for (size_t i = 0; i + 1 < sizeof maps / sizeof *maps; i++)
        if (strcasecmp(field, maps[i]) == 0)
            return "map[]";
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++)
        if (strcasecmp(field, pointers[i]) == 0)
            return "<nil>";
    return "[]";
}

static int run_node(struct run *run, const struct node *node, json_t *dot, struct str *out)
{
    json_t *value = NULL;
    size_t scope = run->var_count;
    if (node->kind == NODE_TEXT) {
        str_append(out, node->text);
        return 0;
    }
    if (run_pipe(run, node->pipe, dot, &value) < 0)
        return -1;
    if (node->kind == NODE_PIPE) {
        if (node->pipe->value_var)
            return set_variable(run, node->pipe->value_var, value);
        if (json_is_null(value))
            str_append(out, null_text(run->last_field));
        else
            template_append_value(out, value);
        return 0;
    }
    int r;
    if (node->kind == NODE_RANGE)
        r = run_range(run, node, dot, value, out);
    else if (node->pipe->value_var && set_variable(run, node->pipe->value_var, value) < 0)
        r = -1;
    else if (template_is_true(value))
        r = run_nodes(run, node->body, node->kind == NODE_WITH ? value : dot, out);
    else
        r = run_nodes(run, node->otherwise, dot, out);
    run->var_count = scope;
    return r;
}

static int run_nodes(struct run *run, const struct node *node, json_t *dot, struct str *out)
{
    for (; node; node = node->next)
        if (run_node(run, node, dot, out) < 0)
            return -1;
    return 0;
}

int template_execute(const struct template *t, struct template_data data, struct str *out, struct error *err)
{
    struct run run = { .data = data,
                       .call = { .pool = json_array(), .escapes_html = data.escapes_html, .err = err } };
    int r = run_nodes(&run, t->nodes, borrow(data.root), out);
    json_decref(run.call.pool);
    return r;
}

bool template_mentions(const struct template *t, const char *field)
{
    size_t n = strlen(field);
    for (const char *p = t->source; (p = strstr(p, field)); p += n)
        if (!(p[n] == '_' || (p[n] >= '0' && p[n] <= '9') || (p[n] >= 'A' && p[n] <= 'Z') ||
              (p[n] >= 'a' && p[n] <= 'z')))
            return true;
    return false;
}
