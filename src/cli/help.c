#include "cli/help.h"

#include "base/mem.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

size_t help_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 80;
}

static const char *value_name(const struct option *option)
{
    static const char *const names[] = {
        [OPTION_BOOL] = "",           [OPTION_STRING] = "string",   [OPTION_LIST] = "list",
        [OPTION_INT] = "int",         [OPTION_BYTES] = "bytes",     [OPTION_DURATION] = "duration",
        [OPTION_DECIMAL] = "decimal", [OPTION_OPTIONAL] = "string",
    };
    _Static_assert(sizeof names / sizeof *names == OPTION_KIND_COUNT, "every kind has a name");
    return option->value_name ? option->value_name : names[option->kind];
}

// "  -a, --attach list": the left column of one option.
static void left_column(struct str *out, const struct option *option)
{
    if (option->letter)
        str_appendf(out, "  -%c, --%s", option->letter, option->name);
    else
        str_appendf(out, "      --%s", option->name);
    if (option->kind == OPTION_OPTIONAL)
        str_appendf(out, "[=%s]", value_name(option));
    else if (*value_name(option))
        str_appendf(out, " %s", value_name(option));
}

// Words of `text` from column `indent` on, broken at `columns`; '\n' in the text breaks too.
static void wrap(struct str *out, const char *text, size_t indent, size_t columns)
{
    size_t room = columns > indent + 20 ? columns - indent : 40, used = 0;
    while (*text) {
        size_t n = strcspn(text, " \n");
        if (used && used + 1 + n > room) {
            str_appendf(out, "\n%*s", (int)indent, "");
            used = 0;
        }
        str_append(out, used ? " " : "");
        str_append_n(out, text, n);
        used += n + (used ? 1 : 0);
        text += n;
        if (*text == '\n') {
            str_appendf(out, "\n%*s", (int)indent, "");
            used = 0;
        }
        text += *text ? 1 : 0;
    }
    str_append_char(out, '\n');
}

void help_options(struct str *out, const struct option *table, size_t columns)
{
    static const struct option help[] = { { "help", 0, OPTION_BOOL, NULL, "Print usage" }, OPTION_END };
    size_t width = 0;
    const struct option *tables[] = { table, help };
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++) {
            struct str left CLEANUP(str_done) = STR_INIT;
            left_column(&left, o);
            if (o->help[0] && left.len > width)
                width = left.len;
        }
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++) {
            struct str left CLEANUP(str_done) = STR_INIT;
            if (!o->help[0])
                continue;
            left_column(&left, o);
            str_appendf(out, "%-*s   ", (int)width, left.ptr);
            wrap(out, o->help, width + 3, columns);
        }
}

void help_command(struct str *out, const struct command *command, const char *group, size_t columns)
{
    str_appendf(out, "Usage:  skiff %s%s%s %s\n\n%s\n", group ? group : "", group ? " " : "", command->name,
                command->arguments, command->summary);
    if (command->aliases)
        str_appendf(out, "\nAliases:\n  %s\n", command->aliases);
    str_append(out, "\nOptions:\n");
    help_options(out, command->options, columns);
}
