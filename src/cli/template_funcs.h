// The functions of templates and how values print; for template.c.
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>

struct template_call {
    json_t *pool; // keeps what was made until the execution ends
    bool escapes_html;
    struct error *err;
};

// Hand a fresh value to the pool; yields it, borrowed.
json_t *template_keep(struct template_call *call, json_t *value);
// "template parsing error: template: :1: executing "" ..."; returns -1.
int template_fail(struct template_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Call a function by name. An argument may be NULL ("no value").
int template_apply(struct template_call *call, const char *name, json_t **args, size_t n, json_t **ret);
// Go's truth: not false, 0, "", null, empty, missing.
bool template_is_true(const json_t *value);
// As Go's fmt prints it: [a b], map[k:v], <no value>.
void template_append_value(struct str *out, const json_t *value);
// The keys of an object in order; owned array of borrowed names.
const char **template_sorted_keys(const json_t *object);
