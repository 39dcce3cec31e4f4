// The instructions of a Dockerfile as typed values: every flag and form of BuildKit's frontend 1.26.
// Values stand as they are written until dockerfile_instruction_expand() (build/dockerfile/scope.h).
#pragma once

#include "build/dockerfile/lexer.h"

#include <stdbool.h>
#include <stdint.h>

enum dockerfile_kind {
    DOCKERFILE_ADD,
    DOCKERFILE_ARG,
    DOCKERFILE_CMD,
    DOCKERFILE_COPY,
    DOCKERFILE_ENTRYPOINT,
    DOCKERFILE_ENV,
    DOCKERFILE_EXPOSE,
    DOCKERFILE_FROM,
    DOCKERFILE_HEALTHCHECK,
    DOCKERFILE_LABEL,
    DOCKERFILE_MAINTAINER,
    DOCKERFILE_ONBUILD,
    DOCKERFILE_RUN,
    DOCKERFILE_SHELL,
    DOCKERFILE_STOPSIGNAL,
    DOCKERFILE_USER,
    DOCKERFILE_VOLUME,
    DOCKERFILE_WORKDIR,
    DOCKERFILE_KIND_COUNT
};

// NAME=value of ENV, LABEL and ARG.
struct dockerfile_pair {
    char *name;
    char *value;       // NULL: an ARG without default
    bool is_legacy;    // "ENV name value": no '='
    char *description; // of an ARG: what the comment above says behind its name; NULL: nothing
};

struct dockerfile_pairs {
    struct dockerfile_pair *items;
    size_t count;
};

// RUN, CMD, ENTRYPOINT and HEALTHCHECK CMD: one string for the shell, or the words to execute.
struct dockerfile_command {
    char **words; // NULL: none given
    bool is_shell;
    struct dockerfile_heredoc *heredocs; // of a RUN: files for the shell
    size_t heredoc_count;
};

struct dockerfile_from {
    char *base;     // image or stage
    char *platform; // NULL: not given
    char *name;     // in lower case, NULL: not given
    char *name_as_written, *as_as_written;
    char *description; // what the comment above says behind the stage's name, NULL: nothing
};

enum dockerfile_choice { DOCKERFILE_NOT_SAID, DOCKERFILE_NO, DOCKERFILE_YES };

// A file whose content stands in the Dockerfile.
struct dockerfile_inline_file {
    char *name; // its name in the destination, when that is a directory
    char *content;
    bool expands;
};

// ADD and COPY. Flags that were not given are NULL, false or NOT_SAID.
struct dockerfile_copy {
    char **sources; // paths and URLs, in order; without the inline files
    char *destination;
    struct dockerfile_inline_file *files;
    size_t file_count;
    char *from; // COPY only
    char *chown, *chmod, *checksum;
    char **excludes;
    bool link, parents;
    enum dockerfile_choice keep_git_dir, unpack; // ADD only
};

enum dockerfile_mount_type {
    DOCKERFILE_MOUNT_BIND,
    DOCKERFILE_MOUNT_CACHE,
    DOCKERFILE_MOUNT_TMPFS,
    DOCKERFILE_MOUNT_SECRET,
    DOCKERFILE_MOUNT_SSH,
};

enum dockerfile_sharing {
    DOCKERFILE_SHARING_UNSET,
    DOCKERFILE_SHARING_SHARED,
    DOCKERFILE_SHARING_PRIVATE,
    DOCKERFILE_SHARING_LOCKED,
};

struct dockerfile_mount {
    enum dockerfile_mount_type type;
    char *from, *source, *target, *id; // NULL: not given
    char *env;                         // of a secret: the variable; "": the default name; NULL: none
    bool is_read_only, is_required;
    int64_t size_bytes; // of a tmpfs, 0: no limit
    enum dockerfile_sharing sharing;
    bool has_mode, has_uid, has_gid;
    uint32_t mode, uid, gid;
};

struct dockerfile_device {
    char *name; // CDI
    bool is_required;
};

enum dockerfile_network { DOCKERFILE_NETWORK_DEFAULT, DOCKERFILE_NETWORK_NONE, DOCKERFILE_NETWORK_HOST };

struct dockerfile_run {
    struct dockerfile_command command;
    char **mount_flags;              // as written
    struct dockerfile_mount *mounts; // before expansion only `from` is filled in
    size_t mount_count;
    enum dockerfile_network network;
    bool has_network; // --network was given
    bool is_insecure; // --security=insecure
    struct dockerfile_device *devices;
    size_t device_count;
};

struct dockerfile_healthcheck {
    bool is_none; // HEALTHCHECK NONE
    struct dockerfile_command command;
    int64_t interval_ns, timeout_ns, start_period_ns, start_interval_ns; // 0: not given
    unsigned retries;
};

struct dockerfile_instruction {
    enum dockerfile_kind kind;
    char *keyword;   // as written
    char *original;  // on one line
    char **comments; // right above
    struct dockerfile_lines lines;
    union {
        struct dockerfile_from from;
        struct dockerfile_copy copy; // ADD, COPY
        struct dockerfile_run run;
        struct dockerfile_command command; // CMD, ENTRYPOINT
        struct dockerfile_pairs pairs;     // ENV, LABEL, ARG
        struct dockerfile_healthcheck healthcheck;
        char **words; // EXPOSE (ports as written, sorted), VOLUME, SHELL
        char *text;   // MAINTAINER, ONBUILD (the trigger, heredocs included), STOPSIGNAL, USER, WORKDIR
    };
};

// "ADD", "ARG", ...
const char *dockerfile_kind_name(enum dockerfile_kind kind);

// The value of a node. ERROR_INVALID at the node's lines, in BuildKit's words: unknown instruction or flag (with a
// suggestion), flag given twice or without value, wrong number of arguments, a value out of its domain. `escape` as in the
// directives. *ret is untouched on failure.
int dockerfile_instruction_read(const struct dockerfile_node *node, char escape,
                                struct dockerfile_instruction *ret, struct dockerfile_error *err);
void dockerfile_instruction_done(struct dockerfile_instruction *instruction);

// The instruction that ONBUILD keeps for a build on top: as dockerfile_instruction_read() of `trigger` alone, faults
// reported at `lines` (the FROM that brought it). More or less than one instruction, or one that may not be a trigger
// (FROM, MAINTAINER, ONBUILD), is ERROR_INVALID.
int dockerfile_trigger_read(const char *trigger, char escape, struct dockerfile_lines lines,
                            struct dockerfile_instruction *ret, struct dockerfile_error *err);

// What one --mount says. `expand` (with `data`) replaces variables in a value, owned result; with NULL only `from` is
// looked at, the rest waits for its variables. ERROR_INVALID: unknown key or type (with a suggestion), a value out of its
// domain, keys that do not go together.
int dockerfile_mount_read(const char *text,
                          int (*expand)(void *data, const char *value, char **ret, struct error *err),
                          void *data, struct dockerfile_mount *ret, struct error *err);
void dockerfile_mount_done(struct dockerfile_mount *mount);
