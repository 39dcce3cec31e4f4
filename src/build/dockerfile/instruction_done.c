// What an instruction owns, released.
#include "build/dockerfile/instruction.h"

#include "base/mem.h"

static void command_done(struct dockerfile_command *command)
{
    strv_free(command->words);
    for (size_t i = 0; i < command->heredoc_count; i++)
        dockerfile_heredoc_done(&command->heredocs[i]);
    free(command->heredocs);
}

static void from_done(struct dockerfile_from *from)
{
    free(from->base);
    free(from->platform);
    free(from->name);
    free(from->name_as_written);
    free(from->as_as_written);
    free(from->description);
}

static void copy_done(struct dockerfile_copy *copy)
{
    strv_free(copy->sources);
    free(copy->destination);
    for (size_t i = 0; i < copy->file_count; i++) {
        free(copy->files[i].name);
        free(copy->files[i].content);
    }
    free(copy->files);
    free(copy->from);
    free(copy->chown);
    free(copy->chmod);
    free(copy->checksum);
    strv_free(copy->excludes);
}

static void run_done(struct dockerfile_run *run)
{
    command_done(&run->command);
    strv_free(run->mount_flags);
    for (size_t i = 0; i < run->mount_count; i++)
        dockerfile_mount_done(&run->mounts[i]);
    free(run->mounts);
    for (size_t i = 0; i < run->device_count; i++)
        free(run->devices[i].name);
    free(run->devices);
}

static void pairs_done(struct dockerfile_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
        free(pairs->items[i].description);
    }
    free(pairs->items);
}

void dockerfile_instruction_done(struct dockerfile_instruction *instruction)
{
    switch (instruction->kind) {
    case DOCKERFILE_FROM:
        from_done(&instruction->from);
        break;
    case DOCKERFILE_ADD:
    case DOCKERFILE_COPY:
        copy_done(&instruction->copy);
        break;
    case DOCKERFILE_RUN:
        run_done(&instruction->run);
        break;
    case DOCKERFILE_CMD:
    case DOCKERFILE_ENTRYPOINT:
        command_done(&instruction->command);
        break;
    case DOCKERFILE_ARG:
    case DOCKERFILE_ENV:
    case DOCKERFILE_LABEL:
        pairs_done(&instruction->pairs);
        break;
    case DOCKERFILE_HEALTHCHECK:
        command_done(&instruction->healthcheck.command);
        break;
    case DOCKERFILE_EXPOSE:
    case DOCKERFILE_SHELL:
    case DOCKERFILE_VOLUME:
        strv_free(instruction->words);
        break;
    case DOCKERFILE_MAINTAINER:
    case DOCKERFILE_ONBUILD:
    case DOCKERFILE_STOPSIGNAL:
    case DOCKERFILE_USER:
    case DOCKERFILE_WORKDIR:
        free(instruction->text);
        break;
    case DOCKERFILE_KIND_COUNT:
        break;
    }
    free(instruction->keyword);
    free(instruction->original);
    strv_free(instruction->comments);
    *instruction = (struct dockerfile_instruction){ 0 };
}
