// The words of a Dockerfile: quotes, escapes and variables, as BuildKit's shell lexer has them.
//
//   'text'  taken as it is             "text"  variables are replaced; the escape character escapes " $ and itself
//   \c      c (escape character: \ or, by directive, `)
//   $name ${name} ${name:-word} ${name-word} ${name:+word} ${name+word} ${name:?word} ${name?word}
//   ${name#p} ${name##p} ${name%p} ${name%%p} ${name/p/r} ${name//p/r}      (p: build/dockerfile/pattern.h)
//
// A name is letters, digits and '_', or digits only, or one of the shell's special parameters (@*#?-$!), which are never
// set. Unlike BuildKit's, names are ASCII: "$name" before a typographic apostrophe is name. Without a modifier an unset
// variable is empty. ":" makes a modifier take an empty variable for an unset one.
#pragma once

#include "base/error.h"

#include <stdbool.h>

enum {
    WORDS_MAX_BYTES = 4 << 20, // of a result
    WORDS_NAMES_MAX = 100,     // names reported of one text
    WORDS_DEPTH_MAX = 64,      // of ${a:-${b:-...}}
};

struct words_rules {
    char escape;         // '\\' or '`'
    bool keeps_quotes;   // quotes quote, and stay in the result
    bool keeps_escapes;  // escapes escape, and stay in the result
    bool ignores_quotes; // a quote is a character like others: for text that is no word (heredocs)
    bool keeps_unset;    // variables that are not set stay as they are written
    char *const *values; // strv "NAME=value", borrowed; of a name that is there twice the last counts
    char ***
        used; // when not NULL: names that were looked up and found are added, each once (WORDS_NAMES_MAX of them)
    char ***missing; // the same for names that were not found
};

// The value of name in a strv of "NAME=value", borrowed; NULL when it is not there.
const char *words_value(char *const *values, const char *name);

// The whole of text as one word; *ret owned, untouched on failure. ERROR_INVALID: quote or brace not closed, unknown
// modifier, bad pattern, ${name:?} of an unset variable, a result over WORDS_MAX_BYTES, nesting over WORDS_DEPTH_MAX.
int words_expand(const char *text, const struct words_rules *rules, char **ret, struct error *err);
// The words of text, split at white space outside quotes, values included; *ret an owned strv. Errors: words_expand.
int words_split(const char *text, const struct words_rules *rules, char ***ret, struct error *err);
