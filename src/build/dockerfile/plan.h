// What a build of a Dockerfile needs: the stages as a graph, and which of them the target reaches.
#pragma once

#include "build/dockerfile/scope.h"

enum dockerfile_source_kind {
    DOCKERFILE_SOURCE_SCRATCH, // nothing
    DOCKERFILE_SOURCE_STAGE,   // an earlier stage
    DOCKERFILE_SOURCE_CONTEXT, // a named context
    DOCKERFILE_SOURCE_IMAGE,
};

struct dockerfile_source {
    enum dockerfile_source_kind kind;
    size_t stage; // STAGE
    char *
        name; // CONTEXT: its name in the inputs; IMAGE: the reference as written, variables replaced; else NULL
};

// A COPY --from or a RUN --mount=from= of a stage.
struct dockerfile_need {
    const struct dockerfile_instruction *instruction;
    size_t mount; // which of a RUN's mounts; 0 for COPY
    struct dockerfile_source source;
};

struct dockerfile_planned_stage {
    struct dockerfile_stage *stage;
    char *label;    // its name, or "stage-N"
    char *platform; // FROM --platform, variables replaced; NULL: the target's, or its base stage's
    struct dockerfile_source base; // CONTEXT with is_replaced: the context stands in for the whole stage
    bool is_replaced;
    bool is_wanted; // the target needs it
    struct dockerfile_instruction *
        *triggers; // ONBUILD of the base: to run before the stage's own instructions
    size_t trigger_count;
    struct dockerfile_need *needs;
    size_t need_count;
};

struct dockerfile_plan {
    struct dockerfile *file; // borrowed
    struct dockerfile_inputs inputs;
    char **globals;                          // strv: what FROM saw
    struct dockerfile_planned_stage *stages; // as many as the file's, in its order
    size_t count;
    size_t target;
    size_t trigger_count; // of all stages, at most DOCKERFILE_INSTRUCTIONS_MAX
};

// Work out the graph. `file` and what `inputs` points at must outlive the plan. A name in FROM is the nearest earlier stage
// of that name, else a named context, else an image; one in --from is the last stage of that name, a number (COPY only), a
// named context or an image. A named context called as a stage stands in for it. The ONBUILD triggers of a base that is a
// stage are read here; those of an image by dockerfile_plan_add_triggers().
// ERROR_NOT_FOUND: no such target (with a suggestion). ERROR_INVALID, at the lines at fault: blank base name or platform, a
// bad expansion, an index out of range, a variable in --from, stages that need each other, a wanted stage that needs a later
// one.
int dockerfile_plan_make(struct dockerfile *file, const struct dockerfile_inputs *inputs,
                         struct dockerfile_plan *ret, struct dockerfile_error *err);
void dockerfile_plan_done(struct dockerfile_plan *plan);

// Put triggers (strv, from an image's configuration) in front of a stage's instructions, and find out what is wanted anew.
// ERROR_INVALID at the stage's FROM: see dockerfile_trigger_read() and above.
int dockerfile_plan_add_triggers(struct dockerfile_plan *plan, size_t stage, char *const *triggers,
                                 struct dockerfile_error *err);
