// Docker's legacy links (--link NAME:ALIAS): a line in /etc/hosts and a set of variables about another container on the default
// bridge. They are resolved at each start. Source: Docker's "Legacy container links".
#pragma once

#include "base/str.h"
#include "container/config.h"

struct container;

struct link {
    char *alias;
    char *ip, *hostname, *name; // the other's; `name` without the slash
    char **env;                 // the other's environment
    struct network_port *ports; // that it exposes, by number
    size_t port_count;
};

struct links {
    struct link *items;
    size_t count;
};

// What the container's config links to, which must be running: ERROR_NOT_FOUND, or ERROR_INVALID "Cannot link to a non running
// container: /x AS /y/z". *ret is initialised by the call.
int links_resolve(struct container *c, struct links *ret, struct error *err);
void links_done(struct links *links);
// "IP ALIAS HOSTNAME NAME" lines for /etc/hosts.
void links_hosts(const struct links *links, struct str *out);
// ALIAS_NAME, ALIAS_PORT, ALIAS_PORT_80_TCP..., ALIAS_ENV_X for every link of container `name`. Appended to *env.
void links_environment(const struct links *links, const char *name, char ***env);

// "name", "name:alias", as HostConfig.Links has them -> owned parts. ERROR_INVALID.
int link_parse(const char *text, char **ret_name, char **ret_alias, struct error *err);
