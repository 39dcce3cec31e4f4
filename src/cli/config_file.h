// Docker's client configuration, config.json, as far as it speaks of registries; members that are not ours are kept. Source: docker CLI
// reference, "Configuration files"; docker-credential-helpers, "Development".
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

#define CONFIG_HUB_SERVER "https://index.docker.io/v1/" // the key of Docker Hub

struct config_file {
    char *path;   // <directory>/config.json
    json_t *root; // an object
};

struct login { // NULL: none
    char *username, *password, *identity_token, *registry_token;
};
void login_done(struct login *login); // frees and wipes

// directory NULL: $DOCKER_CONFIG, else ~/.docker. A missing file is an empty one. ERROR_INVALID "WARNING: Error loading config file: ...".
int config_file_load(const char *directory, struct config_file *ret, struct error *err);
void config_file_done(struct config_file *config);
// Indented by tabs, mode 0600, put in place in one step; a link is followed to the file it names.
int config_file_save(const struct config_file *config, struct error *err);

// The helper's name ("pass") for this server: credHelpers, else credsStore; borrowed; NULL: the file itself.
const char *config_file_helper(const struct config_file *config, const char *server);
// The server's credentials; all NULL when there are none. `server`: "localhost:5000", or CONFIG_HUB_SERVER.
int config_file_get(const struct config_file *config, const char *server, struct login *ret,
                    struct error *err);
// Put them into the helper or the file, and save.
int config_file_store(struct config_file *config, const char *server, const struct login *login,
                      struct error *err);
int config_file_erase(struct config_file *config, const char *server, struct error *err);

// The server whose credentials an image reference needs: "a/b" -> CONFIG_HUB_SERVER, "localhost:5000/a" -> "localhost:5000". Owned.
char *config_server_of(const char *reference);
