// From where a published port can be reached: "host" (this machine only), "world", and what may stand in its way.
#pragma once

#include "cli/cli.h"

// The chains of the host's own firewall that drop what they do not know: the engine's answer, owned, for exposure_of.
int exposure_chains(struct cli *cli, json_t **ret, struct error *err);
// "host", "world", "world (may be blocked by table ip filter, chain FORWARD: policy drop)". Owned.
char *exposure_of(const char *host_ip, const json_t *chains);
// Of a container list's Ports: "0.0.0.0:80/tcp world, 127.0.0.1:81/tcp host"; "" without published ones. Owned.
char *exposure_of_ports(const json_t *ports, const json_t *chains);
