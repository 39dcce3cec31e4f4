// The checks of `build --check`: BuildKit's rules by their names.
// Rules are switched by `# check=skip=Name,Name;error=true` at the head of the file, and for one instruction by
// `# check=skip=...` in the comment right above it; "skip=all" switches all off, "experimental=Name" (or all) those on that
// are off by default.
#pragma once

#include "build/dockerfile/ignore.h"
#include "build/dockerfile/scope.h"

enum lint_rule {
    LINT_CONSISTENT_INSTRUCTION_CASING,
    LINT_COPY_IGNORED_FILE,
    LINT_DUPLICATE_STAGE_NAME,
    LINT_EXPOSE_INVALID_FORMAT,
    LINT_EXPOSE_PROTO_CASING,
    LINT_FROM_AS_CASING,
    LINT_FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    LINT_INVALID_DEFAULT_ARG_IN_FROM,
    LINT_INVALID_DEFINITION_DESCRIPTION, // off by default
    LINT_JSON_ARGS_RECOMMENDED,
    LINT_LEGACY_KEY_VALUE_FORMAT,
    LINT_MAINTAINER_DEPRECATED,
    LINT_MULTIPLE_INSTRUCTIONS_DISALLOWED,
    LINT_NO_EMPTY_CONTINUATION,
    LINT_REDUNDANT_TARGET_PLATFORM,
    LINT_RESERVED_STAGE_NAME,
    LINT_SECRETS_USED_IN_ARG_OR_ENV,
    LINT_STAGE_NAME_CASING,
    LINT_UNDEFINED_ARG_IN_FROM,
    LINT_UNDEFINED_VAR,
    LINT_WORKDIR_RELATIVE_PATH,
    LINT_RULE_COUNT
};

// What is said of a rule: "StageNameCasing", "Stage names should be lowercase", the page that explains it.
const char *lint_rule_name(enum lint_rule rule);
const char *lint_rule_description(enum lint_rule rule);
const char *lint_rule_url(enum lint_rule rule);

struct lint_warning {
    enum lint_rule rule;
    struct dockerfile_lines lines;
    char *message; // what is wrong here
};

struct lint_options {
    const struct dockerignore *ignore; // NULL: the context leaves nothing out
    const char *check;                 // instead of the file's `# check=`; NULL: the file's
    // The environment of a base image (strv, borrowed; may be empty), NULL when it is not known: then variables of a stage
    // on top of it are never undefined. `find_environment` NULL: no image is known.
    char *const *(*find_environment)(void *data, const char *image);
    void *data;
};

struct lint_report {
    struct lint_warning *warnings; // by line
    size_t count;
    bool returns_error;            // error=true was asked for and there are warnings
    bool has_error;                // the file cannot be built at all:
    struct dockerfile_error error; // because of this; what was found before it is in the warnings
};

// Check a file: all stages, or with inputs->target what that one needs. Faults of the file go into the report.
// ERROR_INVALID: only a malformed check option.
int dockerfile_lint(const char *text, size_t n, const struct dockerfile_inputs *inputs,
                    const struct lint_options *options, struct lint_report *ret,
                    struct dockerfile_error *err);
void lint_report_done(struct lint_report *report);
// "lint violation found for rules: A, B": the error that error=true makes of a report. Owned.
char *lint_report_violation(const struct lint_report *report);
