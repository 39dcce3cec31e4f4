// Syslog messages over TLS for one container's monitor, which is static and links none of it: bytes come in at a
// descriptor, a message ends with its newline, whole messages go out over a connection that is made again when it breaks.
#pragma once

#include "base/error.h"

#include <stdbool.h>

// All borrowed.
struct logtls_options {
    const char *host, *port; // numbers: "192.0.2.1" or "2001:db8::1", and "6514"
    const char *name; // of the server: asked for (SNI) and looked for in its certificate; may be an address
    const char *ca;   // PEM: trusted beside the system's authorities; or NULL
    const char *certificate, *key; // PEM: our own, both or neither
    bool skips_verify;             // neither the chain nor the name is looked at
};

// Relay from `input` (made non-blocking) until its end, then send what is left, for ten seconds at most. Root becomes nobody
// once the files are read. 0, or -1 before anything was relayed: ERROR_INVALID for bad files, ERROR_IO.
int logtls_relay(int input, const struct logtls_options *options, struct error *err);
