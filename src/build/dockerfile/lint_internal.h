// What the parts of the linter share: which rules are on, and where warnings go.
#pragma once

#include "build/dockerfile/lint.h"
#include "build/dockerfile/plan.h"

// A set of rules as bits.
typedef unsigned lint_rules;

struct lint_config {
    lint_rules skipped, experimental;
    bool returns_error;
};

struct linter {
    struct lint_config config;
    const struct lint_options *options;
    const struct dockerfile_inputs *inputs;
    struct lint_report *report;
};

// The options of `check=`; ERROR_INVALID when they are malformed.
int lint_config_read(const char *text, struct lint_config *ret, struct error *err);

// Add a warning, unless the rule is off, or off for the instruction with these comments (strv, may be NULL).
void lint_warn(struct linter *linter, enum lint_rule rule, char *const *comments,
               struct dockerfile_lines lines, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

// The rules about what an instruction does, in the order of the build; needs a plan. 0, or -1 with *err when a stage
// cannot be built.
int lint_stages(struct linter *linter, struct dockerfile_plan *plan, struct dockerfile_error *err);
