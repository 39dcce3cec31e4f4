#include "api/text.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void human_duration(int64_t ns, char text[static HUMAN_DURATION_MAX])
{
    long long seconds = ns / NS_PER_S, minutes = seconds / 60, hours = (seconds + 1800) / 3600;
    if (seconds < 1)
        snprintf(text, HUMAN_DURATION_MAX, "Less than a second");
    else if (seconds == 1)
        snprintf(text, HUMAN_DURATION_MAX, "1 second");
    else if (seconds < 60)
        snprintf(text, HUMAN_DURATION_MAX, "%lld seconds", seconds);
    else if (minutes == 1)
        snprintf(text, HUMAN_DURATION_MAX, "About a minute");
    else if (minutes < 60)
        snprintf(text, HUMAN_DURATION_MAX, "%lld minutes", minutes);
    else if (hours == 1)
        snprintf(text, HUMAN_DURATION_MAX, "About an hour");
    else if (hours < 48)
        snprintf(text, HUMAN_DURATION_MAX, "%lld hours", hours);
    else if (hours < 24 * 7 * 2)
        snprintf(text, HUMAN_DURATION_MAX, "%lld days", hours / 24);
    else if (hours < 24 * 30 * 2)
        snprintf(text, HUMAN_DURATION_MAX, "%lld weeks", hours / 24 / 7);
    else if (hours < 24 * 365 * 2)
        snprintf(text, HUMAN_DURATION_MAX, "%lld months", hours / 24 / 30);
    else
        snprintf(text, HUMAN_DURATION_MAX, "%lld years", seconds / 3600 / 24 / 365);
}

char *command_line_text(const char *path, char *const *args)
{
    struct str out = STR_INIT;
    str_append(&out, path ? path : "");
    for (size_t i = 0; args && args[i]; i++)
        str_appendf(&out, strchr(args[i], ' ') ? " '%s'" : " %s", args[i]);
    return str_take(&out);
}

int api_signal_parse(const char *text)
{
    uint32_t number;
    if (parse_u32(text, (uint32_t)SIGRTMAX, &number))
        return number > 0 ? (int)number : -1;
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (int i = 1; i < 32; i++)
        if (sigabbrev_np(i) && strcasecmp(sigabbrev_np(i), text) == 0)
            return i;
    // Names that are the second one of a number.
    if (strcasecmp(text, "IOT") == 0)
        return SIGIOT;
    if (strcasecmp(text, "CLD") == 0)
        return SIGCHLD;
    if (strcasecmp(text, "IO") == 0)
        return SIGIO;
    uint32_t span = (uint32_t)(SIGRTMAX - SIGRTMIN);
    if (strncasecmp(text, "RTMIN", 5) == 0)
        return !text[5]                                               ? SIGRTMIN
               : text[5] == '+' && parse_u32(text + 6, span, &number) ? SIGRTMIN + (int)number
                                                                      : -1;
    if (strncasecmp(text, "RTMAX", 5) == 0)
        return !text[5]                                               ? SIGRTMAX
               : text[5] == '-' && parse_u32(text + 6, span, &number) ? SIGRTMAX - (int)number
                                                                      : -1;
    return -1;
}
