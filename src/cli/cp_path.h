// The rules of `docker cp` for its two paths. Nothing here looks at a disk.
// Source: docker cp reference, "Extended description".
#pragma once

#include "base/error.h"

#include <stdbool.h>

// "CONTAINER:PATH" -> both, owned; *ret_container NULL: a local path. What begins with "/" or "." is local, whatever colons it has.
void cp_split(const char *argument, char **ret_container, char **ret_path);

// The shortest path that is the same by its text: "a//b/../c/." -> "a/c", "" -> ".". Owned.
char *cp_clean(const char *path);
// Cleaned, but ending with "/" or "/." where `path` does. Owned.
char *cp_clean_keeping_end(const char *path);
// Last component ("." when the path ends with it, "/" for the root), and what comes before it. Owned.
char *cp_base(const char *path);
char *cp_directory(const char *path);

struct cp_end {
    const char *path;
    bool exists, is_directory;
};

struct cp_plan {
    char *directory; // where to unpack, owned
    char *name;      // what the source is called there, owned
};
void cp_plan_done(struct cp_plan *plan);

// source_name: what the source is called unless the destination says otherwise. ERROR_INVALID "cannot copy directory",
// "no such directory".
int cp_plan(const struct cp_end *source, const char *source_name, const struct cp_end *destination,
            struct cp_plan *ret, struct error *err);
