// The ways in which an instruction's arguments are cut into words. Nothing is expanded, quotes stay.
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

// Cut the keyword and the flags ("--...", unquoted) off a statement. All owned; *ret_flags a strv.
void arguments_split_statement(const char *statement, char escape, char **ret_keyword, char ***ret_flags,
                               char **ret_rest);
// Words as ENV, LABEL and ARG have them: quotes may hold white space. Owned strv; NULL without any.
char **arguments_words(const char *rest, char escape);
// Words at any white space: COPY, EXPOSE, FROM. Owned strv; NULL without any.
char **arguments_plain_words(const char *rest);
// Is rest a JSON array? Then *ret_is_json, with the strings in *ret. ERROR_INVALID when an element is no string; what is
// no JSON at all is not an error (it is the shell form).
int arguments_json(const char *rest, bool *ret_is_json, char ***ret, struct error *err);
// One line of comma-separated values, where a field in double quotes may hold commas. ERROR_INVALID: quotes at fault.
int arguments_comma_separated(const char *text, char ***ret, struct error *err);
// Without white space around it. Owned.
char *arguments_trimmed(const char *s, size_t n);
