// Words for people, as Docker's engine itself makes them, and signal names.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HUMAN_DURATION_MAX = 64 };

// "Less than a second", "5 seconds", "About a minute", "2 hours", ... (go-units HumanDuration).
void human_duration(int64_t ns, char text[static HUMAN_DURATION_MAX]);
// Program and arguments in one line; those with a space in single quotes. Owned.
char *command_line_text(const char *path, char *const *args);
// "KILL", "SIGKILL", "9", "RTMIN+3", any case. Number, or -1.
int api_signal_parse(const char *text);
