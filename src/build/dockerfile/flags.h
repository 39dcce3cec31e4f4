// The flags of one instruction: a table says which there are and where they go.
#pragma once

#include "base/error.h"
#include "build/dockerfile/instruction.h"

enum flag_type { FLAG_TEXT, FLAG_TEXTS, FLAG_BOOL, FLAG_CHOICE };

struct flag {
    const char *name; // without "--"; a table ends with NULL
    enum flag_type type;
    void *place; // char **, char ***, bool *, enum dockerfile_choice *
};

// Read "--name=value" flags into their places. ERROR_INVALID in BuildKit's words: unknown (with a suggestion), given twice,
// without value, no boolean.
int flags_read(char *const *flags, const struct flag *table, struct error *err);
