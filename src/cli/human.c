#include "cli/human.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void human_duration(int64_t ns, char text[static HUMAN_MAX])
{
    int64_t seconds = ns / NS_PER_S, minutes = seconds / 60;
    int64_t hours = (minutes + 30) / 60; // rounded, as go-units does
    if (seconds < 1)
        snprintf(text, HUMAN_MAX, "Less than a second");
    else if (seconds == 1)
        snprintf(text, HUMAN_MAX, "1 second");
    else if (seconds < 60)
        snprintf(text, HUMAN_MAX, "%d seconds", (int)seconds);
    else if (minutes == 1)
        snprintf(text, HUMAN_MAX, "About a minute");
    else if (minutes < 60)
        snprintf(text, HUMAN_MAX, "%d minutes", (int)minutes);
    else if (hours == 1)
        snprintf(text, HUMAN_MAX, "About an hour");
    else if (hours < 48)
        snprintf(text, HUMAN_MAX, "%d hours", (int)hours);
    else if (hours < 24 * 7 * 2)
        snprintf(text, HUMAN_MAX, "%d days", (int)(hours / 24));
    else if (hours < 24 * 30 * 2)
        snprintf(text, HUMAN_MAX, "%d weeks", (int)(hours / 24 / 7));
    else if (hours < 24 * 365 * 2)
        snprintf(text, HUMAN_MAX, "%d months", (int)(hours / 24 / 30));
    else
        snprintf(text, HUMAN_MAX, "%d years", (int)(hours / 24 / 365));
}

static void scaled(double size, double base, const char *const *units, int digits, char *text)
{
    int i = 0;
    while (size >= base && units[i + 1]) {
        size /= base;
        i++;
    }
    snprintf(text, HUMAN_MAX, "%.*g%s", digits, size, units[i]);
}

void human_size(double bytes, int digits, char text[static HUMAN_MAX])
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB", NULL };
    scaled(bytes, 1000.0, units, digits, text);
}

void human_size_1024(double bytes, char text[static HUMAN_MAX])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB", NULL };
    scaled(bytes, 1024.0, units, 4, text);
}

size_t human_width(const char *text, size_t n)
{
    size_t width = 0;
    for (size_t i = 0; i < n; i++)
        width += ((unsigned char)text[i] & 0xc0) != 0x80;
    return width;
}

char *human_cut(const char *text, size_t columns)
{
    size_t n = strlen(text);
    if (human_width(text, n) <= columns || columns == 0)
        return xstrdup(text);
    size_t end = 0, seen = 0;
    for (; text[end]; end++)
        if (((unsigned char)text[end] & 0xc0) != 0x80 && ++seen == columns)
            break;
    return xasprintf("%.*s\xe2\x80\xa6", (int)end, text);
}

void human_time(int64_t seconds, char text[static HUMAN_MAX])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(text, HUMAN_MAX, "%Y-%m-%d %H:%M:%S %z %Z", &tm) == 0)
        text[0] = '\0';
}
