// Which variables an instruction sees, and what it says once they are replaced.
//
// Before the first FROM there are the platform arguments and the ARGs that stand there (dockerfile_globals_read): FROM sees
// these and nothing else. A stage begins with its base's environment (and, based on a stage, with that stage's arguments);
// each ENV and ARG adds to it, the later one hiding the earlier. A global ARG is seen in a stage that names it again
// without a default. --build-arg overrides the default of an ARG, never an ENV.
//
// Variables are replaced in ADD and COPY (sources, destination, --chown, --chmod, --checksum, unquoted heredocs), ARG
// defaults, ENV, EXPOSE, FROM, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and RUN --mount; not in CMD, ENTRYPOINT,
// HEALTHCHECK, MAINTAINER, ONBUILD, RUN and SHELL, where the shell of the container does it, nor in --from and --exclude.
#pragma once

#include "build/dockerfile/dockerfile.h"

enum { DOCKERFILE_EXPANSION_MAX = 4 << 20 }; // bytes that a stage's variables, or the globals, may come to

// What a build is given besides its Dockerfile. All borrowed; strv members may be NULL.
struct dockerfile_inputs {
    char *const *build_arguments; // strv "NAME=value"
    const char *build_platform;   // "linux/amd64": where the build runs; normalised
    const char *target_platform;  // "linux/arm64/v8": what is built
    const char *target;           // the stage wanted, by name (or number); NULL or "": the last one
    char *const *contexts;        // strv: names of named contexts (--build-context NAME=...)
};

// The variables that FROM sees: platform arguments and global ARGs, "NAME=value" in *ret (owned strv). Defaults may use
// what precedes them. `given`: false leaves --build-arg aside (lint). ERROR_INVALID at the ARG at fault.
int dockerfile_globals_read(const struct dockerfile *file, const struct dockerfile_inputs *inputs, bool given,
                            char ***ret, struct dockerfile_error *err);

struct dockerfile_scope {
    char **values;         // strv "NAME=value": what expansion and RUN see
    char **environment;    // strv "NAME=value": what the image keeps, in order
    char **arguments;      // strv: names that ARG has declared, with a value or without
    size_t expanded_bytes; // what expansion has made so far, held against DOCKERFILE_EXPANSION_MAX
};

// Begin with a base's environment (strv, may be NULL); PATH gets its default when it is missing.
void dockerfile_scope_init(struct dockerfile_scope *scope, char *const *environment);
// Begin where another stage has ended.
void dockerfile_scope_copy(struct dockerfile_scope *scope, const struct dockerfile_scope *base);
void dockerfile_scope_done(struct dockerfile_scope *scope);

struct dockerfile_expansion {
    const struct dockerfile_inputs *inputs;
    char *const *globals; // from dockerfile_globals_read()
    char escape;          // as in the directives
    char ***missing;      // when not NULL: names used but never set or declared are added, each once
};

// Replace the variables of an instruction in place (once: an instruction that has been through this is done), and let
// ENV and ARG take effect. Afterwards an ARG's value is the one that holds (NULL: none), EXPOSE has one port or range a
// word, and RUN's mounts are complete. ERROR_INVALID at the instruction's lines.
int dockerfile_scope_apply(struct dockerfile_scope *scope, struct dockerfile_instruction *instruction,
                           const struct dockerfile_expansion *expansion, struct dockerfile_error *err);

// The proxy settings among the build arguments, which every RUN gets undeclared and no image or cache key keeps: HTTP_PROXY,
// HTTPS_PROXY, FTP_PROXY, NO_PROXY, ALL_PROXY, each in upper and lower case. Owned strv "NAME=value", NULL without any.
char **dockerfile_proxy_environment(char *const *build_arguments);
