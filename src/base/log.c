#include "base/log.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "debug", "info", "warn", "error", "fatal" };
_Static_assert(sizeof level_names / sizeof *level_names == LOG_LEVEL_COUNT, "every level has a name");

static enum log_level threshold = LOG_LEVEL_INFO; // set once by main, before any thread

void log_set_level(enum log_level level)
{
    threshold = level;
}

bool log_is_enabled(enum log_level level)
{
    return level >= threshold;
}

bool log_level_parse(const char *name, enum log_level *ret)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

// A quoted string in which nothing can break the line.
static void append_quoted(struct str *line, const char *text)
{
    str_append_char(line, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            str_append_char(line, '\\');
        if (*text == '\n')
            str_append(line, "\\n");
        else if ((unsigned char)*text < 0x20)
            str_appendf(line, "\\x%02x", (unsigned)*text);
        else
            str_append_char(line, *text);
    }
    str_append_char(line, '"');
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (!log_is_enabled(level))
        return;
    char message[2048], now[TIME_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    time_format_rfc3339_fixed(time_now_ns(), now);
    struct str line = STR_INIT;
    str_appendf(&line, "time=\"%s\" level=%s msg=", now, level_names[level]);
    append_quoted(&line, message);
    str_append_char(&line, '\n');
    (void)fd_write_all(STDERR_FILENO, line.ptr, line.len);
    str_done(&line);
}
