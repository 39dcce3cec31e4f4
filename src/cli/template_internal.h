// What template_parse.c makes and template.c runs.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

enum expr_kind {
    EXPR_LITERAL, // value
    EXPR_DOT,     // the dot and the fields after it
    EXPR_VAR,     // name ("" is $) and the fields after it
    EXPR_GROUP,   // (pipe) and the fields after it
    EXPR_CALL,    // function `name`
    EXPR_KIND_COUNT
};

struct pipe;
struct expr {
    enum expr_kind kind;
    json_t *value;
    char *name;
    char **fields; // strv
    struct pipe *group;
};

struct command_node { // operands side by side: a call with arguments, or one value
    struct expr *operands;
    size_t count;
};

struct pipe {
    char *key_var, *value_var; // "$k, $v := ..." or "$v := ..." / "$v = ..."; NULL: none
    struct command_node *commands;
    size_t count;
};

enum node_kind { NODE_TEXT, NODE_PIPE, NODE_IF, NODE_RANGE, NODE_WITH, NODE_KIND_COUNT };

struct node {
    enum node_kind kind;
    char *text;
    struct pipe *pipe;
    struct node *body, *otherwise; // lists
    struct node *next;
};

struct template
{
    struct node *nodes;
    char *source;
};

void template_nodes_free(struct node *node);
