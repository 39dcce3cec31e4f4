#include "cli/format.h"

#include "base/mem.h"
#include "cli/human.h"
#include "cli/template.h"
#include "codec/json.h"

#include <string.h>

enum { CELLS_MAX = 64, PADDING = 3, MIN_WIDTH = 10 };

void format_align(struct str *out, const char *text, size_t min_width)
{
    size_t widths[CELLS_MAX] = { 0 }, column = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\t\n");
        if (p[n] == '\t' && column < CELLS_MAX) { // the last cell of a line has no width
            size_t w = human_width(p, n) + PADDING;
            widths[column] = w > widths[column] ? w : widths[column];
        }
        column = p[n] == '\t' ? column + 1 : 0;
        p += n + (p[n] ? 1 : 0);
    }
    column = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\t\n");
        str_append_n(out, p, n);
        if (p[n] == '\t' && column < CELLS_MAX) {
            size_t want = widths[column] > min_width ? widths[column] : min_width;
            str_appendf(out, "%*s", (int)(want - human_width(p, n)), "");
            column++;
        } else {
            str_append(out, p[n] ? "\n" : "");
            column = 0;
        }
        p += n + (p[n] ? 1 : 0);
    }
}

char *format_unescape(const char *format)
{
    struct str text = STR_INIT;
    for (const char *p = format; *p; p++) {
        if (p[0] == '\\' && (p[1] == 't' || p[1] == 'n'))
            str_append_char(&text, *++p == 't' ? '\t' : '\n');
        else
            str_append_char(&text, *p);
    }
    return str_take(&text);
}

static char *default_template(const char *const *columns)
{
    struct str text = STR_INIT;
    for (size_t i = 0; columns[i]; i++)
        str_appendf(&text, "%s{{.%s}}", i ? "\t" : "", columns[i]);
    return str_take(&text);
}

static int print_row(struct str *out, const struct template *t, const json_t *row, struct error *err)
{
    struct template_data data = { .root = row,
                                  .labels = json_object_get(row, FORMAT_LABELS),
                                  .escapes_html = true };
    if (template_execute(t, data, out, err) < 0)
        return -1;
    str_append_char(out, '\n');
    return 0;
}

static int print_headers(struct str *out, const struct template *t, const struct format_column *fields,
                         struct error *err)
{
    json_t *row CLEANUP(json_cleanup) = json_object();
    for (; fields->field; fields++)
        json_set_string(row, fields->field, fields->header);
    return print_row(out, t, row, err);
}

static void print_json_rows(struct cli *cli, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *plain CLEANUP(json_cleanup) = json_copy(json_array_get(rows, i));
        struct str line CLEANUP(str_done) = STR_INIT;
        json_object_del(plain, FORMAT_LABELS);
        template_append_json(&line, plain, true, true);
        cli_print(cli, "%s\n", line.ptr);
    }
}

int format_rows(struct cli *cli, const char *format, const json_t *rows, const struct format_column *fields,
                const char *const *columns, struct error *err)
{
    bool is_table = !format || !*format || streq(format, "table") || str_has_prefix(format, "table ");
    if (!is_table && streq(format, "json")) {
        print_json_rows(cli, rows);
        return 0;
    }
    char *source CLEANUP(cleanup_free) = NULL;
    if (is_table && (!format || !*format || streq(format, "table")))
        source = default_template(columns);
    else
        source = format_unescape(is_table ? format + strlen("table ") : format);
    struct template *t = NULL;
    struct str text CLEANUP(str_done) = STR_INIT;
    if (template_parse(source, &t, err) < 0)
        return -1;
    int r = is_table ? print_headers(&text, t, fields, err) : 0;
    for (size_t i = 0; r == 0 && i < json_array_size(rows); i++)
        r = print_row(&text, t, json_array_get(rows, i), err);
    template_free(t);
    if (r == 0 && is_table)
        format_align(&cli->out, text.ptr, MIN_WIDTH);
    else if (r == 0)
        str_append(&cli->out, text.ptr);
    return r;
}

int format_document(struct cli *cli, const char *format, const json_t *document, struct error *err)
{
    if (!format || !*format) {
        char *text CLEANUP(cleanup_free) = json_dumps(document, JSON_INDENT(4) | JSON_ENCODE_ANY);
        cli_print(cli, "%s\n", text ? text : "null");
        return 0;
    }
    if (streq(format, "json"))
        format = "{{json .}}";
    struct template *t = NULL;
    if (template_parse(format, &t, err) < 0)
        return -1;
    int r = template_execute(t, (struct template_data){ .root = document }, &cli->out, err);
    template_free(t);
    if (r == 0)
        str_append_char(&cli->out, '\n');
    return r;
}
