// The part of Go's text/template that people write after --format, over JSON values.
//
// Actions: {{.A.B}}, {{$x}}, {{$x := ...}}, {{if}} {{else if}} {{else}} {{end}}, {{range}} (also $k, $v :=
// ...; lists and objects, objects in key order), {{with}}, comments, the trim marks {{- -}}, pipes,
// parentheses with fields after them, literals. Functions: json join split lower upper title pad truncate
// println print printf len index slice eq ne lt le gt ge and or not. A key is found exactly or, failing that,
// in any case (Go's field names differ from the JSON ones). Spec: https://pkg.go.dev/text/template,
// https://docs.docker.com/engine/cli/formatting/
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>

struct template;

// ERROR_INVALID "template parsing error: template: :1: ..." when malformed.
int template_parse(const char *text, struct template **ret, struct error *err);
void template_free(struct template *t);

struct template_data {
    const json_t *root;
    const json_t *labels; // what {{.Label "key"}} looks into; NULL: none
    bool escapes_html;    // {{json}} writes < > & as \u003c ..., as Go does for rows
};
// Append the text for this data. A key missing at the top is an error (as for Docker's rows and documents);
// missing deeper prints "<no value>".
int template_execute(const struct template *t, struct template_data data, struct str *out, struct error *err);
// Does the template name this field anywhere (".Size")?
bool template_mentions(const struct template *t, const char *field);
// Compact JSON with keys sorted and < > & escaped, as Docker prints rows for --format json.
void template_append_json(struct str *out, const json_t *value, bool sorts_keys, bool escapes_html);
