// From the options of run and create to the body of POST /containers/create.
#pragma once

#include "cli/cli.h"

#include <jansson.h>

extern const struct option run_options[], create_options[];

// The body (owned) and the query's name and platform come from the options and arguments (IMAGE
// [COMMAND...]). ERROR_INVALID in Docker's words. Reads --env-file, --label-file and seccomp profiles.
json_t *create_body(const struct options *options, struct error *err);

// Create, pulling the image first when it is missing (as --pull says), writing --cidfile, showing warnings.
int create_container(struct cli *cli, const struct options *options, json_t *body, char **ret_id,
                     struct error *err);

// Parts, each adding to `config` (the body) or `host` (its HostConfig).
int create_add_environment(const struct options *options, json_t *config,
                           struct error *err); // -e, --env-file
int create_add_ports(const struct options *options, json_t *config, json_t *host, struct error *err);
int create_add_volumes(const struct options *options, json_t *config, json_t *host, struct error *err);
int create_add_networks(const struct options *options, json_t *config, json_t *host, struct error *err);
// Limits that are one number or one cpuset; an option the command does not have adds nothing.
void create_add_limits(const struct options *options, json_t *host);
int create_add_resources(const struct options *options, json_t *host, struct error *err);
// "on-failure:3" as the API's RestartPolicy, owned.
int create_restart_policy(const char *text, json_t **ret, struct error *err);
// One value each, as run's options have them. -p: into ExposedPorts and PortBindings; --device: into Devices; -v: a path alone into
// volumes, others into Binds; --mount (`name`: the option it came by): into Mounts.
int create_publish(const char *text, json_t *exposed, json_t *bindings, struct error *err);
int create_device(const char *spec, json_t *devices, struct error *err);
int create_volume(const char *spec, json_t *volumes, json_t *binds, struct error *err);
int create_mount(const struct options *options, const char *name, const char *spec, json_t *mounts,
                 struct error *err);
// "k=v" of a list option into an object under `key` (only when there are any).
int create_add_map(const struct options *options, const char *name, json_t *object, const char *key,
                   struct error *err);
// Fields of a comma-separated value with CSV quotes. strv, owned.
char **create_split_csv(const char *text);
