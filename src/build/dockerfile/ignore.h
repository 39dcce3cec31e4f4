// .dockerignore: which paths of a context are left out. Patterns as in BuildKit (moby/patternmatcher):
//
//   *        any run without '/'           ?      one character, not '/'
//   [a-z]    one of these, [^a-z] another  \x     x itself
//   **/      any number of folders, none included; ** at the end: whatever follows
//   !pattern takes back what an earlier line has left out; the last line that matches decides
//
// A leading '/' means nothing, '#' in the first column begins a comment, "." and ".." are resolved. Who matches a folder
// matches all below it. Inside brackets every character but '^', '-' and '\' is itself.
// Unlike BuildKit's, "\d" is the letter and no class of digits, and "!../../x" stays an exception.
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    DOCKERIGNORE_MAX_BYTES = 1 << 20,
    DOCKERIGNORE_PATTERNS_MAX = 10000,
    DOCKERIGNORE_PATTERN_MAX = 4096, // bytes of one
};

struct ignore_pattern; // private

struct dockerignore {
    struct ignore_pattern *patterns;
    size_t count;
    bool has_exceptions; // there is a line with '!'
};

// Read the text of a .dockerignore. ERROR_INVALID: over a bound, a NUL byte, "!" alone, brackets or an escape left open.
// *ret is untouched on failure.
int dockerignore_read(const char *text, size_t n, struct dockerignore *ret, struct error *err);
void dockerignore_done(struct dockerignore *ignore);

// Is this path (relative to the context, cleaned, without leading '/') left out, by itself or through a parent?
bool dockerignore_matches(const struct dockerignore *ignore, const char *path);
// The same for a walk from the root down, without asking about the parents again. `parent` is what `own` was for the
// folder above (NULL at the top), `own` is filled in; both hold one entry for each pattern.
bool dockerignore_matches_below(const struct dockerignore *ignore, const char *path, const bool *parent,
                                bool *own);
// May anything below a folder that is left out be taken back? If not, a walk need not enter it.
bool dockerignore_may_take_back(const struct dockerignore *ignore, const char *folder);
// Does a pattern leave out all there is at the top ("*", "**", "**/*")?
bool dockerignore_excludes_root(const struct dockerignore *ignore);

// "name.dockerignore", which beside the Dockerfile `name` goes before the context's .dockerignore. Owned.
char *dockerignore_name_for(const char *dockerfile);

// A path without "//", "." and ".." that can be resolved, "." when nothing is left. Owned.
char *path_cleaned(const char *path, size_t n);
