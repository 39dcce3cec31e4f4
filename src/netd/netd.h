// skiff-netd: answers the names of containers at 127.0.0.11 in each of their network namespaces, and forwards the rest. One process an
// engine, one thread, no privileges; skiffd tells it what is (netdproto/) and may come and go meanwhile.
#pragma once

// Serve on this socket (SOCK_SEQPACKET, listening; taken) until nobody needs it. Returns the program's exit code.
int netd_run(int listen_fd);
