#include "build/dockerfile/dockerfile.h"

#include "base/mem.h"

static void *grown(void *items, size_t count, size_t size)
{
    bool is_full = (count & (count - 1)) == 0;
    return is_full ? xreallocarray(items, count ? 2 * count : 1, size) : items;
}

static void append(struct dockerfile_instruction **list, size_t *count,
                   const struct dockerfile_instruction *instruction)
{
    *list = grown(*list, *count, sizeof **list);
    (*list)[(*count)++] = *instruction;
}

static void begin_stage(struct dockerfile *file, const struct dockerfile_instruction *from)
{
    file->stages = grown(file->stages, file->stage_count, sizeof *file->stages);
    file->stages[file->stage_count++] = (struct dockerfile_stage){ .from = *from };
}

// Takes the instruction, on failure too.
static int place(struct dockerfile *file, struct dockerfile_instruction *instruction,
                 struct dockerfile_error *err)
{
    if (instruction->kind == DOCKERFILE_FROM) {
        begin_stage(file, instruction);
    } else if (file->stage_count) {
        struct dockerfile_stage *stage = &file->stages[file->stage_count - 1];
        append(&stage->instructions, &stage->count, instruction);
    } else if (instruction->kind == DOCKERFILE_ARG) {
        append(&file->arguments, &file->argument_count, instruction);
    } else {
        (void)dockerfile_error_set(err, instruction->lines, "no build stage in current context");
        dockerfile_instruction_done(instruction);
        return -1;
    }
    return 0;
}

static int read_nodes(const struct dockerfile_tokens *tokens, struct dockerfile *file,
                      struct dockerfile_error *err)
{
    struct dockerfile_instruction instruction;
    for (size_t i = 0; i < tokens->count; i++) {
        const struct dockerfile_node *node = &tokens->nodes[i];
        if (dockerfile_instruction_read(node, tokens->directives.escape, &instruction, err) < 0)
            return error_wrap(&err->cause, "dockerfile parse error on line %zu", node->lines.first);
        if (place(file, &instruction, err) < 0)
            return -1;
    }
    if (!file->stage_count)
        return dockerfile_error_set(err, (struct dockerfile_lines){ 0, 0 },
                                    "dockerfile contains no stages to build");
    return 0;
}

int dockerfile_read(const char *text, size_t n, struct dockerfile *ret, struct dockerfile_error *err)
{
    struct dockerfile_tokens CLEANUP(dockerfile_tokens_done) tokens = { 0 };
    struct dockerfile file = { 0 };
    if (dockerfile_tokens_read(text, n, &tokens, err) < 0)
        return -1;
    if (read_nodes(&tokens, &file, err) < 0) {
        dockerfile_done(&file);
        return -1;
    }
    file.directives = tokens.directives;
    file.directives.syntax = TAKE_PTR(tokens.directives.syntax);
    file.directives.check = TAKE_PTR(tokens.directives.check);
    file.empty_continuations = TAKE_PTR(tokens.empty_continuations);
    file.empty_continuation_count = tokens.empty_continuation_count;
    *ret = file;
    return 0;
}

static void list_done(struct dockerfile_instruction *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dockerfile_instruction_done(&list[i]);
    free(list);
}

void dockerfile_done(struct dockerfile *file)
{
    free(file->directives.syntax);
    free(file->directives.check);
    list_done(file->arguments, file->argument_count);
    for (size_t i = 0; i < file->stage_count; i++) {
        dockerfile_instruction_done(&file->stages[i].from);
        list_done(file->stages[i].instructions, file->stages[i].count);
    }
    free(file->stages);
    free(file->empty_continuations);
    *file = (struct dockerfile){ 0 };
}
