// The three files every container gets from its engine: /etc/hostname, /etc/hosts, /etc/resolv.conf.
#pragma once

#include "base/ip.h"
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
// The same for a container whose names skiff-netd answers at `resolver`; what it forwards to (hostfile_upstreams) is not told inside.
void hostfile_resolv_conf_of_names(const struct container_config *config, const char *host_text,
                                   const char *resolver, struct str *out);
// The same for one on the default bridge: `first` knows names of containers, the others stand in when it is silent.
void hostfile_resolv_conf_of_bridge(const struct container_config *config, const char *host_text,
                                    const char *first, struct str *out);
// The name servers that are asked beyond the containers' names: the container's own, the host's (those on its loopback too), or, as
// in Docker, public ones. At most max; returns how many.
size_t hostfile_upstreams(const struct container_config *config, const char *host_text,
                          struct ip_address *list, size_t max);
// The host's own resolv.conf (that behind systemd-resolved's stub, where the stub is all there is).
void hostfile_read_resolv_conf(struct str *out);
