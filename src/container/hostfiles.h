// The three files every container gets from its engine: /etc/hostname, /etc/hosts, /etc/resolv.conf.
#pragma once

#include "base/str.h"
#include "container/config.h"

// Text of /etc/hosts. addresses: strv of the container's own, or NULL. gateway: what "host-gateway" stands for, "" for nothing.
void hostfile_hosts(const struct container_config *config, const char *hostname, char *const *addresses,
                    const char *gateway, struct str *out);
// Text of /etc/resolv.conf from the host's: name servers on loopback cannot be reached from another network
// namespace and are left out; when none is left, public ones stand in, as in Docker. keeps_loopback: the
// container uses the host's network.
void hostfile_resolv_conf(const struct container_config *config, const char *host_text, bool keeps_loopback,
                          struct str *out);
// The host's own resolv.conf (that behind systemd-resolved's stub, where the stub is all there is).
void hostfile_read_resolv_conf(struct str *out);
