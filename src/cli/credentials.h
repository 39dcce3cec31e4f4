// The credentials that a command sends along for a registry.
#pragma once

#include "cli/cli.h"
#include "cli/config_file.h"

// The next request carries what config.json has for the registry of this reference (X-Registry-Auth), if it has anything. A
// configuration that cannot be read is complained of and counts as empty, and so does a helper that fails, as with Docker.
void credentials_send(struct cli *cli, const char *reference);
// X-Registry-Auth's value for this login. Owned.
char *credentials_encode(const struct login *login, const char *server);
