// A Dockerfile as a value: its directives, the arguments before the first FROM, and the stages with their instructions.
// It is read without being run; the order of work is
//
//   dockerfile_read()            text -> stages of typed instructions
//   dockerfile_plan_make()       build arguments, target, named contexts -> what is needed, and what each stage is from
//                                (build/dockerfile/plan.h)
//   dockerfile_scope_apply()     instruction by instruction: variables replaced, ENV and ARG taken over
//                                (build/dockerfile/scope.h)
//
// dockerfile_lint() (build/dockerfile/lint.h) checks, dockerfile_outline() (build/dockerfile/outline.h) describes, and
// build/dockerfile/ignore.h reads .dockerignore.
#pragma once

#include "build/dockerfile/instruction.h"

struct dockerfile_stage {
    struct dockerfile_instruction from;
    struct dockerfile_instruction *instructions;
    size_t count;
};

struct dockerfile {
    struct dockerfile_directives directives;
    struct dockerfile_instruction *arguments; // ARGs before the first FROM
    size_t argument_count;
    struct dockerfile_stage *stages; // at least one
    size_t stage_count;
    struct dockerfile_lines *empty_continuations; // empty lines inside an instruction
    size_t empty_continuation_count;
};

// Read `n` bytes of text. ERROR_INVALID with the lines at fault: see dockerfile_tokens_read() and
// dockerfile_instruction_read(), whose messages get "dockerfile parse error on line N: " in front; an instruction before the
// first FROM; no FROM. *ret is untouched on failure.
int dockerfile_read(const char *text, size_t n, struct dockerfile *ret, struct dockerfile_error *err);
void dockerfile_done(struct dockerfile *file);
