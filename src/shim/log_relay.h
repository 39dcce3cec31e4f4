// skiff-logtls, which speaks TLS for the monitor.
#pragma once

#include "shimproto/shimproto.h"

// Start one that connects to address ("192.0.2.1:6514", "[::1]:6514"). A non-blocking stream socket that takes the messages and
// hangs up when the relay ends, or -errno. The relay ends when the socket is closed; it is a child to be reaped.
int log_relay_start(const char *address, const struct shim_log_tls *tls);
