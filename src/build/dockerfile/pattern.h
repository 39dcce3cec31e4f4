// The patterns of ${name#pattern} and its kin: '*' is any run of characters, '?' any one, neither a newline; a backslash
// before '*', '?' or '\' takes that character as it is. No bracket expressions, as in BuildKit.
#pragma once

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>

enum {
    PATTERN_MAX = 4096,       // characters of a pattern
    PATTERN_TEXT_MAX = 65536, // bytes of a text that is matched
};

// Append `value` without the shortest (greedy: longest) start or end that matches. ERROR_INVALID: bad escape, or a pattern
// or text over its bound.
int pattern_trim_start(const char *pattern, const char *value, bool greedy, struct str *out,
                       struct error *err);
int pattern_trim_end(const char *pattern, const char *value, bool greedy, struct str *out, struct error *err);
// Append `value` with the first match (all: every match) replaced; of matches that start at one place, the longest.
int pattern_replace(const char *pattern, const char *value, const char *replacement, bool all,
                    struct str *out, struct error *err);
