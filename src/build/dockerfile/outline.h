// What a Dockerfile offers its user, as data: `build --call=targets` and `--call=outline`.
#pragma once

#include "build/dockerfile/scope.h"

struct dockerfile_target {
    char *name;            // NULL: the stage has none
    char *description;     // from the comment above; NULL: none
    char *base, *platform; // as written; platform NULL: not given
    bool is_default;       // what is built without --target
    struct dockerfile_lines lines;
};

struct dockerfile_targets {
    struct dockerfile_target *items;
    size_t count;
};

// The stages of a file, in order. ERROR_INVALID: dockerfile_read().
int dockerfile_targets_list(const char *text, size_t n, struct dockerfile_targets *ret,
                            struct dockerfile_error *err);
void dockerfile_targets_done(struct dockerfile_targets *targets);

struct dockerfile_outline_argument {
    char *name, *description; // description NULL: none
    char *value;              // what holds with these inputs; NULL: none
    struct dockerfile_lines lines;
};

// A secret or an ssh agent that a RUN asks for.
struct dockerfile_outline_grant {
    char *name;
    bool is_required;
    struct dockerfile_lines lines;
};

struct dockerfile_outline {
    char *name, *description; // of the target; NULL: none
    struct dockerfile_outline_argument *arguments;
    struct dockerfile_outline_grant *secrets, *agents;
    size_t argument_count, secret_count, agent_count;
};

// What the build of inputs->target takes: the arguments that its stages declare (where a stage names a global argument,
// the global definition) or that their FROMs use, with what those in turn are made of; secrets and agents by id. All in the
// file's order. Base images are not looked at. Errors: dockerfile_read(), dockerfile_plan_make(), dockerfile_scope_apply().
int dockerfile_outline(const char *text, size_t n, const struct dockerfile_inputs *inputs,
                       struct dockerfile_outline *ret, struct dockerfile_error *err);
void dockerfile_outline_done(struct dockerfile_outline *outline);
