// What EXPOSE names: [[ip:]hostPort:]port[-port][/protocol]. Address and host port have no effect and are linted.
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct dockerfile_port {
    unsigned first, last;     // 0 to 65535
    const char *protocol;     // "tcp", "udp", "sctp"
    bool has_host_part;       // an address or a host port stands before it
    bool has_protocol_casing; // the protocol is written with capitals
};

// ERROR_INVALID: no port, unknown protocol, bad address, a number or range out of bounds.
int dockerfile_port_read(const char *text, struct dockerfile_port *ret, struct error *err);
// The ports of all words (strv) as "80/tcp", each once, in order; owned strv in *ret. Errors: dockerfile_port_read().
int dockerfile_ports_list(char *const *words, char ***ret, struct error *err);
