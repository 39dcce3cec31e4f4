// Rows as Docker prints them: a table with headers, or one line a row by --format.
#pragma once

#include "cli/cli.h"

struct format_column {
    const char *field;  // key of the row object
    const char *header; // "CONTAINER ID"
};

// Print rows by `format` (NULL or "table": the default table; "json"; "table TEMPLATE"; TEMPLATE). Rows are
// objects; a member "\x01labels" (an object) is what {{.Label "x"}} reads and is not printed. `fields` ends
// with {NULL}: every field's header; `columns`: names of those in the default table, in order, ends with
// NULL.
int format_rows(struct cli *cli, const char *format, const json_t *rows, const struct format_column *fields,
                const char *const *columns, struct error *err);
// One document by template ("json" too), or indented JSON when format is NULL.
int format_document(struct cli *cli, const char *format, const json_t *document, struct error *err);
// Align tab-separated lines: a column is as wide as its widest cell plus 3, at least `min_width`.
void format_align(struct str *out, const char *text, size_t min_width);
// "{{.ID}}\t": the two characters \t and \n become what they mean. Owned.
char *format_unescape(const char *format);
#define FORMAT_LABELS "\x01labels"
