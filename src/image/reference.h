// Image references: "busybox", "quay.io/a/b:tag", "localhost:5000/x@sha256:...", normalised as Docker does it
// (docker.io, library/, latest). Grammar: distribution reference; ids and id prefixes are not references.
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct reference {
    char *domain;     // "docker.io", "localhost:5000"
    char *repository; // "library/busybox"
    char *tag;        // NULL when a digest is given without tag
    char *digest;     // "sha256:..." or NULL
};

// ERROR_INVALID "invalid reference format" (and Docker's variants: repository name must be lowercase, ...).
// `default_tag`: give "latest" when neither tag nor digest is there.
int reference_parse(const char *text, int default_tag, struct reference *ret, struct error *err);
void reference_done(struct reference *reference);
// Owned. Full: "docker.io/library/busybox:latest"; familiar: "busybox:latest", as people see it.
char *reference_full(const struct reference *reference);
char *reference_familiar(const struct reference *reference);
char *reference_familiar_name(const struct reference *reference); // without tag and digest: "busybox"

// A shell pattern against a familiar reference, with its tag or digest and without; "*" does not cross a slash.
bool reference_matches(const char *pattern, const char *familiar);
