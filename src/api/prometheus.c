#include "api/prometheus.h"

#include <math.h>

void prometheus_family(struct str *out, const char *name, const char *type, const char *help)
{
    str_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void append_value(struct str *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\n')
            str_append(out, "\\n");
        else if (*p == '\\' || *p == '"')
            str_appendf(out, "\\%c", *p);
        else
            str_append_char(out, *p);
    }
}

void prometheus_sample(struct str *out, const char *name, const struct prometheus_label *labels, double value)
{
    str_append(out, name);
    for (const struct prometheus_label *l = labels; l && l->name; l++) {
        str_appendf(out, "%c%s=\"", l == labels ? '{' : ',', l->name);
        append_value(out, l->value ? l->value : "");
        str_append_char(out, '"');
    }
    if (labels && labels->name)
        str_append_char(out, '}');
    // Whole numbers in full: 17 digits would do for every double, but nobody wants to read them.
    if (fabs(value) < 1e15 && value == floor(value))
        str_appendf(out, " %.0f\n", value);
    else
        str_appendf(out, " %.17g\n", value);
}
