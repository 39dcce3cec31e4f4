// The lines of a Dockerfile: parser directives, comments, continuation and heredocs taken apart, so that what is left is
// one node for each instruction. Nothing is expanded here, and an unknown instruction is no error yet.
#pragma once

#include "build/dockerfile/source.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    DOCKERFILE_MAX_BYTES = 4 << 20,
    DOCKERFILE_LINE_MAX = 65535,        // bytes of a line of the file, as BuildKit has it
    DOCKERFILE_STATEMENT_MAX = 1 << 20, // bytes of an instruction with its continuation lines
    DOCKERFILE_HEREDOC_MAX = 1 << 20,   // bytes of one heredoc
    DOCKERFILE_INSTRUCTIONS_MAX = 10000,
    DOCKERFILE_FLAGS_MAX = 1000, // of an instruction
    DOCKERFILE_ARGUMENTS_MAX =
        65535, // bytes of the arguments of an instruction that is no command for a shell
};

// <<NAME and the lines up to NAME.
struct dockerfile_heredoc {
    char *name;
    char *content;       // as it stands, line ends included
    unsigned descriptor; // the number before "<<", 0 without
    bool expands;        // NAME is not quoted
    bool chomps;         // "<<-": leading tabs are to be removed (dockerfile_heredoc_text)
};

struct dockerfile_node {
    char *keyword;  // as written: "FROM", "from"
    char *original; // the instruction on one line, as it stands without continuation characters
    char **flags;   // strv "--name=value", unquoted; what precedes the arguments
    char *rest;     // the arguments, trimmed; never NULL
    bool is_json;   // rest is a JSON array of strings
    char **json;    // its elements
    struct dockerfile_heredoc *heredocs;
    size_t heredoc_count;
    char **comments; // strv of the comment lines right above, without '#'
    struct dockerfile_lines lines;
};

// `# name=value` on the first lines.
struct dockerfile_directives {
    char *syntax, *check; // NULL: not given
    char escape;          // '\\' unless said otherwise
    struct dockerfile_lines syntax_lines, check_lines;
};

struct dockerfile_tokens {
    struct dockerfile_directives directives;
    struct dockerfile_node *nodes;
    size_t count;
    struct dockerfile_lines
        *empty_continuations; // an empty line inside an instruction, by the instruction's last line
    size_t empty_continuation_count;
};

// Take the file apart; `text` is n bytes, not terminated. ERROR_INVALID, with the lines at fault: over a bound, a NUL
// byte, a directive given twice, an escape that is neither \ nor `, heredoc without end, JSON array of something else
// than strings, or no instruction at all. *ret is untouched on failure; release with dockerfile_tokens_done().
int dockerfile_tokens_read(const char *text, size_t n, struct dockerfile_tokens *ret,
                           struct dockerfile_error *err);
void dockerfile_tokens_done(struct dockerfile_tokens *tokens);

// One instruction on one line, as it stands behind ONBUILD. Errors carry `lines`.
int dockerfile_node_read(const char *statement, char escape, struct dockerfile_lines lines,
                         struct dockerfile_node *ret, struct dockerfile_error *err);
void dockerfile_node_done(struct dockerfile_node *node);

// Is this word of an instruction a heredoc? Then its name and marks are in *ret (content NULL), to be released.
bool dockerfile_heredoc_read(const char *word, struct dockerfile_heredoc *ret);
void dockerfile_heredoc_done(struct dockerfile_heredoc *heredoc);
// What the heredoc says: its content, without leading tabs when it chomps. Owned.
char *dockerfile_heredoc_text(const struct dockerfile_heredoc *heredoc);
