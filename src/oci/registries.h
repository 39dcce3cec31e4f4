// What is configured of registries: mirrors, which may be spoken to in the clear, which are not used at all. A value, made once at
// start; docs/images.md has the format.
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct registry_mirror {
    char *url;      // "https://host[:port][/prefix]" or http://..., no slash at the end
    char *host;     // "host[:port]" of it
    char *username; // NULL: it is asked without credentials
    char *password_file;
};

struct registry_rule {
    char *name; // "docker.io", "quay.io/team", "*.corp.example"
    bool is_blocked, is_insecure;
    struct registry_mirror *mirrors; // in the order in which they are tried
    size_t mirror_count;
};

struct registry_rules {
    struct registry_rule *rules;
    size_t count;
};

// Add the rules of a document to *rules (which starts zeroed):
//   {"HOST[/PREFIX]": {"mirrors": [URL | {"url": URL, "username": NAME, "password-file": PATH}], "insecure": BOOL, "blocked": BOOL}}
// ERROR_INVALID names the registry and what is wrong; unknown members are refused.
int registry_rules_add(struct registry_rules *rules, const json_t *document, struct error *err);
// dockerd's registry-mirrors: a mirror of docker.io, after those it has already. ERROR_INVALID "invalid mirror: ...".
int registry_rules_add_mirror(struct registry_rules *rules, const char *url, struct error *err);
void registry_rules_done(struct registry_rules *rules);

// The rule for a repository, borrowed: of all names that fit the most specific one (longest; one with a star after any without).
// NULL: none. `domain` and `repository` as in a parsed reference.
const struct registry_rule *registry_rules_find(const struct registry_rules *rules, const char *domain,
                                                const char *repository);
// May the repository not be used at all? Every rule that fits counts: a blocked registry has no allowed parts.
bool registry_rules_forbid(const struct registry_rules *rules, const char *domain, const char *repository);
