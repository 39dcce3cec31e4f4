// Help texts, made from the tables.
#pragma once

#include "cli/cli.h"

// Usage, summary, aliases and every option with its text. group: "container", or NULL.
void help_command(struct str *out, const struct command *command, const char *group, size_t columns);
// The option list alone.
void help_options(struct str *out, const struct option *table, size_t columns);
// Columns of the terminal on standard output; 80 when there is none.
size_t help_columns(void);
